"""What a merchant is told when a wallet runs low or goes into debt: once per crossing. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.database.unit import Changes, Row, View
from orchestrator.ledger.accounts import debt_state
from orchestrator.ledger.shown import usd


def tell_low(changes: Changes, wallet: Row, available: int, *, reason: str, **more: Any) -> None:
    """Say that a wallet runs low; ``reason`` is ``threshold`` or ``runway``."""
    body = {"wallet": wallet["id"], "reason": reason, "available": usd(available), **more}
    changes.emit("wallet.debited_low", wallet["id"], orjson.dumps(body).decode(), wallet["merchant_id"])


def tell_negative(changes: Changes, wallet: Row, debt: int) -> None:
    body = {"wallet": wallet["id"], "debt": usd(debt), "overdraft": wallet["overdraft"]}
    changes.emit("wallet.negative", wallet["id"], orjson.dumps(body).decode(), wallet["merchant_id"])


def watch_threshold(changes: Changes, wallet: Row, before: int, after: int, now_us: int) -> dict[str, Any]:
    """Tell the merchant where a debit crossed the wallet's threshold; return what the wallet's row takes over.

    ``low_told_us`` keeps a wallet that is low already from being told again; a credit above the threshold arms it, and
    the next debit notices (the credit itself writes nothing here). Where a runway is watched too, its worker disarms.
    """
    threshold = wallet["low_balance_units"]
    if threshold is None:
        return {}
    told_us = wallet["low_told_us"]
    if after < threshold:
        if before < threshold and told_us is not None:
            return {}
        tell_low(changes, wallet, after, reason="threshold", threshold=usd(threshold))
        return {"low_told_us": now_us}
    if told_us is not None and wallet["runway_days"] is None:
        return {"low_told_us": None}
    return {}


def tell_debt(view: View, changes: Changes, merchant_id: str, wallet_id: str, units: int) -> None:
    """Say that a wallet is in debt now, by what its merchant covers of a loss; not where it was in debt before."""
    wallet = view.one("wallet", merchant_id, wallet_id)
    assert wallet is not None, "credited money has its wallet"
    if units and not debt_state(view, merchant_id, wallet["mode"], wallet_id).debt.units:
        tell_negative(changes, wallet, units)
