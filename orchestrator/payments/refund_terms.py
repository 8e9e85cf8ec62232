"""What a refund gives back: shares of the price that was paid, and whose credit pays for it. Pure, whole numbers only.

A share is the difference of two shares counted from nothing, so that any number of partial refunds adds up to the whole
and the last one takes what rounding left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.clock import rfc3339
from orchestrator.database.tables import OPEN_REFUND_STATES
from orchestrator.database.unit import Row
from orchestrator.payments.pricing import Price
from orchestrator.payments.story import money_body, usd_body
from rates.money import WALLET_USD, Asset, Money

OPEN: Final = frozenset(OPEN_REFUND_STATES)
FEE_LINES: Final = ("rail_fee", "platform_fee", "fx_spread")
"""Lines of a price that the configuration may give back; with all of them ``rounding`` goes back too."""


@dataclass(frozen=True, slots=True)
class Share:
    """One refund in numbers."""

    units: int
    """Credit, USD/9."""
    local: Money
    """What the payer gets."""
    lines: Mapping[str, int]
    """Fee lines that go back with it, USD/9."""

    @property
    def value(self) -> Money:
        """What leaves the dollar side: credit and fee lines."""
        return Money(self.units + sum(self.lines.values()), WALLET_USD)

    def lines_json(self) -> str:
        return orjson.dumps(dict(self.lines)).decode()

    @classmethod
    def of_row(cls, refund: Row) -> Share:
        local = Money(refund["local_units"], Asset.parse(refund["asset"]))
        return cls(refund["units"], local, orjson.loads(refund["lines"]))


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything that one piece of money can give back."""

    principal: int
    local: Money
    lines: Mapping[str, int]

    @classmethod
    def of(cls, price: Price, returned: Collection[str]) -> Whole:
        """``returned``: which of FEE_LINES go back to the payer."""
        received = price.received()
        known = {
            "rail_fee": received.rail_fee.units,
            "platform_fee": received.platform_fee.units,
            "fx_spread": received.fx_spread.units,
        }
        lines = {name: units for name, units in known.items() if name in returned}
        if all(name in returned for name in FEE_LINES):
            lines["rounding"] = received.rounding.units
        value = received.principal.units + sum(lines.values())
        local = Money(price.total.units * value // received.value.units, price.total.asset)
        return cls(received.principal.units, local, lines)

    def share(self, units: int, before: Sequence[Share]) -> Share:
        """Return what goes back for ``units`` of the credit, after others. Raises ValueError beyond the whole."""
        after = sum(one.units for one in before) + units
        if units <= 0 or after > self.principal:
            raise ValueError(f"{units} more of {self.principal}, of which {after - units} went back")
        local = self._upto(self.local.units, after) - sum(one.local.units for one in before)
        lines = {
            name: max(0, self._upto(line, after) - sum(one.lines.get(name, 0) for one in before))
            for name, line in self.lines.items()
        }
        return Share(units, Money(max(0, local), self.local.asset), lines)

    def credit_for(self, local: Money, before: Sequence[Share]) -> Share:
        """Return the share that somebody else's refund of ``local`` stands for: never more than what is left."""
        left = self.principal - sum(one.units for one in before)
        units = min(left, -(-local.units * self.principal // self.local.units)) if self.local.units else left
        if units <= 0:
            return Share(0, local, {})
        return Share(units, local, self.share(units, before).lines)

    def _upto(self, whole: int, units: int) -> int:
        return whole * units // self.principal


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the credit of a refund came from; a failure puts it back there."""

    lots: tuple[tuple[str, int], ...] = ()
    available: int = 0
    """Of the merchant's, where the customer has used it."""
    receivable: int = 0
    """What the merchant had not: it owes us that."""

    @property
    def credit(self) -> int:
        return sum(units for _, units in self.lots)

    def to_json(self) -> str:
        return orjson.dumps({"lots": self.lots, "available": self.available, "receivable": self.receivable}).decode()

    @classmethod
    def of_row(cls, refund: Row) -> Sources:
        data: dict[str, Any] = orjson.loads(refund["sources"])
        return cls(tuple((lot, units) for lot, units in data["lots"]), data["available"], data["receivable"])


def free_of(lot: Row) -> int:
    """Return what neither a charge, a hold, a dispute nor a refund has taken of a lot."""
    return int(lot["remaining_units"]) - int(lot["held_units"]) - int(lot["frozen_units"])


def take(units: int, money_id: str, lots: Sequence[Row], available: int, *, used_too: bool) -> Sources | None:
    """Take the credit of a refund from the lot that the money made; None where too little of it is left.

    ``used_too``: what the customer has used comes from the wallet's other paid lots, oldest first, then from what the
    merchant has available, and what is not there the merchant owes.
    """
    paid = [lot for lot in lots if lot["kind"] == "paid"]
    own = [lot for lot in paid if lot["source"] == money_id]
    others = sorted((lot for lot in paid if lot["source"] != money_id), key=lambda lot: (lot["created_us"], lot["id"]))
    left, parts = units, []
    for lot in [*own, *others] if used_too else own:
        part = min(left, max(0, free_of(lot)))
        if part:
            parts.append((lot["id"], part))
            left -= part
    if left and not used_too:
        return None
    of_merchant = min(left, max(0, available))
    return Sources(tuple(parts), of_merchant, left - of_merchant)


def refund_object(row: Row) -> dict[str, Any]:
    """Return a refund as events and the API show it."""
    share = Share.of_row(row)
    sources = Sources.of_row(row)
    lines = [{"type": "principal", **usd_body(share.units)}]
    lines += [{"type": name, **usd_body(units)} for name, units in share.lines.items()]
    return {
        "id": row["id"],
        "payment": row["payment_id"],
        "wallet": row["wallet_id"],
        "status": "pending" if row["status"] in OPEN else row["status"],
        "amount": usd_body(share.units),
        "paid_back": None if row["destination"] == "wallet" else money_body(share.local),
        "lines": lines,
        "destination": row["destination"],
        "from_merchant": usd_body(sources.available + sources.receivable),
        "reason": row["reason"],
        "origin": row["origin"],
        "rail": row["rail"],
        "rail_reference": row["rail_reference"],
        "failure": row["failure"],
        "created_at": rfc3339(row["created_us"]),
        "updated_at": rfc3339(row["updated_us"]),
    }
