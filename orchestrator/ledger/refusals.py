"""Why a wallet does not pay: each refusal says what to do next, and changes nothing."""

from __future__ import annotations

from orchestrator.errors import Conflict, Refusal
from orchestrator.ledger.shown import usd
from rates.money import UNITS_MAX


class InsufficientBalance(Refusal):
    """The wallet and its overdraft do not cover it: top up, then try again."""

    status = 402
    title = "The wallet does not cover it"


class WalletFrozen(Conflict):
    """The wallet may not be spent now; credits and captures of open holds are still taken."""

    title = "The wallet may not be spent"


def insufficient(wallet_id: str, asked: int, spendable: int) -> InsufficientBalance:
    shown, wanted = usd(max(0, min(spendable, UNITS_MAX))), usd(min(asked, UNITS_MAX))
    return InsufficientBalance(
        "insufficient_balance",
        f"{wanted['amount']} USD were asked for, the wallet can spend {shown['amount']}: top it up",
        wallet=wallet_id,
        spendable=shown,
    )


def not_active(wallet_id: str, status: str) -> WalletFrozen:
    return WalletFrozen(
        f"wallet_{status}", f"the wallet is {status}: it takes credits, it pays nothing", wallet=wallet_id
    )
