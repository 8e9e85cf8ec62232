"""Locks on a merchant's own accounts, and what stands in them."""

from __future__ import annotations

from typing import Final

from orchestrator.database.unit import Lock, View, account_lock
from orchestrator.ledger.chart import Account
from orchestrator.ledger.payout_recipes import MerchantSide
from rates.money import WALLET_USD

_USD: Final = str(WALLET_USD)
_SIDE: Final = (
    Account.MERCHANT_PENDING,
    Account.MERCHANT_AVAILABLE,
    Account.MERCHANT_RESERVE,
    Account.MERCHANT_RECEIVABLE,
)


def side_locks(merchant_id: str, mode: str) -> list[Lock]:
    return [account_lock(merchant_id, mode, account.value, "", _USD) for account in _SIDE]


def side_of(view: View, merchant_id: str, mode: str) -> MerchantSide:
    """Return the balances of the locked accounts."""
    pending, available, reserve, receivable = (
        view.balance(merchant_id, mode, account.value, "", _USD) for account in _SIDE
    )
    return MerchantSide(-pending, -available, -reserve, receivable)
