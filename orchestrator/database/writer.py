"""The only way to write money, state, cursor and outbox: units, coalesced into group commits.

A flush starts when the last one ended and those who were to be expected are there (see ``_gather``); it takes what has
queued up, at most 1,000 units. Callers are answered after the commit. A statement that fails rolls the flush back and
its units run again one by one, so that one bad unit never costs another caller its answer. A COMMIT whose answer was
lost is resolved by reading the keys again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import structlog
from prometheus_client import Counter as Count
from prometheus_client import Histogram

from orchestrator.clock import Clock
from orchestrator.database import flush
from orchestrator.database.flush import Result, Steps
from orchestrator.database.memory import Memory
from orchestrator.database.ownership import Ownership
from orchestrator.database.postgres_backend import CommitUnclear, PostgresBackend
from orchestrator.database.sqlite_backend import SqliteBackend
from orchestrator.database.unit import Applied, Claim, NotOwner, Unit
from orchestrator.errors import Busy

FLUSH_UNITS_MAX = 1000
QUEUE_UNITS_MAX = 20_000
SINGLE_TRIES_MAX = 4
TURNS = 4
"""From an answer to the next unit of its caller, where units are shared: the unit's task, the caller, the next unit's task."""
IDLE_TURN_S = 0.0001
"""A turn of the loop that took less served nobody."""
IDLE_S = 0.0003
"""Turns that served nobody for so long: those who were expected have other things to do."""
GATHER_MAX_S = 0.02
"""A flush begins after this though more may come: they are many, and the next flush is theirs."""

_log = structlog.get_logger("writer")
_flushes = Count("crossrail_writer_flushes", "Transactions of the writer", ["result"])
_units = Count("crossrail_writer_units", "Units by result", ["result"])
_UNITS_BY_WORD = {word: _units.labels(word) for word in ("applied", "duplicate", "refused")}
_sizes = Histogram("crossrail_writer_flush_units", "Units in one flush", buckets=(1, 2, 5, 10, 50, 100, 500, 1000))


@dataclass(slots=True)
class Forwardable:
    """A request that may be sent to another process as long as nothing of it was written here."""

    written: bool = False


FORWARDABLE: ContextVar[Forwardable | None] = ContextVar("forwardable", default=None)
"""Set by who can forward: ``submit`` then raises NotOwner. Everybody else's units run here, by row locks alone."""


class _Waiting(NamedTuple):
    unit: Unit
    future: asyncio.Future[Applied]
    claim: Claim | None


class Backend(Protocol):
    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def transact(self, steps: Steps) -> list[Result]: ...


class OutcomeUnclear(Exception):
    """The database broke while it committed and the unit has no key to ask by: read the rows, then decide again."""


def backend_for(url: str) -> Backend:
    """Return the backend of a database URL (``sqlite+aiosqlite:///file`` or ``postgresql+asyncpg://...``)."""
    if url.startswith("sqlite"):
        return SqliteBackend(url.partition(":///")[2])
    return PostgresBackend(url.replace("postgresql+asyncpg://", "postgresql://", 1))


