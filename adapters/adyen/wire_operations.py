"""Adyen's refunds, disputes and settlement detail report: shapes, words, and what they mean.

Sources: https://docs.adyen.com/online-payments/refund, https://docs.adyen.com/online-payments/capture,
https://docs.adyen.com/risk-management/disputes-api/dispute-notifications (event codes),
https://docs.adyen.com/reporting/settlement-reconciliation/transaction-level/settlement-details-report (columns, types;
gross times rate is net and fees: https://docs.gr4vy.com/guides/dashboard/reports/settlement/adyen)
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.adyen import wire_amounts
from adapters.adyen.wire import LATER
from adapters.adyen.wire_webhooks import Item, amount_of
from adapters.base import RailAccount
from adapters.operations import (
    NOT_CAPTURED,
    DisputeEvent,
    DisputeState,
    Funds,
    LineKind,
    RefundEvent,
    RefundState,
    SettlementLine,
)
from rates.money import Money, MoneyError, Rounding, display_asset

REFUND_MEANS: Final = {
    ("REFUND", "true"): RefundState.SUCCEEDED,
    ("REFUND", "false"): RefundState.FAILED,
    ("REFUND_FAILED", "true"): RefundState.FAILED,
    ("REFUNDED_REVERSED", "true"): RefundState.FAILED,
}
"""``REFUND`` true: "the refund request was successful"; a bank may still send it back, which the other two say."""

DISPUTE_MEANS: Final = {
    "REQUEST_FOR_INFORMATION": (DisputeState.NEEDS_ANSWER, Funds.UNCHANGED, True),
    "NOTIFICATION_OF_CHARGEBACK": (DisputeState.NEEDS_ANSWER, Funds.UNCHANGED, False),
    "CHARGEBACK": (DisputeState.NEEDS_ANSWER, Funds.WITHDRAWN, False),
    "DISPUTE_OPENED_WITH_CHARGEBACK": (DisputeState.NEEDS_ANSWER, Funds.WITHDRAWN, False),
    "INFORMATION_SUPPLIED": (DisputeState.UNDER_REVIEW, Funds.UNCHANGED, False),
    "CHARGEBACK_REVERSED": (DisputeState.UNDER_REVIEW, Funds.RETURNED, False),
    "SECOND_CHARGEBACK": (DisputeState.LOST, Funds.WITHDRAWN, False),
    "PREARBITRATION_WON": (DisputeState.WON, Funds.UNCHANGED, False),
    "PREARBITRATION_LOST": (DisputeState.LOST, Funds.WITHDRAWN, False),
    "ISSUER_RESPONSE_TIMEFRAME_EXPIRED": (DisputeState.WON, Funds.UNCHANGED, False),
    "DISPUTE_DEFENSE_PERIOD_ENDED": (DisputeState.LOST, Funds.UNCHANGED, False),
}
"""State, what happened to the money, and whether it is only a question. Others say nothing of a dispute."""

SAME_AS: Final = {"DISPUTE_OPENED_WITH_CHARGEBACK": "CHARGEBACK"}
"""Sent when a CHARGEBACK comes without its notification; whether CHARGEBACK is sent beside it is not documented. They are one
statement under one id, so that the money is withdrawn once, whichever comes and however many.
Source: https://docs.adyen.com/api-explorer/Webhooks/1/post/DISPUTE_OPENED_WITH_CHARGEBACK"""

CAPTURE_FAILED: Final = "CAPTURE_FAILED"
"""The scheme rejected a capture that Adyen had called successful: the money is not there, and nobody can answer it. It is told
as a dispute that is lost at once, under an id of its own, because that takes back what was credited.
Source: https://docs.adyen.com/online-payments/capture/failure-reasons"""

OTHER_CODES: Final = frozenset({"AUTHORISATION", "OFFER_CLOSED", "CANCELLATION", "EXPIRE", "CAPTURE"})
LINE_MEANS: Final = {
    "Settled": LineKind.PAYMENT,
    "Refunded": LineKind.REFUND,
    "RefundedReversed": LineKind.REFUND_FAILED,
    "Chargeback": LineKind.DISPUTE,
    "SecondChargeback": LineKind.DISPUTE,
    "ChargebackReversed": LineKind.DISPUTE_REVERSED,
    "Fee": LineKind.FEE,
    "InvoiceDeduction": LineKind.FEE,
    "MerchantPayout": LineKind.PAYOUT,
}
FEES: Final = ("Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)")


class UnreadableReport(ValueError):
    """The file has not the columns or amounts of Adyen's document: a person must look."""


def is_read(code: str) -> bool:
    return (
        code in OTHER_CODES
        or code in DISPUTE_MEANS
        or code == CAPTURE_FAILED
        or any(code == known for known, _ in REFUND_MEANS)
    )


