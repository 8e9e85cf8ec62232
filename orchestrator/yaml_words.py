"""What is wrong with a text that is not YAML, in words for the person who wrote it."""

from __future__ import annotations

from ruamel.yaml.error import MarkedYAMLError


def yaml_words(error: MarkedYAMLError) -> tuple[int, int, str, str | None]:
    """Return line, column, what is wrong and what to do: the reader's own words are those of a grammar."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return line, column, *_said(error)


def _said(error: MarkedYAMLError) -> tuple[str, str | None]:
    said = str(error.problem)
    began = f"in line {error.context_mark.line + 1}" if error.context_mark else "further up"
    if "\\t" in said:
        return said, "indent with spaces, not tabs"
    if said.startswith(("expected ',' or '}'", "expected ',' or ']'")):
        closing = said[len("expected ',' or '")]
        return f"a comma or a closing {closing} is missing before this", f"what must be closed begins {began}"
    if said.startswith("expected <block end>"):
        return "this line is not indented like those that it belongs to", f"they begin {began}"
    if said == "mapping values are not allowed here":
        return said, "is the line above finished? a text that has a colon in it needs quotes"
    if said == "could not find expected ':'":
        return "a key needs a colon behind it", f"the key stands {began}"
    return said, f"{error.context} that begins {began}" if error.context else None
