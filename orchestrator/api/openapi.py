"""OpenAPI 3.1 out of the endpoints. Source: https://spec.openapis.org/oas/v3.1.1.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import JSON_TYPE, PATH_PARAMETER, Auth, Endpoint
from orchestrator.api.problems import PROBLEM_TYPE, PROBLEMS, Problem

REF: Final = "#/components/schemas/{model}"
DESCRIPTION: Final = """\
Top-ups over card, local method and USDT: quoted, routed, confirmed, credited exactly once.

Amounts are decimal strings with a currency; times are RFC 3339 in UTC; ids have prefixes. Keys begin with `sk_test_` or
`sk_live_`, and neither sees what the other made. Send an `Idempotency-Key` with every POST: the same request under the
same key has one effect and, for 24 hours, one answer. A refusal is a problem (RFC 9457): decide by its `code`."""

SECURITY: Final[dict[str, Any]] = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "`sk_test_...` or `sk_live_...`, with scopes."},
    "clientSecret": {
        "type": "http", "scheme": "bearer", "description": "`cs_..._secret_...`: opens its own checkout session only.",
    },
    "adminToken": {"type": "http", "scheme": "bearer", "description": "The platform's own token, for its operators."},
}  # fmt: skip

_REQUEST_ID: Final = {"schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}}
_HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": _REQUEST_ID | {"description": "The request's id: the one that was sent, or a new one."},
    "Idempotent-Replayed": {
        "schema": {"type": "string", "const": "true"}, "description": "The answer is the stored one of an earlier request.",
    },
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before trying again."},
}  # fmt: skip
_PARAMETERS: Final[dict[str, Any]] = {
    "X-Request-Id": _REQUEST_ID | {"name": "X-Request-Id", "in": "header", "description": "Comes back in the answer."},
    "Idempotency-Key": {
        "name": "Idempotency-Key", "in": "header",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "description": "Any text of your own that is new for a new request and the same for a repeated one.",
    },
}  # fmt: skip
_RETRYING: Final = frozenset({409, 429, 503})


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the document as plain JSON values."""
    schemas = _Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    tags = dict.fromkeys(endpoint.tag for endpoint in endpoints)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Crossrail", "version": version("crossrail"), "description": DESCRIPTION},
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": SECURITY,
            "headers": _HEADERS,
            "parameters": _PARAMETERS,
            "responses": {str(status): _problem(status, text) for status, text in PROBLEMS.items()},
        },
    }


class _Schemas:
    """Every model once, in the form in which it is sent or answered."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        wanted: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [(Problem, "serialization", TypeAdapter(Problem))]
        queries = set()
        for endpoint in endpoints:
            wanted += [(one, "validation", TypeAdapter(one)) for one in (endpoint.body, endpoint.query) if one]
            if endpoint.answer is not None:
                wanted.append((endpoint.answer, "serialization", TypeAdapter(endpoint.answer)))
            if endpoint.query is not None:
                queries.add(endpoint.query)
        self._found, defined = TypeAdapter.json_schemas(_once(wanted), ref_template=REF)
        components: dict[str, Any] = defined.get("$defs", {})
        self._queries = {
            query: components.pop(str(self._found[query, "validation"]["$ref"]).rpartition("/")[2]) for query in queries
        }
        self.components = components

    def sent(self, model: Any) -> Mapping[str, Any]:
        return self._found[model, "validation"]

    def answered(self, model: Any) -> Mapping[str, Any]:
        return self._found[model, "serialization"]

    def parameters(self, query: Any) -> list[dict[str, Any]]:
        schema = self._queries[query]
        required = schema.get("required", ())
        return [
            {"name": name, "in": "query", "required": name in required, "schema": _without(field, "description")}
            | ({"description": field["description"]} if "description" in field else {})
            for name, field in schema["properties"].items()
        ]


def _once(wanted: Sequence[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]]) -> list[tuple[Any, JsonSchemaMode, Any]]:
    return list({(model, mode): (model, mode, adapter) for model, mode, adapter in wanted}.values())


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "security": _security(endpoint),
        "parameters": _parameters(endpoint, schemas),
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True, "content": {endpoint.accepts: {"schema": schemas.sent(endpoint.body)}},
        }  # fmt: skip
    elif endpoint.raw:
        operation["requestBody"] = {"required": True, "content": {endpoint.accepts: {}}}
    return operation


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    if endpoint.auth is Auth.PUBLIC:
        return []
    scopes = endpoint.allowed_scopes
    ways: list[dict[str, list[str]]] = [{"apiKey": [scope]} for scope in sorted(scopes - {PLATFORM})]
    if endpoint.auth is Auth.SESSION:
        ways.append({"clientSecret": []})
    if PLATFORM in scopes:
        ways.append({"adminToken": []})
    return ways


def _parameters(endpoint: Endpoint, schemas: _Schemas) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True,
         "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,80}$"}}
        for name in PATH_PARAMETER.findall(endpoint.path)
    ]  # fmt: skip
    if endpoint.query is not None:
        found += schemas.parameters(endpoint.query)
    if endpoint.idempotent:
        found.append({"$ref": "#/components/parameters/Idempotency-Key"})
    return [*found, {"$ref": "#/components/parameters/X-Request-Id"}]


def _responses(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    names = ["X-Request-Id", *(["Idempotent-Replayed"] if endpoint.idempotent else [])]
    fine: dict[str, Any] = {
        "description": endpoint.summary,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if endpoint.answer is not None:
        fine["content"] = {endpoint.content_type: {"schema": schemas.answered(endpoint.answer)}}
    elif endpoint.content_type != JSON_TYPE:
        fine["content"] = {endpoint.content_type.partition(";")[0]: {"schema": {"type": "string"}}}
    refusals = {str(status): {"$ref": f"#/components/responses/{status}"} for status in endpoint.statuses}
    return {str(endpoint.status): fine, **refusals}


def _problem(status: int, text: str) -> dict[str, Any]:
    names = ["X-Request-Id", *(["Retry-After"] if status in _RETRYING else [])]
    return {
        "description": text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {PROBLEM_TYPE: {"schema": {"$ref": REF.format(model=Problem.__name__)}}},
    }


def _without(schema: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in names}
