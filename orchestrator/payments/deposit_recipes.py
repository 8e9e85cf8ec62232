"""Entries of deposits whose block may still fall away. Pure. Source: the money rules, "Provisional USDT", rules 1, 12, 14.

What is spent of provisional credit is unfunded until the deposit is final, so no merchant is paid out of a block that
can vanish. A credit that was final and fell all the same takes back what is left of its own lot; the rest is the
customer's debt, and a receivable from the merchant who earned it: what repays the debt brings both back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.database.unit import Entry
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import Side, credit, debit, entry
from orchestrator.ledger.recipes import DebtState, Received
from rates.money import Money


@dataclass(frozen=True, slots=True)
class Booked:
    """What the entries of one deposit have in common. ``fact`` names deposit and generation: each entry is new."""

    fact: str
    network: str
    wallet_id: str
    payment_id: str | None
    received: Received

    def _fees(self, side: Callable[[Account, Money], Side]) -> list[Side]:
        received = self.received
        return [
            side(Account.FEES_RAIL_RECHARGED, received.rail_fee),
            side(Account.FEES_PLATFORM, received.platform_fee),
            side(Account.FX_SPREAD, received.fx_spread),
            side(Account.ROUNDING, received.rounding),
        ]

    def provisional(self) -> Entry:
        """Credit until the block is final: the fees are not earned yet."""
        received = self.received
        return entry(
            "provisional",
            self.fact,
            debit(Account.CHAIN_UNCONFIRMED, received.total, self.network),
            credit(Account.FX_POSITION, received.total),
            debit(Account.FX_POSITION, received.principal),
            credit(Account.WALLET_PROVISIONAL, received.principal, self.wallet_id),
            payment_id=self.payment_id,
        )

    def provisional_orphaned(self, unspent: Money) -> Entry:
        """Take provisional credit back; what was spent of it is debt (it is unfunded already)."""
        received = self.received
        return entry(
            "provisional_orphaned",
            self.fact,
            debit(Account.FX_POSITION, received.total),
            credit(Account.CHAIN_UNCONFIRMED, received.total, self.network),
            debit(Account.WALLET_PROVISIONAL, unspent, self.wallet_id),
            debit(Account.WALLET_DEBT, received.principal - unspent, self.wallet_id),
            credit(Account.FX_POSITION, received.principal),
            payment_id=self.payment_id,
        )

    def provisional_final(self, kind: str, unspent: Money, debt: DebtState) -> tuple[Entry, Money]:
        """Make provisional credit real; return the entry and what reached ``wallet:paid`` after debt."""
        received = self.received
        spent = received.principal - unspent
        repaid = min(unspent, debt.debt, key=lambda money: money.units)
        to_receivable = min(repaid, debt.merchant_receivable, key=lambda money: money.units)
        return entry(
            kind,
            self.fact,
            debit(Account.CHAIN_FINAL, received.total, self.network),
            credit(Account.CHAIN_UNCONFIRMED, received.total, self.network),
            debit(Account.WALLET_PROVISIONAL, unspent, self.wallet_id),
            credit(Account.WALLET_DEBT, repaid, self.wallet_id),
            credit(Account.WALLET_PAID, unspent - repaid, self.wallet_id),
            debit(Account.FX_POSITION, received.value - received.principal),
            *self._fees(credit),
            debit(Account.MERCHANT_UNFUNDED, repaid + spent),
            credit(Account.MERCHANT_RECEIVABLE, to_receivable),
            credit(Account.MERCHANT_PENDING, repaid - to_receivable + spent),
            payment_id=self.payment_id,
        ), unspent - repaid

    def final(self, kind: str, debt: DebtState) -> tuple[Entry, Money]:
        """Credit what is final; return the entry and what reached ``wallet:paid`` after debt."""
        received = self.received
        repaid = min(received.principal, debt.debt, key=lambda money: money.units)
        to_receivable = min(repaid, debt.merchant_receivable, key=lambda money: money.units)
        return entry(
            kind,
            self.fact,
            debit(Account.CHAIN_FINAL, received.total, self.network),
            credit(Account.FX_POSITION, received.total),
            debit(Account.FX_POSITION, received.value),
            credit(Account.WALLET_DEBT, repaid, self.wallet_id),
            credit(Account.WALLET_PAID, received.principal - repaid, self.wallet_id),
            *self._fees(credit),
            debit(Account.MERCHANT_UNFUNDED, repaid),
            credit(Account.MERCHANT_RECEIVABLE, to_receivable),
            credit(Account.MERCHANT_PENDING, repaid - to_receivable),
            payment_id=self.payment_id,
        ), received.principal - repaid

    def final_orphaned(self, taken: Money) -> Entry:
        """Take a final credit back: ``taken`` is what its lot still had."""
        received = self.received
        missing = received.principal - taken
        return entry(
            "topup_orphaned",
            self.fact,
            debit(Account.FX_POSITION, received.total),
            credit(Account.CHAIN_FINAL, received.total, self.network),
            debit(Account.WALLET_PAID, taken, self.wallet_id),
            *self._fees(debit),
            debit(Account.MERCHANT_RECEIVABLE, missing),
            credit(Account.FX_POSITION, received.value),
            debit(Account.WALLET_DEBT, missing, self.wallet_id),
            credit(Account.MERCHANT_UNFUNDED, missing),
            payment_id=self.payment_id,
        )


def suspense(kind: str, fact: str, deposit_id: str, total: Money, network: str, payment_id: str | None) -> Entry:
    """Hold a final deposit that cannot be placed."""
    return entry(
        kind, fact, debit(Account.CHAIN_FINAL, total, network), credit(Account.SUSPENSE, total, deposit_id),
        payment_id=payment_id,
    )  # fmt: skip


def suspense_orphaned(fact: str, deposit_id: str, total: Money, network: str, payment_id: str | None) -> Entry:
    """What was held fell away with its block."""
    return entry(
        "suspense_orphaned", fact, debit(Account.SUSPENSE, total, deposit_id),
        credit(Account.CHAIN_FINAL, total, network), payment_id=payment_id,
    )  # fmt: skip


def allotted(kind: str, fact: str, deposit_id: str, total: Money, network: str) -> Entry:
    """Take a deposit out of suspense again, so that it can be credited by its recipe."""
    return entry(kind, fact, debit(Account.SUSPENSE, total, deposit_id), credit(Account.CHAIN_FINAL, total, network))
