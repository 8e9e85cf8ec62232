"""Locks on accounts, so that a decision can see the balances it depends on."""

from __future__ import annotations

from orchestrator.database.unit import Lock, View, account_lock
from orchestrator.ledger.chart import Account
from orchestrator.ledger.recipes import DebtState
from rates.money import WALLET_USD, Money

_USD = str(WALLET_USD)


def top_up_locks(merchant_id: str, mode: str, wallet_id: str) -> list[Lock]:
    """Lock what a top-up looks at: the wallet's paid part and debt, and what the merchant owes."""
    return [
        account_lock(merchant_id, mode, Account.WALLET_PAID.value, wallet_id, _USD),
        account_lock(merchant_id, mode, Account.WALLET_DEBT.value, wallet_id, _USD),
        account_lock(merchant_id, mode, Account.MERCHANT_RECEIVABLE.value, "", _USD),
    ]


def reversal_locks(merchant_id: str, mode: str, wallet_id: str) -> list[Lock]:
    """Lock what refunds and disputes move in a wallet."""
    parts = (Account.WALLET_PAID, Account.WALLET_REFUNDING, Account.WALLET_FROZEN, Account.WALLET_DEBT)
    return [account_lock(merchant_id, mode, part.value, wallet_id, _USD) for part in parts]


def debt_state(view: View, merchant_id: str, mode: str, wallet_id: str) -> DebtState:
    def owed(account: Account, subject: str) -> Money:
        return Money(max(0, view.balance(merchant_id, mode, account.value, subject, _USD)), WALLET_USD)

    return DebtState(owed(Account.WALLET_DEBT, wallet_id), owed(Account.MERCHANT_RECEIVABLE, ""))
