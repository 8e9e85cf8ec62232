"""Runs the workers: one TaskGroup; who falls is counted and started again, alone; all stop within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from prometheus_client import Counter

BEAT_EVERY_S: Final = 5.0
SILENT_S_MAX: Final = 60.0
RESTART_S_MIN: Final = 0.1
RESTART_S_MAX: Final = 30.0
STEADY_S: Final = 60.0
"""A worker that ran this long before it fell starts its restarts from the shortest wait again."""

_log = structlog.get_logger("workers")
_crashes = Counter("crossrail_worker_crashes", "Workers that ended by themselves and were started again", ["worker"])


class Worker(Protocol):
    """Work without end. Its rows are claimed with leases, so it may be stopped, killed and started anywhere."""

    @property
    def name(self) -> str: ...

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``: then finish the item in hand and return. Call ``beat`` once per round."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    running: bool
    restarts: int
    last_beat_s: float
    """Seconds since it last said that it lives."""

    @property
    def well(self) -> bool:
        return self.running and self.last_beat_s <= SILENT_S_MAX


@dataclass(slots=True)
class _Life:
    beat_at: float
    running: bool = False
    restarts: int = 0


_life: ContextVar[_Life | None] = ContextVar("crossrail_worker_life", default=None)


def beat() -> None:
    """Say that the worker whose task this is (or whose child) lives. Outside a supervisor it says it to nobody."""
    life = _life.get()
    if life is not None:
        life.beat_at = asyncio.get_running_loop().time()


class Supervisor:
    def __init__(
        self,
        workers: Sequence[Worker],
        *,
        stop_deadline_s: float = 10.0,
        restart_s_min: float = RESTART_S_MIN,
        restart_s_max: float = RESTART_S_MAX,
    ) -> None:
        names = [worker.name for worker in workers]
        assert len(set(names)) == len(names), f"two workers share a name: {names}"
        self._workers = workers
        self._stop_deadline_s = stop_deadline_s
        self._restart_s_min = restart_s_min
        self._restart_s_max = restart_s_max
        self._lives: dict[str, _Life] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run every worker until ``stop``; then give them the deadline, and cancel who is late."""
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(self._keep(worker, stop), name=worker.name) for worker in self._workers}
            await stop.wait()
            if not tasks:
                return
            _, late = await asyncio.wait(tasks, timeout=self._stop_deadline_s)
            for task in late:
                _log.warning("worker_was_cancelled", worker=task.get_name(), after_s=self._stop_deadline_s)
                task.cancel()

    def alive(self) -> Mapping[str, Health]:
        """Return the health of every worker by name, for ``/readyz``; one that was not started yet is not running."""
        now = asyncio.get_running_loop().time()
        healths: dict[str, Health] = {}
        for worker in self._workers:
            life = self._lives.get(worker.name, _Life(beat_at=now))
            healths[worker.name] = Health(life.running, life.restarts, now - life.beat_at)
        return healths

    async def _keep(self, worker: Worker, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        life = self._lives[worker.name] = _Life(beat_at=loop.time())
        _life.set(life)
        fallen = 0
        while not stop.is_set():
            started = life.beat_at = loop.time()
            life.running = True
            try:
                await worker.run(stop)
            except Exception:  # noqa: BLE001  # whatever fell, the other workers live on and this one starts again
                _log.exception("worker_crashed", worker=worker.name)
            else:
                if stop.is_set():
                    break
                _log.error("worker_ended_early", worker=worker.name)
            finally:
                life.running = False
            _crashes.labels(worker.name).inc()
            life.restarts += 1
            fallen = 1 if loop.time() - started >= STEADY_S else fallen + 1
            await pause(stop, min(self._restart_s_min * 2 ** min(fallen - 1, 16), self._restart_s_max))


async def pause(stop: asyncio.Event, seconds: float, wake: asyncio.Event | None = None) -> None:
    """Sleep until ``stop``, ``wake`` or the time is over, beating all the while."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    watched = {loop.create_task(event.wait()) for event in (stop, wake) if event is not None}
    try:
        while (left := until - loop.time()) > 0:
            beat()
            done, _ = await asyncio.wait(watched, timeout=min(left, BEAT_EVERY_S), return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
    finally:
        for task in watched:
            task.cancel()


async def periodic(
    stop: asyncio.Event, every_s: float, action: Callable[[], Awaitable[bool]], wake: asyncio.Event | None = None
) -> None:
    """Call ``action`` until ``stop``: at once again where it returned True (there is more), else after a while.

    ``wake`` cuts the waiting short; it is cleared before the action looks, so that nothing said meanwhile is missed.
    """
    while not stop.is_set():
        if wake is not None:
            wake.clear()
        beat()
        if await action():
            await asyncio.sleep(0)
        else:
            await pause(stop, every_s, wake)


class PeriodicWorker:
    """A worker that is one action, done again and again."""

    def __init__(
        self, name: str, every_s: float, action: Callable[[], Awaitable[bool]], wake: asyncio.Event | None = None
    ) -> None:
        self.name = name
        self._every_s = every_s
        self._action = action
        self._wake = wake

    async def run(self, stop: asyncio.Event) -> None:
        await periodic(stop, self._every_s, self._action, self._wake)
