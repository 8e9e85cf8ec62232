"""Refunds: money back to whoever paid, or used credit back into the wallet."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, MoneyBody, Page, Shown, listed
from orchestrator.database.tables import Payment, Refund, table_of
from orchestrator.errors import Forbidden, NotFound
from orchestrator.payments.refund_book import RefundWanted, refund_object
from orchestrator.services import Services
from rates.money import WALLET_USD

BOTH = ("write", PLATFORM)
READ = ("read", PLATFORM)


class Destination(Body):
    type: Literal["source", "wallet", "address"] = Field(
        default="source",
        description="source: back to the card or account that paid. wallet: used credit, given back to the customer's "
        "wallet at the merchant's cost. address: tokens, to the address that the customer confirmed.",
    )


class AskForRefund(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reason": "asked by the customer"},
                {"amount": {"amount": "5.00", "currency": "USD"}, "reason": "outage of 26 November"},
            ]
        }
    )

    amount: MoneyBody | None = Field(
        default=None, description="Of the credit, in USD. Default: all that is unspent of this payment."
    )
    reason: str = Field(min_length=1, max_length=200)
    destination: Destination = Destination()
    force: bool = Field(default=False, description="For the platform: take used credit from the merchant as well.")


class RefundQuery(Page):
    payment: str | None = Field(default=None, max_length=80)
    status: Literal["pending", "succeeded", "failed"] | None = None


class RefundShown(Shown):
    id: str
    payment: str
    wallet: str
    status: str = Field(description="pending, succeeded or failed")
    amount: dict[str, str] = Field(description="Credit that goes.")
    paid_back: dict[str, str] | None = Field(description="What the payer gets, in the currency that was paid.")
    lines: list[dict[str, str]] = Field(description="The credit and the fee lines that go back with it, in USD.")
    destination: str
    from_merchant: dict[str, str] = Field(description="What of it the merchant bears, because it was used.")
    reason: str
    origin: str = Field(description="api, or rail: made in the vendor's dashboard")
    rail: str
    rail_reference: str | None
    failure: str | None
    created_at: str
    updated_at: str


async def create_refund(context: Context[Services], body: AskForRefund) -> Answer:
    merchant_id, mode = context.merchant_id, context.mode
    platform = PLATFORM in context.caller.scopes
    if platform:
        merchant_id, mode = await _owner(context)
    elif body.force:
        raise Forbidden("force_is_the_platform_s", "a merchant's key refunds unspent credit only")
    units = None if body.amount is None else body.amount.money(WALLET_USD).units
    by = context.caller.key_id if platform else f"key:{context.caller.key_id}"
    wanted = RefundWanted(
        context.resource_id, merchant_id, mode, context.path["id"], units, body.reason, body.destination.type,
        body.force, by,
    )  # fmt: skip
    return Answer(refund_object(await context.services.refunds.request(wanted)))


async def _owner(context: Context[Services]) -> tuple[str, str]:
    table = table_of(Payment)
    row = await context.services.reads.one(
        select(table.c.merchant_id, table.c.mode).where(table.c.id == context.path["id"])
    )
    if row is None:
        raise NotFound("payment_not_found", f"there is no payment {context.path['id']}")
    return row["merchant_id"], row["mode"]


async def get_refund(context: Context[Services]) -> Answer:
    platform = PLATFORM in context.caller.scopes
    merchant = None if platform else context.merchant_id
    return Answer(refund_object(await context.services.refunds.find(context.path["id"], merchant, context.mode)))


async def list_refunds(context: Context[Services], query: RefundQuery) -> Answer:
    table = table_of(Refund)
    wanted = select(table).order_by(table.c.id.desc()).limit(query.limit + 1)
    if PLATFORM not in context.caller.scopes:
        wanted = wanted.where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    if query.payment is not None:
        wanted = wanted.where(table.c.payment_id == query.payment)
    if query.status == "pending":
        wanted = wanted.where(table.c.status.in_(("created", "sent", "pending")))
    elif query.status is not None:
        wanted = wanted.where(table.c.status == query.status)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    rows, next_cursor = listed(await context.services.reads.all(wanted), query)
    return Answer({"data": [refund_object(row) for row in rows], "next_cursor": next_cursor})


ENDPOINTS = (
    Endpoint("POST", "/v1/payments/{id}/refunds", create_refund, summary="Refund a payment, whole or in part",
             tag="Refunds", body=AskForRefund, answer=RefundShown, status=201, scopes=BOTH, creates="ref",
             refusals=(404, 409),
             description="The credit is set aside at once and the rail is asked; `refund.succeeded` or `refund.failed` "
             "tells the end. Refused while a dispute is open, and above what is unspent of this payment's credit."),
    Endpoint("GET", "/v1/refunds", list_refunds, summary="List refunds, newest first", tag="Refunds",
             query=RefundQuery, answer=Listed[RefundShown], scopes=READ),
    Endpoint("GET", "/v1/refunds/{id}", get_refund, summary="Look at a refund", tag="Refunds", answer=RefundShown,
             scopes=READ),
)  # fmt: skip
