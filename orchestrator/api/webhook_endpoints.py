"""Where the merchant wants to hear of events: made, changed, given a new secret, ended; what was sent there."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown, listed
from orchestrator.api.keys import Whose
from orchestrator.clock import rfc3339
from orchestrator.events.endpoints import (
    OLD_SECRET_LIVES_S,
    OLD_SECRET_LIVES_S_MAX,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    find_endpoint,
    list_endpoints,
    rotate_secret,
    shown,
)
from orchestrator.events.feed import deliveries_to
from orchestrator.events.targets import TargetPolicy, check_target
from orchestrator.services import Services


class CreateEndpoint(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://shop.example/crossrail", "event_types": ["wallet.*"]}]}
    )

    url: str = Field(min_length=8, max_length=2000)
    event_types: list[str] = Field(default=["*"], min_length=1, max_length=50, description="`*`, `wallet.*`, or names.")
    from_start: bool = Field(default=False, description="Also what happened before; else from now on.")
    ordered: bool = Field(default=False, description="One after the other: an event that fails holds up the next.")


class ChangeEndpoint(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"event_types": ["wallet.*", "payment.*"]}]})

    url: str | None = Field(default=None, min_length=8, max_length=2000)
    event_types: list[str] | None = Field(default=None, min_length=1, max_length=50)
    ordered: bool | None = None
    enabled: bool | None = Field(
        default=None, description="true: send again, also what happened while it was disabled. false: send nothing."
    )


class RotateSecret(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"old_secret_lives_s": 3600}]})

    old_secret_lives_s: int = Field(
        default=OLD_SECRET_LIVES_S, ge=0, le=OLD_SECRET_LIVES_S_MAX,
        description="How long both secrets sign. 0: the old one ends now (it became known to others).",
    )  # fmt: skip


class DeliveryQuery(Whose, Page):
    status: str | None = Field(default=None, pattern="^(waiting|delivered|failed)$")
    after: str | None = Field(default=None, pattern="^[0-9]{1,18}$", description="`next_cursor` of the page before.")


class EndpointShown(Shown):
    id: str
    url: str
    event_types: list[str]
    status: str = Field(description="enabled, disabled or deleted")
    disabled_reason: str | None = Field(description="gone (it answered 410), failing (for days) or asked")
    ordered: bool
    failing_since: str | None
    old_secret_ends_at: str | None
    livemode: bool
    created_at: str


class NewEndpointShown(EndpointShown):
    secret: str | None = Field(description="Signs what we send (Standard Webhooks); shown this once.")


class SentShown(Shown):
    event: str
    type: str
    sequence: int
    status: str = Field(description="waiting, delivered or failed")
    tries: int
    next_try_at: str | None
    updated_at: str


async def create(context: Context[Services], body: CreateEndpoint) -> Answer:
    url = await _checked(context, body.url)
    unit = create_endpoint(
        merchant_id=context.merchant_id, mode=context.mode, url=url, event_types=body.event_types,
        from_start=body.from_start, ordered=body.ordered, endpoint_id=context.resource_id,
    )  # fmt: skip
    made = dict((await context.services.writer.submit(unit)).answer)
    return Answer(made, kept={**made, "secret": None})


async def _checked(context: Context[Services], url: str) -> str:
    allow_private = context.services.settings.webhooks.allow_private_networks
    return await check_target(url, TargetPolicy(allow_private=allow_private))


async def list_all(context: Context[Services], query: Whose) -> Answer:
    found = await list_endpoints(context.services.reads, *query.of(context.caller))
    return Answer({"data": list(found), "next_cursor": None})


async def get_one(context: Context[Services], query: Whose) -> Answer:
    return Answer(shown(await find_endpoint(context.services.reads, *query.of(context.caller), context.path["id"])))


async def change(context: Context[Services], body: ChangeEndpoint) -> Answer:
    unit = change_endpoint(
        merchant_id=context.merchant_id, mode=context.mode, endpoint_id=context.path["id"],
        url=None if body.url is None else await _checked(context, body.url), event_types=body.event_types,
        ordered=body.ordered, enabled=body.enabled,
    )  # fmt: skip
    return Answer(dict((await context.services.writer.submit(unit)).answer))


async def rotate(context: Context[Services], body: RotateSecret) -> Answer:
    unit = rotate_secret(
        merchant_id=context.merchant_id, mode=context.mode, endpoint_id=context.path["id"],
        old_lives_s=body.old_secret_lives_s,
    )  # fmt: skip
    made = dict((await context.services.writer.submit(unit)).answer)
    return Answer(made, kept={**made, "secret": None})


async def delete(context: Context[Services]) -> Answer:
    unit = delete_endpoint(merchant_id=context.merchant_id, mode=context.mode, endpoint_id=context.path["id"])
    return Answer(dict((await context.services.writer.submit(unit)).answer))


async def list_sent(context: Context[Services], query: DeliveryQuery) -> Answer:
    reads = context.services.reads
    endpoint = await find_endpoint(reads, *query.of(context.caller), context.path["id"])
    before = int(query.after or 0)
    found = await deliveries_to(reads, endpoint, status=query.status, before=before, limit=query.limit + 1)
    rows, next_cursor = listed(found, query, cursor="sequence")
    return Answer({"data": [_sent(row) for row in rows], "next_cursor": next_cursor})


def _sent(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "event": row["event_id"],
        "type": row["type"],
        "sequence": row["sequence"],
        "status": row["status"],
        "tries": row["tries"],
        "next_try_at": rfc3339(row["next_try_us"]) if row["status"] == "waiting" else None,
        "updated_at": rfc3339(row["updated_us"]),
    }


READ = ("read", PLATFORM)

ENDPOINTS = (
    Endpoint("POST", "/v1/webhook_endpoints", create, summary="Hear of events at an address", tag="Events",
             body=CreateEndpoint, answer=NewEndpointShown, status=201, creates="we"),
    Endpoint("GET", "/v1/webhook_endpoints", list_all, summary="List webhook endpoints", tag="Events", query=Whose,
             answer=Listed[EndpointShown], scopes=READ),
    Endpoint("GET", "/v1/webhook_endpoints/{id}", get_one, summary="Look at a webhook endpoint", tag="Events",
             query=Whose, answer=EndpointShown, scopes=READ),
    Endpoint("PATCH", "/v1/webhook_endpoints/{id}", change, summary="Change a webhook endpoint, or enable it again",
             tag="Events", body=ChangeEndpoint, answer=EndpointShown),
    Endpoint("POST", "/v1/webhook_endpoints/{id}/rotate", rotate, summary="Give a webhook endpoint a new secret",
             tag="Events", body=RotateSecret, answer=NewEndpointShown,
             description="Both secrets sign until the old one ends: a receiver changes its own without losing an event."),
    Endpoint("GET", "/v1/webhook_endpoints/{id}/deliveries", list_sent, summary="List what was sent, newest first",
             tag="Events", query=DeliveryQuery, answer=Listed[SentShown], scopes=READ),
    Endpoint("DELETE", "/v1/webhook_endpoints/{id}", delete, summary="Stop hearing of events at an address",
             tag="Events", answer=dict[str, Any]),
)  # fmt: skip
