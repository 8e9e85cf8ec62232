"""Money out to a merchant, in two steps and by two people.

    requested -- approve --> sent -- confirm --> paid -- take back --> returned
        |                      |
        +-- fail --> canceled  +-- fail --> failed

Asking sets the amount aside (``payout:transit``), so that no second request can take it. Whoever asked cannot approve.
At approval the merchant's balances and its bank account are looked at again. ``sent`` stays until somebody knows what
became of it: silence of a bank is not a failure. What is sent may leave in a file for the bank (``payout_batches``).

A destination is paid to only after a second person has confirmed it; the first one of a merchant too, unless configured
otherwise (``payouts.hold_first_destination``): whoever has taken over an account sets the first one as easily as the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Payout, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Forbidden, Invalid, NotFound
from orchestrator.ledger.destinations import checked_destination
from orchestrator.ledger.merchant_side import side_locks, side_of
from orchestrator.ledger.payout_recipes import confirm_payout, fail_payout, request_payout, return_payout
from orchestrator.ledger.shown import usd
from orchestrator.settings import RiskTier

CENT_UNITS: Final = 10_000_000
"""A cent in USD/9."""
WORDS_CHARS_MAX: Final = 80

Shown = Mapping[str, Any]


class SecondPersonNeeded(Forbidden):
    title = "Money out takes two people"


class Payouts:
    """Asks for payouts, approves, confirms and fails them. Safe from any number of processes."""

    def __init__(self, writer: Writer, reads: Reads, tiers: Mapping[str, RiskTier], *, hold_first: bool = True) -> None:
        """``hold_first``: a merchant's first destination waits for a second person too."""
        self._writer = writer
        self._reads = reads
        self._tiers = tiers
        self._hold_first = hold_first

    async def request(self, wanted: PayoutWanted) -> Shown:
        """Set an amount aside, or all that is available. Raises Conflict (not enough, no destination), NotFound, Invalid.

        The same id again gets the same payout.
        """
        merchant_id, mode = wanted.merchant_id, wanted.mode

        def decide(view: View, changes: Changes) -> Shown:
            merchant = view.one("merchant", merchant_id)
            if merchant is None:
                raise NotFound("no_such_merchant", "there is no merchant with this id")
            if merchant["payout_destination"] is None:
                raise Conflict("payout_destination_missing", "the platform has not set where this merchant is paid to")
            payable = whole_cents(side_of(view, merchant_id, mode).payable)
            units = payable if wanted.units is None else wanted.units
            if not 0 < units <= payable:
                raise Conflict("payout_exceeds_available", f"{usd(payable)['amount']} USD can be paid out now",
                               payable=usd(payable))  # fmt: skip
            row: Row = {
                "merchant_id": merchant_id, "id": wanted.id, "mode": mode, "status": "requested", "units": units,
                "destination": merchant["payout_destination"], "requested_by": wanted.by, "approved_by": None,
                "bank_reference": None, "failure": None, "created_us": view.now_us, "updated_us": view.now_us,
                "batch_id": None, "batch_held": 0,
            }  # fmt: skip
            changes.insert("payout", **row)
            changes.post(request_payout(wanted.id, units))
            return _told(changes, "payout.created", row)

        if wanted.units is not None and wanted.units != whole_cents(wanted.units):
            raise Invalid("payout_has_parts_of_a_cent", "banks pay whole cents", pointer="/amount/amount")
        locks = [row_lock("merchant", merchant_id), *side_locks(merchant_id, mode)]
        unit = Unit(merchant_id, mode, f"payout:{wanted.id}:request", locks, decide)
        return (await self._writer.submit(unit)).answer

    async def approve(self, payout_id: str, by: str) -> Shown:
        """Let it go to the bank. Raises SecondPersonNeeded, Conflict (state, balances or destination changed), NotFound."""

        def step(view: View, changes: Changes, row: Row) -> Shown:
            if row["status"] == "sent" and row["approved_by"] == by:
                return payout_object(row)
            _assert_status(row, "requested")
            if row["requested_by"] == by:
                raise SecondPersonNeeded("payout_needs_a_second_person", "whoever asked for a payout cannot approve it")
            assert_destination(row, view.one("merchant", row["merchant_id"]))
            side = side_of(view, row["merchant_id"], row["mode"])
            lacking = side.owed - max(0, side.available)
            if lacking > 0:
                raise Conflict("payout_not_covered_any_more",
                               f"the merchant lacks {usd(lacking)['amount']} USD by now: fail this payout instead",
                               lacking=usd(lacking))  # fmt: skip
            return payout_object(_set(view, changes, row, status="sent", approved_by=by))

        return await self._step(payout_id, step)

    async def confirm(self, payout_id: str, bank_reference: str) -> Shown:
        """The bank paid it. Raises Conflict (not approved, or confirmed with another reference), NotFound, Invalid."""
        _assert_text(bank_reference, "/bank_reference")

        def step(view: View, changes: Changes, row: Row) -> Shown:
            if row["status"] == "paid" and row["bank_reference"] == bank_reference:
                return payout_object(row)
            _assert_status(row, "sent")
            _assert_not_held(row)
            changes.post(confirm_payout(row["id"], row["units"]))
            return _told(changes, "payout.paid", _set(view, changes, row, status="paid", bank_reference=bank_reference))

        return await self._step(payout_id, step)

    async def fail(self, payout_id: str, reason: str) -> Shown:
        """Cancel it, or note that the bank refused it: the merchant has it again. Raises Conflict, NotFound, Invalid."""
        _assert_text(reason, "/reason")

        def step(view: View, changes: Changes, row: Row) -> Shown:
            if row["status"] in {"canceled", "failed"}:
                return payout_object(row)
            _assert_status(row, "requested", "sent")
            _assert_not_held(row)
            changes.post(fail_payout(row["id"], row["units"]))
            status = "canceled" if row["status"] == "requested" else "failed"
            return _told(changes, "payout.failed", _set(view, changes, row, status=status, failure=reason))

        return await self._step(payout_id, step)

    async def take_back(self, payout_id: str, reason: str) -> Shown:
        """The bank sent a paid one back: the merchant has it again, once. Raises Conflict (not paid), NotFound, Invalid."""
        _assert_text(reason, "/reason")

        def step(view: View, changes: Changes, row: Row) -> Shown:
            if row["status"] == "returned":
                return payout_object(row)
            _assert_status(row, "paid")
            changes.post(return_payout(row["id"], row["units"]))
            return _told(changes, "payout.returned", _set(view, changes, row, status="returned", failure=reason))

        return await self._step(payout_id, step)

    async def set_terms(
        self, merchant_id: str, *, tier: str | None, destination: Mapping[str, str] | None, by: str
    ) -> Shown:
        """Set a merchant's risk tier, or where it is paid to; None leaves it. Raises NotFound, Invalid."""
        if tier is not None and tier not in self._tiers:
            raise Invalid("risk_tier_unknown", f"the configuration has {sorted(self._tiers)}", pointer="/risk_tier")
        stored = None if destination is None else checked_destination(destination)

        def decide(view: View, changes: Changes) -> Shown:
            row = _merchant(view, merchant_id)
            columns: Row = {} if tier is None else {"risk_tier": tier}
            if stored is not None and stored != row["payout_destination"]:
                held = int(self._hold_first or row["payout_destination"] is not None)
                columns |= {"payout_destination": stored, "destination_by": by, "destination_held": held}
                _note_destination(view, changes, merchant_id, "set", stored, by)
            changes.update("merchant", (merchant_id,), **columns)
            return terms_object({**row, **columns})

        unit = Unit(merchant_id, "live", None, _destination_locks(merchant_id), decide)
        return (await self._writer.submit(unit)).answer

    async def confirm_destination(self, merchant_id: str, seen: Mapping[str, str], by: str) -> Shown:
        """Let a destination that is held be paid to. ``seen``: the one that the person looked at.

        Raises SecondPersonNeeded, Conflict (it is another one by now), NotFound.
        """

        def decide(view: View, changes: Changes) -> Shown:
            row = _merchant(view, merchant_id)
            stored = row["payout_destination"]
            if stored is None or orjson.loads(stored) != dict(seen):
                raise Conflict("payout_destination_changed", "the destination is another one by now: look again")
            if row["destination_by"] == by:
                raise SecondPersonNeeded("destination_needs_a_second_person", "whoever set it cannot confirm it")
            if row["destination_held"]:
                changes.update("merchant", (merchant_id,), destination_held=0)
                _note_destination(view, changes, merchant_id, "confirmed", stored, by)
            return terms_object({**row, "destination_held": 0})

        unit = Unit(merchant_id, "live", None, _destination_locks(merchant_id), decide)
        return (await self._writer.submit(unit)).answer

    async def _step(self, payout_id: str, step: Callable[[View, Changes, Row], Shown]) -> Shown:
        """Run one step on the locked row."""
        table = table_of(Payout)
        found = await self._reads.one(
            select(table.c.merchant_id, table.c.mode, table.c.id).where(table.c.id == payout_id)
        )
        if found is None:
            raise NotFound("payout_not_found", f"there is no payout {payout_id}")
        merchant_id, mode = found["merchant_id"], found["mode"]

        def decide(view: View, changes: Changes) -> Shown:
            row = view.one("payout", merchant_id, payout_id)
            assert row is not None, "payouts are never deleted"
            return step(view, changes, row)

        locks = [row_lock("payout", merchant_id, payout_id), row_lock("merchant", merchant_id)]
        unit = Unit(merchant_id, mode, None, [*locks, *side_locks(merchant_id, mode)], decide)
        return (await self._writer.submit(unit)).answer


