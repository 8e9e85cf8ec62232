"""The one middleware: request id in and out, every failure as a problem, one log line, metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

import structlog
from aiohttp import web
from prometheus_client import Counter, Histogram

from orchestrator.api import problems
from orchestrator.api.endpoint import NOBODY
from orchestrator.api.serve import CALLER, REQUEST_ID
from orchestrator.errors import Refusal
from orchestrator.ids import new_id

_REQUEST_ID_FORM: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id")
_log = structlog.get_logger("http")
_requests = Counter("crossrail_http_requests", "Answered requests", ["method", "route", "status"])
_seconds = Histogram(
    "crossrail_http_request_seconds",
    "From the headers of the request to its answer",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 50),
)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})


def with_request_id(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the request in every line that is logged while it is served (a processor of structlog)."""
    request_id = _REQUEST_ID.get(None)
    if request_id is not None:
        line.setdefault("request_id", request_id)
    return line


@web.middleware
async def edge(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Stand around every route, also those of pages and bridges."""
    began_s = time.perf_counter()
    given = request.headers.get("X-Request-Id", "")
    # One that is no id is replaced, not refused: it is for tracing only, and it is printed into logs.
    request_id = request[REQUEST_ID] = given if _REQUEST_ID_FORM.fullmatch(given) else new_id("req")
    _REQUEST_ID.set(request_id)
    response: web.StreamResponse
    code = ""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:  # a redirect of a page
            error.headers["X-Request-Id"] = request_id
            _note(request, error.status, began_s, "")
            raise
        refused, headers = problems.from_aiohttp(error)
        response = problems.problem(refused, request_id)
        response.headers.update(headers)
        code = refused.code
    except Refusal as refusal:
        response, code = problems.problem(refusal, request_id), refusal.code
    except Exception as error:  # noqa: BLE001  # a bug of ours: logged whole, told without its inside
        _log.exception("request_broke", method=request.method, route=_route(request))
        safe = request.method in {"GET", "HEAD"} or "Idempotency-Key" in request.headers
        mistake = problems.from_bug(error, safe_to_repeat=safe)
        response, code = problems.problem(mistake, request_id), mistake.code
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    _note(request, response.status, began_s, code)
    return response


def _note(request: web.Request, status: int, began_s: float, code: str) -> None:
    """Count and log. Ids only: no address, no header, no body, no query."""
    seconds = time.perf_counter() - began_s
    route = _route(request)
    method = request.method if request.method in _METHODS else "other"
    count, measure = _metrics(method, route, status)
    count.inc()
    measure.observe(seconds)
    caller = request.get(CALLER, NOBODY)
    _log.info(
        "request_answered",
        method=method,
        route=route,
        status=status,
        code=code,
        duration_us=int(seconds * 1_000_000),
        merchant_id=caller.merchant_id,
        mode=caller.mode,
        key_id=caller.key_id,
    )


@cache
def _metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Return the two series of a route: as few as there are routes and statuses."""
    return _requests.labels(method, route, str(status)), _seconds.labels(method, route)


def _route(request: web.Request) -> str:
    """Return the template of the path: ids in a label would make a time series each."""
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical
