"""From what left a wallet's lots to one entry. Pure. Source: the money rules, "Recipes" and rule 1.

Only used *paid* credit becomes the merchant's (``merchant:pending``). Used free credit returns to its contra account;
what provisional credit or debt paid for is unfunded until real money comes.
"""

from __future__ import annotations

from typing import Final

from orchestrator.database.unit import Entry, Line
from orchestrator.ledger.chart import Account
from rates.money import WALLET_USD

_USD: Final = str(WALLET_USD)
_PAID: Final = Account.WALLET_PAID.value
_PROMO: Final = Account.WALLET_PROMO.value
_PROVISIONAL: Final = Account.WALLET_PROVISIONAL.value
_HELD_PAID: Final = Account.WALLET_HELD_PAID.value
_HELD_PROMO: Final = Account.WALLET_HELD_PROMO.value
_DEBT: Final = Account.WALLET_DEBT.value
_PENDING: Final = Account.MERCHANT_PENDING.value
_FUNDING: Final = Account.PROMO_FUNDING.value
_UNFUNDED: Final = Account.MERCHANT_UNFUNDED.value


class Spent:
    """What one unit took from a wallet, summed up. USD/9, from 0; ``held_*`` is negative where holds gave back more."""

    __slots__ = ("captured_paid", "captured_promo", "debt", "held_paid", "held_promo", "paid", "promo", "provisional")

    def __init__(self) -> None:
        self.paid = 0
        self.promo = 0
        self.provisional = 0
        self.debt = 0
        self.captured_paid = 0
        """Used out of what holds had set aside."""
        self.captured_promo = 0
        self.held_paid = 0
        """Set aside for holds, less what was given back."""
        self.held_promo = 0

    def entry(self, kind: str, fact: str, wallet_id: str, merge: str | None = None) -> Entry | None:
        """Return the entry; None where nothing moved."""
        lines: list[Line] = []
        add = lines.append
        if units := self.promo + self.held_promo:
            add(Line(_PROMO, wallet_id, _USD, units))
        if units := self.paid + self.held_paid:
            add(Line(_PAID, wallet_id, _USD, units))
        if units := self.provisional:
            add(Line(_PROVISIONAL, wallet_id, _USD, units))
        if units := self.captured_promo - self.held_promo:
            add(Line(_HELD_PROMO, wallet_id, _USD, units))
        if units := self.captured_paid - self.held_paid:
            add(Line(_HELD_PAID, wallet_id, _USD, units))
        if units := self.debt:
            add(Line(_DEBT, wallet_id, _USD, units))
        if units := self.paid + self.captured_paid:
            add(Line(_PENDING, "", _USD, -units))
        if units := self.promo + self.captured_promo:
            add(Line(_FUNDING, "", _USD, -units))
        if units := self.provisional + self.debt:
            add(Line(_UNFUNDED, "", _USD, -units))
        return Entry(kind, fact, tuple(lines), None, merge) if lines else None
