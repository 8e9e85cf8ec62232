"""Holds and spend leases: an amount is set aside before its cost is known. Decisions only, pure; ``hold_desk`` submits them.

A hold owns parts of lots (rule 13). Whoever ends it decides again under its lock, so that it ends once: captured, voided
or expired. A capture never drops usage: it takes what was set aside, then other credit, then debt. After the hold's time
a capture is a plain debit of the same amount, whether or not the expiry was booked yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.clock import rfc3339
from orchestrator.database.unit import Changes, Lock, Row, View, row_lock
from orchestrator.errors import Conflict
from orchestrator.ledger.purse import Allocation, Charged, Purse, purse_locks
from orchestrator.ledger.shown import usd, usd_text

HOLD: Final = "hold"
LEASE: Final = "lease"
BY_USAGE: Final = "usage"
BY_AMOUNT: Final = "amount"


@dataclass(frozen=True, slots=True)
class HoldTerms:
    """What is asked for. ``kind`` is ``hold`` or ``lease``; the id is the caller's, so that asking twice holds once."""

    merchant_id: str
    mode: str
    id: str
    wallet_id: str
    kind: str
    units: int
    """USD/9, above 0."""
    lives_us: int
    reference: str | None = None


def hold_locks(merchant_id: str, mode: str, wallet_id: str, hold_id: str) -> list[Lock]:
    """Return what a unit locks before it makes or ends a hold."""
    return [row_lock("hold", merchant_id, hold_id), *purse_locks(merchant_id, mode, wallet_id)]


def hold_shown(row: Row) -> dict[str, Any]:
    """Return a hold as the API shows it."""
    return {
        "id": row["id"],
        "wallet": row["wallet_id"],
        "status": row["status"],
        "amount": usd(row["units"]),
        "captured": usd(row["captured_units"]) if row["status"] == "captured" else None,
        "reference": row["reference"],
        "expires_at": rfc3339(row["expires_us"]),
        "created_at": rfc3339(row["created_us"]),
    }


def captured_shown(row: Row, charged: Charged, *, by: str = BY_USAGE) -> dict[str, Any]:
    """Return a captured hold: what was charged, out of which credit, and by what: usage events, or an amount."""
    parts = {
        "paid": usd_text(charged.paid),
        "promotional": usd_text(charged.promotional),
        "provisional": usd_text(charged.provisional),
        "debt": usd_text(charged.debt),
    }
    return hold_shown(row) | {"captured_by": by, "charged_to": parts}


def make_hold(view: View, changes: Changes, terms: HoldTerms) -> Row:
    """Set an amount aside; return the hold's row. The one that is there already, where the id was used before.

    Raises InsufficientBalance (402), WalletFrozen (409), NotFound.
    """
    there = view.one("hold", terms.merchant_id, terms.id)
    if there is not None:
        return there
    purse = Purse.open(view, terms.merchant_id, terms.mode, terms.wallet_id)
    allocation = purse.hold(terms.units)
    purse.write(changes, kind=terms.kind, fact=terms.id)
    row: Row = {
        "merchant_id": terms.merchant_id,
        "id": terms.id,
        "mode": terms.mode,
        "wallet_id": terms.wallet_id,
        "kind": terms.kind,
        "status": "open",
        "units": terms.units,
        "captured_units": 0,
        "uncovered_units": allocation.uncovered,
        "allocations": allocation.to_json(),
        "reference": terms.reference,
        "answer": None,
        "expires_us": view.now_us + terms.lives_us,
        "created_us": view.now_us,
        "updated_us": view.now_us,
    }
    changes.insert("hold", **row)
    return row


def capture_hold(view: View, changes: Changes, hold: Row, units: int) -> dict[str, Any]:
    """Charge what a hold was for; return the answer, the first one where it is asked again for the same amount.

    Raises Conflict: captured with another amount (hold_already_captured), or voided (hold_voided).
    """
    status = hold["status"]
    if status == "captured":
        if hold["captured_units"] != units:
            was = usd(hold["captured_units"])["amount"]
            raise Conflict(f"{hold['kind']}_already_captured", f"it was captured with {was} USD", captured=was)
        first: dict[str, Any] = orjson.loads(hold["answer"])
        return first
    if status == "voided":
        raise Conflict(f"{hold['kind']}_voided", "it was given back on your word; charge the usage by itself")
    purse = Purse.open(view, hold["merchant_id"], hold["mode"], hold["wallet_id"])
    if status == "open" and hold["expires_us"] > view.now_us:
        charged = purse.capture(Allocation.of(hold), units)
    else:  # its time is over: a plain debit, the same whether or not the expiry was booked before
        if status == "open":
            purse.release(Allocation.of(hold))
        charged = purse.charge(units, must=True)
    purse.write(changes, kind=f"{hold['kind']}_capture", fact=hold["id"])
    ended = {"status": "captured", "captured_units": units, "allocations": "[]", "updated_us": view.now_us}
    answer = captured_shown({**hold, **ended}, charged, by=BY_AMOUNT)
    _end(changes, hold, **ended, answer=orjson.dumps(answer).decode())
    return answer


def void_hold(view: View, changes: Changes, hold: Row) -> dict[str, Any]:
    """Give back what a hold set aside; return it. One that was given back already stays as it is.

    Raises Conflict (hold_already_captured).
    """
    if hold["status"] == "captured":
        was = usd(hold["captured_units"])["amount"]
        raise Conflict(f"{hold['kind']}_already_captured", f"it was captured with {was} USD", captured=was)
    return hold_shown(_give_back(view, changes, hold, "voided", "void") if hold["status"] == "open" else hold)


def expire_hold(view: View, changes: Changes, hold: Row) -> bool:
    """Give back what a hold set aside once its time is over; say whether it did."""
    if hold["status"] != "open" or hold["expires_us"] > view.now_us:
        return False
    _give_back(view, changes, hold, "expired", "expiry")
    return True


def _give_back(view: View, changes: Changes, hold: Row, status: str, word: str) -> Row:
    purse = Purse.open(view, hold["merchant_id"], hold["mode"], hold["wallet_id"])
    purse.release(Allocation.of(hold))
    purse.write(changes, kind=f"{hold['kind']}_{word}", fact=hold["id"])
    ended = {"status": status, "allocations": "[]", "updated_us": view.now_us}
    _end(changes, hold, **ended)
    return {**hold, **ended}


def _end(changes: Changes, hold: Row, **columns: Any) -> None:
    changes.update("hold", (hold["merchant_id"], hold["id"]), **columns)
