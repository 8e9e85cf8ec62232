"""The life of one wallet, its merchant and one rail, with sums told a second time. See ``properties.test_money_back_machine``.

The sums know nothing of lots, holds or allocations: only what came in, what was asked, and what the rail said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import select

from adapters.base import Mode
from adapters.operations import DisputeState, RefundEvent, RefundOrder, RefundState
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.earnings import Earnings
from orchestrator.ledger.hold_desk import Holds
from orchestrator.ledger.payouts import Payouts
from orchestrator.metering.price_book import PriceBook
from orchestrator.metering.rerating import Reratings
from orchestrator.metering.usage import Metering
from orchestrator.payments.disputes import Disputes
from orchestrator.payments.refunds import Refunds
from orchestrator.settings import DisputePolicy, RiskTier
from rates.money import Money
from tests.integration.payments.scene import ACCOUNT, RAIL, FakeRail, Scene

USD = 10**9
TIERS = {"standard": RiskTier(delay_days=0, reserve_bps=1500, reserve_days=2)}
BANK = {"name": "Acme", "iban": "DE02120300000000202051"}
ENDED = {DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED}
RETURNS = DisputePolicy().returned(RAIL)
MERCHANTS = ("reserve", "available", "receivable")


class RefundRail(FakeRail):
    """Takes every refund and says nothing yet."""

    async def refund_payment(self, order: RefundOrder) -> RefundEvent:
        return refund_event(
            order.refund_id, order.money_id, RefundState.PENDING, order.amount, "asked", order.created_at
        )

    async def fetch_refund(self, _order: RefundOrder) -> RefundEvent | None:
        return None


def refund_event(
    refund_id: str | None, money_id: str, state: RefundState, amount: Money, number: str, at: Any
) -> RefundEvent:
    reference = f"re_{refund_id or number}"
    return RefundEvent(
        RAIL, ACCOUNT, Mode.TEST, f"evt_{reference}_{number}", state, refund_id, reference, money_id, amount, at
    )


@dataclass
class Paid:
    """One piece of money, and what the model knows of it. Local units."""

    payment: str
    capture: str
    money_id: str
    units: int
    value: int
    """USD/9 of all lines."""
    fees: dict[str, int]
    """Lines that go back where a dispute is lost."""
    refunding: int = 0
    refunded: int = 0
    withdrawn: int = 0

    @property
    def room(self) -> int:
        return max(0, self.units - self.refunding - self.refunded - self.withdrawn)


@dataclass
class Fight:
    """One dispute."""

    paid: Paid
    amount: int
    state: DisputeState
    inquiry: bool
    withdrawals: int = 0
    returns: int = 0
    withdrawn: int = 0
    above: int = 0
    clawed: int = 0
    """Of the customer and the merchant, USD/9."""


@dataclass
class Life:
    """The parts, and the sums told a second time."""

    scene: Scene
    refunds: Refunds
    disputes: Disputes
    metering: Metering
    prices: PriceBook
    reratings: Reratings
    holds: Holds
    earnings: Earnings
    payouts: Payouts
    wallet: str = ""
    money: list[Paid] = field(default_factory=list)
    fights: dict[str, Fight] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    words: dict[str, tuple[datetime, bool]] = field(default_factory=dict)
    """The rail's last word of each refund: when, and whether it failed."""
    paid_out: list[str] = field(default_factory=list)
    price: Fraction = Fraction(0)
    version: str = ""
    rated: list[tuple[int, Fraction]] = field(default_factory=list)
    """Quantity and price of what was not re-rated yet."""
    rerated_us: int = 0
    carry: Fraction = Fraction(0)
    number: int = 0
    at_rail: int = 0
    """Local units that the rail should hold."""
    together: int = 0
    """USD/9 that customer and merchant should have together, free credit left out."""
    customers: int = 0
    """USD/9 that the customer should have, free credit in."""

    def next(self) -> int:
        self.number += 1
        return self.number

    async def rows(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        return await self.scene.reads.all(query.order_by(*table.primary_key.columns))
