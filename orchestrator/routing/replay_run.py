"""Runs a replay over the stored decisions, on every processor there is."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import func, select

from adapters.base import RailAdapter
from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.tables import Decision, Merchant, table_of
from orchestrator.routing.load import compiled
from orchestrator.routing.replay import Replayer, Sides, Tally

BATCH: Final = 5_000
WAITING_MAX: Final = 6
"""Batches that wait for a process: so much is in memory at once."""
BATCH_TIMEOUT_S: Final = 300

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class KnownSupports:
    """Which rail account has which currency, written out, so that another process can be told."""

    triples: frozenset[tuple[str, str, str]]

    def __call__(self, rail: str, account: str, currency: str) -> bool:
        return (rail, account, currency) in self.triples

    @classmethod
    def of(cls, adapters: Iterable[RailAdapter], currencies: Iterable[str]) -> KnownSupports:
        """Ask every adapter about every currency."""
        codes = sorted(set(currencies))
        return cls(
            frozenset(
                (adapter.account.rail, adapter.account.account, code)
                for adapter in adapters
                for code in codes
                if adapter.supports_currency(code)
            )
        )


async def count(reads: Reads, since_us: int) -> int:
    """Return how many decisions there are since a moment."""
    table = table_of(Decision)
    first = _first_id(since_us)
    async with reads.snapshot() as snapshot:
        total = 0
        for merchant in await _merchants(snapshot):
            query = select(func.count().label("many")).where(table.c.merchant_id == merchant, table.c.id >= first)
            total += (await snapshot.all(query))[0]["many"]
        return total


async def replay(reads: Reads, sides: Sides, since_us: int, progress: Progress, processes: int | None = None) -> Tally:
    """Replay every decision since a moment. ``progress`` is told how many more are done. Raises TimeoutError."""
    return await replay_batches(_stored(reads, since_us), sides, progress, processes)


async def replay_batches(
    batches: AsyncIterator[Sequence[tuple[str, str]]], sides: Sides, progress: Progress, processes: int | None = None
) -> Tally:
    """Replay (id, body) in batches, one process for each processor."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    spawn = multiprocessing.get_context("spawn")
    told = replace(sides, catalogue=sides.catalogue.portable())
    pool = ProcessPoolExecutor(processes or os.cpu_count() or 1, mp_context=spawn, initializer=_begin, initargs=(told,))
    waiting: set[asyncio.Future[Tally]] = set()
    try:
        async for batch in batches:
            if len(waiting) >= WAITING_MAX:
                waiting = await _take(waiting, tally, progress)
            waiting.add(loop.run_in_executor(pool, _run, batch))
        while waiting:
            waiting = await _take(waiting, tally, progress)
    finally:
        await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
    return tally


async def _take(waiting: set[asyncio.Future[Tally]], tally: Tally, progress: Progress) -> set[asyncio.Future[Tally]]:
    done, rest = await asyncio.wait(waiting, timeout=BATCH_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        raise TimeoutError(f"a batch of {BATCH} decisions took longer than {BATCH_TIMEOUT_S} s")
    for future in done:
        part = future.result()
        tally.add(part)
        progress(part.decisions + part.unreadable)
    return rest


async def _stored(reads: Reads, since_us: int) -> AsyncIterator[Sequence[tuple[str, str]]]:
    table = table_of(Decision)
    async with reads.snapshot() as snapshot:
        for merchant in await _merchants(snapshot):
            query = (
                select(table.c.id, table.c.body)
                .where(table.c.merchant_id == merchant, table.c.id >= _first_id(since_us))
                .order_by(table.c.id)
            )
            async for rows in snapshot.stream(query, BATCH):
                yield [(row["id"], row["body"]) for row in rows]


async def _merchants(snapshot: Snapshot) -> list[str]:
    table = table_of(Merchant)
    return [row["id"] for row in await snapshot.all(select(table.c.id).order_by(table.c.id))]


def _first_id(since_us: int) -> str:
    """Return the beginning of the ids that are made from a moment on: they begin with their time (UUIDv7)."""
    return f"dec_{max(0, since_us) // 1_000:012x}"


# --- in the other processes -------------------------------------------------------------------------------------------

_AT_WORK: list[Replayer] = []


def _begin(sides: Sides) -> None:
    _AT_WORK[:] = [Replayer(replace(sides, live=compiled(sides.live), draft=compiled(sides.draft)))]


def _run(batch: Sequence[tuple[str, str]]) -> Tally:
    return _AT_WORK[0].run(batch)
