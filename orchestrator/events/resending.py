"""Sending again: one event, or a range of them. At once, with the whole schedule, under the same ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.errors import NotFound
from orchestrator.events.catalog import check_filters, matches
from orchestrator.events.endpoints import ENABLED
from orchestrator.events.feed import find_event

RANGE_MAX: Final = 1000
"""Events in one call."""
UNIT_EVENTS_MAX: Final = 50

_event = METADATA.tables["event"]
_endpoint = METADATA.tables["webhook_endpoint"]
_delivery = METADATA.tables["delivery"]


@dataclass(frozen=True, slots=True)
class Range:
    """Which events: by sequence, both ends included. ``last`` None: to the newest."""

    first: int
    last: int | None = None
    event_types: Sequence[str] = ("*",)
    endpoint_id: str | None = None
    """To this endpoint only. Default: every one that wants the type."""
    failed_only: bool = False
    """Only what was given up."""


async def resend(
    reads: Reads, *, merchant_id: str, mode: str, event_id: str, endpoint_id: str | None = None, key: str | None = None
) -> Unit:
    """Return the unit that sends an event again, at once and with the whole schedule, under the same id.

    It goes to the endpoints that want its type now (or to the one named), also to those made after it. Its answer is
    ``{"event": id, "deliveries": n}``. Raises NotFound.
    """
    event = await find_event(reads, merchant_id, mode, event_id)
    ids = await _endpoints(reads, merchant_id, mode, endpoint_id)
    pairs = [(id_, event) for id_ in ids]
    return _unit(merchant_id, mode, pairs, {"event": event_id}, key)


async def resend_range(reads: Reads, merchant_id: str, mode: str, wanted: Range) -> tuple[list[Unit], int | None]:
    """Return units that send a range again (see ``resend``), and the sequence to go on from where there is more.

    Each unit's answer says ``deliveries``. Raises Invalid, NotFound.
    """
    filters = check_filters(wanted.event_types)
    ids = await _endpoints(reads, merchant_id, mode, wanted.endpoint_id)
    query = select(_event).where(
        _event.c.merchant_id == merchant_id, _event.c.mode == mode, _event.c.sequence >= wanted.first
    )
    if wanted.last is not None:
        query = query.where(_event.c.sequence <= wanted.last)
    events = await reads.all(query.order_by(_event.c.sequence).limit(RANGE_MAX + 1))
    following = events[RANGE_MAX]["sequence"] if len(events) > RANGE_MAX else None
    events = [event for event in events[:RANGE_MAX] if matches(filters, event["type"])]
    if not events or not ids:
        return [], following
    given_up: set[tuple[str, int]] = set()
    if wanted.failed_only:
        failed = select(_delivery.c.endpoint_id, _delivery.c.sequence).where(
            _delivery.c.merchant_id == merchant_id, _delivery.c.endpoint_id.in_(ids), _delivery.c.status == "failed",
            _delivery.c.sequence >= events[0]["sequence"], _delivery.c.sequence <= events[-1]["sequence"],
        )  # fmt: skip
        given_up = {(row["endpoint_id"], row["sequence"]) for row in await reads.all(failed)}
    units = []
    for start in range(0, len(events), UNIT_EVENTS_MAX):
        pairs = [
            (id_, event)
            for event in events[start : start + UNIT_EVENTS_MAX]
            for id_ in ids
            if not wanted.failed_only or (id_, event["sequence"]) in given_up
        ]
        if pairs:
            units.append(_unit(merchant_id, mode, pairs, {}, None))
    return units, following


async def _endpoints(reads: Reads, merchant_id: str, mode: str, endpoint_id: str | None) -> list[str]:
    """Return the enabled endpoints, or the one that was named. Raises NotFound."""
    query = select(_endpoint.c.id).where(
        _endpoint.c.merchant_id == merchant_id, _endpoint.c.mode == mode, _endpoint.c.status == ENABLED
    )
    if endpoint_id is not None:
        query = query.where(_endpoint.c.id == endpoint_id)
    ids = [row["id"] for row in await reads.all(query)]
    if endpoint_id is not None and not ids:
        raise NotFound("no_such_webhook_endpoint", "there is no enabled webhook endpoint with this id")
    return ids


def _unit(
    merchant_id: str, mode: str, pairs: Sequence[tuple[str, Row]], said: Mapping[str, Any], key: str | None
) -> Unit:
    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        count = 0
        for id_, event in pairs:
            endpoint = view.one("webhook_endpoint", merchant_id, id_)
            if endpoint is not None and _again(view, changes, endpoint, event):
                count += 1
        return {**said, "deliveries": count}

    locks: list[Lock] = []
    for id_, event in pairs:
        locks.append(row_lock("webhook_endpoint", merchant_id, id_))
        locks.append(row_lock("delivery", merchant_id, id_, event["sequence"]))
    return Unit(merchant_id, mode, key, [*dict.fromkeys(locks)], decide)


def _again(view: View, changes: Changes, endpoint: Row, event: Row) -> bool:
    if endpoint["status"] != ENABLED or not matches(orjson.loads(endpoint["event_types"]), event["type"]):
        return False
    if endpoint["cursor"] < event["sequence"]:
        return True  # it is about to be sent for the first time
    delivery = (endpoint["merchant_id"], endpoint["id"], event["sequence"])
    again = {"status": "waiting", "tries": 0, "next_try_us": view.now_us, "updated_us": view.now_us}
    if view.one("delivery", *delivery) is not None:
        changes.update("delivery", delivery, **again)
    else:
        names = ("merchant_id", "endpoint_id", "sequence")
        row: Row = dict(zip(names, delivery, strict=True))
        changes.insert("delivery", **row, mode=event["mode"], event_id=event["id"], **again)
    return True