@dataclass(frozen=True, slots=True)
class PayoutWanted:
    """What is asked for, and by whom (``key:...``, ``operator:...``, ``admin_token``)."""

    id: str
    merchant_id: str
    mode: str
    units: int | None
    """USD/9; None: all that is available, in whole cents."""
    by: str


def whole_cents(units: int) -> int:
    """Return USD/9 (from 0) rounded down to cents: what a bank can pay."""
    return units - units % CENT_UNITS


def payout_object(row: Row) -> dict[str, Any]:
    """Return a payout as events and the API show it."""
    return {
        "id": row["id"],
        "merchant": row["merchant_id"],
        "status": row["status"],
        "amount": usd(row["units"]),
        "destination": orjson.loads(row["destination"]),
        "requested_by": row["requested_by"],
        "approved_by": row["approved_by"],
        "bank_reference": row["bank_reference"],
        "batch": row["batch_id"],
        "failure": row["failure"],
        "created_at": rfc3339(row["created_us"]),
        "updated_at": rfc3339(row["updated_us"]),
    }


def terms_object(row: Row) -> dict[str, Any]:
    """Return on what terms a merchant is paid."""
    destination = row["payout_destination"]
    return {
        "merchant": row["id"],
        "risk_tier": row["risk_tier"],
        "destination": None if destination is None else orjson.loads(destination),
        "destination_by": row["destination_by"] or None,
        "destination_held": bool(row["destination_held"]),
    }


