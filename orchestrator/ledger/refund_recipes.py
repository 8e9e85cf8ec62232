"""Entries of refunds. Pure. Source: the money rules, section "Recipes", rule 11.

Asked: the credit stands in ``wallet:refunding`` and can be used no more. Done: it leaves together with the fee lines that
go back, and the money leaves the rail. Each has its mirror, for a refund that the rail could not carry out or took back.
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

_FEES: Final[Mapping[str, Account]] = {
    "rail_fee": Account.FEES_RAIL_RECHARGED,
    "platform_fee": Account.FEES_PLATFORM,
    "fx_spread": Account.FX_SPREAD,
    "rounding": Account.ROUNDING,
}
_Sign = Callable[..., Side]


def _usd(units: int) -> Money:
    return Money(units, WALLET_USD)


@dataclass(frozen=True, slots=True)
class Refunding:
    """One refund as its entries see it. Units are USD/9."""

    fact: str
    wallet_id: str
    payment_id: str | None
    of_credit: int
    of_available: int
    of_receivable: int
    lines: Mapping[str, int]
    local: Money
    holding: Holding | None
    """Where the money lies; None where its way out is booked by itself (chains)."""

    @property
    def units(self) -> int:
        return self.of_credit + self.of_available + self.of_receivable

    def asked(self) -> Entry:
        return self._aside("refund_asked", debit, credit)

    def failed(self) -> Entry:
        return self._aside("refund_failed", credit, debit)

    def done(self) -> Entry:
        return self._gone("refund_done", debit, credit)

    def returned(self) -> Entry:
        """The rail took back a refund that was through: the money is here again."""
        return self._gone("refund_returned", credit, debit)

    def _aside(self, kind: str, out: _Sign, into: _Sign) -> Entry:
        return entry(
            kind,
            self.fact,
            out(Account.WALLET_PAID, _usd(self.of_credit), self.wallet_id),
            out(Account.MERCHANT_AVAILABLE, _usd(self.of_available)),
            out(Account.MERCHANT_RECEIVABLE, _usd(self.of_receivable)),
            into(Account.WALLET_REFUNDING, _usd(self.units), self.wallet_id),
            payment_id=self.payment_id,
        )

    def _gone(self, kind: str, out: _Sign, into: _Sign) -> Entry:
        fees = [out(_FEES[name], _usd(units)) for name, units in self.lines.items()]
        sides = [
            out(Account.WALLET_REFUNDING, _usd(self.units), self.wallet_id),
            *fees,
            into(Account.FX_POSITION, _usd(self.units + sum(self.lines.values()))),
        ]
        if self.holding is not None:
            sides += [
                out(Account.FX_POSITION, self.local),
                into(self.holding.account, self.local, self.holding.subject),
            ]
        return entry(kind, self.fact, *sides, payment_id=self.payment_id)


def to_wallet(fact: str, wallet_id: str, payment_id: str | None, *, available: int, receivable: int) -> Entry:
    """Give a customer used credit back: from what the merchant has available, the rest on the merchant's account."""
    return entry(
        "refund_to_wallet",
        fact,
        debit(Account.MERCHANT_AVAILABLE, _usd(available)),
        debit(Account.MERCHANT_RECEIVABLE, _usd(receivable)),
        credit(Account.WALLET_PAID, _usd(available + receivable), wallet_id),
        payment_id=payment_id,
    )


def refunded_above(fact: str, local: Money, holding: Holding, payment_id: str | None) -> Entry:
    """A rail sent more back than it had taken: the merchant owes it until a person has looked."""
    return entry(
        "refund_above_captured",
        fact,
        debit(Account.MERCHANT_RECEIVABLE, local),
        credit(holding.account, local, holding.subject),
        payment_id=payment_id,
    )


def returned_above(fact: str, local: Money, holding: Holding, payment_id: str | None) -> Entry:
    """What a rail had sent above what it had taken came back to it: the merchant owes it no longer."""
    return entry(
        "refund_above_returned",
        fact,
        debit(holding.account, local, holding.subject),
        credit(Account.MERCHANT_RECEIVABLE, local),
        payment_id=payment_id,
    )
