"""Hot money requests go to the process that owns their merchant (``database.ownership``), unchanged.

Only a way to be fast: whoever cannot forward does the request itself, and the row locks keep the books right. A request is
forwarded once; one that came that way is done where it arrives. The key of the caller and the Idempotency-Key go with it,
so the owner checks, charges and remembers exactly as if it had been asked first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from multidict import CIMultiDict
from prometheus_client import Counter

from orchestrator.access import Access
from orchestrator.api.body import read_body
from orchestrator.api.problems import NotNow
from orchestrator.api.serve import REQUEST_ID, REQUEST_SECONDS_MAX
from orchestrator.database.ownership import Ownership
from orchestrator.database.unit import NotOwner
from orchestrator.database.writer import FORWARDABLE, Forwardable

FORWARDED: Final = "X-Crossrail-Forwarded"
HOT_ROUTES: Final = frozenset({
    "/v1/usage", "/v1/holds", "/v1/holds/{id}/capture", "/v1/holds/{id}/void", "/v1/leases", "/v1/leases/{id}/settle",
    "/v1/wallets/{id}/credits",
})  # fmt: skip
"""POST only."""

_TIMEOUT: Final = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX + 2, sock_connect=2)
_SENT: Final = ("Authorization", "Idempotency-Key", "Content-Type", "User-Agent")
_RETURNED: Final = ("Content-Type", "Retry-After", "Idempotent-Replayed", "WWW-Authenticate", "Cache-Control",
                    "X-Content-Type-Options")  # fmt: skip
_log = structlog.get_logger("forward")
_forwarded = Counter("crossrail_forwarded_requests", "Requests for merchants that another process owns", ["result"])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Forwarder:
    """Sends requests to owners."""

    def __init__(self, access: Access, ownership: Ownership, body_bytes_max: int) -> None:
        self._access = access
        self._ownership = ownership
        self._body_bytes_max = body_bytes_max
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def opened(self, _app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, auto_decompress=False) as http:
            self._http = http
            yield

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def forward(request: web.Request, handler: Handler) -> web.StreamResponse:
            resource = request.match_info.route.resource
            hot = request.method == "POST" and resource is not None and resource.canonical in HOT_ROUTES
            if not hot or FORWARDED in request.headers:
                return await handler(request)
            return await self._serve(request, handler)

        return forward

    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        merchant_id = await self._merchant_of(request)
        if merchant_id is None:
            return await handler(request)  # which refuses it
        owner = self._ownership.elsewhere(merchant_id)
        if owner is not None:
            answer = await self._send(request, owner)
            if answer is not None:
                return answer
            return await handler(request)
        token = FORWARDABLE.set(Forwardable())
        try:
            return await handler(request)
        except NotOwner:
            # This process slept and lost the group; nothing of the request was written.
            await self._ownership.looked()
            owner = self._ownership.elsewhere(merchant_id)
            answer = None if owner is None else await self._send(request, owner)
        finally:
            FORWARDABLE.reset(token)
        return await handler(request) if answer is None else answer

    async def _merchant_of(self, request: web.Request) -> str | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip().startswith("sk_"):
            return None
        grant = await self._access.grant_of(token.strip())
        return None if grant is None else grant.merchant_id

    async def _send(self, request: web.Request, owner: str) -> web.Response | None:
        """Return the owner's answer; None where it was not reached, so that nothing can have happened there."""
        assert self._http is not None, "the application is running"
        body = await read_body(request, self._body_bytes_max)
        headers = CIMultiDict({name: request.headers[name] for name in _SENT if name in request.headers})
        headers.update({FORWARDED: "1", "X-Request-Id": request[REQUEST_ID], "Accept-Encoding": "identity"})
        try:
            async with self._http.post(
                f"{owner}{request.raw_path}", data=body, headers=headers, allow_redirects=False
            ) as response:
                said = await response.read()
        except aiohttp.ClientConnectorError as error:
            _forwarded.labels("not_reached").inc()
            _log.warning("owner_not_reached", owner=owner, error=type(error).__name__)
            return None
        except (aiohttp.ClientError, TimeoutError) as error:
            _forwarded.labels("unclear").inc()
            _log.warning("owner_did_not_answer", owner=owner, error=type(error).__name__)
            raise NotNow(
                "owner_did_not_answer",
                "another process was at it and did not answer: send the same again, with the same ids or Idempotency-Key",
            ) from None
        _forwarded.labels("answered").inc()
        kept = {name: response.headers[name] for name in _RETURNED if name in response.headers}
        return web.Response(body=said, status=response.status, headers=kept)