def assert_destination(row: Row, merchant: Row | None) -> None:
    """Refuse to pay where the merchant is not paid to (any more, or not yet). Raises Conflict."""
    if merchant is None or merchant["payout_destination"] != row["destination"]:
        raise Conflict("payout_destination_changed", "the destination is not the one that it was asked for with")
    if merchant["destination_held"]:
        raise Conflict("payout_destination_held",
                       "nobody but who set it has confirmed it yet: an operator does, on the dashboard")  # fmt: skip


def _merchant(view: View, merchant_id: str) -> Row:
    row = view.one("merchant", merchant_id)
    if row is None:
        raise NotFound("no_such_merchant", "there is no merchant with this id")
    return row


def _destination_locks(merchant_id: str) -> list[Lock]:
    return [row_lock("merchant", merchant_id), Lock("destination_change", ("merchant_id",), (merchant_id,))]


def _note_destination(view: View, changes: Changes, merchant_id: str, kind: str, destination: str, person: str) -> None:
    """Write down who did it: the row is never changed."""
    before = view.many("destination_change", ("merchant_id",), (merchant_id,))
    changes.insert("destination_change", merchant_id=merchant_id, number=len(before) + 1, kind=kind,
                   destination=destination, person=person, at_us=view.now_us)  # fmt: skip


def _told(changes: Changes, type_: str, row: Row) -> dict[str, Any]:
    shown = payout_object(row)
    changes.emit(type_, row["id"], orjson.dumps(shown).decode())
    return shown


def _set(view: View, changes: Changes, row: Row, **columns: Any) -> Row:
    columns["updated_us"] = view.now_us
    changes.update("payout", (row["merchant_id"], row["id"]), **columns)
    return {**row, **columns}


def _assert_status(row: Row, *wanted: str) -> None:
    if row["status"] not in wanted:
        raise Conflict("payout_is_elsewhere", f"it is {row['status']}, this needs {' or '.join(wanted)}",
                       payout_status=row["status"])  # fmt: skip


def _assert_not_held(row: Row) -> None:
    if row["batch_held"]:
        raise Conflict("payout_is_in_a_batch", "it stands in a batch whose file is not out yet: cancel the batch first",
                       batch=row["batch_id"])  # fmt: skip


def _assert_text(text: str, pointer: str) -> None:
    if not 0 < len(text) <= WORDS_CHARS_MAX or not text.isprintable():
        raise Invalid("text_invalid", f"1 to {WORDS_CHARS_MAX} characters on one line", pointer=pointer)
