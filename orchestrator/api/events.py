"""Events: what happened, in the order in which it was committed. The source of truth behind the webhooks."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field
from sqlalchemy import select

from orchestrator.api.endpoint import Answer, ApiServices, Context, Endpoint
from orchestrator.api.fields import Listed, Page, Shown, listed
from orchestrator.database.tables import Event, table_of
from orchestrator.events.catalog import EventType, envelope
from orchestrator.events.feed import find_event

SEQUENCE_DIGITS_MAX: Final = 18


class ListEvents(Page):
    type: EventType | None = None
    after: str | None = Field(
        default=None,
        pattern=rf"^([0-9]{{1,{SEQUENCE_DIGITS_MAX}}}|evt_[0-9a-f]{{32}})$",
        description="Read on behind this event: its `sequence` or its id. Remember the last one that you handled.",
    )


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


async def list_events(context: Context[ApiServices], query: ListEvents) -> Answer:
    table = table_of(Event)
    wanted = select(table).where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    if query.after is not None:
        wanted = wanted.where(table.c.sequence > await _sequence(context, query.after))
    if query.type is not None:
        wanted = wanted.where(table.c.type == query.type.value)
    found = await context.services.reads.all(wanted.order_by(table.c.sequence).limit(query.limit + 1))
    rows, next_cursor = listed(found, query, cursor="sequence")
    return Answer({"data": [envelope(row) for row in rows], "next_cursor": next_cursor})


async def _sequence(context: Context[ApiServices], after: str) -> int:
    if not after.startswith("evt_"):
        return int(after)
    event = await find_event(context.services.reads, context.merchant_id, context.mode, after)
    return int(event["sequence"])


async def get_event(context: Context[ApiServices]) -> Answer:
    row = await find_event(context.services.reads, context.merchant_id, context.mode, context.path["id"])
    return Answer(envelope(row))


ENDPOINTS = (
    Endpoint("GET", "/v1/events", list_events, summary="List events, oldest first", tag="Events", query=ListEvents,
             answer=Listed[EventShown], refusals=(404,)),
    Endpoint("GET", "/v1/events/{id}", get_event, summary="Read an event", tag="Events", answer=EventShown),
)  # fmt: skip
