"""Approved payouts as one file for a bank, in two steps and by two people.

    built -- approve --> approved -- fetch --> (the file is out: its lines end one by one, by the bank's answer)
      |                     |
      +------- cancel ------+--> canceled: its payouts may go into another batch

A payout stands in one batch only. Until the file is out its payouts neither end nor fail by themselves, so that no file
pays what the merchant has again. The file is written when the batch is built, never changed, and fetched again the same.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Select, select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Payout, PayoutBatch, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid, NotFound, Refusal
from orchestrator.ledger.destinations import BANK_FIELDS, FORMULA_MARKS, unfit_for_a_file
from orchestrator.ledger.payouts import Payouts, SecondPersonNeeded, assert_destination, whole_cents
from orchestrator.ledger.shown import usd, usd_text

LINES_MAX: Final = 1_000
"""Of one batch, and of one answer of a bank."""
COLUMNS: Final = ("payout", *BANK_FIELDS, "amount", "currency", "batch")
CSV_TYPE: Final = "text/csv; charset=utf-8"
PLATFORM: Final = "platform"

Shown = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchWanted:
    id: str
    mode: str
    payouts: Sequence[str] | None
    """None: every approved payout of the mode that is in no batch and that a file can hold, oldest first."""
    by: str


@dataclass(frozen=True, slots=True)
class BankAnswer:
    """What the bank says of one line."""

    payout: str
    result: str
    """paid | failed | returned"""
    amount_units: int | None
    """USD/9, where the bank names it: it must be the line's."""
    words: str
    """The bank's reference where it paid, its reason where it did not."""


