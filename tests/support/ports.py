"""A port on loopback that nobody listens on. Servers that can bind port 0 themselves should do that instead."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@asynccontextmanager
async def served_on(app: web.Application, port: int) -> AsyncIterator[None]:
    """Serve where somebody served before, or will again: for stories in which a process dies and another one comes.

    Who serves once holds his port from the start instead (``tests.adapters.loopback``).
    """
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()
