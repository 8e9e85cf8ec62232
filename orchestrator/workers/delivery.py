"""Delivers events: fan-out, claim, send, record, as soon as the writer committed something and at least every poll."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
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
from orchestrator.events.outcome import Attempt, record
from orchestrator.events.sender import Sender
from orchestrator.events.targets import TargetPolicy
from orchestrator.workers.slots import Slots
from orchestrator.workers.supervisor import beat, pause

ROUND_S_MIN: Final = 0.02
"""A busy writer commits hundreds of times a second; looking for events so often would cost more than it brings."""
BUSY_ROUND_S_MIN: Final = 0.003
CLAIM_MIN: Final = 16
"""A busy endpoint is given more when so many of its slots are free (or all are): a claim is two reads and a unit."""
BUSY_ENDPOINTS_MAX: Final = 32
"""Endpoints that are asked for one by one; beyond that the look at all of them does."""
LOOK_S: Final = 0.25
LOOK_SHARE: Final = 5
"""The look at all that is due passes over whatever waits for an endpoint that hangs, however much that is: it is taken
seldom, and more seldom the longer it takes. Endpoints that answer are asked for one by one meanwhile."""

_log = structlog.get_logger("delivery")
_attempts = Counter("crossrail_delivery_attempts", "Attempts to deliver an event, by what came of it", ["result"])
_seconds = Histogram("crossrail_delivery_seconds", "From the event's commit to its delivery",
                     buckets=(0.02, 0.05, 0.1, 0.25, 1, 5, 30, 300, 3600, 86_400))  # fmt: skip


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
        self._busy: set[str] = set()
        """Endpoints that may have more waiting."""
        self._next_look_s = 0.0
        self._next_fan_out_s = 0.0
        self._tried: list[tuple[Attempt, Row]] = []
        """Attempts that ended and are not recorded yet, with their events."""

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
            looked = await self._fan_out()
            claimed = await self._record_and_claim()
            for job, event in claimed:
                task = group.create_task(self._deliver(sender, job, event))
                sending.add(task)
                task.add_done_callback(sending.discard)
            await asyncio.sleep(BUSY_ROUND_S_MIN if claimed else ROUND_S_MIN)
            # What this round wrote woke us already, and there may be more; a unit that failed is not tried in haste.
            wait_s = self._policy.poll_s if looked else ROUND_S_MIN
            await pause(stop, wait_s, None if self._trouble else self._wake)

    async def _wind_up(self, sending: set[asyncio.Task[None]]) -> None:
        """Let what is under way end; what does not is sent again when its lease is over."""
        if sending:
            _, late = await asyncio.wait(set(sending), timeout=self._policy.stop_grace_s)
            for task in late:
                task.cancel()
        ended = self._ended()
        self._recorded(ended, await self._submit(self._records(ended)))

    async def _fan_out(self) -> bool:
        """Make deliveries of new events; False: it is too early to look for them again."""
        clock = asyncio.get_running_loop()
        began = clock.time()
        if began < self._next_fan_out_s:
            return False
        backlogs = await delivery.backlogs(self._reads)
        self._next_fan_out_s = clock.time() + max(ROUND_S_MIN, LOOK_SHARE * (clock.time() - began))
        await self._submit([delivery.fan_out(backlog) for backlog in backlogs])
        self._busy.update(backlog.endpoint_id for backlog in backlogs)
        return True

    async def _record_and_claim(self) -> list[tuple[Job, Row]]:
        """Record what ended since the last round and take what is due, as far as there are slots, in one commit.

        What ended holds no slot: until it is recorded its lease keeps it from being due.
        """
        ended = self._ended()
        wanted: dict[str, list[Due]] = {}
        for one in await self._due():
            if self._slots.free(one.endpoint_id):
                self._slots.take(one.endpoint_id)
                wanted.setdefault(one.endpoint_id, []).append(one)
        lease_us = int(self._policy.lease_s * 1_000_000)
        claims = [delivery.claim(mine, lease_us) for mine in wanted.values()]
        answers = await self._submit([*self._records(ended), *claims])
        self._recorded(ended, answers[: len(ended)])
        jobs: list[Job] = []
        for mine, applied in zip(wanted.values(), answers[len(ended) :], strict=True):
            taken = [] if applied is None else delivery.jobs_of(mine[0], applied.answer)
            jobs += taken
            for _ in range(len(mine) - len(taken)):
                self._slots.give_back(mine[0].endpoint_id)
        events = await delivery.events_of(self._reads, jobs)
        return [(job, events[job.merchant_id, job.mode, job.sequence]) for job in jobs]

    async def _due(self) -> list[Due]:
        """Return what may be sent now: to endpoints that are busy, or (now and then) to any."""
        found: list[Due] = []
        now_us, clock = self._clock.now_us(), asyncio.get_running_loop()
        if not self._slots.free_total():
            return found
        if clock.time() >= self._next_look_s or len(self._busy) > BUSY_ENDPOINTS_MAX:
            began = clock.time()
            found = await delivery.due(
                self._reads, now_us, without=self._slots.full(), only=self._slots.only(),
                limit=self._slots.free_total(),
            )  # fmt: skip
            took = clock.time() - began
            self._next_look_s = clock.time() + max(min(LOOK_S, self._policy.poll_s), LOOK_SHARE * took)
            self._busy.update(one.endpoint_id for one in found)
            return found
        for endpoint_id in [*self._busy]:
            free = self._slots.free(endpoint_id)
            if free >= CLAIM_MIN or (free and self._slots.idle(endpoint_id)):
                mine = await delivery.due(self._reads, now_us, without=(), only=(endpoint_id,), limit=free)
                found += mine
                if len(mine) < free:
                    self._busy.discard(endpoint_id)
        return found

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
        finally:
            self._slots.give_back(job.endpoint_id)
        self._slots.answered(job.endpoint_id, outcome.delivered)
        jitter = secrets.randbelow(self._policy.jitter_permille + 1)
        self._tried.append((Attempt(job, outcome, jitter), event))
        self._wake.set()

    def _ended(self) -> dict[str, list[tuple[Attempt, Row]]]:
        """Return the attempts that ended and are not recorded yet, by endpoint."""
        ended: dict[str, list[tuple[Attempt, Row]]] = {}
        for attempt, event in self._tried:
            ended.setdefault(attempt.job.endpoint_id, []).append((attempt, event))
        self._tried = []
        return ended

    def _records(self, ended: Mapping[str, Sequence[tuple[Attempt, Row]]]) -> list[Unit]:
        return [record([one for one, _ in mine], self._policy) for mine in ended.values()]

    def _recorded(self, ended: Mapping[str, Sequence[tuple[Attempt, Row]]], answers: Sequence[Applied | None]) -> None:
        for (endpoint_id, mine), applied in zip(ended.items(), answers, strict=True):
            # Not recorded: the lease runs out and the events are sent again under their ids.
            statuses = ["unrecorded"] * len(mine) if applied is None else applied.answer["statuses"]
            for (attempt, event), status in zip(mine, statuses, strict=True):
                self._count(attempt, event, status)
            if self._slots.proven(endpoint_id):
                self._busy.add(endpoint_id)

    def _count(self, attempt: Attempt, event: Row, result: str) -> None:
        _attempts.labels(result).inc()
        if result == "delivered":
            _seconds.observe((self._clock.now_us() - event["created_us"]) / 1_000_000)
        else:
            _log.info("event_was_not_delivered", event_id=event["id"], endpoint=attempt.job.endpoint_id, result=result,
                      http_status=attempt.outcome.http_status, note=attempt.outcome.note)  # fmt: skip