class PayoutBatches:
    """Builds batches, approves and cancels them, hands out their files, takes the bank's answers. Keeps nothing."""

    def __init__(self, writer: Writer, reads: Reads, payouts: Payouts) -> None:
        self._writer = writer
        self._reads = reads
        self._payouts = payouts

    async def build(self, wanted: BatchWanted) -> Shown:
        """Put approved payouts into a new file. The same id again gets the same batch.

        Payouts that were named must all fit; of those that were not, ``left_out`` says which did not and why. Raises
        Conflict, Invalid, NotFound.
        """
        candidates = await self._candidates(wanted)
        named = wanted.payouts is not None

        def decide(view: View, changes: Changes) -> Shown:
            lines: list[Row] = []
            left_out: list[dict[str, str]] = []
            for merchant_id, payout_id in candidates:
                row = view.one("payout", merchant_id, payout_id)
                assert row is not None, "payouts are never deleted"
                try:
                    _assert_fits(row, view.one("merchant", merchant_id))
                except Conflict as refusal:
                    if named:
                        raise Conflict(refusal.code, f"{payout_id}: {refusal.detail}", payout=payout_id) from None
                    left_out.append({"payout": payout_id, "code": refusal.code, "detail": refusal.detail})
                    continue
                lines.append(row)
            if not lines:
                raise Conflict(
                    "payout_batch_would_be_empty", "no approved payout can go into a file", left_out=left_out
                )
            content = file_text(wanted.id, lines)
            batch: Row = {
                "id": wanted.id, "mode": wanted.mode, "status": "built", "content_hash": _hash(content),
                "built_by": wanted.by, "approved_by": None, "canceled_by": None, "fetched_by": None,
                "lines": len(lines), "units": sum(row["units"] for row in lines), "created_us": view.now_us,
                "updated_us": view.now_us, "fetched_us": None,
            }  # fmt: skip
            changes.insert("payout_batch", **batch)
            changes.insert("payout_file", batch_id=wanted.id, content=content)
            _mark(view, changes, lines, batch_id=wanted.id, batch_held=1)
            return {**batch_object(batch), "left_out": left_out}

        locks = [*_payout_locks(candidates), row_lock("payout_batch", wanted.id), row_lock("payout_file", wanted.id)]
        unit = Unit(PLATFORM, wanted.mode, f"payout_batch:{wanted.id}:build", locks, decide)
        return (await self._writer.submit(unit)).answer

    async def approve(self, batch_id: str, by: str) -> Shown:
        """Let the file be fetched. Raises SecondPersonNeeded, Conflict (state, a destination changed), NotFound."""

        def step(view: View, changes: Changes, batch: Row, lines: Sequence[Row]) -> Shown:
            if batch["status"] == "approved" and batch["approved_by"] == by:
                return batch_object(batch)
            _assert_batch(batch, "built")
            if batch["built_by"] == by:
                raise SecondPersonNeeded("payout_batch_needs_a_second_person", "whoever built it cannot approve it")
            _assert_destinations(view, lines)
            return batch_object(_set(view, changes, batch, status="approved", approved_by=by))

        return await self._step(batch_id, step)

    async def cancel(self, batch_id: str, by: str) -> Shown:
        """Throw the file away: its payouts may go into another. Raises Conflict (the file is out), NotFound."""

        def step(view: View, changes: Changes, batch: Row, lines: Sequence[Row]) -> Shown:
            if batch["status"] == "canceled":
                return batch_object(batch)
            if batch["fetched_us"] is not None:
                raise Conflict("payout_batch_is_out", "its file was fetched: each of its payouts ends by itself")
            _mark(view, changes, lines, batch_id=None, batch_held=0)
            return batch_object(_set(view, changes, batch, status="canceled", canceled_by=by))

        return await self._step(batch_id, step)

    async def fetch(self, batch_id: str, by: str) -> bytes:
        """Return the file, the same each time. Raises Conflict (not approved, not what was built, a destination changed).

        Raises NotFound.
        """

        def step(view: View, changes: Changes, batch: Row, lines: Sequence[Row]) -> Shown:
            _assert_batch(batch, "approved")
            stored = view.one("payout_file", batch_id)
            if stored is None or _hash(stored["content"]) != batch["content_hash"]:
                raise Conflict(
                    "payout_file_was_altered", "the stored file is not the one that was approved: send nothing"
                )
            if batch["fetched_us"] is None:
                _assert_destinations(view, lines)
                _mark(view, changes, lines, batch_held=0)
                _set(view, changes, batch, fetched_us=view.now_us, fetched_by=by)
            return {"content": stored["content"]}

        answer = await self._step(batch_id, step)
        return str(answer["content"]).encode()

    async def answer(self, batch_id: str, answers: Sequence[BankAnswer]) -> Shown:
        """Take what the bank says of its lines, one by one: each is done or refused by itself. Safe to repeat.

        Raises Conflict (the bank has no file yet), NotFound, Invalid (too many lines).
        """
        if len(answers) > LINES_MAX:
            raise Invalid("answer_has_too_many_lines", f"at most {LINES_MAX} at once", pointer="/lines")
        batch = await self._batch(batch_id)
        if batch["fetched_us"] is None:
            raise Conflict("payout_batch_is_not_out", "its file was not fetched: no bank can know of it")
        lines = {row["id"]: row for row in await self._reads.all(_lines_of(batch_id))}
        results = [await self._answer_line(lines.get(one.payout), one) for one in answers]
        return {**await self.show(batch_id), "results": results}

    async def show(self, batch_id: str) -> Shown:
        """Return a batch with its lines. Raises NotFound."""
        batch = await self._batch(batch_id)
        rows = await self._reads.all(_lines_of(batch_id))
        lines = [
            {"payout": row["id"], "merchant": row["merchant_id"], "status": row["status"], "amount": usd(row["units"]),
             "bank_reference": row["bank_reference"], "failure": row["failure"]}
            for row in rows
        ]  # fmt: skip
        return {**batch_object(batch), "payouts": lines, "open": sum(row["status"] == "sent" for row in rows)}

    async def _answer_line(self, row: Row | None, said: BankAnswer) -> dict[str, Any]:
        try:
            if row is None:
                raise Conflict("payout_is_not_in_this_batch", "this batch does not hold it")
            if said.amount_units not in {None, row["units"]}:
                raise Conflict("payout_amount_differs", f"it is {usd_text(row['units'])} USD: nothing was changed")
            match said.result:
                case "paid":
                    shown = await self._payouts.confirm(said.payout, said.words)
                case "failed":
                    shown = await self._payouts.fail(said.payout, said.words)
                case "returned":
                    shown = await self._payouts.take_back(said.payout, said.words)
                case _:
                    raise Invalid("answer_unknown", "a bank's answer is paid, failed or returned")
        except Refusal as refusal:
            return {"payout": said.payout, "done": False, "code": refusal.code, "detail": refusal.detail}
        return {"payout": said.payout, "done": True, "status": shown["status"]}

    async def _candidates(self, wanted: BatchWanted) -> list[tuple[str, str]]:
        """Return merchant and payout of what may go in. Raises Invalid, NotFound."""
        table = table_of(Payout)
        query = select(table.c.merchant_id, table.c.id).where(table.c.mode == wanted.mode).order_by(table.c.id)
        if wanted.payouts is None:
            open_ = query.where(table.c.status == "sent", table.c.batch_id.is_(None)).limit(LINES_MAX)
            return [(row["merchant_id"], row["id"]) for row in await self._reads.all(open_)]
        ids = list(dict.fromkeys(wanted.payouts))
        if len(ids) > LINES_MAX:
            raise Invalid("payout_batch_is_too_long", f"at most {LINES_MAX} payouts", pointer="/payouts")
        rows = await self._reads.all(query.where(table.c.id.in_(ids)))
        if missing := sorted(set(ids) - {row["id"] for row in rows}):
            raise NotFound("payout_not_found", f"there is no {wanted.mode} payout {missing[0]}", pointer="/payouts")
        return [(row["merchant_id"], row["id"]) for row in rows]

    async def _batch(self, batch_id: str) -> Row:
        table = table_of(PayoutBatch)
        row = await self._reads.one(select(table).where(table.c.id == batch_id))
        if row is None:
            raise NotFound("payout_batch_not_found", f"there is no batch {batch_id}")
        return row

    async def _step(self, batch_id: str, step: Callable[[View, Changes, Row, Sequence[Row]], Shown]) -> Shown:
        """Run one step on the locked batch, its payouts and their merchants."""
        mode = (await self._batch(batch_id))["mode"]
        # Which payouts are in it is settled when it is built; they only leave it, all at once, when it is canceled.
        found = [(row["merchant_id"], row["id"]) for row in await self._reads.all(_lines_of(batch_id))]

        def decide(view: View, changes: Changes) -> Shown:
            batch = view.one("payout_batch", batch_id)
            assert batch is not None, "batches are never deleted"
            rows = [view.one("payout", *key) for key in found]
            return step(view, changes, batch, [row for row in rows if row is not None and row["batch_id"] == batch_id])

        locks = [*_payout_locks(found), row_lock("payout_batch", batch_id), row_lock("payout_file", batch_id)]
        return (await self._writer.submit(Unit(PLATFORM, mode, None, locks, decide))).answer


