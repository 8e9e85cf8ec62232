"""Free credit given, credit whose time is over: one entry each. Pure. Source: the money rules, "Recipes", Promo."""

from __future__ import annotations

from orchestrator.database.unit import Entry
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.ledger.lots import PROMO_KINDS
from rates.money import WALLET_USD, Money


def granted(lot_id: str, wallet_id: str, units: int) -> Entry:
    """Give free credit: nobody paid for it, so it stands against its own contra account."""
    money = Money(units, WALLET_USD)
    return entry("grant", lot_id, debit(Account.PROMO_FUNDING, money), credit(Account.WALLET_PROMO, money, wallet_id))


def taken_back(kind: str, lot_id: str, lot_kind: str, wallet_id: str, units: int, *, left: int) -> Entry:
    """Take what is left of a lot out of a wallet: free credit as it was given, never income; paid credit as breakage.

    A lot may lose its parts one after the other (what a hold set aside goes when the hold ends): ``left``, what remains
    of it afterwards, tells the entries apart.
    """
    money = Money(units, WALLET_USD)
    if lot_kind in PROMO_KINDS:
        sides = debit(Account.WALLET_PROMO, money, wallet_id), credit(Account.PROMO_FUNDING, money)
    else:
        sides = debit(Account.WALLET_PAID, money, wallet_id), credit(Account.BREAKAGE, money)
    return entry(kind, f"{lot_id}/{left}", *sides)
