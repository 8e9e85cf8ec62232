"""The merchant's events and their deliveries as they are read: ``GET /v1/events`` is the source of truth."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, select

from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Row
from orchestrator.errors import NotFound

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


async def deliveries_to(
    reads: Reads, endpoint: Row, *, status: str | None = None, before: int = 0, limit: int = 100
) -> list[Row]:
    """Return what was or is to be sent to one endpoint, newest first, with each event's type."""
    same = and_(_event.c.merchant_id == _delivery.c.merchant_id, _event.c.mode == _delivery.c.mode,
                _event.c.sequence == _delivery.c.sequence)  # fmt: skip
    query = select(_delivery, _event.c.type).join(_event, same)
    query = query.where(_delivery.c.merchant_id == endpoint["merchant_id"], _delivery.c.endpoint_id == endpoint["id"])
    if status is not None:
        query = query.where(_delivery.c.status == status)
    if before:
        query = query.where(_delivery.c.sequence < before)
    return await reads.all(query.order_by(_delivery.c.sequence.desc()).limit(min(limit, PAGE_MAX)))
