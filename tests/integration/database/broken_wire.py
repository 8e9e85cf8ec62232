"""A PostgreSQL wire that is cut at COMMIT: before the server heard of it, or after it acted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SOCKET = ".s.PGSQL.5432"
Cut = Literal["before", "after"]


@dataclass
class BrokenWire:
    """Stands between a client and the server's unix socket. ``cuts``: what happens to the next COMMITs."""

    server: Path
    cuts: list[Cut] = field(default_factory=list)
    was_cut: int = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(str(self.server / SOCKET))
        quiet = asyncio.Event()

        async def answers() -> None:
            while data := await there_reader.read(65536):
                if not quiet.is_set():
                    writer.write(data)
                    await writer.drain()
            writer.close()

        task = asyncio.create_task(answers())
        try:
            while data := await reader.read(65536):
                if b"COMMIT" in data and self.cuts:
                    cut = self.cuts.pop(0)
                    self.was_cut += 1
                    if cut == "after":
                        quiet.set()
                        there_writer.write(data)
                        await asyncio.sleep(0.1)  # the server commits; its answer is lost
                    break
                there_writer.write(data)
        finally:
            for end in (writer, there_writer):
                end.close()
            with contextlib.suppress(ConnectionError):
                await task


@asynccontextmanager
async def broken_wire(url: str, folder: Path) -> AsyncIterator[tuple[str, BrokenWire]]:
    """Give the URL that leads through the wire. ``folder`` is short: a unix socket's path is limited."""
    before, _, host = url.partition("?host=")
    wire = BrokenWire(Path(host))
    server = await asyncio.start_unix_server(wire.carry, str(folder / SOCKET))
    try:
        yield f"{before}?host={folder}", wire
    finally:
        server.close()
        await server.wait_closed()
