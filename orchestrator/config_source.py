"""A YAML file read so that every complaint about it can name its line and column.

``load_document`` reads YAML 1.2 (``NO`` is Norway, not false) into plain Python: dict, list, str, int, bool, None, and
Decimal for numbers with a point, never float. ``check`` holds a part of it against a pydantic model. Whatever is wrong
is collected and raised once, as ConfigInvalid.

    config.yaml:12:23: routing.rules[0].when.country: BRA is no country (did you mean 'BR'?)
        when: {country: BRA}
                        ^

Numbers that YAML versions read differently (``017``, ``1_000``) are refused rather than guessed at.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from orchestrator.yaml_words import yaml_words

Step = str | int
Trail = tuple[Step, ...]
"""Where something stands: ``("routing", "rules", 0, "id")``."""

BYTES_MAX: Final = 4_000_000
NODES_MAX: Final = 400_000
"""Aliases can make a small file grow without end."""
DEPTH_MAX: Final = 40
PROBLEMS_MAX: Final = 50

_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_.-]+")
_SECRET: Final = re.compile(
    r"(?P<name>[\w-]*(?:secret|password|token|mnemonic|private|xprv|key)[\w-]*[\"']?\s*:\s*)(?P<value>[^,}\]#]+)",
    re.IGNORECASE,
)
_BLACK: Final = "***"

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where it stands, and what to do about it. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str | None = None
    excerpt: str = ""
    """The line of the file, values of secrets blacked out."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " + (f"{self.path}: " if self.path else "")
        text = where + self.message + (f" ({self.hint})" if self.hint else "")
        if self.excerpt.strip():
            text += f"\n    {self.excerpt}"
            if _BLACK not in self.excerpt[: self.column - 1]:  # what is blacked out has moved the columns
                text += f"\n    {' ' * (self.column - 1)}^"
        return text


class ConfigInvalid(ValueError):
    """The configuration cannot be used; every problem that was found is listed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        shown = [str(problem) for problem in self.problems[:PROBLEMS_MAX]]
        if len(self.problems) > PROBLEMS_MAX:
            shown.append(f"and {len(self.problems) - PROBLEMS_MAX} more problems")
        super().__init__("\n".join(shown))


@dataclass(frozen=True, slots=True)
class Document:
    """A file as plain Python, and where each part of it stands."""

    file: str
    data: Any = field(repr=False)
    """With what the environment and the secrets file put in: not printed."""
    lines: tuple[str, ...] = field(repr=False)
    values: Mapping[Trail, tuple[int, int]]
    keys: Mapping[Trail, tuple[int, int]]

    def position(self, path: Trail) -> tuple[int, int]:
        """Return line and column of the value at ``path``, or of the nearest part around it that is there."""
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def at(self, path: Trail) -> Any:
        """Return the value at ``path``; None where there is none."""
        here = self.data
        for step in path:
            if _holds(here, step):
                here = here[step]
            else:
                return None
        return here

    def problem(self, path: Trail, message: str, hint: str | None = None, *, on_key: bool = False) -> Problem:
        """Return a Problem that stands at ``path`` (at its key, where the name and not the value is wrong)."""
        line, column = (self.keys.get(path) if on_key else None) or self.position(path)
        return Problem(self.file, line, column, spell(path), message, hint, self._excerpt(line))

    def _excerpt(self, line: int) -> str:
        return excerpt(self.lines[line - 1]) if 0 < line <= len(self.lines) else ""


def _holds(here: Any, step: Step) -> bool:
    match here:
        case dict():
            return step in here
        case list():
            return isinstance(step, int) and 0 <= step < len(here)
        case _:
            return False


def excerpt(line: str) -> str:
    """Return a line that may be shown: control characters plain, secrets blacked out, not too long."""
    plain = "".join(letter if letter.isprintable() else " " for letter in line[:200])
    return _SECRET.sub(rf"\g<name>{_BLACK}", plain).rstrip()


def spell(path: Trail) -> str:
    """Write a path as people do: ``routing.rules[0].when.country``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _PLAIN_KEY.fullmatch(step) else repr(step))
    return text


