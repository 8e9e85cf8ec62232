"""Delivers events: fan-out, claim, send, record, as soon as the writer committed something and at least every poll."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.unit import Applied, Row, Unit
from orchestrator.database.writer import Writer
from orchestrator.events import delivery
from orchestrator.events.catalog import envelope_json
from orchestrator.events.delivery import DeliveryPolicy, Due, Job
from orchestrator.events.outcome import record
from orchestrator.events.sender import Sender
from orchestrator.events.targets import TargetPolicy
from orchestrator.workers.supervisor import beat, pause

ROUND_S_MIN: Final = 0.02
"""A busy writer commits hundreds of times a second; looking for events so often would cost more than it brings."""
BUSY_ROUND_S_MIN: Final = 0.003
PROVEN_KEPT_MAX: Final = 5000

_log = structlog.get_logger("delivery")
_attempts = Counter("crossrail_delivery_attempts", "Attempts to deliver an event, by what came of it", ["result"])
_seconds = Histogram("crossrail_delivery_seconds", "From the event's commit to its delivery",
                     buckets=(0.02, 0.05, 0.1, 0.25, 1, 5, 30, 300, 3600, 86_400))  # fmt: skip


class Slots:
    """How many requests may be under way: in all, per endpoint, and for endpoints that did not answer last time.

    An endpoint that hangs holds each of its slots for the whole time-out. So one that has not proven itself since we
    started, or failed last time, gets a single slot until it answers, and all such endpoints together get half: those
    that answer always find room.
    """

    def __init__(self, per_endpoint: int, total: int) -> None:
        self._per_endpoint = per_endpoint
        self._total = total
        self._doubtful_total = max(1, total // 2)
        self._busy: dict[str, int] = {}
        self._proven: dict[str, None] = {}

    def free_total(self) -> int:
        return self._total - sum(self._busy.values())

    def free(self, endpoint_id: str) -> int:
        busy = self._busy.get(endpoint_id, 0)
        if endpoint_id in self._proven:
            free = self._per_endpoint - busy
        else:
            free = 0 if self._doubtful_busy() >= self._doubtful_total else 1 - busy
        return max(0, min(free, self.free_total()))

    def full(self) -> set[str]:
        """Return the endpoints that have all that each may have."""
        return {
            endpoint_id
            for endpoint_id, busy in self._busy.items()
            if busy >= (self._per_endpoint if endpoint_id in self._proven else 1)
        }

    def only(self) -> set[str] | None:
        """Return the endpoints that alone may get something now; None: any."""
        return {*self._proven} if self._doubtful_busy() >= self._doubtful_total else None

    def take(self, endpoint_id: str) -> None:
        self._busy[endpoint_id] = self._busy.get(endpoint_id, 0) + 1

    def give_back(self, endpoint_id: str) -> None:
        self._busy[endpoint_id] -= 1
        if not self._busy[endpoint_id]:
            del self._busy[endpoint_id]

    def answered(self, endpoint_id: str, delivered: bool) -> None:
        self._proven.pop(endpoint_id, None)
        if delivered:
            self._proven[endpoint_id] = None
            if len(self._proven) > PROVEN_KEPT_MAX:
                del self._proven[next(iter(self._proven))]

    def _doubtful_busy(self) -> int:
        return sum(count for endpoint_id, count in self._busy.items() if endpoint_id not in self._proven)


class DeliveryWorker:
    """Correct in several processes on PostgreSQL: every delivery is claimed in a unit."""

    name = "delivery"

    def __init__(
        self, writer: Writer, reads: Reads, clock: Clock, *, policy: DeliveryPolicy, targets: TargetPolicy
    ) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock
        self._policy = policy
        self._targets = targets
        self._slots = Slots(policy.per_endpoint, policy.total)
        self._wake = asyncio.Event()
        self._trouble = False

    async def run(self, stop: asyncio.Event) -> None:
        self._slots = Slots(self._policy.per_endpoint, self._policy.total)
        self._writer.after_commit.append(self._wake.set)
        try:
            async with (
                Sender(self._targets, self._clock, self._policy.timeout_s) as sender,
                asyncio.TaskGroup() as group,
            ):
                sending: set[asyncio.Task[None]] = set()
                await self._rounds(stop, sender, group, sending)
                await self._wind_up(sending)
        finally:
            self._writer.after_commit.remove(self._wake.set)

    async def _rounds(
        self, stop: asyncio.Event, sender: Sender, group: asyncio.TaskGroup, sending: set[asyncio.Task[None]]
    ) -> None:
        while not stop.is_set():
            self._wake.clear()
            self._trouble = False
            beat()
            await self._fan_out()
            claimed = await self._claim()
            for job, event in claimed:
                task = group.create_task(self._deliver(sender, job, event))
                sending.add(task)
                task.add_done_callback(sending.discard)
            await asyncio.sleep(BUSY_ROUND_S_MIN if claimed else ROUND_S_MIN)
            # What this round wrote woke us already, and there may be more; a unit that failed is not tried in haste.
            await pause(stop, self._policy.poll_s, None if self._trouble else self._wake)

    async def _wind_up(self, sending: set[asyncio.Task[None]]) -> None:
        """Let what is under way end; what does not is sent again when its lease is over."""
        if sending:
            _, late = await asyncio.wait(set(sending), timeout=self._policy.stop_grace_s)
            for task in late:
                task.cancel()

    async def _fan_out(self) -> None:
        backlogs = await delivery.backlogs(self._reads)
        await self._submit([delivery.fan_out(backlog) for backlog in backlogs])

    async def _claim(self) -> list[tuple[Job, Row]]:
        """Take what is due, as far as there are slots, and read its events."""
        free = self._slots.free_total()
        if not free:
            return []
        wanted: dict[str, list[Due]] = {}
        waiting = await delivery.due(
            self._reads, self._clock.now_us(), without=self._slots.full(), only=self._slots.only(), limit=free
        )
        for one in waiting:
            if self._slots.free(one.endpoint_id):
                self._slots.take(one.endpoint_id)
                wanted.setdefault(one.endpoint_id, []).append(one)
        lease_us = int(self._policy.lease_s * 1_000_000)
        answers = await self._submit([delivery.claim(mine, lease_us) for mine in wanted.values()])
        jobs: list[Job] = []
        for mine, applied in zip(wanted.values(), answers, strict=True):
            taken = [] if applied is None else delivery.jobs_of(mine[0], applied.answer)
            jobs += taken
            for _ in range(len(mine) - len(taken)):
                self._slots.give_back(mine[0].endpoint_id)
        events = await delivery.events_of(self._reads, jobs)
        return [(job, events[job.merchant_id, job.mode, job.sequence]) for job in jobs]

    async def _submit(self, units: Sequence[Unit]) -> list[Applied | None]:
        """Write units together; one that was refused is logged and tried again in a later round."""
        results = await asyncio.gather(*map(self._writer.submit, units), return_exceptions=True)
        applied: list[Applied | None] = []
        for unit, result in zip(units, results, strict=True):
            if isinstance(result, Applied):
                applied.append(result)
                continue
            if not isinstance(result, Exception):
                raise result
            self._trouble = True
            _log.error("delivery_unit_failed", merchant=unit.merchant_id, error=repr(result))
            applied.append(None)
        return applied

    async def _deliver(self, sender: Sender, job: Job, event: Row) -> None:
        try:
            outcome = await sender.send(job, event["id"], envelope_json(event))
            self._slots.answered(job.endpoint_id, outcome.delivered)
            jitter = secrets.randbelow(self._policy.jitter_permille + 1)
            [recorded] = await self._submit([record(job, outcome, self._policy, jitter)])
        finally:
            self._slots.give_back(job.endpoint_id)
            self._wake.set()
        # Not recorded: the lease runs out and the event is sent again under its id.
        result = "unrecorded" if recorded is None else str(recorded.answer["status"])
        _attempts.labels(result).inc()
        if result == "delivered":
            _seconds.observe((self._clock.now_us() - event["created_us"]) / 1_000_000)
        else:
            _log.info("event_was_not_delivered", event_id=event["id"], endpoint=job.endpoint_id, result=result,
                      http_status=outcome.http_status, note=outcome.note)  # fmt: skip
