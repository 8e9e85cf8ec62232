"""From a business fact to its entry: one pure function each. Source: the money rules, section "Recipes"."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.database.unit import Entry
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from rates.money import WALLET_USD, Money


@dataclass(frozen=True, slots=True)
class Received:
    """Money that arrived, in its own currency, and what it is worth line by line in USD/9 at mid."""

    total: Money
    """What the rail or chain holds now, such as BRL/2 or USDT/6."""
    principal: Money
    rail_fee: Money
    """Rail and network fee, recharged to the buyer."""
    platform_fee: Money
    fx_spread: Money
    rounding: Money

    @property
    def value(self) -> Money:
        """The sum of the lines, USD/9: what the position in the local currency is worth at mid."""
        return self.principal + self.rail_fee + self.platform_fee + self.fx_spread + self.rounding


@dataclass(frozen=True, slots=True)
class DebtState:
    """What stands between a new credit and the wallet: all in USD/9."""

    debt: Money
    """The customer's debt: paid first."""
    merchant_receivable: Money
    """What the merchant owes us for it: comes back before the merchant earns."""


NO_DEBT = DebtState(Money.zero(WALLET_USD), Money.zero(WALLET_USD))


@dataclass(frozen=True, slots=True)
class Holding:
    """Where the money lies: the asset account that is debited."""

    account: Account
    subject: str


def top_up(
    fact: str,
    received: Received,
    *,
    holding: Holding,
    wallet_id: str,
    debt: DebtState = NO_DEBT,
    payment_id: str | None,
) -> tuple[Entry, Money]:
    """Credit a wallet from money that arrived; return the entry and what reached ``wallet:paid`` after debt."""
    repaid = min(received.principal, debt.debt, key=lambda money: money.units)
    to_receivable = min(repaid, debt.merchant_receivable, key=lambda money: money.units)
    paid = received.principal - repaid
    return entry(
        "topup",
        fact,
        debit(holding.account, received.total, holding.subject),
        credit(Account.FX_POSITION, received.total),
        debit(Account.FX_POSITION, received.value),
        credit(Account.WALLET_DEBT, repaid, wallet_id),
        credit(Account.WALLET_PAID, paid, wallet_id),
        credit(Account.FEES_RAIL_RECHARGED, received.rail_fee),
        credit(Account.FEES_PLATFORM, received.platform_fee),
        credit(Account.FX_SPREAD, received.fx_spread),
        credit(Account.ROUNDING, received.rounding),
        debit(Account.MERCHANT_UNFUNDED, repaid),
        credit(Account.MERCHANT_RECEIVABLE, to_receivable),
        credit(Account.MERCHANT_PENDING, repaid - to_receivable),
        payment_id=payment_id,
    ), paid


def unplaced(fact: str, total: Money, *, holding: Holding, payment_id: str | None) -> Entry:
    """Hold money that cannot be placed (wrong amount or currency, no rate); a review item goes with it."""
    return entry(
        "suspense",
        fact,
        debit(holding.account, total, holding.subject),
        credit(Account.SUSPENSE, total, fact),
        payment_id=payment_id,
    )