class Writer:
    """Queue, flush, answer. One per process; correct with several on PostgreSQL because rows are locked."""

    def __init__(self, backend: Backend, clock: Clock, ownership: Ownership | None = None) -> None:
        self._backend = backend
        self._clock = clock
        self._ownership = ownership
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._memory = Memory()
        self.after_commit: list[Callable[[], None]] = []
        """Called after every flush that wrote something: workers wake up by it."""

    async def open(self) -> None:
        await self._backend.open()
        self._task = asyncio.create_task(self._loop(), name="writer")

    async def close(self) -> None:
        """Finish what was accepted, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._backend.close()

    def forget(self) -> None:
        """Read every row anew: for whoever knows that rows were changed beside the writers."""
        self._memory.forget()

    async def submit(self, unit: Unit) -> Applied:
        """Execute one unit; return after its commit. Raises what ``decide`` raised, or Busy when the queue is full.

        A caller that is cancelled gives up its answer, not the unit. Raises NotOwner inside a ``Forwardable`` request.
        """
        if self._ownership is None:
            return await self._enqueue(unit, None)
        claim, request = self._ownership.claim(unit.merchant_id), FORWARDABLE.get()
        try:
            applied = await self._enqueue(unit, claim)
        except NotOwner:
            assert claim is not None, "only a claim can be over"
            self._ownership.lost(claim)
            if request is not None and not request.written:
                raise
            applied = await self._enqueue(unit, None)
        if request is not None:
            request.written = True
        return applied

    async def _enqueue(self, unit: Unit, claim: Claim | None) -> Applied:
        if self._closing or len(self._queue) >= QUEUE_UNITS_MAX:
            raise Busy("writer_queue_full", "too many writes are waiting; nothing was written: try again in a second")
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(unit, future, claim))
        self._wake.set()
        return await future

    async def _loop(self) -> None:
        expected = 0  # units in the next flush, if everybody asks again
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._gather(expected)
            batch = [_taken(self._queue.popleft()) for _ in range(min(len(self._queue), FLUSH_UNITS_MAX))]
            try:
                results = await self._flush(batch)
            except Exception as error:  # noqa: BLE001  # the loop must live on; every caller gets the error
                _log.exception("flush_failed", units=len(batch))
                results = [error] * len(batch)
            self._answer(batch, results)
            expected = len(batch) + len(self._queue)

    async def _gather(self, expected: int) -> None:
        """Wait until the expected units are in the queue, or the loop is idle: nobody is on the way then.

        Else callers part in two halves, one of which asks while the other one is written: twice as many commits for the
        same units, and two threads that take the interpreter from each other. A caller alone waits for a few turns.
        """
        time_s = asyncio.get_running_loop().time
        now_s = time_s()
        end_s, idle_s, turns = now_s + GATHER_MAX_S, 0.0, 0
        while turns < TURNS or (len(self._queue) < expected and idle_s < IDLE_S and now_s < end_s):
            await asyncio.sleep(0)
            before_s, now_s = now_s, time_s()
            turn_s = now_s - before_s
            idle_s = idle_s + turn_s if turn_s < IDLE_TURN_S else 0.0
            turns += 1

    async def _flush(self, batch: list[_Waiting]) -> list[Result]:
        _sizes.observe(len(batch))
        try:
            results = await self._backend.transact(self._steps(batch))
        except CommitUnclear:
            _flushes.labels("unclear").inc()
            _log.warning("commit_unclear", units=len(batch))
            return [await self._single(waiting, unclear=True) for waiting in batch]
        except Exception as error:  # noqa: BLE001  # any statement error: which unit it was is found one by one
            _flushes.labels("rolled_back").inc()
            _log.info("flush_rolled_back", units=len(batch), error=type(error).__name__, text=str(error)[:200])
            return [await self._single(waiting) for waiting in batch]
        _flushes.labels("committed").inc()
        return results

    def _steps(self, batch: Sequence[_Waiting]) -> Steps:
        claims = [] if self._ownership is None else [waiting.claim for waiting in batch]
        return flush.run([waiting.unit for waiting in batch], self._clock.now_us(), claims, self._memory)

    async def _single(self, waiting: _Waiting, *, unclear: bool = False) -> Result:
        """Run one unit in a transaction of its own; again where another process was in the way.

        Running a keyed unit again is safe: its key is read first. A unit without a key is not run again once its
        commit is in doubt.
        """
        tried = 0
        while True:
            if unclear and waiting.unit.key is None:
                return OutcomeUnclear("the database broke while it committed; read before you decide again")
            tried += 1
            try:
                result = (await self._backend.transact(self._steps([waiting])))[0]
            except CommitUnclear as error:
                unclear = True
                failure: Exception = error
            except Exception as error:  # noqa: BLE001  # told to the caller below
                failure = error
            else:
                if isinstance(result, NotOwner) and unclear:
                    # Its first run may have been committed before the group was lost: only its key can tell.
                    waiting = waiting._replace(claim=None)
                    continue
                return result
            if tried >= SINGLE_TRIES_MAX:
                return failure
            await asyncio.sleep(0.05 * 2**tried)

    def _answer(self, batch: Sequence[_Waiting], results: list[Result]) -> None:
        for (_, future, _), result in zip(batch, results, strict=True):
            if future.cancelled():
                continue
            if isinstance(result, Applied):
                future.set_result(result)
            else:
                future.set_exception(result)
        for word, count in Counter(map(_word, results)).items():
            _UNITS_BY_WORD[word].inc(count)
        for wake in self.after_commit:
            wake()


def _taken(waiting: _Waiting) -> _Waiting:
    """Settle what a unit locks: its flush begins."""
    locks = waiting.unit.locks
    return waiting._replace(unit=replace(waiting.unit, locks=locks())) if callable(locks) else waiting


def _word(result: Result) -> str:
    if isinstance(result, Applied):
        return "duplicate" if result.duplicate else "applied"
    return "refused"