def file_text(batch_id: str, lines: Sequence[Row]) -> str:
    """Return RFC 4180 text, a line for each payout. Raises Conflict where a cell would be a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    for row in lines:
        cells = {
            "payout": row["id"], **orjson.loads(row["destination"]), "amount": usd_text(row["units"]),
            "currency": "USD", "batch": batch_id,
        }  # fmt: skip
        if any(text.startswith(FORMULA_MARKS) or not text.isprintable() for text in cells.values()):
            raise Conflict("payout_does_not_fit_a_file", f"{row['id']}: a cell would be read as a formula")
        writer.writerow(cells)
    return out.getvalue()


def file_headers(batch_id: str, content: bytes) -> dict[str, str]:
    """Return what goes with a file: a name to save it under, and its digest (RFC 9530)."""
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return {
        "Content-Type": CSV_TYPE,
        "Content-Disposition": f'attachment; filename="payouts-{batch_id}.csv"',
        "Content-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "no-store",
    }


def batch_object(row: Row) -> dict[str, Any]:
    """Return a batch as the API shows it."""
    return {
        "id": row["id"],
        "mode": row["mode"],
        "status": row["status"],
        "lines": row["lines"],
        "amount": usd(row["units"]),
        "content_hash": row["content_hash"],
        "built_by": row["built_by"],
        "approved_by": row["approved_by"],
        "canceled_by": row["canceled_by"],
        "fetched_by": row["fetched_by"],
        "fetched_at": None if row["fetched_us"] is None else rfc3339(row["fetched_us"]),
        "created_at": rfc3339(row["created_us"]),
        "updated_at": rfc3339(row["updated_us"]),
    }


def _assert_fits(row: Row, merchant: Row | None) -> None:
    """Refuse a payout that cannot go into a file now. Raises Conflict."""
    if row["batch_id"] is not None:
        raise Conflict("payout_is_in_a_batch", f"it stands in {row['batch_id']}", batch=row["batch_id"])
    if row["status"] != "sent":
        raise Conflict("payout_is_elsewhere", f"it is {row['status']}, a file takes approved ones",
                       payout_status=row["status"])  # fmt: skip
    assert_destination(row, merchant)
    unfit = unfit_for_a_file(orjson.loads(row["destination"]))
    if unfit is not None:
        raise Conflict("payout_does_not_fit_a_file", unfit)
    assert row["units"] == whole_cents(row["units"]) > 0, "payouts are whole cents"


def _assert_destinations(view: View, lines: Sequence[Row]) -> None:
    """Look at them again, as they are now. Raises Conflict."""
    for row in lines:
        try:
            assert_destination(row, view.one("merchant", row["merchant_id"]))
        except Conflict as refusal:
            raise Conflict(refusal.code, f"{row['id']}: {refusal.detail}: cancel this batch, build another",
                           payout=row["id"]) from None  # fmt: skip


def _lines_of(batch_id: str) -> Select[Any]:
    table = table_of(Payout)
    return select(table).where(table.c.batch_id == batch_id).order_by(table.c.id)


def _payout_locks(found: Sequence[tuple[str, str]]) -> list[Lock]:
    merchants = sorted({merchant_id for merchant_id, _ in found})
    return [*(row_lock("payout", *key) for key in found), *(row_lock("merchant", one) for one in merchants)]


def _mark(view: View, changes: Changes, lines: Sequence[Row], **columns: Any) -> None:
    for row in lines:
        changes.update("payout", (row["merchant_id"], row["id"]), **columns, updated_us=view.now_us)


def _set(view: View, changes: Changes, batch: Row, **columns: Any) -> Row:
    columns["updated_us"] = view.now_us
    changes.update("payout_batch", (batch["id"],), **columns)
    return {**batch, **columns}


def _assert_batch(batch: Row, wanted: str) -> None:
    if batch["status"] != wanted:
        raise Conflict("payout_batch_is_elsewhere", f"it is {batch['status']}, this needs {wanted}",
                       batch_status=batch["status"])  # fmt: skip


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
