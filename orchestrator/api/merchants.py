"""Merchants: made by the platform, with what the card world is told of them."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM, merchant_shown
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown, listed
from orchestrator.database.tables import Merchant, table_of
from orchestrator.payments.sellers import checked_category, checked_descriptor
from orchestrator.services import Services

DESCRIPTOR = (
    "What a buyer's statement shows: 2 to 22 letters, digits, spaces and . , _ ? + / -, with a letter; empty: nothing."
)
CATEGORY = "Merchant category code (ISO 18245) as the acquirer assigned it, four digits; empty: nothing."


class CreateMerchant(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Acme AI", "statement_descriptor": "ACME AI", "merchant_category": "5734"}]
        }
    )

    name: str = Field(min_length=1, max_length=200)
    statement_descriptor: str = Field(default="", max_length=200, description=DESCRIPTOR)
    merchant_category: str = Field(default="", max_length=200, description=CATEGORY)


class ChangeMerchant(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"statement_descriptor": "ACME AI"}]})

    statement_descriptor: str | None = Field(default=None, max_length=200, description=DESCRIPTOR)
    merchant_category: str | None = Field(default=None, max_length=200, description=CATEGORY)


class MerchantShown(Shown):
    id: str = Field(examples=["mer_0199f3a0c0de7d0f8a3b5c7d9e1f2a3b"])
    name: str
    statement_descriptor: str = Field(description="Empty: the rail's account says what it always does.")
    merchant_category: str = Field(description="Empty: that of the rail's account.")
    created_at: str = Field(description="RFC 3339, UTC")


async def create_merchant(context: Context[Services], body: CreateMerchant) -> Answer:
    made = await context.services.access.create_merchant(
        body.name,
        merchant_id=context.resource_id,
        statement_descriptor=checked_descriptor(body.statement_descriptor),
        merchant_category=checked_category(body.merchant_category),
    )
    return Answer(made)


async def change_merchant(context: Context[Services], body: ChangeMerchant) -> Answer:
    changed = await context.services.sellers.set(
        context.path["id"], statement_descriptor=body.statement_descriptor, merchant_category=body.merchant_category
    )
    return Answer(changed)


async def get_merchant(context: Context[Services]) -> Answer:
    return Answer(merchant_shown(await context.services.access.merchant(context.path["id"])))


async def list_merchants(context: Context[Services], page: Page) -> Answer:
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
    Endpoint("PATCH", "/v1/merchants/{id}", change_merchant, tag="Merchants", scopes=(PLATFORM,), body=ChangeMerchant,
             summary="Set what the card world is told of a merchant", answer=MerchantShown,
             description="For sessions and attempts from now on; what is absent stays as it is."),
)  # fmt: skip
