"""The workers' frame: who falls is started again alone, and all of them stop in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from orchestrator.workers.supervisor import PeriodicWorker, Supervisor, Worker, beat, pause, periodic


def worker(name: str, run: Callable[[asyncio.Event], Awaitable[None]]) -> Worker:
    class Named:
        def __init__(self) -> None:
            self.name = name

        async def run(self, stop: asyncio.Event) -> None:
            await run(stop)

    return Named()


@asynccontextmanager
async def supervised(*workers: Worker, stop_deadline_s: float = 5) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(workers, stop_deadline_s=stop_deadline_s, restart_s_min=0.01, restart_s_max=0.05)
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(stop))
        await asyncio.sleep(0)
        try:
            yield supervisor
        finally:
            stop.set()


async def test_a_worker_that_falls_is_started_again_while_the_others_go_on() -> None:
    starts = 0
    rounds = 0
    steady = asyncio.Event()

    async def falls(stop: asyncio.Event) -> None:
        nonlocal starts
        starts += 1
        if starts < 4:
            raise ValueError("out of order")
        steady.set()
        await stop.wait()

    async def goes_on(stop: asyncio.Event) -> None:
        nonlocal rounds
        rounds += 1
        await stop.wait()

    before = REGISTRY.get_sample_value("crossrail_worker_crashes_total", {"worker": "falls"}) or 0
    async with supervised(worker("falls", falls), worker("goes_on", goes_on)) as supervisor:
        await asyncio.wait_for(steady.wait(), 5)
        health = supervisor.alive()
    assert rounds == 1
    assert (health["falls"].restarts, health["goes_on"].restarts) == (3, 0)
    assert health["falls"].well
    assert REGISTRY.get_sample_value("crossrail_worker_crashes_total", {"worker": "falls"}) == before + 3


async def test_a_worker_that_just_ends_counts_as_fallen() -> None:
    starts = 0

    async def ends(_: asyncio.Event) -> None:
        nonlocal starts
        starts += 1

    async with supervised(worker("ends", ends)) as supervisor:
        await asyncio.sleep(0.2)
        assert supervisor.alive()["ends"].restarts >= 2
    assert starts <= 12, "with a pause between"


async def test_stopping_lets_the_item_in_hand_be_finished() -> None:
    finished = False

    async def slow(stop: asyncio.Event) -> None:
        nonlocal finished
        await stop.wait()
        await asyncio.sleep(0.1)
        finished = True

    async with supervised(worker("slow", slow)) as supervisor:
        await asyncio.sleep(0.02)
    assert finished
    assert not supervisor.alive()["slow"].running


async def test_a_worker_that_does_not_stop_is_cancelled_at_the_deadline() -> None:
    async def deaf(_: asyncio.Event) -> None:
        await asyncio.sleep(3600)

    started = asyncio.get_running_loop().time()
    async with supervised(worker("deaf", deaf), stop_deadline_s=0.1) as supervisor:
        await asyncio.sleep(0.02)
    assert asyncio.get_running_loop().time() - started < 2
    assert not supervisor.alive()["deaf"].running


async def test_a_heartbeat_tells_the_silent_from_the_living() -> None:
    async def silent(stop: asyncio.Event) -> None:
        await stop.wait()

    async def beats(stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with asyncio.TaskGroup() as group:  # a child's beat counts for its worker
                group.create_task(child())
            await pause(stop, 0.02)

    async def child() -> None:
        beat()

    async with supervised(worker("silent", silent), worker("beats", beats)) as supervisor:
        await asyncio.sleep(0.3)
        health = supervisor.alive()
    assert health["silent"].last_beat_s >= 0.25
    assert health["beats"].last_beat_s < 0.2


def test_a_name_stands_for_one_worker() -> None:
    async def nothing(_: asyncio.Event) -> None: ...

    with pytest.raises(AssertionError, match="share a name"):
        Supervisor([worker("one", nothing), worker("one", nothing)])


async def test_a_periodic_action_is_repeated_at_once_while_there_is_more_and_when_woken() -> None:
    wake = asyncio.Event()
    calls = 0

    async def action() -> bool:
        nonlocal calls
        calls += 1
        return calls < 3

    async with supervised(PeriodicWorker("counts", 30, action, wake)):
        await asyncio.sleep(0.05)
        assert calls == 3
        wake.set()
        await asyncio.sleep(0.05)
        assert calls == 4


async def test_a_periodic_action_comes_back_after_its_time() -> None:
    stop = asyncio.Event()
    calls = 0

    async def action() -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            stop.set()
        return False

    await asyncio.wait_for(periodic(stop, 0.02, action), 5)
    assert calls == 3
