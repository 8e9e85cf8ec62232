"""A dispute before anything is booked: which money it is about, what it is worth, how it is shown. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from adapters.operations import DisputeEvent, DisputeState
from orchestrator.clock import rfc3339
from orchestrator.database.unit import Lock, Row, row_lock
from orchestrator.ledger.accounts import reversal_locks
from orchestrator.ledger.merchant_side import side_locks
from orchestrator.ledger.purse import OPEN_LOTS
from orchestrator.payments.pricing import Price
from orchestrator.payments.refund_terms import FEE_LINES
from orchestrator.payments.story import money_body, usd_body
from rates.money import Asset, Money

BY_RAIL: Final = ("rail", "account", "mode", "rail_dispute_id")
BY_DISPUTE: Final = ("merchant_id", "dispute_id")
BY_SUBJECT: Final = ("merchant_id", "subject")
LOOKS_MAX: Final = 4
"""How often a unit is begun anew because of DisputesChanged."""


class DisputesChanged(Exception):
    """A dispute of the money, or a loss, came between looking and locking: look again."""


@dataclass(frozen=True, slots=True)
class DisputeAt:
    """Which money a dispute is about, and under which id it is kept here."""

    merchant_id: str
    mode: str
    dispute_id: str
    capture_id: str
    payment_id: str
    wallet_id: str
    rail: str
    account: str
    rail_dispute_id: str

    @classmethod
    def of_row(cls, dispute: Row) -> DisputeAt:
        return cls(
            dispute["merchant_id"], dispute["mode"], dispute["id"], dispute["capture_id"], dispute["payment_id"],
            dispute["wallet_id"], dispute["rail"], dispute["account"], dispute["rail_dispute_id"],
        )  # fmt: skip

    def locks(self) -> list[Lock]:
        merchant = self.merchant_id
        return [
            row_lock("payment", merchant, self.payment_id),
            row_lock("capture", merchant, self.capture_id),
            Lock("dispute", BY_RAIL, (self.rail, self.account, self.mode, self.rail_dispute_id)),
            Lock("dispute_fact", BY_DISPUTE, (merchant, self.dispute_id)),
            Lock("dispute_allocation", BY_DISPUTE, (merchant, self.dispute_id)),
            Lock("review", BY_SUBJECT, (merchant, self.dispute_id)),
            row_lock("wallet", merchant, self.wallet_id),
            Lock("lot", OPEN_LOTS, (merchant, self.wallet_id, 1)),
            *reversal_locks(merchant, self.mode, self.wallet_id),
            *side_locks(merchant, self.mode),
        ]


_STEPS: Final = {
    DisputeState.NEEDS_ANSWER: 0,
    DisputeState.UNDER_REVIEW: 1,
    DisputeState.WON: 2,
    DisputeState.LOST: 2,
    DisputeState.CLOSED: 2,
}


def step(state: DisputeState, inquiry: bool) -> tuple[bool, int]:
    """Return how far a dispute has come: from a question of the bank to money, from asked to answered to decided.

    Both vendors go this way only, but their words arrive in any order: one of an earlier step is no news.
    Sources: https://docs.stripe.com/api/disputes/object (status),
    https://docs.adyen.com/risk-management/disputes-api/dispute-notifications
    """
    return not inquiry, _STEPS[state]


def dispute_object(row: Row) -> dict[str, Any]:
    """Return a dispute as events and the API show it."""
    asset = Asset.parse(row["asset"])
    answer_by = row["answer_by_us"]
    return {
        "id": row["id"],
        "payment": row["payment_id"],
        "wallet": row["wallet_id"],
        "status": row["state"],
        "inquiry": bool(row["inquiry"]),
        "amount": usd_body(row["units"]),
        "disputed": money_body(Money(row["local_units"], asset)),
        "withdrawn": money_body(Money(row["withdrawn_units"] + row["above_units"], asset)),
        "frozen": usd_body(sum(units for _, units in orjson.loads(row["frozen"]))),
        "clawed_back": usd_body(row["clawed_units"]),
        "stage": row["withdrawals"],
        "reason": row["reason"],
        "rail": row["rail"],
        "account": row["account"],
        "rail_reference": row["rail_dispute_id"],
        "answer_by": None if answer_by is None else rfc3339(answer_by),
        "answered": row["answered"] or None,
        "created_at": rfc3339(row["created_us"]),
        "updated_at": rfc3339(row["updated_us"]),
    }


def worth(price: Price, local: Money, returned: Collection[str]) -> tuple[int, Mapping[str, int]]:
    """Return what disputed money is worth in USD/9 by the price it came in at, and the fee lines of it that we give back."""
    received, total = price.received(), price.total.units
    known = {"rail_fee": received.rail_fee, "platform_fee": received.platform_fee, "fx_spread": received.fx_spread}
    fees = {name: money.units * local.units // total for name, money in known.items() if name in returned}
    if all(name in returned for name in FEE_LINES):
        fees["rounding"] = received.rounding.units * local.units // total
    return received.value.units * local.units // total, fees


@dataclass(frozen=True, slots=True)
class Bearing:
    """Who bears a lost dispute, USD/9."""

    fees: Mapping[str, int]
    frozen: Mapping[str, int]
    """Of the lots that were set aside for it."""
    lots: Mapping[str, int]
    """Of the customer's other paid lots, oldest first."""
    merchant: Mapping[str, int]
    """reserve, available, receivable."""

    @property
    def parts(self) -> dict[str, int]:
        return {**self.fees, **self.merchant}

    def rows(self) -> list[tuple[str, str, int]]:
        """Return (source, subject, units), as it is kept."""
        lots = [("lot", lot_id, units) for taken in (self.frozen, self.lots) for lot_id, units in taken.items()]
        named = [(name, "", units) for name, units in self.fees.items()]
        return [row for row in (*named, *lots, *((name, "", units) for name, units in self.merchant.items())) if row[2]]


