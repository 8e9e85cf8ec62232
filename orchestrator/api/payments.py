"""Payments: with their attempts, their history, the decision and the offer behind them."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import Field
from sqlalchemy import select

from orchestrator.api.checkout import session_shown
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Expandable, Listed, Page, Shown, listed
from orchestrator.clock import rfc3339
from orchestrator.database.tables import Attempt, CheckoutSession, Payment, PaymentFact, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import NotFound
from orchestrator.payments.offers import offers_of
from orchestrator.payments.payment import Status
from orchestrator.payments.story import money_body, payment_object
from orchestrator.payments.wallets import find_wallet, wallet_object
from orchestrator.payments.wire_json import steps_up
from orchestrator.services import Services
from rates.money import Asset, Money


class ListPayments(Page):
    status: Status | None = None


class PaymentShown(Shown):
    id: str
    status: Status
    checkout_session: str
    wallet: str
    customer: str
    amount: dict[str, str]
    credited: dict[str, str]
    refunded: dict[str, str]
    created_at: str
    updated_at: str


class AttemptShown(Shown):
    id: str
    rail: str
    account: str
    method: str
    status: str
    offer: str
    amount: dict[str, str]
    received: dict[str, str]
    rail_reference: str | None
    next_action: dict[str, Any] | None
    decline: dict[str, Any] | None
    step_up: bool = Field(description="The bank was asked to see the buyer (3-D Secure), after it had declined.")
    created_at: str
    updated_at: str


class FactShown(Shown):
    fact: str
    status: str = Field(description="The payment's status after it.")
    attempt: str | None
    at: str = Field(description="When it happened at the rail.")
    recorded_at: str
    detail: dict[str, Any]


class PaymentWhole(PaymentShown):
    checkout_session: Any
    wallet: Any
    attempts: list[AttemptShown]
    history: list[FactShown]
    decision: str
    offer: dict[str, Any] | None = Field(description="Of the newest attempt, with its quote.")
    quote: dict[str, Any] | None


class GetPayment(Expandable):
    pass


async def list_payments(context: Context[Services], query: ListPayments) -> Answer:
    table = table_of(Payment)
    wanted = select(table).where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    if query.status is not None:
        wanted = wanted.where(table.c.status == query.status.value)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    found = await context.services.reads.all(wanted.order_by(table.c.id.desc()).limit(query.limit + 1))
    rows, next_cursor = listed(found, query)
    return Answer({"data": [payment_object(row) for row in rows], "next_cursor": next_cursor})


async def get_payment(context: Context[Services], query: GetPayment) -> Answer:
    expand = query.expansions({"checkout_session", "wallet"})
    reads, merchant_id, payment_id = context.services.reads, context.merchant_id, context.path["id"]
    payments, attempts, facts = table_of(Payment), table_of(Attempt), table_of(PaymentFact)
    sessions = table_of(CheckoutSession)
    payment = await reads.one(
        select(payments).where(
            payments.c.merchant_id == merchant_id, payments.c.id == payment_id, payments.c.mode == context.mode
        )
    )
    if payment is None:
        raise NotFound("payment_not_found", f"there is no payment {payment_id}")
    tried = await reads.all(
        select(attempts)
        .where(attempts.c.merchant_id == merchant_id, attempts.c.payment_id == payment_id)
        .order_by(attempts.c.id)
    )
    history = await reads.all(
        select(facts)
        .where(facts.c.merchant_id == merchant_id, facts.c.payment_id == payment_id)
        .order_by(facts.c.number)
    )
    session = await reads.one(
        select(sessions).where(sessions.c.merchant_id == merchant_id, sessions.c.id == payment["session_id"])
    )
    assert session is not None, "a payment has its session"
    newest = {offer.id: offer for offer in offers_of(session)}.get(tried[-1]["offer_id"]) if tried else None
    shown = payment_object(payment) | {
        "attempts": [_attempt(row) for row in tried],
        "history": [_fact(row) for row in history],
        "decision": session["decision_id"],
        "offer": None if newest is None else newest.shown(),
        "quote": None if newest is None else newest.quote,
    }
    if "checkout_session" in expand:
        shown["checkout_session"] = session_shown(context.services, session)
    if "wallet" in expand:
        wallet = await find_wallet(reads, merchant_id, context.mode, payment["wallet_id"])
        shown["wallet"] = await wallet_object(reads, context.services.rails, wallet)
    return Answer(shown)


def _attempt(row: Row) -> dict[str, Any]:
    asset = Asset.parse(row["asset"])
    return {
        "id": row["id"],
        "rail": row["rail"],
        "account": row["account"],
        "method": row["method"],
        "status": row["status"],
        "offer": row["offer_id"],
        "amount": money_body(Money(row["units"], asset)),
        "received": money_body(Money(row["received_units"], asset)),
        "rail_reference": row["rail_reference"],
        "next_action": orjson.loads(row["next_action"]) if row["next_action"] else None,
        "decline": orjson.loads(row["decline"]) if row["decline"] else None,
        "step_up": steps_up(row["order_json"]),
        "created_at": rfc3339(row["created_us"]),
        "updated_at": rfc3339(row["updated_us"]),
    }


def _fact(row: Row) -> dict[str, Any]:
    return {
        "fact": row["kind"],
        "status": row["status"],
        "attempt": row["attempt_id"],
        "at": rfc3339(row["at_us"]),
        "recorded_at": rfc3339(row["recorded_us"]),
        "detail": orjson.loads(row["body"]),
    }


ENDPOINTS = (
    Endpoint("GET", "/v1/payments", list_payments, summary="List payments, newest first", tag="Payments",
             query=ListPayments, answer=Listed[PaymentShown]),
    Endpoint("GET", "/v1/payments/{id}", get_payment, summary="Look at a payment and its history", tag="Payments",
             query=GetPayment, answer=PaymentWhole),
)  # fmt: skip
