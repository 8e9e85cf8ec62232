"""Entries of disputes. Pure. Source: the money rules, section "Recipes", rule 12.

Opened: credit is frozen. Withdrawn: what the rail took is a receivable until the bank decides. Lost: the receivable is gone
and whoever bears it pays, in the order of the rules; what the merchant covered is the customer's debt. Won: the mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.database.unit import Entry
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import Side, credit, debit, entry
from orchestrator.ledger.recipes import Holding
from rates.money import WALLET_USD, Money

MERCHANT_PARTS: Final[Mapping[str, Account]] = {
    "reserve": Account.MERCHANT_RESERVE,
    "available": Account.MERCHANT_AVAILABLE,
    "receivable": Account.MERCHANT_RECEIVABLE,
}
"""In the order in which they bear it."""
FEE_PARTS: Final[Mapping[str, Account]] = {
    "rail_fee": Account.FEES_RAIL_RECHARGED,
    "platform_fee": Account.FEES_PLATFORM,
    "fx_spread": Account.FX_SPREAD,
    "rounding": Account.ROUNDING,
}
_Sign = Callable[..., Side]


def _usd(units: int) -> Money:
    return Money(units, WALLET_USD)


@dataclass(frozen=True, slots=True)
class Disputed:
    """What the entries of one dispute have in common. ``fact`` names dispute and step."""

    fact: str
    wallet_id: str
    payment_id: str

    def frozen(self, units: int) -> Entry:
        return self._frozen("dispute_opened", units, debit, credit)

    def thawed(self, units: int) -> Entry:
        return self._frozen("dispute_ended", units, credit, debit)

    def _frozen(self, kind: str, units: int, out: _Sign, into: _Sign) -> Entry:
        return entry(
            kind, self.fact, out(Account.WALLET_PAID, _usd(units), self.wallet_id),
            into(Account.WALLET_FROZEN, _usd(units), self.wallet_id), payment_id=self.payment_id,
        )  # fmt: skip

    def withdrawn(self, local: Money, holding: Holding) -> Entry:
        return entry(
            "dispute_withdrawn", self.fact, debit(Account.DISPUTE_RECEIVABLE, local),
            credit(holding.account, local, holding.subject), payment_id=self.payment_id,
        )  # fmt: skip

    def returned(self, local: Money, holding: Holding, *, after_loss: bool) -> Entry:
        """The rail gave it back: out of the receivable, or out of the position where it was lost before."""
        into = Account.FX_POSITION if after_loss else Account.DISPUTE_RECEIVABLE
        return entry(
            "dispute_returned", self.fact, debit(holding.account, local, holding.subject), credit(into, local),
            payment_id=self.payment_id,
        )  # fmt: skip

    def lost(self, local: Money, borne: Borne) -> Entry:
        return entry(
            "dispute_lost", self.fact,
            debit(Account.FX_POSITION, local), credit(Account.DISPUTE_RECEIVABLE, local),
            *borne.sides(self.wallet_id, debit), credit(Account.FX_POSITION, _usd(borne.total)),
            debit(Account.WALLET_DEBT, _usd(borne.merchant), self.wallet_id),
            credit(Account.MERCHANT_UNFUNDED, _usd(borne.merchant)), payment_id=self.payment_id,
        )  # fmt: skip

    def won_after_lost(self, borne: Borne, debt_now: int) -> Entry:
        """Give back exactly what was taken. Debt that was repaid meanwhile comes back to the customer from the merchant."""
        return entry(
            "dispute_won", self.fact, *self._given_back(borne, debt_now), payment_id=self.payment_id,
        )  # fmt: skip

    def weighed_anew(self, local: Money, borne: Borne, debt_now: int) -> Entry:
        """Undo a loss that is to be shared out again: its mirror. The rail still has the money."""
        return entry(
            "dispute_weighed_anew", self.fact,
            debit(Account.DISPUTE_RECEIVABLE, local), credit(Account.FX_POSITION, local),
            *self._given_back(borne, debt_now), payment_id=self.payment_id,
        )  # fmt: skip

    def _given_back(self, borne: Borne, debt_now: int) -> list[Side]:
        cancelled = min(borne.merchant, max(0, debt_now))
        repaid = borne.merchant - cancelled
        return [
            debit(Account.FX_POSITION, _usd(borne.total)), *borne.sides(self.wallet_id, credit),
            debit(Account.MERCHANT_UNFUNDED, _usd(cancelled)), credit(Account.WALLET_DEBT, _usd(cancelled), self.wallet_id),
            debit(Account.MERCHANT_AVAILABLE, _usd(repaid)), credit(Account.WALLET_PAID, _usd(repaid), self.wallet_id),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Borne:
    """Who bears a lost dispute, USD/9."""

    frozen: int
    """Of the credit that was set aside for it."""
    other_lots: int
    parts: Mapping[str, int]
    """Of MERCHANT_PARTS and FEE_PARTS."""

    @property
    def merchant(self) -> int:
        return sum(self.parts.get(name, 0) for name in MERCHANT_PARTS)

    @property
    def total(self) -> int:
        return self.frozen + self.other_lots + sum(self.parts.values())

    def sides(self, wallet_id: str, sign: _Sign) -> list[Side]:
        """Return the lines of those who bear it. What is given back is free again, not frozen."""
        giving = sign is credit
        frozen = Account.WALLET_PAID if giving else Account.WALLET_FROZEN
        merchants = [sign(account, _usd(self.parts.get(name, 0))) for name, account in MERCHANT_PARTS.items()]
        fees = [sign(account, _usd(self.parts.get(name, 0))) for name, account in FEE_PARTS.items()]
        return [
            sign(frozen, _usd(self.frozen), wallet_id),
            sign(Account.WALLET_PAID, _usd(self.other_lots), wallet_id),
            *merchants,
            *fees,
        ]


def out_of_suspense(fact: str, local: Money, holding: Holding, capture_id: str, payment_id: str) -> Entry:
    """Disputed money that was never credited leaves the rail."""
    return entry(
        "suspense_withdrawn", fact, debit(Account.SUSPENSE, local, capture_id),
        credit(holding.account, local, holding.subject), payment_id=payment_id,
    )  # fmt: skip


def into_suspense(fact: str, local: Money, holding: Holding, capture_id: str, payment_id: str) -> Entry:
    return entry(
        "suspense_returned", fact, debit(holding.account, local, holding.subject),
        credit(Account.SUSPENSE, local, capture_id), payment_id=payment_id,
    )  # fmt: skip


def withdrawn_above(fact: str, local: Money, holding: Holding, payment_id: str) -> Entry:
    """A rail withdrew more than is left of the money: the merchant owes it until a person has looked."""
    return entry(
        "dispute_above_captured", fact, debit(Account.MERCHANT_RECEIVABLE, local),
        credit(holding.account, local, holding.subject), payment_id=payment_id,
    )  # fmt: skip


def returned_above(fact: str, local: Money, holding: Holding, payment_id: str) -> Entry:
    """The rail gave that back: the merchant owes it no longer."""
    return entry(
        "dispute_above_returned", fact, debit(holding.account, local, holding.subject),
        credit(Account.MERCHANT_RECEIVABLE, local), payment_id=payment_id,
    )  # fmt: skip


def no_longer_above(fact: str, local: Money, payment_id: str) -> Entry:
    """A refund that was under way failed, so that there was money to withdraw: the dispute is about it now."""
    return entry(
        "dispute_withdrawn_late", fact, debit(Account.DISPUTE_RECEIVABLE, local),
        credit(Account.MERCHANT_RECEIVABLE, local), payment_id=payment_id,
    )  # fmt: skip


def above_after_all(fact: str, local: Money, payment_id: str) -> Entry:
    """A refund that came first at the rail is heard of later: so much of what was withdrawn was above what was left."""
    return entry(
        "dispute_gave_way", fact, debit(Account.MERCHANT_RECEIVABLE, local),
        credit(Account.DISPUTE_RECEIVABLE, local), payment_id=payment_id,
    )  # fmt: skip
