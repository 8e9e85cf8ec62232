"""A TCP proxy that does to connections what bad networks do: latency, resets, cuts after n bytes, silence.

Each connection draws its fate from the seed when it is opened. While ``faults`` is off every connection is left alone, and
those whose fate is still to come keep it off.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

FATES: Final = ("well", "slow", "reset", "cut", "silence")
CHUNK: Final = 16_384
BYTES_MAX: Final = 60_000
"""A fault comes within so many bytes, as often within the first ten as within the last fifty thousand."""
SILENCE_S_MAX: Final = 6.0
SLOW_S_MAX: Final = 0.15
_AT_ONCE: Final = struct.pack("ii", 1, 0)

Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@dataclass(slots=True)
class Fate:
    """What happens to one connection, after so many bytes in both directions together."""

    kind: str
    after: int
    seconds: float


@dataclass
class FaultyProxy:
    """Listens on a port of loopback and passes everything on to whoever ``dial`` reaches. ``weights``: of ``FATES``."""

    name: str
    dial: Dial
    random: Random
    weights: tuple[int, ...] = (70, 12, 6, 6, 6)
    faults: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[FaultyProxy]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _draw(self) -> Fate:
        kind = self.random.choices(FATES, self.weights)[0]
        return Fate(kind, int(BYTES_MAX ** self.random.random()), self.random.random())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(asyncio.CancelledError):  # at the end of the storm; asyncio's streams would print it
                await self._carry(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fate = self._draw()
        try:
            far_reader, far_writer = await self.dial()
        except OSError:  # nobody is there: what a dead process's port does
            _reset(writer)
            return
        line = _Line(self, fate)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(line.pump(reader, far_writer))
                group.create_task(line.pump(far_reader, writer))
        except* (_Ended, OSError):
            if fate.kind in {"reset", "silence"}:
                _reset(writer)
        finally:
            far_writer.close()


class _Ended(Exception):
    """The connection's fate has come."""


@dataclass
class _Line:
    proxy: FaultyProxy
    fate: Fate
    carried: int = 0

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            before, self.carried = self.carried, self.carried + len(data)
            if self.proxy.faults and self.fate.kind != "well":
                data = await self._spoil(data, before)
            writer.write(data)
            await writer.drain()
        with suppress(OSError, NotImplementedError):
            writer.write_eof()

    async def _spoil(self, data: bytes, before: int) -> bytes:
        if self.fate.kind == "slow":
            self.proxy.counts["slow"] += 1
            await asyncio.sleep(self.fate.seconds * SLOW_S_MAX)
            return data
        if before + len(data) <= self.fate.after:
            return data
        self.proxy.counts[self.fate.kind] += 1
        if (
            self.fate.kind == "silence"
        ):  # the whole connection: the other direction waits for an answer that is not sent
            await asyncio.sleep(self.fate.seconds * SILENCE_S_MAX)
        raise _Ended


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST, not by FIN."""
    with suppress(OSError):
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


def tcp(port: Callable[[], int]) -> Dial:
    """Reach whatever listens on a port of loopback by then."""

    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port())

    return dial


def unix(path: str) -> Dial:
    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(path)

    return dial


__all__ = ["FATES", "FaultyProxy", "tcp", "unix"]
