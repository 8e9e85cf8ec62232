"""What a bank of the simulation remembers: the truth that the books are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.base import PaymentOrder, RailEvent
from adapters.operations import DisputeEvent, DisputeState, RefundEvent, RefundOrder, RefundState
from rates.money import Money


@dataclass
class Page:
    """One payment at the bank."""

    order: PaymentOrder
    status: str = "open"
    """open | paid | declined | canceled | expired"""
    told: bool = False
    """We were told of it, by an answer, a poll or a webhook that was taken."""
    said: list[RailEvent] = field(default_factory=list)


@dataclass
class Taken:
    """One piece of money that the bank took from a buyer for us."""

    money_id: str
    attempt_id: str
    amount: Money
    refunded: int = 0
    """Gone back, or on its way."""
    withdrawn: int = 0
    dispute: str | None = None

    @property
    def left(self) -> int:
        return self.amount.units - self.refunded - self.withdrawn


@dataclass
class GivingBack:
    order: RefundOrder
    reference: str
    state: RefundState
    said: list[RefundEvent] = field(default_factory=list)


@dataclass
class Disputed:
    id: str
    money_id: str
    amount: Money
    state: DisputeState = DisputeState.NEEDS_ANSWER
    answered: str = ""
    said: list[DisputeEvent] = field(default_factory=list)


@dataclass
class Payout:
    reference: str
    line_id: str
    amount: Money
    lines: frozenset[str]
    """What it is made of."""
    returned: bool = False