def refund_event(item: Item, account: RailAccount) -> RefundEvent | None:
    state = REFUND_MEANS.get((item.eventCode, item.success))
    if state is None:
        return None
    return RefundEvent(
        rail=account.rail,
        account=account.account,
        mode=account.mode,
        event_id=f"{item.eventCode}:{item.pspReference}:{item.success}",
        state=state,
        refund_id=item.merchantReference or None,
        rail_reference=item.pspReference,
        money_id=item.originalReference or None,
        amount=amount_of(item),
        occurred_at=item.eventDate.astimezone(UTC),
        reason="" if state is RefundState.SUCCEEDED else (item.reason or "")[:200],
    )


def dispute_event(item: Item, account: RailAccount) -> DisputeEvent | None:
    failed = item.eventCode == CAPTURE_FAILED
    meaning = (DisputeState.LOST, Funds.WITHDRAWN, False) if failed else DISPUTE_MEANS.get(item.eventCode)
    if meaning is None or item.success != "true":
        return None
    state, funds, inquiry = meaning
    return DisputeEvent(
        rail=account.rail,
        account=account.account,
        mode=account.mode,
        event_id=f"{SAME_AS.get(item.eventCode, item.eventCode)}:{item.pspReference}",
        dispute_id=f"capture.{item.pspReference}" if failed else item.pspReference,
        state=state,
        inquiry=inquiry,
        funds=funds,
        money_id=item.originalReference or None,
        attempt_id=item.merchantReference.removesuffix(LATER) or None,
        amount=amount_of(item),
        reason=f"{NOT_CAPTURED}: {item.reason or ''}"[:200] if failed else (item.reason or "")[:200],
        answer_by=None,  # stands in additionalData, which the signature does not cover
        occurred_at=item.eventDate.astimezone(UTC),
    )


def settlement_lines(text: str, batch: str) -> Iterator[SettlementLine]:
    """Read one settlement detail report. Raises UnreadableReport."""
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=1):
        try:
            yield _line(row, batch, number)
        except (KeyError, InvalidOperation, MoneyError, ValueError, ZoneInfoNotFoundError) as error:
            raise UnreadableReport(f"batch {batch}, line {number}: {type(error).__name__} {error}") from None


def _line(row: Mapping[str, str], batch: str, number: int) -> SettlementLine:
    """Fees and net are in the currency of settlement; gross is shown in it too, as net and fees.

    What was converted stands in the columns of the gross currency, with the rate that makes the one out of the other.
    """
    currency = row["Net Currency"] or row["Gross Currency"]
    net = _amount(row["Net Credit (NC)"], currency) - _amount(row["Net Debit (NC)"], currency)
    fee = sum((_amount(row[name], currency) for name in FEES), start=Money.zero(display_asset(currency)))
    kind = LINE_MEANS.get(row["Type"], LineKind.OTHER)
    created = datetime.fromisoformat(row["Creation Date"]).replace(tzinfo=_zone(row["TimeZone"]))
    return SettlementLine(
        line_id=f"{batch}:{number}",
        kind=kind,
        word=row["Type"],
        money_id=row["Psp Reference"] or None,
        attempt_id=row["Merchant Reference"] or None if kind is LineKind.PAYMENT else None,
        reference=row["Modification Reference"] or None,
        gross=net + fee,
        fee=fee,
        net=net,
        occurred_at=created.astimezone(UTC),
        batch=batch,
        original=_original(row, currency),
        exchange_rate=_rate(row, currency),
    )


def _rate(row: Mapping[str, str], settled_in: str) -> str:
    """Return the rate of a conversion as it is printed; nothing where none was printed or nothing was converted."""
    text = row.get("Exchange Rate") or ""
    if not text or row["Gross Currency"] in {"", settled_in}:
        return ""
    rate = Decimal(text)
    if not rate.is_finite() or rate <= 0:
        raise UnreadableReport(f"no rate: {text}")
    return text


def _original(row: Mapping[str, str], settled_in: str) -> Money | None:
    currency = row["Gross Currency"]
    if currency in {"", settled_in}:
        return None
    return _amount(row["Gross Credit (GC)"], currency) - _amount(row["Gross Debit (GC)"], currency)


def _amount(text: str, currency: str) -> Money:
    value = Decimal(text or "0")
    if currency not in wire_amounts.DECIMALS or not value.is_finite():
        raise UnreadableReport(f"no amount: {text} {currency}")
    return Money.of(Fraction(value), display_asset(currency), Rounding.EXACT)


def _zone(name: str) -> ZoneInfo:
    return ZoneInfo({"CET": "Europe/Amsterdam", "CEST": "Europe/Amsterdam", "": "UTC"}.get(name, name))
