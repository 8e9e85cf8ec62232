"""Disputes: what rails say of them, by webhook and by asking, and what we answer. What is booked: ``dispute_book``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import or_, select, text

from adapters.base import RailAdapter, RailError
from adapters.operations import AnswersDisputes, DisputeEvent, DisputeState, Evidence, ListsDisputes
from orchestrator.clock import Clock, from_us, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import DISPUTE_ABOVE, OPEN_DISPUTE, Capture, Dispute, Payment, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Busy, Conflict, NotFound
from orchestrator.events.catalog import EventType, emit
from orchestrator.ids import new_id
from orchestrator.payments.confirmation import NotOurs
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.dispute_book import DisputeBook
from orchestrator.payments.dispute_events import ENDED
from orchestrator.payments.dispute_terms import BY_RAIL, LOOKS_MAX, DisputeAt, DisputesChanged, dispute_object
from orchestrator.payments.dispute_yields import taken_lots
from orchestrator.settings import DisputePolicy

CALL_S_MAX: Final = 40
LISTED_DAYS: Final = 90
"""How far back the rails are asked for disputes whose webhooks were lost."""
CHECK_US: Final = 2_000_000
CHECK_LATE_US: Final = 3600 * 1_000_000
"""Of a dispute that is over and took more than there was: a refund that fails later makes it due at once."""
REMIND_HOURS: Final = (72, 24, 0)
"""Before the deadline: a reminder each; the last one says that it has passed."""
BATCH: Final = 100
Rails = Mapping[tuple[str, str], RailAdapter]
_log = structlog.get_logger("disputes")


@dataclass(frozen=True, slots=True)
class Disputes:
    writer: Writer
    reads: Reads
    rails: Rails
    clock: Clock
    policy: DisputePolicy

    # --- what the rail says -------------------------------------------------------------------------------------------

    async def apply(self, event: DisputeEvent) -> str:
        """Take one statement; return the dispute's state. Raises NotOurs. The same statement again changes nothing."""
        for looks_left in reversed(range(LOOKS_MAX)):
            try:
                return await self._apply(event, await self._at(event))
            except DisputesChanged:  # two first words at once: the other one has named it
                if not looks_left:
                    raise
        raise AssertionError("the last look returns or raises")

    async def _apply(self, event: DisputeEvent, at: DisputeAt) -> str:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            known = view.many("dispute", BY_RAIL, (at.rail, at.account, at.mode, at.rail_dispute_id))
            if known and known[0]["id"] != at.dispute_id:
                raise DisputesChanged(at.rail_dispute_id)
            book = DisputeBook.open(view, changes, at, event, self.policy.returned(at.rail))
            return {"state": book.apply(event), "dispute": book.row["id"]}

        locks = [*at.locks(), *await taken_lots(self.reads, at)]
        key = f"dispute:{event.rail}:{event.account}:{event.event_id}"
        applied = await self.writer.submit(Unit(at.merchant_id, at.mode, key, locks, decide))
        return "known" if applied.duplicate else str(applied.answer["state"])

    async def _at(self, event: DisputeEvent) -> DisputeAt:
        """Find the money by the rail's own id of it. Raises NotOurs."""
        captures, payments, disputes = table_of(Capture), table_of(Payment), table_of(Dispute)
        capture = await self.reads.one(
            select(captures).where(captures.c.rail == event.rail, captures.c.account == event.account,
                                   captures.c.mode == event.mode.value, captures.c.money_id == (event.money_id or ""))
        )  # fmt: skip
        if capture is None:
            raise NotOurs(f"{event.rail}/{event.account} {event.event_id}: no money {event.money_id!r} of ours")
        payment = await self.reads.one(
            select(payments.c.wallet_id).where(payments.c.merchant_id == capture["merchant_id"],
                                               payments.c.id == capture["payment_id"])
        )  # fmt: skip
        assert payment is not None, "a capture has its payment"
        known = await self.reads.one(
            select(disputes.c.id).where(disputes.c.rail == event.rail, disputes.c.account == event.account,
                                        disputes.c.mode == event.mode.value,
                                        disputes.c.rail_dispute_id == event.dispute_id)
        )  # fmt: skip
        return DisputeAt(
            capture["merchant_id"], capture["mode"], new_id("dis") if known is None else known["id"], capture["id"],
            capture["payment_id"], payment["wallet_id"], event.rail, event.account, event.dispute_id,
        )  # fmt: skip

    # --- looking ------------------------------------------------------------------------------------------------------

    async def find(self, dispute_id: str, merchant_id: str | None = None, mode: str | None = None) -> Row:
        """Return one dispute, of any merchant where none is named. Raises NotFound."""
        table = table_of(Dispute)
        query = select(table).where(table.c.id == dispute_id)
        if merchant_id is not None:
            query = query.where(table.c.merchant_id == merchant_id, table.c.mode == mode)
        row = await self.reads.one(query)
        if row is None:
            raise NotFound("dispute_not_found", f"there is no dispute {dispute_id}")
        return row

    # --- answering ----------------------------------------------------------------------------------------------------

    async def add_evidence(self, dispute: Row, evidence: Mapping[str, Any]) -> Row:
        """Keep what the merchant says; it is sent with ``submit``. Raises Conflict once that was done."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = _open_for_answer(view, dispute)
            merged = {**orjson.loads(row["evidence"]), **evidence}
            changes.update("dispute", (row["merchant_id"], row["id"]), evidence=orjson.dumps(merged).decode(),
                           updated_us=view.now_us)  # fmt: skip
            return {}

        await self._submit(dispute, decide)
        return await self.find(dispute["id"])

    async def submit(self, dispute: Row, evidence: Evidence) -> Row:
        """Answer the dispute at its rail, once and finally. Raises Conflict, Busy (nothing was sent)."""
        return await self._answer(
            dispute, "submitted", lambda rail: rail.submit_evidence(dispute["rail_dispute_id"], evidence)
        )

    async def accept(self, dispute: Row) -> Row:
        """Give the dispute up. What the rail does with the funds then is a fact of its own."""
        return await self._answer(dispute, "accepted", lambda rail: rail.accept_dispute(dispute["rail_dispute_id"]))

    async def _answer(self, dispute: Row, done: str, call: Callable[[AnswersDisputes], Any]) -> Row:
        adapter = self.rails.get((dispute["rail"], dispute["account"]))
        if not isinstance(adapter, AnswersDisputes):
            raise Conflict("rail_takes_no_answer", f"{dispute['rail']} takes no answer here: use its dashboard")
        if dispute["answered"] == done:
            return dispute

        def sending(view: View, changes: Changes) -> Mapping[str, Any]:
            row = _open_for_answer(view, dispute)
            changes.update("dispute", (row["merchant_id"], row["id"]), answered="sending", updated_us=view.now_us)
            return {}

        await self._submit(dispute, sending)
        try:
            async with asyncio.timeout(CALL_S_MAX):
                await call(adapter)  # idempotent at the rail: asked again after a lost answer, it is the same answer
        except (RailError, TimeoutError) as error:
            raise Busy("rail_did_not_answer", f"ask again: {str(error)[:200]}") from None

        def said(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("dispute", dispute["merchant_id"], dispute["id"])
            assert row is not None, "disputes are never deleted"
            new = {"answered": done, "updated_us": view.now_us}
            changes.update("dispute", (row["merchant_id"], row["id"]), **new)
            emit(changes, EventType.DISPUTE_UPDATED, row["id"], dispute_object({**row, **new}), row["merchant_id"])
            return {}

        await self._submit(dispute, said)
        return await self.find(dispute["id"])

    async def _submit(self, dispute: Row, decide: Callable[[View, Changes], Mapping[str, Any]]) -> None:
        locks = (row_lock("dispute", dispute["merchant_id"], dispute["id"]),)
        await self.writer.submit(Unit(dispute["merchant_id"], dispute["mode"], None, locks, decide))

    # --- watching -----------------------------------------------------------------------------------------------------

    async def poll(self) -> int:
        """Ask every rail that lists them for its disputes: a lost webhook loses nothing. Return how many were new to us."""
        since, fresh = self.clock.now() - timedelta(days=LISTED_DAYS), 0
        for (rail, account), adapter in self.rails.items():
            if not isinstance(adapter, ListsDisputes):
                continue
            try:
                async with asyncio.timeout(CALL_S_MAX):
                    events = await adapter.list_disputes(since)
            except (RailError, TimeoutError) as error:
                _log.warning("disputes_not_listed", rail=rail, account=account, error=str(error)[:200])
                continue
            for event in reversed(events):
                try:
                    fresh += await self.apply(event) != "known"
                except NotOurs as error:
                    _log.warning("dispute_not_ours", rail=rail, account=account, text=str(error)[:200])
        return fresh

    async def run_once(self) -> int:
        """Look at disputes that are due: freeze what holds released, take over what refunds did not, remind of deadlines."""
        table, now_us = table_of(Dispute), self.clock.now_us()
        due = await self.reads.all(
            select(table)
            .where(
                or_(text(OPEN_DISPUTE), text(DISPUTE_ABOVE)),
                table.c.next_check_us <= now_us,
            )
            .order_by(table.c.next_check_us)
            .limit(BATCH)
        )
        for row in due:
            await self._look(row)
        return len(due)

    async def _look(self, dispute: Row) -> None:
        at = DisputeAt.of_row(dispute)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            book = DisputeBook.again(view, changes, at, self.policy.returned(at.rail))
            if book is not None:
                if not book.take_over():
                    book.refreeze()
                _remind(view, changes, book.row)
            return {}

        await self.writer.submit(Unit(at.merchant_id, at.mode, None, at.locks(), decide))


def _open_for_answer(view: View, dispute: Row) -> Row:
    row = view.one("dispute", dispute["merchant_id"], dispute["id"])
    assert row is not None, "disputes are never deleted"
    if row["state"] != "needs_answer":
        raise Conflict("dispute_needs_no_answer", f"{row['id']} is {row['state']}")
    if row["answered"] in {"submitted", "accepted"}:
        raise Conflict("dispute_was_answered", f"{row['id']} was {row['answered']}: that is final")
    return row


def _remind(view: View, changes: Changes, row: Row) -> None:
    """Tell of a deadline that comes near, each reminder once; move the next look on."""
    wait_us = CHECK_LATE_US if DisputeState(row["state"]) in ENDED else CHECK_US
    key, columns = (row["merchant_id"], row["id"]), {"next_check_us": view.now_us + wait_us}
    due_us, given = row["answer_by_us"], row["reminded"]
    wants = row["state"] == "needs_answer" and not row["answered"] and due_us is not None and given < len(REMIND_HOURS)
    if wants and view.now_us >= due_us - REMIND_HOURS[given] * 3600 * 1_000_000:
        columns["reminded"] = given + 1
        ask_a_person(
            view, changes, row["merchant_id"], row["mode"], reason="dispute_deadline", subject=row["id"],
            payment_id=row["payment_id"],
            evidence={"answer_by": rfc3339(due_us), "hours_left": REMIND_HOURS[given], "at": from_us(view.now_us).isoformat()},
        )  # fmt: skip
        emit(changes, EventType.DISPUTE_UPDATED, row["id"], dispute_object(row), row["merchant_id"])
    changes.update("dispute", key, **columns)
