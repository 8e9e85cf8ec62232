"""The documentation as one page of HTML, made from the OpenAPI document: no script, nothing from the internet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

EXAMPLE_DEPTH_MAX: Final = 6
FIELD_DEPTH_MAX: Final = 2
_FOLDER: Final = Path(__file__).parent
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def page(document: Mapping[str, Any]) -> bytes:
    """Render the page."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                groups[operations[method]["tags"][0]].append(_endpoint(document, path, method, operations[method]))
    components = document["components"]
    environment.filters["words"] = _words
    html = environment.get_template("docs.html.j2").render(
        info=document["info"],
        style=(_FOLDER / "docs.css").read_text("utf-8"),
        groups=groups,
        ways=components["securitySchemes"],
        problems={status: answer["description"] for status, answer in components["responses"].items()},
        problem_example=_pretty(_example(components, components["schemas"]["Problem"])),
    )
    return html.encode()


def _words(text: str) -> Markup:
    """Return a description with what stands in backticks as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _endpoint(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    components = document["components"]
    status, answer = next((status, one) for status, one in operation["responses"].items() if status < "400")
    body, answered = _json_schema(operation.get("requestBody", {})), _json_schema(answer)
    sent = None if body is None else _example(components, body)
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation.get("description", ""),
        "ways": [" ".join([name, *scopes]) for one in operation["security"] for name, scopes in one.items()],
        "query": [one for one in operation["parameters"] if one.get("in") == "query"],
        "keyed": any(one.get("$ref", "").endswith("/Idempotency-Key") for one in operation["parameters"]),
        "fields": [] if body is None else _fields(components, body),
        "status": status,
        "answer": None if answered is None else _pretty(_example(components, answered)),
        "refusals": [code for code in operation["responses"] if code >= "400"],
        "curl": _curl(path, method, operation, sent),
    }


def _curl(path: str, method: str, operation: Mapping[str, Any], sent: Any) -> str:
    lines = [f'curl "$CROSSRAIL{path}"']
    if method != "get":
        lines[0] += f" -X {method.upper()}"
    if operation["security"]:
        token = "$ADMIN_TOKEN" if "adminToken" in operation["security"][0] else "$API_KEY"
        lines.append(f'-H "Authorization: Bearer {token}"')
    if method == "post" and operation["security"]:
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    if sent is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d {shlex.quote(orjson.dumps(sent).decode())}")
    return " \\\n  ".join(lines)


def _json_schema(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema: Mapping[str, Any] | None = part.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _resolved(components: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = components["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _fields(
    components: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> list[dict[str, Any]]:
    """Return the fields of an object, each with those inside it behind it: ``customer.country``, ``offers[].id``."""
    schema = _resolved(components, schema)
    required = schema.get("required", ())
    rows: list[dict[str, Any]] = []
    for name, field in schema.get("properties", {}).items():
        rows.append(
            {
                "name": prefix + name,
                "required": name in required,
                "type": _type(components, field),
                "description": field.get("description", ""),
            }
        )
        if depth < FIELD_DEPTH_MAX:
            inner, mark = _inner(components, field)
            rows += _fields(components, inner, f"{prefix}{name}{mark}.", depth + 1)
    return rows


def _inner(components: Mapping[str, Any], field: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return what a field holds, without "or null" and without the list around it."""
    field = _resolved(components, field)
    ways = [one for one in field.get("anyOf", ()) if one.get("type") != "null"]
    if len(ways) == 1:
        field = _resolved(components, ways[0])
    if field.get("type") == "array":
        return _resolved(components, field.get("items", {})), "[]"
    return field, ""


def _type(components: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"].rpartition("/")[2])
        return _type(components, _resolved(components, schema)) if "enum" in _resolved(components, schema) else name
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(_type(components, one) for one in schema.get("anyOf", schema.get("oneOf", ())))
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(components, schema.get('items', {}))}"
    return str(schema.get("const", schema.get("type", "any")))


_PLAIN: Final = {"string": "...", "integer": 1, "number": 1, "boolean": False}


def _example(components: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> Any:
    """Return the schema's own example, or one made of its fields' examples and defaults."""
    schema = _resolved(components, schema)
    given = [*schema.get("examples", ()), *(schema[name] for name in ("const", "default") if name in schema)]
    given += schema.get("enum", ())
    if given:
        return given[0]
    ways = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if ways:
        return _example(components, ways[0], depth)
    kind = schema.get("type")
    if depth > EXAMPLE_DEPTH_MAX or kind not in {"object", "array"}:
        return _PLAIN.get(str(kind))
    if kind == "array":
        return [_example(components, schema.get("items", {}), depth + 1)]
    fields = schema.get("properties", {})
    return {name: _example(components, field, depth + 1) for name, field in fields.items()}


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
