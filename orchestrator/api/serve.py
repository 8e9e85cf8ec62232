"""An endpoint as aiohttp calls it: who, what, the handler, the answer. Everything that can be is settled at start."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web
from multidict import CIMultiDict, MultiMapping
from pydantic import BaseModel, ValidationError

from orchestrator.api import idempotency, problems
from orchestrator.api.body import read_body
from orchestrator.api.callers import caller_of
from orchestrator.api.deadlines import Deadline, Deadlines, TookTooLong
from orchestrator.api.endpoint import Answer, ApiServices, Caller, Context, Endpoint
from orchestrator.errors import Refusal
from orchestrator.ids import new_id

REQUEST_SECONDS_MAX: Final = 50
"""Below ``idempotency.ABANDONED_S``: nobody takes over a request that is still at work."""

REQUEST_ID: Final = web.RequestKey("request_id", str)
CALLER: Final = web.RequestKey("caller", Caller)

Serve = Callable[[web.Request], Awaitable[web.Response]]


def bind(endpoint: Endpoint, services: ApiServices) -> Serve:
    """Return the endpoint as a handler of aiohttp."""
    endpoint.check()
    handler, body_model, query_model = endpoint.handler, endpoint.body, endpoint.query
    route = f"{endpoint.method} {endpoint.path}"
    deadlines = Deadlines(lambda: REQUEST_SECONDS_MAX)

    async def serve(request: web.Request) -> web.Response:
        caller = request[CALLER] = await caller_of(services, endpoint, request)
        context = Context(services, request, request[REQUEST_ID], caller)
        if endpoint.takes_body:
            context.raw = await _read(request, endpoint)
        arguments: list[Any] = [context]
        if body_model is not None:
            arguments.append(parse_body(body_model, context.raw))
        if query_model is not None:
            arguments.append(parse_query(query_model, request.query))

        key = request.headers.get("Idempotency-Key") if endpoint.idempotent else None
        try:
            with Deadline(deadlines):
                if key is not None:
                    call = functools.partial(handler, *arguments)
                    return await _once(endpoint, context, route, idempotency.checked_key(key), call)
                if endpoint.creates is not None:
                    context.resource_id = new_id(endpoint.creates)
                return render(endpoint, await handler(*arguments))
        except TookTooLong:
            raise problems.NotNow("took_too_long", "this took too long and may still happen: look, or send it again "
                                  "with the same Idempotency-Key", retry_after_s=15) from None  # fmt: skip

    return serve


async def _once(
    endpoint: Endpoint, context: Context[ApiServices], route: str, key: str, call: Callable[[], Awaitable[Answer]]
) -> web.Response:
    """Call the handler unless this key has its answer. See ``idempotency``."""
    writer = context.services.writer
    # What no model has parsed (NDJSON) is compared byte for byte.
    meaning = orjson.loads(context.raw) if endpoint.body and context.raw else hashlib.sha256(context.raw).hexdigest()
    print_ = idempotency.fingerprint(endpoint.method, context.request.path, meaning)
    slot = idempotency.Slot(context.merchant_id, context.mode, route, key)
    begun = await idempotency.start(writer, slot, print_, endpoint.creates)
    if isinstance(begun, idempotency.Stored):
        kind = endpoint.content_type if begun.status < 400 else problems.PROBLEM_TYPE
        headers = {**problems.API_HEADERS, "Idempotent-Replayed": "true"}
        return web.Response(body=begun.body, status=begun.status, headers=headers, content_type=kind)
    context.resource_id = begun.resource_id
    try:
        answer = await call()
    except Refusal as refusal:
        shown = orjson.dumps(problems.body_of(refusal, context.request_id), default=str)
        await idempotency.finish(writer, begun, refusal.status, shown)
        raise
    except Exception:
        await idempotency.finish(writer, begun, 500, b"")
        raise
    response = render(endpoint, answer)
    kept = response.body if answer.kept is None else to_json(answer.kept)
    assert kept is None or isinstance(kept, bytes)
    await idempotency.finish(writer, begun, response.status, kept or b"")
    return response


def render(endpoint: Endpoint, answer: Answer) -> web.Response:
    status = endpoint.status if answer.status is None else answer.status
    body = answer.body if answer.body is None or isinstance(answer.body, bytes) else to_json(answer.body)
    headers: CIMultiDict[str] = CIMultiDict(problems.API_HEADERS)
    if answer.headers:
        headers.update(answer.headers)
    headers.setdefault("Content-Type", endpoint.content_type)
    return web.Response(body=body, status=status, headers=headers)


def to_json(body: Any) -> bytes:
    if isinstance(body, BaseModel):
        return body.__pydantic_serializer__.to_json(body, by_alias=True)
    return orjson.dumps(body)


# --- what was sent ----------------------------------------------------------------------------------------------------


async def _read(request: web.Request, endpoint: Endpoint) -> bytes:
    """Return the body. Raises a refusal where it is too large, too slow, or of another type."""
    raw = await read_body(request, endpoint.body_bytes_max)
    if raw and endpoint.accepts not in {request.content_type, "*/*"}:
        raise problems.NotJson("content_type_wrong", f"send Content-Type: {endpoint.accepts}")
    if raw and endpoint.body is None and not endpoint.raw and raw.strip() != b"{}":
        raise problems.BadFields("invalid_request", [problems.field_error((), "this takes no body", "extra_forbidden")])
    return raw


def parse_body(model: type[BaseModel], raw: bytes) -> BaseModel:
    """Return the body as its model; an empty one is ``{}``. Raises what ``bad_fields`` returns."""
    try:
        parsed: BaseModel = model.__pydantic_validator__.validate_json(raw or b"{}")
    except ValidationError as error:
        raise problems.bad_fields(error, "invalid_request") from None
    if b"\\u0000" in raw or b"NaN" in raw or b"Infinity" in raw:
        _refuse_what_no_database_holds(raw)
    return parsed


def _refuse_what_no_database_holds(raw: bytes) -> None:
    """Refuse NaN and Infinity, which pydantic reads and JSON does not have, and U+0000, which PostgreSQL cannot store."""
    try:
        whole = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise problems.BadRequest("invalid_json", str(error)) from None
    found = list(_nul_trails(whole, ()))
    if found:
        said = [problems.field_error(trail, "text cannot hold U+0000", "nul_character") for trail in found]
        raise problems.BadFields("invalid_request", said)


def _nul_trails(value: Any, trail: tuple[int | str, ...]) -> list[tuple[int | str, ...]]:
    match value:
        case str():
            return [trail] if "\0" in value else []
        case list():
            return [one for index, part in enumerate(value) for one in _nul_trails(part, (*trail, index))]
        case dict():
            inside = [one for key, part in value.items() for one in _nul_trails(part, (*trail, key))]
            return [(*trail, key) for key in value if "\0" in key] + inside
        case _:
            return []


def parse_query(model: type[BaseModel], query: MultiMapping[str]) -> BaseModel:
    """Return the query as its model: ``name[]`` is a list, any other name may stand once."""
    values: dict[str, Any] = {}
    for name in dict.fromkeys(query):
        given = query.getall(name)
        values[name] = given if name.endswith("[]") or len(given) > 1 else given[0]
    try:
        parsed = model.model_validate(values)
    except ValidationError as error:
        raise problems.bad_fields(error, "invalid_query") from None
    if any("\0" in one for one in query.values()):
        raise problems.BadFields(
            "invalid_query", [problems.field_error((), "text cannot hold U+0000", "nul_character")]
        )
    return parsed
