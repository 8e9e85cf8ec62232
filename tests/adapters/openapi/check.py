"""Checks recorded HTTP exchanges against a vendor's OpenAPI document (3.0 or 3.1), unknown names included.

The documents allow fields that they do not name; here a name that the document does not know is a difference too,
because a misspelt parameter is the usual mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler
from jsonschema.exceptions import best_match
from openapi_schema_validator import OAS30Validator, OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.adapters.openapi.documents import Document

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
ROOT: Final = "urn:openapi"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as they were on the wire."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    content_type: str
    body: bytes
    form: Sequence[tuple[str, str]]
    status: int
    answer: Any


class Recorder:
    """Put ``middleware`` into a simulator before it is served."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    @property
    def middleware(self) -> Any:
        @web.middleware
        async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
            body = await request.read()
            form = list((await request.post()).items()) if request.content_type == FORM else []
            answer = await handler(request)
            text = answer.text if isinstance(answer, web.Response) else None
            self.exchanges.append(
                Exchange(
                    method=request.method,
                    path=request.path,
                    query=list(request.query.items()),
                    content_type=request.content_type,
                    body=body,
                    form=[(name, value) for name, value in form if isinstance(value, str)],
                    status=answer.status,
                    answer=json.loads(text) if text and answer.content_type == JSON else None,
                )
            )
            return answer

        return record


class Checker:
    """One document, ready to check exchanges."""

    def __init__(self, document: Document) -> None:
        old = document["openapi"].startswith("3.0")
        self.document: Document = _null_means_null(document) if old else document
        self._validator = OAS30Validator if old else OAS31Validator
        self._registry: Registry[Any] = Registry().with_resource(ROOT, DRAFT202012.create_resource(self.document))

    def operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        """Find the operation of a path; a template without parameters wins."""
        matching = [
            template
            for template, item in self.document["paths"].items()
            if method.lower() in item and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
        ]
        if not matching:
            return None
        template = min(matching, key=lambda candidate: candidate.count("{"))
        return template, self.document["paths"][template][method.lower()]

    def differences(self, exchange: Exchange) -> Iterator[str]:
        """Yield what the document does not know or allow, one line each."""
        found = self.operation(exchange.method, exchange.path)
        if found is None:
            yield f"{exchange.method} {exchange.path}: no such operation"
            return
        template, operation = found
        name = f"{exchange.method} {template}"
        for text in self._request(exchange, operation):
            yield f"{name} request: {text}"
        answers = operation["responses"]
        described = answers.get(str(exchange.status)) or answers.get("default")
        if described is None:
            yield f"{name} answer: status {exchange.status} is not described"
        elif exchange.answer is not None:
            for text in self.faults(exchange.answer, described["content"][JSON]["schema"]):
                yield f"{name} answer: {text}"

    def _request(self, exchange: Exchange, operation: Mapping[str, Any]) -> Iterator[str]:
        if exchange.query:
            known = {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"}
            yield from self._form(exchange.query, {"type": "object", "properties": known})
        if not exchange.body:
            return
        content = operation["requestBody"]["content"].get(exchange.content_type)
        if content is None:
            yield f"content type {exchange.content_type} is not described"
        elif exchange.content_type == FORM:
            yield from self._form(exchange.form, content["schema"])
        else:
            yield from self.faults(json.loads(exchange.body), content["schema"])

    def _form(self, pairs: Sequence[tuple[str, str]], schema: Mapping[str, Any]) -> Iterator[str]:
        yield from self.faults(self._typed(nested(pairs), schema), schema)

    def faults(self, value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
        """Yield violations of the schema, and names that it does not have."""
        validator = self._validator(_absolute(schema), registry=self._registry)
        for error in validator.iter_errors(value):
            if error.validator == "additionalProperties":
                continue  # said below, name by name
            closest = best_match([error])
            where = re.sub(r"\[\d+\]", "[]", (closest or error).json_path)
            yield f"{where}: {(closest or error).message[:200]}"
        yield from self._unknown(value, [schema], "$")

    def schema(self, name: str) -> Mapping[str, Any]:
        return {"$ref": f"#/components/schemas/{name}"}

    def _alternatives(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if "$ref" in schema:
            node: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                node = node[part]
            yield from self._alternatives(node)
            return
        yield schema
        for word in ("anyOf", "oneOf", "allOf"):
            for part in schema.get(word, ()):
                yield from self._alternatives(part)

    def _unknown(self, value: Any, schemas: Sequence[Mapping[str, Any]], at: str) -> Iterator[str]:
        flat = [alternative for schema in schemas for alternative in self._alternatives(schema)]
        if isinstance(value, list):
            for item in value:
                yield from self._unknown(item, [s["items"] for s in flat if "items" in s], f"{at}[]")
        if not isinstance(value, dict):
            return
        objects = [s for s in flat if "properties" in s and _is_kind(s, value)]
        extra = [s["additionalProperties"] for s in flat if isinstance(s.get("additionalProperties"), dict)]
        for name, part in value.items():
            inner = [s["properties"][name] for s in objects if name in s["properties"]] or extra
            if inner:
                yield from self._unknown(part, inner, f"{at}.{name}")
            elif objects:
                yield f"{at}: unknown name {name}"

    def _typed(self, value: Any, schema: Mapping[str, Any]) -> Any:
        """Read a form's texts as the types that the schema wants, where they can be read so."""
        flat = list(self._alternatives(schema))
        if isinstance(value, dict):
            known = {name: part for s in reversed(flat) for name, part in s.get("properties", {}).items()}
            return {name: self._typed(part, known.get(name, {})) for name, part in value.items()}
        if isinstance(value, list):
            items: Mapping[str, Any] = next((s["items"] for s in flat if "items" in s), {})
            return [self._typed(part, items) for part in value]
        types = {s.get("type") for s in flat}
        if "integer" in types and re.fullmatch(r"-?\d+", value):
            return int(value)
        if "boolean" in types and value in {"true", "false"}:
            return value == "true"
        return value


def _is_kind(schema: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Of several alternatives, take the ones whose ``object`` is that of the value."""
    kinds = schema["properties"].get("object", {}).get("enum")
    return kinds is None or value.get("object") in kinds


def _null_means_null(node: Any) -> Any:
    """Let null through where a 3.0 schema says nullable beside anyOf or enum: meant so, but not by the wording of 3.0.3."""
    if isinstance(node, list):
        return [_null_means_null(part) for part in node]
    if not isinstance(node, dict):
        return node
    read = {name: _null_means_null(part) for name, part in node.items()}
    if read.get("nullable") is True and isinstance(read.get("anyOf"), list):
        read["anyOf"].append({"enum": [None], "nullable": True})
    if read.get("nullable") is True and isinstance(read.get("enum"), list):
        read["enum"].append(None)
    return read


def _absolute(schema: Any) -> Any:
    """Let references point into the document, wherever the schema was cut out."""
    if isinstance(schema, dict):
        return {
            name: f"{ROOT}{part}" if name == "$ref" and str(part).startswith("#") else _absolute(part)
            for name, part in schema.items()
        }
    return [_absolute(part) for part in schema] if isinstance(schema, list) else schema


def nested(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Read ``a[b][0]=c`` into dicts and lists."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        keys = [key for key in re.split(r"[\[\]]+", name) if key]
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = value
    lists: dict[str, Any] = _with_lists(root)
    return lists


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_with_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _with_lists(part) for key, part in node.items()}