def suggest(word: object, known: Iterable[str]) -> str | None:
    """Return ``did you mean 'x'?`` for the known word that is nearest, or None."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None


# --- reading ------------------------------------------------------------------------------------------------------


def load_document(source: Path | str, file: str | None = None) -> Document:
    """Read a file (Path) or a text (str); ``file`` is the name that problems show. Raises ConfigInvalid."""
    name = file or (str(source) if isinstance(source, Path) else "config.yaml")
    text = _read(source, name) if isinstance(source, Path) else source
    lines = tuple(text.replace("\r\n", "\n").split("\n"))

    def refuse(line: int, column: int, message: str, hint: str | None = None) -> ConfigInvalid:
        shown = excerpt(lines[line - 1]) if 0 < line <= len(lines) else ""
        return ConfigInvalid([Problem(name, line, column, "", message, hint, shown)])

    if len(text.encode("utf-8", "replace")) > BYTES_MAX:
        raise refuse(1, 1, f"the file is larger than {BYTES_MAX} bytes")
    for number, written in enumerate(lines, 1):
        if written.startswith("%YAML") and written.split()[1:2] != ["1.2"]:
            raise refuse(number, 1, "this file is read as YAML 1.2 (in 1.1, NO means false)", "remove this line")
    try:
        reader = YAML(typ="rt", pure=True)
        reader.composer.warn_double_anchors = False  # an anchor may be used again in YAML; the last one counts
        root = reader.compose(text)
    except MarkedYAMLError as error:
        line, column, said, hint = yaml_words(error)
        raise refuse(line, column, f"not YAML: {said}", hint) from None
    except ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise refuse(*place, "not YAML: a character that is not allowed in text") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise refuse(1, 1, f"not YAML: {type(error).__name__}") from error
    if root is None:
        raise refuse(1, 1, "the file is empty")
    return _Reader(name, lines).read(root)


def _read(path: Path, name: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(name, 1, 1, "", f"the file cannot be read: {error.strerror}")
        raise ConfigInvalid([problem]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before) - before.rfind(b"\n")
        problem = Problem(name, before.count(b"\n") + 1, column, "", "the file is not UTF-8 text")
        raise ConfigInvalid([problem]) from None


class _Reader:
    """Turns composed YAML nodes into plain Python and remembers where each stood."""

    def __init__(self, file: str, lines: tuple[str, ...]) -> None:
        self.document = Document(file, None, lines, {}, {})
        self.values: dict[Trail, tuple[int, int]] = {}
        self.keys: dict[Trail, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def read(self, root: Node) -> Document:
        data = self._value(root, ())
        if self.problems:
            raise ConfigInvalid(sorted(self.problems, key=lambda problem: (problem.line, problem.column)))
        return Document(self.document.file, data, self.document.lines, self.values, self.keys)

    def _refuse(self, node: Node, path: Trail, message: str, hint: str | None = None) -> None:
        line, column = _mark(node)
        shown = excerpt(self.document.lines[line - 1]) if line <= len(self.document.lines) else ""
        self.problems.append(Problem(self.document.file, line, column, spell(path), message, hint, shown))

    def _value(self, node: Node, path: Trail) -> Any:
        self.values[path] = _mark(node)
        if len(path) > DEPTH_MAX or len(self.values) > NODES_MAX:
            self._refuse(node, path[:3], "the file is nested too deeply or aliases make it too large")
            raise ConfigInvalid(self.problems)
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, path)
            case _:
                raise TypeError(f"ruamel.yaml composed a {type(node).__name__}")

    def _mapping(self, node: MappingNode, path: Trail) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._refuse(key_node, path, "a key must be a plain word")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if _kind(key_node) == "merge":
                self._refuse(key_node, here, "merge keys are not part of YAML 1.2", "write the entries out")
            elif key in found:
                self._refuse(key_node, here, f"the key is here twice; first in line {self.keys[here][0]}")
            else:
                self.keys[here] = _mark(key_node)
                found[key] = self._value(value_node, here)
                if found[key] is None and self.values[here][0] > self.keys[here][0]:  # nothing stands behind the key
                    self.values[here] = self.keys[here]
        return found

    def _scalar(self, node: ScalarNode, path: Trail) -> Any:
        text = str(node.value)
        match _kind(node):
            case "str" | "timestamp":  # YAML 1.2 knows no dates: they stay text until a model asks for one
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if _INT.fullmatch(text):
                return int(text)
            case "float" if _DECIMAL.fullmatch(text):
                return Decimal(text)
            case "int" | "float":
                self._refuse(node, path, f"{text} is not a plain number", "write 17 or 1.5, or put it in quotes")
            case other:
                self._refuse(node, path, f"the tag {other} is not known here", "remove it")
        return None


def _mark(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _kind(node: Node) -> str:
    return str(node.tag).removeprefix("tag:yaml.org,2002:")


# --- checking -----------------------------------------------------------------------------------------------------


def check(model: type[ModelT], document: Document, prefix: Trail = ()) -> ModelT:
    """Return the part at ``prefix`` as a ``model``. Raises ConfigInvalid with every error at its line and column.

    A validator of the model may raise PydanticCustomError with ``hint`` in its context: it is shown in brackets.
    """
    data = document.at(prefix)
    if data is None:
        name = prefix[-1] if prefix else "the file"
        raise ConfigInvalid([document.problem(prefix, f"{name} is missing or empty")])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if not _is_echo(document, prefix, detail)]
        problems = [_problem(model, document, prefix, detail) for detail in details]
        problems.sort(key=lambda problem: (problem.line, problem.column))
        raise ConfigInvalid(problems) from None


def _is_echo(document: Document, prefix: Trail, detail: ErrorDetails) -> bool:
    """Pydantic calls a list too short when its items were refused: they have their own complaints."""
    written = document.at(_in_document(document, prefix, detail["loc"]))
    least = detail.get("ctx", {}).get("min_length", 1)
    return detail["type"] == "too_short" and isinstance(written, list | dict) and len(written) >= least


def _problem(model: type[BaseModel], document: Document, prefix: Trail, detail: ErrorDetails) -> Problem:
    path = _in_document(document, prefix, detail["loc"])
    context = detail.get("ctx", {})
    hint: str | None = context.get("hint")
    given = detail["input"]
    message = detail["msg"].replace("Input should", "should")
    on_key = False
    match detail["type"]:
        case "extra_forbidden":
            known = _field_names(model, detail["loc"][:-1])
            hint = suggest(path[-1], known) or (f"known here: {', '.join(known)}" if known else None)
            message, on_key = "this key is not known", True
        case "missing":
            message = "this is required and missing"
        case "literal_error" | "enum":
            known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
            message = f"must be {'one of ' if len(known) > 1 else ''}{', '.join(known)}"
            hint = suggest(given, known)
        case "string_type" if isinstance(given, bool | int | Decimal):
            message, hint = "must be text", "put it in quotes"
        case "int_type" | "int_parsing" | "int_from_float":
            message = "must be a whole number"  # what was written stands in the excerpt, where secrets are hidden
            hint = "100 are 1 %" if str(path[-1]).endswith("_bps") else None
        case "date_type" | "date_parsing" | "date_from_datetime_parsing" | "date_from_datetime_inexact":
            message, hint = "must be a date", "write 2027-06-30"
        case "datetime_type" | "datetime_parsing" | "datetime_from_date_parsing" | "timezone_aware":
            message, hint = "must be a time with its zone", "write 2026-12-01T02:00:00Z"
        case "list_type" | "tuple_type":
            message = "must be a list"
        case "model_type" | "dict_type" | "model_attributes_type":
            message = "must be a mapping, such as {key: value}"
            known = _field_names(model, detail["loc"])
            hint = f"known here: {', '.join(known)}" if known else None
        case "too_short":
            message = f"needs at least {context.get('min_length', 1)}"
        case "value_error":
            message = str(context.get("error", message))
        case _:
            pass  # pydantic's own words say enough
    return document.problem(path, message, hint, on_key=on_key)


def _in_document(document: Document, prefix: Trail, location: Sequence[Step]) -> Trail:
    """Turn pydantic's location into a path of the file.

    Pydantic also names branches of unions, and parts that a validator made (a list around one word): they are not in
    the file and are left out. A dotted key of the file may be two steps of the model (``metadata.plan``).
    """
    path, rest = prefix, list(location)
    while rest:
        here, step = document.at(path), rest.pop(0)
        dotted = f"{step}.{rest[0]}" if rest else ""
        if _holds(here, step):
            path = (*path, step)
        elif rest and _holds(here, dotted):
            path = (*path, dotted)
            rest.pop(0)
        elif isinstance(here, dict) and not rest:
            path = (*path, step)  # a field that is missing
    return path


def _field_names(model: type[BaseModel], location: Sequence[Step]) -> list[str]:
    """Return the keys that the model allows at a location."""
    models: list[type[BaseModel]] = [model]
    for step in location:
        if isinstance(step, str):
            fields = [field for each in models for name, field in _named(each) if name == step]
            models = [inner for field in fields for inner in _models_in(field)] or models
    return [name for each in models for name, _ in _named(each)]


def _named(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, part in model.model_fields.items():
        yield part.alias or name, part.annotation


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for part in get_args(annotation) for inner in _models_in(part)]
