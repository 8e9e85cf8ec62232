"""The fast lane: hot requests reach the endpoints that everybody reaches, by a shorter way through aiohttp.

aiohttp wakes a task for each connection, which starts another for each request, asks the router, walks the middlewares and
prepares a response header by header. A request of a route in ``FAST`` that came whole (a plain POST with its body) is
instead served by one task straight from the parser: same middlewares, same endpoint, same ``web.Request`` and
``web.Response``; its answer is one write. Whatever is unusual (another method, a query, an upgrade, a body that is still
arriving, pipelining, HTTP/1.0) is left to aiohttp. ``tests/integration/api/test_lane.py`` compares both ways.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11, RawRequestMessage, StreamWriter
from aiohttp.http_writer import _serialize_headers
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_urldispatcher import AbstractRoute, UrlMappingMatchInfo

FAST: Final = frozenset({
    "/v1/checkout/sessions", "/v1/holds", "/v1/holds/{id}/capture", "/v1/holds/{id}/void", "/v1/usage",
    "/webhooks/{rail}/{account}",
})  # fmt: skip
"""POST only."""

BODILESS: Final = frozenset({204, 205, 304})
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Lane:
    """The hot routes of an application and how to call them."""

    def __init__(self, app: web.Application, fast: frozenset[str]) -> None:
        self._app = app
        self._plain: dict[str, tuple[AbstractRoute, Serve]] = {}
        self._with_ids: list[tuple[re.Pattern[str], AbstractRoute, Serve]] = []
        if app.on_response_prepare:
            return  # somebody wants to see responses being prepared: aiohttp's way is the only one
        for route in app.router.routes():
            if route.method != "POST" or route.resource is None or route.resource.canonical not in fast:
                continue
            serve = self._inside_middlewares(route.handler)
            pattern = route.resource.get_info().get("pattern")
            if pattern is None:
                self._plain[route.resource.canonical] = (route, serve)
            else:
                self._with_ids.append((pattern, route, serve))

    def find(self, path: str) -> tuple[UrlMappingMatchInfo, Serve] | None:
        """Return what the router would find, or None for whatever the router should look at itself."""
        plain = self._plain.get(path)
        if plain is not None:
            return self._match({}, plain[0]), plain[1]
        if "%" in path or "/." in path:
            return None
        for pattern, route, serve in self._with_ids:
            found = pattern.fullmatch(path)
            if found is not None:
                return self._match(found.groupdict(), route), serve
        return None

    def _match(self, names: Mapping[str, str], route: AbstractRoute) -> UrlMappingMatchInfo:
        match = UrlMappingMatchInfo(dict(names), route)
        match.add_app(self._app)
        match.freeze()
        return match

    def _inside_middlewares(self, handler: Any) -> Serve:
        serve: Serve = handler
        for middleware in reversed(self._app.middlewares):
            serve = partial(middleware, handler=serve)
        return serve


class LaneRunner(web.AppRunner):
    """``web.AppRunner`` whose connections know the fast lane."""

    __slots__ = ("_fast",)

    def __init__(self, app: web.Application, *, fast: frozenset[str] = FAST, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._fast = fast

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return LaneServer(plain, Lane(self.app, self._fast), asyncio.get_running_loop())


class LaneServer(web.Server):
    def __init__(self, plain: web.Server, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(plain.request_handler, request_factory=plain.request_factory, loop=loop, **plain._kwargs)
        self.lane = lane
        self.fast_requests = 0
        """How many took the lane: for tests."""

    def __call__(self) -> RequestHandler:
        return LaneConnection(self, self._loop, **self._kwargs)


class LaneConnection(RequestHandler):
    """One connection. While the lane serves, aiohttp's own task waits on ``_parked`` as if nothing had come yet."""

    __slots__ = ("_fast", "_parked", "_server")

    def __init__(self, server: LaneServer, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(server, loop=loop, **settings)
        self._server = server
        self._parked: asyncio.Future[None] | None = None
        self._fast: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        # Without its waiter the base class only queues what it parses; who is to serve it is decided here.
        waiter, self._waiter = self._waiter, None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if waiter is None or waiter.done() or not self._messages:
            return
        if not self._takes_lane(waiter):
            waiter.set_result(None)

    def _takes_lane(self, waiter: asyncio.Future[None]) -> bool:
        """Serve the one message that is there, if it is of the usual kind."""
        message, payload = self._messages[0]
        if (
            len(self._messages) > 1
            or not isinstance(message, RawRequestMessage)
            or message.method != "POST"
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or message.compression
            or not payload.is_eof()
            or payload.exception() is not None
            or self._buffer_paused
            or self._parser is None
            or hdrs.EXPECT in message.headers
        ):
            return False
        found = self._server.lane.find(message.path)
        if found is None:
            return False
        self._messages.clear()
        self._parser.message_consumed()
        self._server.requests_count += 1
        self._server.fast_requests += 1
        match, serve = found
        self._waiter, self._parked = None, waiter
        self._fast = self._loop.create_task(self._serve_fast(message, payload, match, serve))
        return True

    async def _serve_fast(
        self, message: RawRequestMessage, payload: Any, match: UrlMappingMatchInfo, serve: Any
    ) -> None:
        factory: Any = self._server.request_factory
        request = factory(message, payload, self, StreamWriter(self, self._loop), self._fast)
        request._match_info = match
        try:
            response, lost = await self._handle_request(request, None, serve)
            self._keepalive = bool(response.keep_alive)
            if lost or not self._keepalive:
                self._close = True
        except ConnectionError:
            self._close = True
        except Exception as error:  # noqa: BLE001  # as aiohttp does: the connection is of no use any more
            self.log_exception("Unhandled exception", exc_info=error)
            self.force_close()
        except BaseException:
            self.force_close()
            raise
        finally:
            request._task = None
            self._leave_lane()

    def _leave_lane(self) -> None:
        """Give the connection back to aiohttp's task."""
        waiter, self._parked, self._fast = self._parked, None, None
        if waiter is None or waiter.done():
            return
        if self._close or self._force_close:
            waiter.cancel()
            if self.transport is not None:
                self.transport.close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        self._waiter = waiter
        if self._messages:
            waiter.set_result(None)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._fast is None or type(resp) is not web.Response or not _is_plain(resp):
            return await super().finish_response(request, resp, start_time)
        headers, body = resp.headers, resp._body
        assert isinstance(body, bytes)
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        headers[hdrs.DATE] = rfc822_formatted_time()
        headers[hdrs.SERVER] = SERVER_SOFTWARE
        resp._keep_alive = True
        transport = self.transport
        if transport is None or transport.is_closing():
            return resp, True
        transport.write(_serialize_headers(f"HTTP/1.1 {resp.status} {resp.reason}", headers) + body)
        if self._paused:
            await self._drain_helper()
        return resp, False

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  # the base class's own
        await super().shutdown(timeout)
        if self._fast is not None:
            self._fast.cancel()


def _is_plain(response: web.Response) -> bool:
    """Say whether it is a whole body with headers and nothing else."""
    headers = response.headers
    return (
        isinstance(response._body, bytes)
        and bool(response._body)
        and response.status not in BODILESS
        and not (response.prepared or response._compression or response._chunked or response._cookies)
        and response._keep_alive is None
        and hdrs.CONTENT_TYPE in headers
        and hdrs.CONNECTION not in headers
        and hdrs.CONTENT_LENGTH not in headers
        and hdrs.DATE not in headers
        and hdrs.SERVER not in headers
    )
