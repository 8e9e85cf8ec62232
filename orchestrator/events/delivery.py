"""From the outbox to deliveries: which event waits for which endpoint, and who sends it now.

Every step is a unit, so a process may be killed between any two: an event is taken from the outbox together with the
endpoint's cursor, a delivery is claimed for the time of a lease, and an attempt is logged with what follows from it.
An event may therefore arrive twice, always under the same id, and is never lost. Order of arrival is promised where an
endpoint asks for it: then one that fails holds up those behind it until it is delivered or its schedule is over.
What came of an attempt: ``outcome``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import and_, exists, or_, select, text

from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.events.catalog import matches
from orchestrator.events.endpoints import ENABLED, live_secrets

RETRY_AFTER_S: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from one failed attempt to the next: ten attempts over three days. Source: Standard Webhooks 1.0.0."""
FAN_OUT_EVENTS_MAX: Final = 200
"""Of one endpoint, in one unit."""
FAN_OUT_ROWS_MAX: Final = 2000

_endpoint = METADATA.tables["webhook_endpoint"]
_shard = METADATA.tables["shard"]
_event = METADATA.tables["event"]
_delivery = METADATA.tables["delivery"]


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """``time_scale`` shrinks the schedule for tests and demos. The lease outlives the time-out of a request."""

    retry_after_s: tuple[int, ...] = RETRY_AFTER_S
    disable_after_s: int = 5 * 86_400
    """An endpoint that took nothing for so long is disabled."""
    time_scale: float = 1.0
    jitter_permille: int = 100
    timeout_s: float = 10.0
    lease_s: float = 30.0
    per_endpoint: int = 64
    total: int = 256
    poll_s: float = 0.5
    stop_grace_s: float = 3.0

    @property
    def disable_after_us(self) -> int:
        return int(self.disable_after_s * self.time_scale * 1_000_000)

    def retry_delay_us(self, failed: int, jitter_permille: int) -> int | None:
        """Return how long to wait after ``failed`` attempts, or None after the last."""
        if failed > len(self.retry_after_s):
            return None
        return int(self.retry_after_s[failed - 1] * self.time_scale * 1000 * (1000 + jitter_permille))


@dataclass(frozen=True, slots=True)
class Backlog:
    """Events after an endpoint's cursor, without a gap."""

    merchant_id: str
    endpoint_id: str
    mode: str
    cursor: int
    events: tuple[tuple[int, str, str], ...]
    """Sequence, id, type."""


@dataclass(frozen=True, slots=True)
class Due:
    merchant_id: str
    endpoint_id: str
    mode: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed delivery. ``lease_us`` is until when, and proves that it is still ours."""

    merchant_id: str
    endpoint_id: str
    mode: str
    sequence: int
    lease_us: int
    url: str
    secrets: tuple[str, ...]


# --- fan-out ----------------------------------------------------------------------------------------------------------


async def backlogs(reads: Reads) -> list[Backlog]:
    """Return what no delivery rows were made for yet.

    The sequence is gapless and committed in order (``Shard``), so whatever is seen here is a prefix of what is to come.
    """
    query = (
        select(_endpoint.c.merchant_id, _endpoint.c.id.label("endpoint_id"), _endpoint.c.mode, _endpoint.c.cursor,
               _event.c.sequence, _event.c.id.label("event_id"), _event.c.type)
        .join(_shard, and_(_shard.c.merchant_id == _endpoint.c.merchant_id, _shard.c.mode == _endpoint.c.mode,
                           _shard.c.event_sequence > _endpoint.c.cursor))
        .join(_event, and_(_event.c.merchant_id == _endpoint.c.merchant_id, _event.c.mode == _endpoint.c.mode,
                           _event.c.sequence > _endpoint.c.cursor,
                           _event.c.sequence <= _endpoint.c.cursor + FAN_OUT_EVENTS_MAX))
        .where(_endpoint.c.status == ENABLED)
        .order_by(_endpoint.c.merchant_id, _endpoint.c.id, _event.c.sequence)
        .limit(FAN_OUT_ROWS_MAX)
    )  # fmt: skip
    found: dict[tuple[str, str], list[Row]] = {}
    for row in await reads.all(query):
        found.setdefault((row["merchant_id"], row["endpoint_id"]), []).append(row)
    return [
        Backlog(merchant_id, endpoint_id, rows[0]["mode"], rows[0]["cursor"],
                tuple((row["sequence"], row["event_id"], row["type"]) for row in rows))
        for (merchant_id, endpoint_id), rows in found.items()
    ]  # fmt: skip


def fan_out(backlog: Backlog) -> Unit:
    """Return the unit that makes an endpoint's deliveries and moves its cursor; answers how many it made."""

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        endpoint = view.one("webhook_endpoint", backlog.merchant_id, backlog.endpoint_id)
        if endpoint is None or endpoint["status"] != ENABLED or endpoint["cursor"] != backlog.cursor:
            return {"made": 0}  # another process was here first
        sequences = [sequence for sequence, _, _ in backlog.events]
        expected = list(range(backlog.cursor + 1, backlog.cursor + 1 + len(sequences)))
        assert sequences == expected, f"events of {backlog.merchant_id} have a gap after {backlog.cursor}"
        filters = orjson.loads(endpoint["event_types"])
        wanted = [event for event in backlog.events if matches(filters, event[2])]
        for sequence, event_id, _ in wanted:
            changes.insert("delivery", **_new(endpoint, sequence, event_id, view.now_us))
        changes.update("webhook_endpoint", (backlog.merchant_id, backlog.endpoint_id), cursor=sequences[-1])
        return {"made": len(wanted)}

    locks = (row_lock("webhook_endpoint", backlog.merchant_id, backlog.endpoint_id),)
    return Unit(backlog.merchant_id, backlog.mode, None, locks, decide)


