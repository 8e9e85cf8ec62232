"""Free credit: promotional, or compensation for something that went wrong. Given and taken back inside units. Pure.

A grant never repays a debt: only real money does (rule 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.clock import rfc3339
from orchestrator.database.unit import Changes, Lock, Row, View, account_lock, row_lock
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.ledger.chart import Account
from orchestrator.ledger.credit_recipes import granted, taken_back
from orchestrator.ledger.lots import PROMO_KINDS
from orchestrator.ledger.purse import Purse, purse_locks
from orchestrator.ledger.refusals import not_active
from orchestrator.ledger.shown import usd
from rates.money import WALLET_USD


@dataclass(frozen=True, slots=True)
class Grant:
    """What is given. The id is the lot's and the caller's, so that asking twice gives once."""

    merchant_id: str
    mode: str
    id: str
    wallet_id: str
    kind: str
    """promotional | compensation"""
    units: int
    """USD/9, above 0."""
    priority: int
    expires_us: int | None
    reason: str


def grant_locks(grant: Grant) -> list[Lock]:
    promo = account_lock(grant.merchant_id, grant.mode, Account.WALLET_PROMO.value, grant.wallet_id, str(WALLET_USD))
    return [
        row_lock("wallet", grant.merchant_id, grant.wallet_id), row_lock("lot", grant.merchant_id, grant.id), promo,
    ]  # fmt: skip


def lot_shown(row: Row) -> dict[str, Any]:
    """Return a lot as the API shows it."""
    return {
        "id": row["id"],
        "wallet": row["wallet_id"],
        "kind": row["kind"],
        "amount": usd(row["units"]),
        "remaining": usd(row["remaining_units"]),
        "held": usd(row["held_units"]),
        "source": row["source"],
        "priority": row["priority"],
        "expires_at": None if row["expires_us"] is None else rfc3339(row["expires_us"]),
        "created_at": rfc3339(row["created_us"]),
    }


def give(view: View, changes: Changes, grant: Grant) -> Row:
    """Credit a wallet; return the lot. The one that is there already, where the id was used before.

    Raises NotFound, WalletFrozen where the wallet is closed (a frozen one takes credit), Invalid.
    """
    there = view.one("lot", grant.merchant_id, grant.id)
    if there is not None:
        return there
    wallet = view.one("wallet", grant.merchant_id, grant.wallet_id)
    if wallet is None or wallet["mode"] != grant.mode:
        raise NotFound("wallet_not_found", f"there is no wallet {grant.wallet_id}")
    if wallet["status"] == "closed":
        raise not_active(grant.wallet_id, "closed")
    if grant.expires_us is not None and grant.expires_us <= view.now_us:
        raise Invalid("expires_at_is_past", "this credit would have expired already", pointer="/expires_at")
    changes.post(granted(grant.id, grant.wallet_id, grant.units))
    lot: Row = {
        "merchant_id": grant.merchant_id,
        "id": grant.id,
        "mode": grant.mode,
        "wallet_id": grant.wallet_id,
        "kind": grant.kind,
        "source": grant.id,
        "payment_id": None,
        "units": grant.units,
        "remaining_units": grant.units,
        "held_units": 0,
        "frozen_units": 0,
        "open": 1,
        "priority": grant.priority,
        "expires_us": grant.expires_us,
        "created_us": view.now_us,
    }
    changes.insert("lot", **lot)
    body = {
        "wallet": grant.wallet_id,
        "amount": usd(grant.units),
        "kind": grant.kind,
        "reason": grant.reason,
        "expires_at": lot_shown(lot)["expires_at"],
        "payment": None,
        "source": grant.id,
    }
    changes.emit("wallet.credited", grant.wallet_id, orjson.dumps(body).decode(), grant.merchant_id)
    return lot


def revoke_locks(merchant_id: str, mode: str, wallet_id: str, lot_id: str) -> list[Lock]:
    return [row_lock("lot", merchant_id, lot_id), *purse_locks(merchant_id, mode, wallet_id)]


def revoke(view: View, changes: Changes, merchant_id: str, mode: str, wallet_id: str, lot_id: str, reason: str) -> Row:
    """Take back what is neither spent nor held of a grant; return the lot as it is then.

    Raises NotFound, Conflict where it is no grant or nothing of it is left.
    """
    Purse.open(view, merchant_id, mode, wallet_id)  # the wallet is there, and of this mode
    lot = view.one("lot", merchant_id, lot_id)
    if lot is None or lot["wallet_id"] != wallet_id:
        raise NotFound("credit_not_found", f"this wallet has no credit {lot_id}")
    if lot["kind"] not in PROMO_KINDS:
        raise Conflict("credit_is_paid", "the customer paid for it: refund the payment instead")
    units = unbound(lot)
    if units == 0:
        raise Conflict("credit_is_used", "nothing of it is left, or holds have it: wait until they have ended")
    after, columns = taken_out(lot, units)
    changes.post(taken_back("grant_revoked", lot_id, lot["kind"], wallet_id, units, left=after["remaining_units"]))
    changes.update("lot", (merchant_id, lot_id), **columns)
    body = {"wallet": wallet_id, "credit": lot_id, "kind": lot["kind"], "amount": usd(units), "reason": reason}
    changes.emit("wallet.revoked_credit", wallet_id, orjson.dumps(body).decode(), merchant_id)
    return after


def unbound(lot: Row) -> int:
    """Return what is left of a lot and set aside for nobody, USD/9."""
    units: int = lot["remaining_units"] - lot["held_units"] - lot["frozen_units"]
    return units


def taken_out(lot: Row, units: int) -> tuple[Row, dict[str, int]]:
    """Return the lot without these units, and the columns that change."""
    left = lot["remaining_units"] - units
    columns = {"remaining_units": left, "open": 1 if left else 0}
    return {**lot, **columns}, columns
