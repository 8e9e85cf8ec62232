"""Requests that wait for the same flush share one unit: the wallet is opened once, its roll-up and its lots are written once.

A single event costs as little as one of a batch then, however many callers send it. What is answered does not change: every
event has its own result, and no event's result depends on who shares its unit. Where a shared unit fails as a whole, each
request runs again by itself (the rows make it once), so that one that cannot be taken costs nobody else an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from orchestrator.clock import Clock
from orchestrator.database.unit import Lock, Unit
from orchestrator.database.writer import Writer
from orchestrator.metering.charging import Rated, UsageBatch

ALONE_EVENTS: Final = 100
"""A request of more events is a unit of its own: it has little to gain."""
SHARED_EVENTS_MAX: Final = 2000


class Apart(Exception):
    """The shared unit failed: run again by yourself."""


class Together:
    """The open units of every book: what joins one before its flush begins is in it."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._open: dict[tuple[str, str], _Shared] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def charge(self, merchant_id: str, mode: str, events: Sequence[Rated]) -> Mapping[str, Any]:
        """Return ``UsageBatch.decide``'s answer for these events. Raises what it raises, and what the writer raises."""
        # A hold is captured with the sum of one request's events: those requests share nothing.
        if len(events) <= ALONE_EVENTS and all(rated.event.hold is None for rated in events):
            try:
                return await self._join(merchant_id, mode, events)
            except Apart:
                pass
        batch = UsageBatch(merchant_id, mode, events, self._clock.now_us())
        return (await self._writer.submit(Unit(merchant_id, mode, None, batch.locks(), batch.decide))).answer

    async def _join(self, merchant_id: str, mode: str, events: Sequence[Rated]) -> Mapping[str, Any]:
        book = (merchant_id, mode)
        shared = self._open.get(book)
        if shared is None or len(shared.batch.events) + len(events) > SHARED_EVENTS_MAX:
            batch = UsageBatch(merchant_id, mode, [], self._clock.now_us())
            shared = _Shared(batch, lambda: self._close(book, shared))
            self._open[book] = shared
            task = asyncio.create_task(self._run(shared), name="usage")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await shared.join(events)

    async def _run(self, shared: _Shared) -> None:
        batch = shared.batch
        try:
            applied = await self._writer.submit(Unit(batch.merchant_id, batch.mode, None, shared.locks, batch.decide))
        except Exception as error:  # noqa: BLE001  # told to those who wait for it
            shared.fail(error)
        else:
            shared.answer(applied.answer)
        finally:
            self._close((batch.merchant_id, batch.mode), shared)

    def _close(self, book: tuple[str, str], shared: _Shared | None) -> None:
        if self._open.get(book) is shared:
            del self._open[book]


class _Shared:
    """One unit and the requests in it."""

    def __init__(self, batch: UsageBatch, close: Callable[[], None]) -> None:
        self.batch = batch
        self._close = close
        self._members: list[tuple[int, int, asyncio.Future[Mapping[str, Any]]]] = []
        """(first event, number of events, who waits)."""

    def join(self, events: Sequence[Rated]) -> asyncio.Future[Mapping[str, Any]]:
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._members.append((len(self.batch.events), len(events), future))
        self.batch.events.extend(events)
        return future

    def locks(self) -> Sequence[Lock]:
        """Asked for when the flush begins: nobody joins from here on."""
        self._close()
        return self.batch.locks()

    def answer(self, answer: Mapping[str, Any]) -> None:
        results, wallets = answer["results"], answer["wallets"]
        for first, count, future in self._members:
            if not future.done():
                mine = {rated.event.wallet for rated in self.batch.events[first : first + count]}
                left = {wallet: wallets[wallet] for wallet in mine if wallet in wallets}
                future.set_result({"results": results[first : first + count], "wallets": left})

    def fail(self, error: Exception) -> None:
        alone = len(self._members) == 1
        for _, _, future in self._members:
            if not future.done():
                future.set_exception(error if alone else Apart())
