"""Events: what happened, in the order in which it was committed; how each was delivered; sending them again."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, ApiServices, Context, Endpoint
from orchestrator.api.fields import Listed, Page, Shown, listed
from orchestrator.api.keys import Whose
from orchestrator.clock import rfc3339
from orchestrator.database.tables import Event, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Invalid
from orchestrator.events.catalog import EventType, envelope
from orchestrator.events.feed import deliveries_of, find_event
from orchestrator.events.resending import RANGE_MAX, Range, resend, resend_range

SEQUENCE_DIGITS_MAX: Final = 18
PLACE: Final = rf"^([0-9]{{1,{SEQUENCE_DIGITS_MAX}}}|evt_[0-9a-f]{{32}})$"
READ: Final = ("read", PLATFORM)
WRITE: Final = ("write", PLATFORM)


class ListEvents(Whose, Page):
    type: EventType | None = None
    after: str | None = Field(
        default=None,
        pattern=PLACE,
        description="Read on behind this event: its `sequence` or its id. Remember the last one that you handled.",
    )


class ResendEvents(Whose):
    model_config = ConfigDict(json_schema_extra={"examples": [{"first": "120", "last": "180", "failed_only": True}]})

    first: str = Field(pattern=PLACE, description="The first event: its `sequence` or its id.")
    last: str | None = Field(default=None, pattern=PLACE, description="The last one. Default: the newest.")
    event_types: list[str] = Field(default=["*"], min_length=1, max_length=50)
    endpoint: str | None = Field(default=None, max_length=80, description="Default: every one that wants the type.")
    failed_only: bool = Field(default=False, description="Only what was given up.")


class EventData(BaseModel):
    object: dict[str, Any] = Field(description="As it was when the event was committed.")


class EventShown(Shown):
    id: str = Field(examples=["evt_0199f3a0c0de7d0f8a3b5c7d9e1f2a3b"])
    type: str = Field(examples=["wallet.credited"])
    created_at: str = Field(description="RFC 3339, UTC")
    livemode: bool
    merchant: str
    object_id: str
    sequence: int = Field(description="Gapless per merchant and mode.")
    data: EventData


class AttemptShown(Shown):
    number: int
    at: str
    http_status: int | None = Field(description="null: no answer; `note` says why.")
    note: str
    duration_ms: int
    answer: str = Field(description="How the answer began.")


class DeliveryShown(Shown):
    event: str
    sequence: int
    endpoint: str
    url: str
    status: str = Field(description="waiting, delivered or failed")
    tries: int = Field(description="Since it was sent first or again.")
    next_try_at: str | None
    updated_at: str
    attempts: list[AttemptShown]


class Resent(Shown):
    event: str
    deliveries: int = Field(description="To how many endpoints.")


class RangeResent(Shown):
    deliveries: int
    next: int | None = Field(description=f"Go on with `first` here: one call takes {RANGE_MAX} events. null: all done.")


async def list_events(context: Context[ApiServices], query: ListEvents) -> Answer:
    merchant_id, mode = query.of(context.caller)
    table = table_of(Event)
    wanted = select(table).where(table.c.merchant_id == merchant_id, table.c.mode == mode)
    if query.after is not None:
        wanted = wanted.where(table.c.sequence > await _sequence(context, merchant_id, mode, query.after))
    if query.type is not None:
        wanted = wanted.where(table.c.type == query.type.value)
    found = await context.services.reads.all(wanted.order_by(table.c.sequence).limit(query.limit + 1))
    rows, next_cursor = listed(found, query, cursor="sequence")
    return Answer({"data": [envelope(row) for row in rows], "next_cursor": next_cursor})


async def _sequence(context: Context[ApiServices], merchant_id: str, mode: str, place: str) -> int:
    if not place.startswith("evt_"):
        return int(place)
    event = await find_event(context.services.reads, merchant_id, mode, place)
    return int(event["sequence"])


async def get_event(context: Context[ApiServices], query: Whose) -> Answer:
    return Answer(envelope(await find_event(context.services.reads, *query.of(context.caller), context.path["id"])))


async def list_deliveries(context: Context[ApiServices], query: Whose) -> Answer:
    reads = context.services.reads
    event = await find_event(reads, *query.of(context.caller), context.path["id"])
    rows = await deliveries_of(reads, event)
    return Answer({"data": [delivery_shown(row) for row in rows], "next_cursor": None})


def delivery_shown(row: Row) -> dict[str, Any]:
    """Return a delivery with its ``url`` and ``attempts``."""
    return {
        "event": row["event_id"],
        "sequence": row["sequence"],
        "endpoint": row["endpoint_id"],
        "url": row["url"],
        "status": row["status"],
        "tries": row["tries"],
        "next_try_at": rfc3339(row["next_try_us"]) if row["status"] == "waiting" else None,
        "updated_at": rfc3339(row["updated_us"]),
        "attempts": [
            {"at": rfc3339(one["at_us"])}
            | {name: one[name] for name in ("number", "http_status", "note", "duration_ms", "answer")}
            for one in row["attempts"]
        ],
    }


async def resend_event(context: Context[ApiServices], query: Whose) -> Answer:
    merchant_id, mode = query.of(context.caller)
    services = context.services
    unit = await resend(services.reads, merchant_id=merchant_id, mode=mode, event_id=context.path["id"])
    return Answer(dict((await services.writer.submit(unit)).answer))


async def resend_events(context: Context[ApiServices], body: ResendEvents) -> Answer:
    merchant_id, mode = body.of(context.caller)
    services = context.services
    first = await _sequence(context, merchant_id, mode, body.first)
    last = None if body.last is None else await _sequence(context, merchant_id, mode, body.last)
    if last is not None and last < first:
        raise Invalid("range_is_empty", "the last event comes before the first", pointer="/last")
    wanted = Range(first, last, tuple(body.event_types), body.endpoint, body.failed_only)
    units, following = await resend_range(services.reads, merchant_id, mode, wanted)
    applied = await asyncio.gather(*map(services.writer.submit, units))
    return Answer({"deliveries": sum(one.answer["deliveries"] for one in applied), "next": following})


ENDPOINTS = (
    Endpoint("GET", "/v1/events", list_events, summary="List events, oldest first", tag="Events", query=ListEvents,
             answer=Listed[EventShown], scopes=READ, refusals=(404,)),
    Endpoint("GET", "/v1/events/{id}", get_event, summary="Read an event", tag="Events", query=Whose,
             answer=EventShown, scopes=READ),
    Endpoint("GET", "/v1/events/{id}/deliveries", list_deliveries, summary="Read how an event was delivered",
             tag="Events", query=Whose, answer=Listed[DeliveryShown], scopes=READ,
             description="Every attempt to every endpoint, with what was answered."),
    Endpoint("POST", "/v1/events/{id}/resend", resend_event, summary="Deliver an event again", tag="Events",
             query=Whose, answer=Resent, scopes=WRITE),
    Endpoint("POST", "/v1/events/resend", resend_events, summary="Deliver a range of events again", tag="Events",
             body=ResendEvents, answer=RangeResent, scopes=WRITE, refusals=(404,)),
)  # fmt: skip
