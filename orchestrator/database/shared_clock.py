"""One time for every process: the database's. Holds, credit and quotes expire by it, whatever a machine believes.

On PostgreSQL each process measures how far its own clock is from the server's and adds the difference; it asks again now
and then, because clocks drift. A decision reads no clock: ``View.now_us`` is set once per flush from here, so no flush
makes a round trip for it. The error is half of the fastest of a few round trips, well below a millisecond. The time that
passes in between is measured by the monotonic clock: a process whose clock is set meanwhile does not notice.

On SQLite there is one process, and its clock is the database's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import Select, literal_column, select

from orchestrator.clock import Clock, SystemClock, from_us
from orchestrator.database.reads import Reads

MEASURE_EVERY_S: Final = 60.0
TRIES: Final = 5
_NOW: Final[Select[Any]] = select(
    literal_column("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint").label("now_us")
)
_log = structlog.get_logger("clock")


class SharedClock:
    """The database's time, as far as it is known here."""

    def __init__(self, database_us: Callable[[], Awaitable[int]]) -> None:
        self._database_us = database_us
        self._offset_us = 0
        """To be added to the monotonic clock."""

    async def measure(self) -> None:
        """Ask a few times and believe the fastest answer."""
        best: tuple[int, int] | None = None
        for _ in range(TRIES):
            before = _monotonic_us()
            database_us = await self._database_us()
            after = _monotonic_us()
            said = (after - before, database_us - (before + after) // 2)
            best = said if best is None else min(best, said)
        assert best is not None
        self._offset_us = best[1]

    def now_us(self) -> int:
        return _monotonic_us() + self._offset_us

    def now(self) -> datetime:
        return from_us(self.now_us())


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000


@asynccontextmanager
async def shared_clock(url: str, *, every_s: float = MEASURE_EVERY_S) -> AsyncIterator[Clock]:
    """Give the clock of a database; on PostgreSQL it is measured before this returns. Raises what the database raises."""
    if url.startswith("sqlite"):
        yield SystemClock()
        return
    reads = Reads(url)

    async def database_us() -> int:
        row = await reads.one(_NOW)
        assert row is not None
        return int(row["now_us"])

    clock = SharedClock(database_us)
    try:
        await clock.measure()
        task = asyncio.create_task(_keep(clock, every_s), name="shared clock")
        try:
            yield clock
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    finally:
        await reads.close()


async def _keep(clock: SharedClock, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await clock.measure()
        except Exception as error:  # noqa: BLE001  # the database is away: what was measured last still holds
            _log.warning("clock_not_measured", error=type(error).__name__, text=str(error)[:200])
