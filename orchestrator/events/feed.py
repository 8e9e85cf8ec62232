"""The merchant's events as they are read, and sent again when asked: ``GET /v1/events`` is the source of truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from sqlalchemy import and_, select

from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.errors import NotFound
from orchestrator.events.catalog import matches
from orchestrator.events.endpoints import ENABLED

PAGE_MAX: Final = 1000

_event = METADATA.tables["event"]
_endpoint = METADATA.tables["webhook_endpoint"]
_delivery = METADATA.tables["delivery"]
_attempt = METADATA.tables["delivery_attempt"]


async def list_events(
    reads: Reads, merchant_id: str, mode: str, *, after: int = 0, limit: int = 100, newest_first: bool = False
) -> list[Row]:
    """Return ``event`` rows by sequence; render them with ``catalog.envelope``.

    Oldest first, ``after`` is a sequence to read on from. Newest first, it is the one to read back from (0: the head).
    """
    query = select(_event).where(_event.c.merchant_id == merchant_id, _event.c.mode == mode)
    if newest_first:
        query = query.where(_event.c.sequence < after) if after else query
        query = query.order_by(_event.c.sequence.desc())
    else:
        query = query.where(_event.c.sequence > after).order_by(_event.c.sequence)
    return await reads.all(query.limit(min(limit, PAGE_MAX)))


async def find_event(reads: Reads, merchant_id: str, mode: str, event_id: str) -> Row:
    """Return one ``event`` row. Raises NotFound."""
    mine = and_(_event.c.merchant_id == merchant_id, _event.c.mode == mode, _event.c.id == event_id)
    row = await reads.one(select(_event).where(mine))
    if row is None:
        raise NotFound("no_such_event", "there is no event with this id")
    return row


async def deliveries_of(reads: Reads, event: Row) -> list[Row]:
    """Return an event's deliveries, one per endpoint, each with its endpoint's ``url`` and its logged ``attempts``."""
    same = and_(_delivery.c.merchant_id == _endpoint.c.merchant_id, _delivery.c.endpoint_id == _endpoint.c.id)
    whose = and_(_endpoint.c.merchant_id == event["merchant_id"], _endpoint.c.mode == event["mode"])
    query = select(_delivery, _endpoint.c.url).join(_endpoint, same)
    deliveries = await reads.all(
        query.where(whose, _delivery.c.sequence == event["sequence"]).order_by(_delivery.c.endpoint_id)
    )
    if not deliveries:
        return []
    attempts = await reads.all(
        select(_attempt)
        .where(
            _attempt.c.merchant_id == event["merchant_id"],
            _attempt.c.endpoint_id.in_([row["endpoint_id"] for row in deliveries]),
            _attempt.c.sequence == event["sequence"],
        )
        .order_by(_attempt.c.endpoint_id, _attempt.c.number)
    )
    return [
        {**row, "attempts": [one for one in attempts if one["endpoint_id"] == row["endpoint_id"]]} for row in deliveries
    ]


async def resend(
    reads: Reads, *, merchant_id: str, mode: str, event_id: str, endpoint_id: str | None = None, key: str | None = None
) -> Unit:
    """Return the unit that sends an event again, at once and with the whole schedule, under the same id.

    It goes to the endpoints that want its type now (or to the one named), also to those made after it. Its answer is
    ``{"event": id, "deliveries": n}``. Raises NotFound.
    """
    event = await find_event(reads, merchant_id, mode, event_id)
    query = select(_endpoint.c.id).where(
        _endpoint.c.merchant_id == merchant_id, _endpoint.c.mode == mode, _endpoint.c.status == ENABLED
    )
    if endpoint_id is not None:
        query = query.where(_endpoint.c.id == endpoint_id)
    ids = [row["id"] for row in await reads.all(query)]
    if endpoint_id is not None and not ids:
        raise NotFound("no_such_webhook_endpoint", "there is no enabled webhook endpoint with this id")

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        count = 0
        for id_ in ids:
            endpoint = view.one("webhook_endpoint", merchant_id, id_)
            if endpoint is not None and _again(view, changes, endpoint, event):
                count += 1
        return {"event": event_id, "deliveries": count}

    locks: list[Lock] = []
    for id_ in ids:
        locks.append(row_lock("webhook_endpoint", merchant_id, id_))
        locks.append(row_lock("delivery", merchant_id, id_, event["sequence"]))
    return Unit(merchant_id, mode, key, locks, decide)


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
