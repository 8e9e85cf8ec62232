"""Stripe's refunds, disputes and balance transactions: shapes, words, and what they mean.

Sources: https://docs.stripe.com/api/refunds/object, https://docs.stripe.com/api/disputes/object,
https://docs.stripe.com/api/balance_transactions/object, https://docs.stripe.com/reports/balance-transaction-types
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, Field

from adapters.base import RailAccount
from adapters.operations import (
    DisputeEvent,
    DisputeState,
    Funds,
    LineKind,
    RefundEvent,
    RefundState,
    SettlementLine,
)
from adapters.stripe.wire import ATTEMPT_KEY, moment
from adapters.stripe.wire_amounts import from_wire
from rates.money import Money

REFUND_KEY: Final = "crossrail_refund"
"""Our refund id in ``metadata``."""

REFUND_MEANS: Final = {
    "pending": RefundState.PENDING,
    "requires_action": RefundState.PENDING,
    "succeeded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.FAILED,
}
DISPUTE_MEANS: Final = {
    "warning_needs_response": DisputeState.NEEDS_ANSWER,
    "warning_under_review": DisputeState.UNDER_REVIEW,
    "warning_closed": DisputeState.CLOSED,
    "needs_response": DisputeState.NEEDS_ANSWER,
    "under_review": DisputeState.UNDER_REVIEW,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
    "prevented": DisputeState.CLOSED,
}
"""A word that is not here: under review, so that nothing is given up and nothing is given back."""
FUNDS_MEANS: Final = {
    "charge.dispute.funds_withdrawn": Funds.WITHDRAWN,
    "charge.dispute.funds_reinstated": Funds.RETURNED,
}
LINE_MEANS: Final = {
    "charge": LineKind.PAYMENT,
    "payment": LineKind.PAYMENT,
    "refund": LineKind.REFUND,
    "payment_refund": LineKind.REFUND,
    "refund_failure": LineKind.REFUND_FAILED,
    "payment_failure_refund": LineKind.REFUND,
    "payment_reversal": LineKind.DISPUTE,
    "stripe_fee": LineKind.FEE,
    "stripe_fx_fee": LineKind.FEE,
    "tax_fee": LineKind.FEE,
    "payout": LineKind.PAYOUT,
    "payout_cancel": LineKind.PAYOUT,
    "payout_failure": LineKind.PAYOUT,
}
CATEGORY_MEANS: Final = {"dispute": LineKind.DISPUTE, "dispute_reversal": LineKind.DISPUTE_REVERSED}
"""Of ``adjustment`` lines: their ``reporting_category`` says what they are."""


class Refund(BaseModel):
    id: str
    amount: int
    currency: str
    created: int
    status: str | None = None
    payment_intent: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] | None = None


class EvidenceDetails(BaseModel):
    due_by: int | None = None


class Moved(BaseModel):
    """What a dispute did to the balance: below zero withdrawn, above zero reinstated."""

    amount: int
    created: int


class Dispute(BaseModel):
    id: str
    amount: int
    currency: str
    created: int
    status: str
    reason: str
    payment_intent: str | None = None
    evidence_details: EvidenceDetails = Field(default_factory=EvidenceDetails)
    balance_transactions: list[Moved] = []
    """One where the funds were withdrawn, two where they came back (https://docs.stripe.com/api/disputes/object)."""

    def moves(self, funds: Funds) -> list[Moved]:
        return [one for one in self.balance_transactions if (one.amount < 0) == (funds is Funds.WITHDRAWN)]


class Source(BaseModel):
    """What a line is about: a charge, a refund, a dispute."""

    id: str
    amount: int | None = None
    amount_captured: int | None = None
    """Of a charge: less than ``amount`` where only a part was taken."""
    currency: str | None = None
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None


class BalanceTransaction(BaseModel):
    id: str
    amount: int
    fee: int
    net: int
    currency: str
    created: int
    exchange_rate: Decimal | None = None
    """Amount in the currency of ``source`` times this = ``amount``; there where the two differ."""
    type: str
    reporting_category: str
    source: Source | str | None = None


def refund_event(refund: Refund, account: RailAccount, at: datetime | None = None) -> RefundEvent:
    return RefundEvent(
        rail=account.rail,
        account=account.account,
        mode=account.mode,
        event_id=f"{refund.id}:{refund.status}",
        state=REFUND_MEANS.get(refund.status or "", RefundState.PENDING),
        refund_id=(refund.metadata or {}).get(REFUND_KEY),
        rail_reference=refund.id,
        money_id=refund.payment_intent,
        amount=from_wire(refund.amount, refund.currency),
        occurred_at=at or moment(refund.created),
        reason=refund.failure_reason or "",
    )


def dispute_event(dispute: Dispute, account: RailAccount, kind: str = "", at: datetime | None = None) -> DisputeEvent:
    """``kind`` is the event's type: only that says that money moved. A movement has one id, however it is told."""
    funds = FUNDS_MEANS.get(kind, Funds.UNCHANGED)
    word = dispute.status if funds is Funds.UNCHANGED else str(max(1, len(dispute.moves(funds))))
    due = dispute.evidence_details.due_by
    return DisputeEvent(
        rail=account.rail,
        account=account.account,
        mode=account.mode,
        event_id=f"{dispute.id}:{word}:{funds}",
        dispute_id=dispute.id,
        state=DISPUTE_MEANS.get(dispute.status, DisputeState.UNDER_REVIEW),
        inquiry=dispute.status.startswith("warning_"),
        funds=funds,
        money_id=dispute.payment_intent,
        attempt_id=None,
        amount=from_wire(dispute.amount, dispute.currency),
        reason=dispute.reason,
        answer_by=None if due is None else moment(due),
        occurred_at=at or moment(dispute.created),
    )


def dispute_events(dispute: Dispute, account: RailAccount, at: datetime) -> list[DisputeEvent]:
    """Return what a listed dispute says, newest first: what its funds did, and how it stands at that time."""
    told = [dispute_event(dispute, account, at=at)]
    for kind, funds in FUNDS_MEANS.items():
        for number, move in enumerate(dispute.moves(funds), start=1):
            event = dispute_event(dispute, account, kind, moment(move.created))
            told.append(replace(event, event_id=f"{dispute.id}:{number}:{funds}"))
    return told[::-1]


def settlement_line(line: BalanceTransaction) -> SettlementLine:
    source = line.source if isinstance(line.source, Source) else None
    known: Mapping[str, Any] = CATEGORY_MEANS if line.type == "adjustment" else LINE_MEANS
    word = line.reporting_category if line.type == "adjustment" else line.type
    return SettlementLine(
        line_id=line.id,
        kind=known.get(word, LineKind.OTHER),
        word=line.type,
        money_id=source.payment_intent if source else None,
        attempt_id=(source.metadata or {}).get(ATTEMPT_KEY) if source else None,
        reference=line.source if isinstance(line.source, str) else source.id if source else None,
        gross=from_wire(line.amount, line.currency),
        fee=from_wire(line.fee, line.currency),
        net=from_wire(line.net, line.currency),
        occurred_at=moment(line.created),
        original=_original(line, source),
        exchange_rate="" if line.exchange_rate is None else str(line.exchange_rate),
    )


def _original(line: BalanceTransaction, source: Source | None) -> Money | None:
    """Return what a converted line was before, signed as the line; None where nothing was converted or nobody says."""
    if line.exchange_rate is None or source is None or source.currency in {None, line.currency}:
        return None
    units = source.amount if source.amount_captured is None else source.amount_captured
    if units is None or source.currency is None:
        return None
    return from_wire(-units if line.amount < 0 else units, source.currency)
