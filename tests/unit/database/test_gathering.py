"""Callers who ask again and again are written together, and nobody waits for those who stay away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from orchestrator.clock import SystemClock
from orchestrator.database import writer as writer_module
from orchestrator.database.flush import Result, Steps
from orchestrator.database.unit import Applied, Unit
from orchestrator.database.writer import Writer

CALLERS = 12
ROUNDS = 10
HTTP_TURNS = 12
"""More turns of the loop than a request takes from an answer to the next unit."""


class Counting:
    """A database that holds nothing and remembers how many units came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def transact(self, steps: Steps) -> list[Result]:
        results = _nothing_there(steps)
        self.sizes.append(len(results))
        await asyncio.sleep(0.002)
        return results


def _nothing_there(steps: Steps) -> list[Result]:
    next(steps)
    while True:
        try:
            steps.send([])
        except StopIteration as end:
            results: list[Result] = end.value
            return results


@pytest.fixture
async def database() -> Counting:
    return Counting()


@pytest.fixture
async def writer(database: Counting) -> AsyncIterator[Writer]:
    writer = Writer(database, SystemClock())
    await writer.open()
    yield writer
    await writer.close()


async def ask(writer: Writer, rounds: int = 1) -> None:
    for _ in range(rounds):
        applied = await writer.submit(Unit("mer_a", "test", None, (), lambda _view, _changes: {}))
        assert isinstance(applied, Applied)
        for _ in range(HTTP_TURNS):
            busy_until = time.perf_counter() + 2 * writer_module.IDLE_TURN_S
            await asyncio.sleep(0)
            while time.perf_counter() < busy_until:  # as parsing a request is
                pass


async def test_callers_in_two_halves_come_together(
    writer: Writer, database: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "GATHER_MAX_S", 60.0)  # a slow machine is not what is tested here
    early = [asyncio.create_task(ask(writer, ROUNDS)) for _ in range(CALLERS // 2)]
    while not database.sizes:
        await asyncio.sleep(0)
    late = [asyncio.create_task(ask(writer, ROUNDS)) for _ in range(CALLERS // 2)]  # while the others are written
    await asyncio.gather(*early, *late)
    assert sum(database.sizes) == CALLERS * ROUNDS
    assert database.sizes.count(CALLERS) >= ROUNDS - 2, database.sizes


async def test_who_does_not_come_back_is_not_waited_for(
    writer: Writer, database: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "GATHER_MAX_S", 60.0)
    await asyncio.gather(*(ask(writer) for _ in range(CALLERS)))
    async with asyncio.timeout(30):  # far below the minute that it would wait for them
        await ask(writer)
    assert database.sizes[-1] == 1


async def test_a_loop_that_is_never_idle_keeps_nobody_waiting_for_long(writer: Writer, database: Counting) -> None:
    await asyncio.gather(*(ask(writer) for _ in range(CALLERS)))

    async def work() -> None:
        while True:
            time.sleep(2 * writer_module.IDLE_TURN_S)  # noqa: ASYNC251  # the loop is busy, and that is the point
            await asyncio.sleep(0)

    busy = asyncio.create_task(work())
    async with asyncio.timeout(30):
        await ask(writer)
    busy.cancel()
    assert database.sizes[-1] == 1
