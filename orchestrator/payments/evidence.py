"""The evidence of a dispute, made from our own records: what was bought, delivered and used. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from sqlalchemy import select

from adapters.operations import Evidence
from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import (
    Attempt,
    Capture,
    CheckoutSession,
    Customer,
    DisputeAllocation,
    DisputeFact,
    JournalEntry,
    Merchant,
    Payment,
    Posting,
    UsageEvent,
    table_of,
)
from orchestrator.database.unit import Row
from orchestrator.payments.dispute_terms import dispute_object
from orchestrator.payments.offers import offers_of
from orchestrator.payments.story import money_body, payment_object, usd_body
from rates.money import Asset, Money

USAGE_MAX: Final = 1000
"""Lines of usage in a pack, the newest; their number and sum are told whole."""


async def pack(reads: Reads, dispute: Row) -> dict[str, Any]:
    """Return everything that we know about a disputed payment, as JSON."""
    merchant, payment_id = dispute["merchant_id"], dispute["payment_id"]
    payment = await _one(reads, Payment, merchant_id=merchant, id=payment_id)
    session = await _one(reads, CheckoutSession, merchant_id=merchant, id=payment["session_id"])
    capture = await _one(reads, Capture, merchant_id=merchant, id=dispute["capture_id"])
    attempt = await _one(reads, Attempt, merchant_id=merchant, id=capture["attempt_id"])
    customer = await _one(reads, Customer, merchant_id=merchant, mode=dispute["mode"],
                          reference=session["customer_reference"])  # fmt: skip
    seller = await _one(reads, Merchant, id=merchant)
    offer = next((one for one in offers_of(session) if one.id == attempt["offer_id"]), None)
    return {
        "dispute": dispute_object(dispute),
        "history": await _history(reads, dispute),
        "borne_by": await _borne(reads, dispute),
        "merchant": {"id": merchant, "name": seller["name"]},
        "customer": {
            "id": customer["id"], "reference": customer["reference"], "country": customer["country"],
            "email": customer["email"], "known_since": rfc3339(customer["created_us"]),
        },
        "payment": payment_object(payment),
        "paid": {
            "method": attempt["method"], "rail": attempt["rail"], "rail_reference": attempt["rail_reference"],
            "money": capture["money_id"], "amount": money_body(Money(capture["units"], Asset.parse(capture["asset"]))),
            "at": rfc3339(capture["captured_us"]),
        },
        "offer": None if offer is None else offer.shown(),
        "delivery": await _delivery(reads, dispute),
        "usage": await _usage(reads, dispute, capture["created_us"]),
        "merchant_says": orjson.loads(dispute["evidence"]),
    }  # fmt: skip


async def _one(reads: Reads, model: Any, **where: Any) -> Row:
    table = table_of(model)
    row = await reads.one(select(table).where(*(table.c[name] == value for name, value in where.items())))
    assert row is not None, f"{model.__name__} {where} belongs to the dispute's payment"
    return row


async def _history(reads: Reads, dispute: Row) -> list[dict[str, Any]]:
    table = table_of(DisputeFact)
    rows = await reads.all(
        select(table).where(table.c.merchant_id == dispute["merchant_id"], table.c.dispute_id == dispute["id"])
        .order_by(table.c.number)
    )  # fmt: skip
    return [{"fact": row["kind"], "at": rfc3339(row["at_us"]), **orjson.loads(row["body"])} for row in rows]


async def _borne(reads: Reads, dispute: Row) -> list[dict[str, Any]]:
    table = table_of(DisputeAllocation)
    rows = await reads.all(
        select(table).where(table.c.merchant_id == dispute["merchant_id"], table.c.dispute_id == dispute["id"])
        .order_by(table.c.number)
    )  # fmt: skip
    return [{"by": row["source"], "lot": row["subject"] or None, **_signed(row["units"])} for row in rows]


def _signed(units: int) -> dict[str, str]:
    body = usd_body(abs(units))
    return {**body, "amount": f"-{body['amount']}"} if units < 0 else body


async def _delivery(reads: Reads, dispute: Row) -> list[dict[str, Any]]:
    """Return the entries that credited this payment: when the buyer had what was paid for."""
    entries, postings = table_of(JournalEntry), table_of(Posting)
    rows = await reads.all(
        select(entries.c.id, entries.c.created_us, postings.c.units)
        .join(postings, (postings.c.merchant_id == entries.c.merchant_id) & (postings.c.mode == entries.c.mode)
              & (postings.c.sequence == entries.c.sequence))
        .where(entries.c.merchant_id == dispute["merchant_id"], entries.c.mode == dispute["mode"],
               entries.c.fact == dispute["capture_id"], postings.c.code == "wallet:paid")
    )  # fmt: skip
    return [{"entry": row["id"], "credited": usd_body(-row["units"]), "at": rfc3339(row["created_us"])} for row in rows]


async def _usage(reads: Reads, dispute: Row, since_us: int) -> dict[str, Any]:
    table = table_of(UsageEvent)
    rows = await reads.all(
        select(table.c.event_id, table.c.model, table.c.units, table.c.at_us)
        .where(table.c.merchant_id == dispute["merchant_id"], table.c.mode == dispute["mode"],
               table.c.wallet_id == dispute["wallet_id"], table.c.at_us >= since_us, table.c.status == "accepted")
        .order_by(table.c.at_us.desc())
        .limit(USAGE_MAX)
    )  # fmt: skip
    lines = [
        {"at": rfc3339(row["at_us"]), "event": row["event_id"], "model": row["model"], **usd_body(row["units"])}
        for row in rows
    ]
    return {"lines": lines, "events": len(rows), "charged": usd_body(sum(row["units"] for row in rows))}


def answer(found: Mapping[str, Any]) -> Evidence:
    """Return a pack as the rails take it; what the merchant says comes first."""
    says, paid, customer = found["merchant_says"], found["paid"], found["customer"]
    delivered = "; ".join(f"{one['credited']['amount']} USD on {one['at']}" for one in found["delivery"])
    usage = found["usage"]
    summary = (
        f"{found['merchant']['name']} sells prepaid API credit. The buyer paid {paid['amount']['amount']} "
        f"{paid['amount']['currency']} by {paid['method']} on {paid['at']} and was credited {delivered}. Since then "
        f"{usage['events']} API calls for {usage['charged']['amount']} USD were charged to the credit."
    )
    log = "\n".join(f"{one['at']} {one['model']} {one['event']} {one['amount']} USD" for one in usage["lines"])
    return Evidence(
        summary=f"{says['summary']}\n\n{summary}" if says.get("summary") else summary,
        product=says.get("product", "Prepaid credit for calls to AI models, delivered at once after payment"),
        customer_email=customer["email"] or "",
        customer_ip=says.get("customer_ip", ""),
        usage_log=log,
    )
