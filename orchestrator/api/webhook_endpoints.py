"""Where the merchant wants to hear of events, and hearing of one again."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Shown
from orchestrator.events.endpoints import create_endpoint, delete_endpoint, list_endpoints
from orchestrator.events.feed import resend
from orchestrator.events.targets import TargetPolicy, check_target
from orchestrator.services import Services


class CreateEndpoint(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://shop.example/crossrail", "event_types": ["wallet.*"]}]}
    )

    url: str = Field(min_length=8, max_length=2000)
    event_types: list[str] = Field(default=["*"], min_length=1, max_length=50, description="`*`, `wallet.*`, or names.")
    from_start: bool = Field(default=False, description="Also what happened before; else from now on.")


class EndpointShown(Shown):
    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    url: str
    event_types: list[str]
    status: str


class NewEndpointShown(EndpointShown):
    secret: str | None = Field(description="Signs what we send (Standard Webhooks); shown this once.")


class Resent(Shown):
    model_config = ConfigDict(extra="allow", frozen=True)


async def create(context: Context[Services], body: CreateEndpoint) -> Answer:
    services = context.services
    policy = TargetPolicy(allow_private=services.settings.webhooks.allow_private_networks)
    url = await check_target(body.url, policy)
    unit = create_endpoint(
        merchant_id=context.merchant_id, mode=context.mode, url=url, event_types=body.event_types,
        from_start=body.from_start, endpoint_id=context.resource_id,
    )  # fmt: skip
    made = dict((await services.writer.submit(unit)).answer)
    return Answer(made, kept={**made, "secret": None})


async def list_all(context: Context[Services]) -> Answer:
    found = await list_endpoints(context.services.reads, context.merchant_id, context.mode)
    return Answer({"data": list(found), "next_cursor": None})


async def delete(context: Context[Services]) -> Answer:
    unit = delete_endpoint(merchant_id=context.merchant_id, mode=context.mode, endpoint_id=context.path["id"])
    return Answer(dict((await context.services.writer.submit(unit)).answer))


async def resend_event(context: Context[Services]) -> Answer:
    services = context.services
    unit = await resend(services.reads, merchant_id=context.merchant_id, mode=context.mode, event_id=context.path["id"])
    return Answer(dict((await services.writer.submit(unit)).answer))


ENDPOINTS = (
    Endpoint("POST", "/v1/webhook_endpoints", create, summary="Hear of events at an address", tag="Events",
             body=CreateEndpoint, answer=NewEndpointShown, status=201, creates="we"),
    Endpoint("GET", "/v1/webhook_endpoints", list_all, summary="List webhook endpoints", tag="Events",
             answer=Listed[EndpointShown]),
    Endpoint("DELETE", "/v1/webhook_endpoints/{id}", delete, summary="Stop hearing of events at an address",
             tag="Events", answer=dict[str, Any]),
    Endpoint("POST", "/v1/events/{id}/resend", resend_event, summary="Deliver an event again", tag="Events",
             answer=dict[str, Any]),
)  # fmt: skip
