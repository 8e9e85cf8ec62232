"""Writing a payment's facts: appended, never changed; the payment's row keeps what they fold to."""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.clock import rfc3339
from orchestrator.database.unit import Changes, Row
from orchestrator.payments.payment import Fact, Status, after
from rates.money import WALLET_USD, Money


def usd_body(units: int) -> dict[str, str]:
    """Return nano-dollars in the API's form, cents at least."""
    return {"amount": Money(units, WALLET_USD).decimal(2), "currency": "USD"}


def money_body(money: Money) -> dict[str, str]:
    return {"amount": money.decimal(), "currency": money.asset.code}


def payment_object(row: Row) -> dict[str, Any]:
    """Return a payment as events and the API show it."""
    return {
        "id": row["id"],
        "status": row["status"],
        "checkout_session": row["session_id"],
        "wallet": row["wallet_id"],
        "customer": row["customer_id"],
        "amount": usd_body(row["amount_units"]),
        "credited": usd_body(row["credited_units"]),
        "refunded": usd_body(row["refunded_units"]),
        "created_at": rfc3339(row["created_us"]),
        "updated_at": rfc3339(row["updated_us"]),
    }


class Story:
    """Collects the facts that one unit adds to one payment, then writes them with the row they fold to."""

    def __init__(self, payment: Row, changes: Changes, now_us: int, *, fresh: bool = False) -> None:
        self._before = payment
        self._changes = changes
        self._now_us = now_us
        self._fresh = fresh
        self.row: Row = dict(payment)

    @property
    def status(self) -> Status:
        return Status(self.row["status"])

    def tell(self, fact: Fact, *, at_us: int | None = None, attempt_id: str | None = None, **body: Any) -> None:
        """Add one fact. ``at_us`` is when it happened at the rail; now, where it is our own."""
        status = after(self.status, fact)
        self.row["fact_count"] += 1
        self.row["status"] = status.value
        self._changes.insert(
            "payment_fact",
            merchant_id=self.row["merchant_id"],
            payment_id=self.row["id"],
            number=self.row["fact_count"],
            kind=fact.value,
            attempt_id=attempt_id,
            status=status.value,
            body=orjson.dumps(body).decode(),
            at_us=self._now_us if at_us is None else at_us,
            recorded_us=self._now_us,
        )

    def credited(self, units: int) -> None:
        self.row["credited_units"] += units

    def refunds(self, *, opened: int = 0, gone: int = 0, back: int = 0) -> None:
        """Count what was set aside for refunds, what of it went to the payer, and what came back (USD/9)."""
        self.row["refunding_units"] += opened
        self.row["refunded_units"] += gone - back

    def write(self) -> None:
        """Write the row; tell the merchant where the status is one that it waits for."""
        self.row["updated_us"] = self._now_us
        if self._fresh:
            self._changes.insert("payment", **self.row)
        else:
            changed = {name: value for name, value in self.row.items() if self._before[name] != value}
            self._changes.update("payment", (self.row["merchant_id"], self.row["id"]), **changed)
        if self.row["status"] == self._before["status"] and not self._fresh:
            return
        said = None if self._before["status"] in _AFTER_CREDIT else _TOLD.get(self.status)
        if said is not None:
            body = orjson.dumps(payment_object(self.row)).decode()
            self._changes.emit(said, self.row["id"], body, self.row["merchant_id"])


_AFTER_CREDIT = {
    Status.REFUND_PENDING.value,
    Status.PARTIALLY_REFUNDED.value,
    Status.REFUNDED.value,
    Status.DISPUTED.value,
    Status.CLAWED_BACK.value,
}
"""Refunds and disputes have events of their own: a payment that is credited again did not settle twice."""
_TOLD = {
    Status.PROCESSING: "payment.processing",
    Status.SETTLED: "payment.settled",
    Status.CREDITED: "payment.settled",
    Status.FAILED: "payment.failed",
    Status.REVIEW: "payment.review",
}