def _new(endpoint: Row, sequence: int, event_id: str, now_us: int) -> Row:
    return {
        "merchant_id": endpoint["merchant_id"], "endpoint_id": endpoint["id"], "sequence": sequence,
        "mode": endpoint["mode"], "event_id": event_id, "status": "waiting", "tries": 0, "next_try_us": now_us,
        "updated_us": now_us,
    }  # fmt: skip


# --- claiming ---------------------------------------------------------------------------------------------------------


async def due(
    reads: Reads, now_us: int, *, without: Collection[str], limit: int, only: Collection[str] | None = None
) -> list[Due]:
    """Return deliveries whose time has come, longest waiting first: not to some endpoints, or to some only.

    To an endpoint that wants them in order, only what has nothing before it (what is under way is ``waiting`` too).
    """
    earlier = _delivery.alias("earlier")
    held_up = exists().where(
        earlier.c.merchant_id == _delivery.c.merchant_id, earlier.c.endpoint_id == _delivery.c.endpoint_id,
        earlier.c.sequence < _delivery.c.sequence, text("earlier.status = 'waiting'"),
    )  # fmt: skip
    query = (
        select(_delivery.c.merchant_id, _delivery.c.endpoint_id, _delivery.c.mode, _delivery.c.sequence)
        .join(
            _endpoint,
            and_(_endpoint.c.merchant_id == _delivery.c.merchant_id, _endpoint.c.id == _delivery.c.endpoint_id),
        )
        # In figures, not as a parameter: a partial index serves only a query that says its condition.
        .where(text("delivery.status = 'waiting'"), _delivery.c.next_try_us <= now_us)
        .where(or_(_endpoint.c.ordered == 0, ~held_up))
        .order_by(_delivery.c.next_try_us, _delivery.c.sequence)
        .limit(limit)
    )
    if without:
        query = query.where(_delivery.c.endpoint_id.not_in(list(without)))
    if only is not None and len(only) == 1:
        query = query.where(_delivery.c.endpoint_id == next(iter(only)))
    elif only is not None:
        query = query.where(_delivery.c.endpoint_id.in_(list(only)))
    return [Due(**row) for row in await reads.all(query)]


def claim(wanted: Sequence[Due], lease_us: int) -> Unit:
    """Return the unit that takes deliveries of one endpoint for the time of a lease; see ``jobs_of`` for its answer.

    Those of an endpoint that ended are given up.
    """
    first = wanted[0]
    assert {due.endpoint_id for due in wanted} == {first.endpoint_id}, "a claim is of one endpoint"

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        endpoint = view.one("webhook_endpoint", first.merchant_id, first.endpoint_id)
        lives = endpoint is not None and endpoint["status"] == ENABLED
        taken: list[int] = []
        for one in wanted:
            key = (one.merchant_id, one.endpoint_id, one.sequence)
            row = view.one("delivery", *key)
            if row is None or row["status"] != "waiting" or row["next_try_us"] > view.now_us:
                continue  # another process has it
            if lives:
                changes.update("delivery", key, next_try_us=view.now_us + lease_us)
                taken.append(one.sequence)
            else:
                changes.update("delivery", key, status="failed", updated_us=view.now_us)
        if not taken or endpoint is None:
            return {"sequences": []}
        return {
            "sequences": taken,
            "lease_us": view.now_us + lease_us,
            "url": endpoint["url"],
            "secrets": live_secrets(endpoint, view.now_us),
        }

    locks = (
        row_lock("webhook_endpoint", first.merchant_id, first.endpoint_id),
        *(row_lock("delivery", one.merchant_id, one.endpoint_id, one.sequence) for one in wanted),
    )
    return Unit(first.merchant_id, first.mode, None, locks, decide)


def jobs_of(claimed: Due, answer: Mapping[str, Any]) -> list[Job]:
    """Return what a claim took."""
    return [
        Job(claimed.merchant_id, claimed.endpoint_id, claimed.mode, sequence, answer["lease_us"], answer["url"],
            tuple(answer["secrets"]))
        for sequence in answer["sequences"]
    ]  # fmt: skip


async def events_of(reads: Reads, jobs: Sequence[Job]) -> dict[tuple[str, str, int], Row]:
    """Return the events of some jobs by merchant, mode and sequence."""
    wanted: dict[tuple[str, str], set[int]] = {}
    for job in jobs:
        wanted.setdefault((job.merchant_id, job.mode), set()).add(job.sequence)
    if not wanted:
        return {}
    of_merchants = (
        and_(_event.c.merchant_id == merchant_id, _event.c.mode == mode, _event.c.sequence.in_(sorted(sequences)))
        for (merchant_id, mode), sequences in wanted.items()
    )
    rows = await reads.all(select(_event).where(or_(*of_merchants)))
    return {(row["merchant_id"], row["mode"], row["sequence"]): row for row in rows}
