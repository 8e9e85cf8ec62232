"""How a wallet may be spent and when it warns: overdraft policy, thresholds, frozen or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.errors import NotFound
from orchestrator.ledger.refusals import not_active
from orchestrator.ledger.shown import usd

DEFAULTS: Final[Mapping[str, Any]] = {
    "status": "active",
    "overdraft": "hard",
    "overdraft_units": 0,
    "low_balance_units": None,
    "runway_days": None,
}
"""What a wallet has that nobody set anything for."""


def settings_shown(wallet: Row) -> dict[str, Any]:
    """Return a wallet's settings as the API shows them."""
    low = wallet["low_balance_units"]
    return {
        "overdraft": wallet["overdraft"],
        "overdraft_limit": usd(wallet["overdraft_units"]),
        "low_balance": None if low is None else usd(low),
        "runway_days": wallet["runway_days"],
    }


def settings_unit(merchant_id: str, mode: str, wallet_id: str, columns: Mapping[str, Any]) -> Unit:
    """Return a unit that changes these columns of a wallet. Its answer is empty.

    Raises NotFound, WalletFrozen (wallet_closed: what is closed stays closed). A new threshold warns anew.
    """

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        wallet = view.one("wallet", merchant_id, wallet_id)
        if wallet is None or wallet["mode"] != mode:
            raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}")
        if wallet["status"] == "closed":
            raise not_active(wallet_id, "closed")
        changed = {name: value for name, value in columns.items() if wallet[name] != value}
        if changed.keys() & {"low_balance_units", "runway_days"}:
            changed["low_told_us"] = None
        changes.update("wallet", (merchant_id, wallet_id), **changed)
        return {}

    return Unit(merchant_id, mode, None, (row_lock("wallet", merchant_id, wallet_id),), decide)
