"""Real sockets on 127.0.0.1 for simulators, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


def listen() -> socket.socket:
    """Bind a free port at once, so that an address is known before its application is built."""
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setblocking(False)
    return bound


def address(bound: socket.socket) -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


def closed_port() -> str:
    """An address where nobody listens: connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return address(bound)


@asynccontextmanager
async def serving(app: web.Application, bound: socket.socket) -> AsyncIterator[None]:
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, bound).start()
    try:
        yield
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class Inbox:
    """What a webhook receiver got: raw bytes, and headers with names in lower case."""

    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    refuse_next: int = 0
    answer: tuple[int, str, str] = (200, "text/plain", "")
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.refuse_next:
            self.refuse_next -= 1
            return web.Response(status=500, text="not now")
        async with self._arrived:
            self.received.append(({name.lower(): value for name, value in request.headers.items()}, body))
            self._arrived.notify_all()
        status, content_type, text = self.answer
        return web.Response(status=status, content_type=content_type, text=text)

    async def wait_for(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)
            return list(self.received)


@asynccontextmanager
async def inbox() -> AsyncIterator[tuple[str, Inbox]]:
    box, bound = Inbox(), listen()
    app = web.Application()
    app.router.add_post("/hook", box.handle)
    async with serving(app, bound):
        yield f"{address(bound)}/hook", box