def who_bears(
    value: int,
    fees: Mapping[str, int],
    frozen: Sequence[tuple[str, int]],
    free: Mapping[str, int],
    side: Mapping[str, int],
) -> Bearing:
    """Share out a loss in the order of the money rules; what is left then is owed.

    Fee lines that we give back, the credit that was set aside, the customer's other free paid credit, the merchant's
    reserve and available earnings.
    """
    left = value - sum(fees.values())

    def take(there: Iterable[tuple[str, int]]) -> dict[str, int]:
        nonlocal left
        taken: dict[str, int] = {}
        for name, units in there:
            part = min(max(0, units), left)
            if part:
                taken[name], left = taken.get(name, 0) + part, left - part
        return taken

    of_frozen = take(frozen)
    of_lots = take(free.items())
    merchant = take(side.items())
    return Bearing(fees, of_frozen, of_lots, {**merchant, "receivable": left} if left else merchant)


def fresh(at: DisputeAt, event: DisputeEvent, capture: Row, now_us: int) -> Row:
    units = 0
    if capture["lines"]:
        price = Price.from_json(orjson.loads(capture["lines"]))
        units = min(price.principal.units, price.principal.units * event.amount.units // price.total.units)
    return {
        "merchant_id": at.merchant_id, "id": at.dispute_id, "mode": at.mode, "rail": at.rail, "account": at.account,
        "rail_dispute_id": at.rail_dispute_id, "payment_id": at.payment_id, "capture_id": at.capture_id,
        "wallet_id": at.wallet_id, "state": event.state.value, "inquiry": int(event.inquiry),
        "asset": str(event.amount.asset), "local_units": event.amount.units, "units": units, "withdrawn_units": 0,
        "withdrawals": 0, "returns": 0, "above_units": 0, "frozen": "[]", "clawed_units": 0, "reason": event.reason, "answer_by_us": None,
        "evidence": "{}", "answered": "", "reminded": 0, "next_check_us": now_us, "created_us": now_us,
        "updated_us": now_us,
    }  # fmt: skip
