"""Merchants: made by the platform."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM, merchant_shown
from orchestrator.api.endpoint import Answer, ApiServices, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown, listed
from orchestrator.database.tables import Merchant, table_of


class CreateMerchant(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Acme AI"}]})

    name: str = Field(min_length=1, max_length=200)


class MerchantShown(Shown):
    id: str = Field(examples=["mer_0199f3a0c0de7d0f8a3b5c7d9e1f2a3b"])
    name: str
    created_at: str = Field(description="RFC 3339, UTC")


async def create_merchant(context: Context[ApiServices], body: CreateMerchant) -> Answer:
    return Answer(await context.services.access.create_merchant(body.name, merchant_id=context.resource_id))


async def get_merchant(context: Context[ApiServices]) -> Answer:
    return Answer(merchant_shown(await context.services.access.merchant(context.path["id"])))


async def list_merchants(context: Context[ApiServices], page: Page) -> Answer:
    table = table_of(Merchant)
    query = select(table).order_by(table.c.id.desc()).limit(page.limit + 1)
    if page.after is not None:
        query = query.where(table.c.id < page.after)
    rows, next_cursor = listed(await context.services.reads.all(query), page)
    return Answer({"data": [merchant_shown(row) for row in rows], "next_cursor": next_cursor})


ENDPOINTS = (
    Endpoint("POST", "/v1/merchants", create_merchant, summary="Create a merchant", tag="Merchants", scopes=(PLATFORM,),
             body=CreateMerchant, answer=MerchantShown, status=201, creates="mer"),
    Endpoint("GET", "/v1/merchants", list_merchants, summary="List merchants, newest first", tag="Merchants",
             scopes=(PLATFORM,), query=Page, answer=Listed[MerchantShown]),
    Endpoint("GET", "/v1/merchants/{id}", get_merchant, summary="Read a merchant", tag="Merchants", scopes=(PLATFORM,),
             answer=MerchantShown),
)  # fmt: skip
