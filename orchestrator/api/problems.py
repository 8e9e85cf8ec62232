"""Refusals as RFC 9457 problem JSON: what is wrong, in words that stay, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from multidict import CIMultiDict
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.database.writer import OutcomeUnclear
from orchestrator.errors import Busy, Conflict, Forbidden, Invalid, NotFound, Refusal, Unauthenticated

PROBLEM_TYPE: Final = "application/problem+json"
FIELD_ERRORS_MAX: Final = 50
API_HEADERS: Final = CIMultiDict({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})

PROBLEMS: Final[Mapping[int, str]] = {
    400: "The body is not JSON.",
    401: "There is no key, or not a valid one.",
    402: "The wallet, its overdraft included, does not cover it: top it up.",
    403: "The key is valid and may not do this.",
    404: "There is no such path or object, or it belongs to somebody else or to the other mode.",
    405: "The path exists and does not take this method; `Allow` names those that it takes.",
    408: "The body did not arrive in time.",
    409: "Not possible in the object's present state, or the same Idempotency-Key is still at work (`retryable`).",
    413: "The body is too large.",
    415: "The body has to be `application/json`.",
    422: "The request was understood and cannot be done as it stands; `errors` points at the fields.",
    429: "Too much at once: wait for `Retry-After` seconds and send the same again.",
    500: "Our mistake. Quote the `request_id`. A request with an Idempotency-Key may be sent again.",
    502: "A rail did not take the payment.",
    503: "Not now: send the same again after `Retry-After` seconds.",
}
"""Every status that we refuse with, in one sentence; the documentation shows this list."""


class FieldError(BaseModel):
    pointer: str = Field(description="JSON Pointer of the field (RFC 6901)", examples=["/amount/currency"])
    message: str
    code: str = Field(examples=["missing"])


class Problem(BaseModel):
    """RFC 9457. Some codes carry further members."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/docs#problem-422",
                    "title": "The request cannot be understood",
                    "status": 422,
                    "detail": "1 field is wrong: see errors",
                    "code": "invalid_request",
                    "retryable": False,
                    "request_id": "req_0199f3a0c0de7d0f8a3b5c7d9e1f2a3b",
                    "errors": [{"pointer": "/amount/currency", "message": "Field required", "code": "missing"}],
                }
            ]
        },
    )
    type: str = Field(description="Where the status is explained.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable: decide by this.")
    retryable: bool = Field(description="Whether sending the very same again can succeed.")
    request_id: str
    errors: list[FieldError] = Field(default_factory=list, description="Fields that are wrong, where it is fields.")


class BadRequest(Refusal):
    """The request is not even JSON."""

    title = "The request cannot be read"


class NoSuchPath(Refusal):
    status = 404
    title = "No such path"


class BodyTooLarge(Refusal):
    status = 413
    title = "The body is too large"


class NotJson(Refusal):
    status = 415
    title = "Not this content type"


class BodySlow(Refusal):
    status = 408
    title = "The body did not arrive"
    retryable = True


class NotNow(Refusal):
    status = 503
    title = "Not now"
    retryable = True


class MethodNotAllowed(Refusal):
    status = 405
    title = "Not this method"


class OurMistake(Refusal):
    status = 500
    title = "Our mistake"


class OurMistakeRepeatable(OurMistake):
    """The request changes nothing, or carries an Idempotency-Key."""

    retryable = True


class BadFields(Invalid):
    """Fields of a body or a query are wrong."""

    def __init__(self, code: str, errors: Sequence[Mapping[str, str]]) -> None:
        count = len(errors)
        super().__init__(code, f"{count} {'field is' if count == 1 else 'fields are'} wrong: see errors", errors=errors)


def bad_fields(error: ValidationError, code: str) -> Refusal:
    """Turn pydantic's complaints into a refusal. What was sent is not repeated: it may be a secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return BadRequest("invalid_json", found[0]["msg"])
    return BadFields(code, [field_error(one["loc"], one["msg"], one["type"]) for one in found[:FIELD_ERRORS_MAX]])


def field_error(trail: Sequence[int | str], message: str, code: str) -> dict[str, str]:
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in trail)
    return {"pointer": "".join(f"/{step}" for step in steps), "message": message, "code": code}


def body_of(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """Return a refusal as it is shown."""
    errors = refusal.extra.get("errors")
    if errors is None and refusal.pointer is not None:
        errors = [{"pointer": refusal.pointer, "message": refusal.detail, "code": refusal.code}]
    body = {
        **refusal.extra,
        "type": f"/docs#problem-{refusal.status}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code,
        "retryable": refusal.retryable,
        "request_id": request_id,
        "errors": list(errors or ()),
    }
    body.pop("retry_after_s", None)
    return body


def headers_of(refusal: Refusal) -> dict[str, str]:
    headers = dict(API_HEADERS)
    wait_s = refusal.extra.get("retry_after_s", 1 if refusal.status in {429, 503} else None)
    if wait_s is not None:
        headers["Retry-After"] = str(wait_s)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def problem(refusal: Refusal, request_id: str) -> web.Response:
    return web.Response(
        body=orjson.dumps(body_of(refusal, request_id), default=str),
        status=refusal.status,
        headers=headers_of(refusal),
        content_type=PROBLEM_TYPE,
    )


def from_aiohttp(error: web.HTTPException) -> tuple[Refusal, dict[str, str]]:
    """Return aiohttp's own answer as a refusal, with the headers that belong to it."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return MethodNotAllowed("method_not_allowed", f"this path takes {allowed}"), {"Allow": allowed}
        case web.HTTPNotFound():
            return NoSuchPath("path_not_found", "there is no such path: see /docs"), {}
        case web.HTTPRequestEntityTooLarge():
            return BodyTooLarge("body_too_large", "the body is larger than any that we take"), {}
        case web.HTTPServerError():
            return OurMistake("internal_error", error.reason), {}
        case _:
            kind = _OF_STATUS.get(error.status, BadRequest)
            return kind("http_error", error.reason or "the request was refused"), {}


def from_bug(error: Exception, *, safe_to_repeat: bool) -> Refusal:
    """Return what a caller may know of a failure of ours: nothing of its inside."""
    if isinstance(error, OutcomeUnclear):
        return NotNow("outcome_unclear", "the database broke while it stored this: read before you try again")
    kind = OurMistakeRepeatable if safe_to_repeat else OurMistake
    return kind("internal_error", "this is our mistake; quote the request_id when you report it")


_OF_STATUS: Final[Mapping[int, type[Refusal]]] = {
    kind.status: kind for kind in (Unauthenticated, Forbidden, NotFound, Conflict, BodySlow, NotJson, Invalid, Busy)
}
