"""Payments and reviews as the dashboard reads them: lists by cursor, one payment with all that hangs on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import (
    Attempt,
    CheckoutSession,
    Decision,
    JournalEntry,
    Payment,
    PaymentFact,
    Posting,
    Review,
    table_of,
)
from orchestrator.database.unit import Row
from orchestrator.payments.wire_json import steps_up
from orchestrator.routing.control import RuleControl
from orchestrator.routing.explain import DecisionUnreadable, explain
from orchestrator.web.sight import FACTS_READ_MAX, deposits_of

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class PaymentFile:
    """One payment and everything that hangs on it."""

    payment: Row
    session: Row | None
    facts: Sequence[Row]
    attempts: Sequence[Row]
    deposits: Sequence[Row]
    entries: Sequence[tuple[Row, Sequence[Row]]]
    decision: Mapping[str, Any] | None


async def payments_page(reads: Reads, *, status: str, merchant: str, after: str) -> tuple[list[Row], str]:
    """Return the newest payments below a cursor, and the next cursor (empty at the end)."""
    table = table_of(Payment)
    query = select(table).order_by(table.c.id.desc()).limit(PAGE + 1)
    if status:
        query = query.where(table.c.status == status)
    if merchant:
        query = query.where(table.c.merchant_id == merchant)
    if after:
        query = query.where(table.c.id < after)
    return _paged(await reads.all(query))


async def reviews_page(reads: Reads, *, status: str, after: str) -> tuple[list[Row], str]:
    table = table_of(Review)
    query = select(table).where(table.c.status == status).order_by(table.c.id.desc()).limit(PAGE + 1)
    if after:
        query = query.where(table.c.id < after)
    rows, following = _paged(await reads.all(query))
    return [{**row, "evidence": orjson.loads(row["evidence"])} for row in rows], following


def _paged(rows: list[Row]) -> tuple[list[Row], str]:
    shown = rows[:PAGE]
    return shown, shown[-1]["id"] if len(rows) > PAGE else ""


async def payment_file(reads: Reads, merchant: str, payment_id: str, rules: RuleControl) -> PaymentFile | None:
    """Read one payment in one view of the database."""
    payments, facts, attempts = table_of(Payment), table_of(PaymentFact), table_of(Attempt)
    sessions, entries, postings = table_of(CheckoutSession), table_of(JournalEntry), table_of(Posting)
    async with reads.snapshot() as snapshot:
        found = await snapshot.all(
            select(payments).where(payments.c.merchant_id == merchant, payments.c.id == payment_id)
        )
        if not found:
            return None
        payment = found[0]
        told = await snapshot.all(
            select(facts)
            .where(facts.c.merchant_id == merchant, facts.c.payment_id == payment_id)
            .order_by(facts.c.number)
            .limit(FACTS_READ_MAX)
        )
        tried = await snapshot.all(
            select(attempts)
            .where(attempts.c.merchant_id == merchant, attempts.c.payment_id == payment_id)
            .order_by(attempts.c.id)
        )
        session = await snapshot.all(
            select(sessions).where(sessions.c.merchant_id == merchant, sessions.c.id == payment["session_id"])
        )
        heads = await snapshot.all(
            select(entries)
            .where(
                entries.c.merchant_id == merchant,
                entries.c.mode == payment["mode"],
                entries.c.payment_id == payment_id,
            )
            .order_by(entries.c.sequence)
        )
        lines = await snapshot.all(
            select(postings)
            .where(
                postings.c.merchant_id == merchant,
                postings.c.mode == payment["mode"],
                postings.c.sequence.in_([head["sequence"] for head in heads]),
            )
            .order_by(postings.c.sequence, postings.c.line)
        )
        deposits = await snapshot.all(deposits_of(merchant, told))
    decision = await _decision(reads, session[0], rules) if session else None
    return PaymentFile(
        payment=payment,
        session=session[0] if session else None,
        facts=[{**fact, "body": orjson.loads(fact["body"])} for fact in told],
        attempts=[
            {
                **row,
                "decline": orjson.loads(row["decline"]) if row["decline"] else None,
                "step_up": steps_up(row["order_json"]),
            }
            for row in tried
        ],
        deposits=deposits,
        entries=[(head, [line for line in lines if line["sequence"] == head["sequence"]]) for head in heads],
        decision=decision,
    )


async def _decision(reads: Reads, session: Row, rules: RuleControl) -> Mapping[str, Any] | None:
    table = table_of(Decision)
    row = await reads.one(
        select(table).where(table.c.merchant_id == session["merchant_id"], table.c.id == session["decision_id"])
    )
    if row is None:
        return None
    try:
        return explain(row["body"], await rules.ruleset(row["ruleset_hash"]))
    except DecisionUnreadable as error:
        return {"unreadable": str(error)}
