"""Why a wallet does not pay: each refusal says what to do next, and changes nothing."""

from __future__ import annotations

from typing import Final

from orchestrator.errors import Conflict, Refusal
from rates.money import UNITS_MAX, WALLET_USD

_DOLLAR: Final = 10**WALLET_USD.scale


class InsufficientBalance(Refusal):
    """The wallet and its overdraft do not cover it: top up, then try again."""

    status = 402
    title = "The wallet does not cover it"


class WalletFrozen(Conflict):
    """The wallet may not be spent now; credits and captures of open holds are still taken."""

    title = "The wallet may not be spent"


def usd_text(units: int) -> str:
    """Return nano-dollars from 0 as a decimal string, cents at least: ``Money.decimal(2)``, for answers by the thousand."""
    dollars, rest = divmod(units, _DOLLAR)
    return f"{dollars}.{f'{rest:09}'.rstrip('0'):0<2}"


def usd(units: int) -> dict[str, str]:
    """Return nano-dollars from 0 in the form of the API, cents at least."""
    return {"amount": usd_text(units), "currency": "USD"}


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
