"""Refunds: money back to whoever paid, or used credit back into the wallet."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Auth, Context, Endpoint
from orchestrator.api.fields import Body, Listed, MoneyBody, Page, Shown, listed
from orchestrator.database.tables import CheckoutSession, Payment, Refund, table_of
from orchestrator.errors import Forbidden, Invalid, NotFound
from orchestrator.payments.refund_book import RefundWanted
from orchestrator.payments.refund_terms import refund_object
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


class RefundAddressBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "network": "eip155:56",
                    "address": "0x9858EfFD232B4033E47d90003D41EC34EcaEda94",
                    "again": "0x9858EfFD232B4033E47d90003D41EC34EcaEda94",
                }
            ]
        }
    )

    network: str = Field(pattern=r"^[a-z0-9]{3,8}:[A-Za-z0-9_-]{1,32}$", description="CAIP-2.")
    address: str = Field(min_length=20, max_length=64)
    again: str = Field(
        min_length=20, max_length=64, description="The same once more: a mistyped address loses the money."
    )


class RefundAddressShown(Shown):
    wallet: str
    network: str
    address: str
    cools_off_hours: int = Field(description="It is used only so long after it was given.")


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


async def put_refund_address(context: Context[Services], body: RefundAddressBody) -> Answer:
    """Take an address from the customer, who holds the session's secret; a merchant's key cannot speak for him."""
    reads, session = context.services.reads, table_of(CheckoutSession)
    row = await reads.one(
        select(session).where(session.c.merchant_id == context.merchant_id, session.c.mode == context.mode,
                              session.c.id == context.path["id"])
    )  # fmt: skip
    if row is None:
        raise NotFound("session_not_found", f"there is no checkout session {context.path['id']}")
    if body.address != body.again:
        raise Invalid("addresses_differ", "type the address twice, the same", pointer="/again")
    await context.services.chain_refunds.confirm_address(
        row["merchant_id"], row["mode"], row["wallet_id"], network=f"{row['mode']}:{body.network}",
        address=body.address, proof={"by": "client_secret", "session": row["id"]},
    )  # fmt: skip
    hours = context.services.chain_refunds.cool_off_h
    return Answer(
        {"wallet": row["wallet_id"], "network": body.network, "address": body.address, "cools_off_hours": hours}
    )


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
    Endpoint("POST", "/v1/checkout/sessions/{id}/refund_address", put_refund_address, tag="Refunds",
             summary="Say where tokens are to go back to", auth=Auth.SESSION, scopes=("session",),
             body=RefundAddressBody, answer=RefundAddressShown, refusals=(403, 404),
             description="By the customer, with the session's client_secret. Addresses of the house are refused."),
    Endpoint("GET", "/v1/refunds", list_refunds, summary="List refunds, newest first", tag="Refunds",
             query=RefundQuery, answer=Listed[RefundShown], scopes=READ),
    Endpoint("GET", "/v1/refunds/{id}", get_refund, summary="Look at a refund", tag="Refunds", answer=RefundShown,
             scopes=READ),
)  # fmt: skip
