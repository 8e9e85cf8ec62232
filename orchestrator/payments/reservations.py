"""Money that a rail only reserved: taken once it is wanted, let go where it is not. Nothing is credited before it was taken.

    held        the rail reserved it                          by its word, with the attempt
    capturing   stored before the rail is asked to take it    until its word says that it was taken
    releasing   stored before the rail is asked to let it go  until it said that it will
    captured, released

A call whose answer was lost is asked about, then made again under the same key, while the rail keeps the key. A
reservation that nobody takes runs out at the rail by itself, and its word of that closes the attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import select, text

from adapters.base import Mode, RailError, RailEvent, RailEventKind
from adapters.operations import CaptureOrder, CapturesLater
from orchestrator.database.reads import Reads
from orchestrator.database.tables import RESERVED, RESERVED_STATES, Attempt, Reservation, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.payment import Status
from orchestrator.payments.watch import reference_of
from rates.money import Asset, Money

BATCH: Final = 50
CALL_S_MAX: Final = 40
FIRST_US: Final = 2_000_000
LAST_US: Final = 3600 * 1_000_000
TRIES_MAX: Final = 12
"""After so many rounds a person is asked; the rounds go on."""
RESEND_MARGIN_S: Final = 3600
"""A key is not trusted in its last hour."""
WANTED: Final = frozenset({Status.AWAITING_PAYMENT, Status.PROCESSING, Status.UNKNOWN, Status.FAILED})
"""Statuses of a payment that still waits for money; in any other a reservation is let go."""
_log = structlog.get_logger("reservations")


@dataclass(frozen=True, slots=True)
class Reservations:
    """May run in several processes at once: a round is claimed by moving its time on."""

    calls: RailCalls
    reads: Reads

    async def run_once(self) -> int:
        """Carry on what is due; return how many were looked at."""
        table = table_of(Reservation)
        due = await self.reads.all(
            select(table)
            .where(text(RESERVED), table.c.next_us <= self.calls.clock.now_us())
            .order_by(table.c.next_us)
            .limit(BATCH)
        )
        results = await asyncio.gather(*map(self._carry_on, due), return_exceptions=True)
        for row, result in zip(due, results, strict=True):
            if isinstance(result, BaseException):
                _log.error("reservation_not_carried_on", attempt=row["attempt_id"], error=repr(result)[:300])
        return len(due)

    async def _carry_on(self, held: Row) -> None:
        step = await self._claim(held)
        if step not in {"capturing", "releasing"}:
            return
        attempts = table_of(Attempt)
        attempt = await self.reads.one(
            select(attempts).where(attempts.c.merchant_id == held["merchant_id"], attempts.c.id == held["attempt_id"])
        )
        assert attempt is not None, "a reservation has its attempt"
        adapter = self.calls.rails.get((held["rail"], held["account"]))
        if not isinstance(adapter, CapturesLater):
            _log.error("rail_not_configured", rail=held["rail"], account=held["account"], attempt=held["attempt_id"])
            return
        amount = Money(attempt["units"], Asset.parse(attempt["asset"]))
        order = CaptureOrder(attempt["id"], held["authorisation"], amount)
        try:
            async with asyncio.timeout(CALL_S_MAX):
                if step == "capturing":
                    await self._capture(adapter, order, attempt, asked_before=held["state"] == "capturing")
                else:
                    await adapter.release_payment(order)
        except (RailError, TimeoutError) as error:
            _log.warning("rail_call_failed", step=step, rail=held["rail"], attempt=attempt["id"],
                         error=type(error).__name__, text=str(error)[:200])  # fmt: skip
            return
        if step == "releasing":
            await self._released(held, attempt)

    async def _capture(self, adapter: CapturesLater, order: CaptureOrder, attempt: Row, *, asked_before: bool) -> None:
        """Ask for the money; where that was done before, ask first what came of it."""
        if asked_before:
            rail = self.calls.rails[attempt["rail"], attempt["account"]]
            events = await rail.fetch_status(reference_of(attempt))
            for event in events:
                await self.calls.confirmation.apply(event)
            if any(event.kind not in {RailEventKind.PENDING, RailEventKind.ACTION_REQUIRED} for event in events):
                return  # taken, or gone
            age_s = (self.calls.clock.now_us() - attempt["created_us"]) / 1_000_000
            if age_s >= rail.resend_window_seconds - RESEND_MARGIN_S:
                return  # a new key would be a second capture: its word or a person ends it
        for event in await adapter.capture_payment(order):
            await self.calls.confirmation.apply(event)

    async def _claim(self, held: Row) -> str:
        """Decide what is to be done, and store that before it is; "" where another process does it."""
        merchant, attempt_id = held["merchant_id"], held["attempt_id"]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("reservation", merchant, attempt_id)
            attempt, payment = (
                view.one("attempt", merchant, attempt_id),
                view.one("payment", merchant, held["payment_id"]),
            )
            assert row is not None, "reservations are never deleted"
            assert attempt is not None, "a reservation has its attempt"
            assert payment is not None, "an attempt has its payment"
            if row["state"] not in RESERVED_STATES or row["next_us"] != held["next_us"]:
                return {"step": ""}
            step = _next_step(row["state"], attempt, Status(payment["status"]))
            wait_us = min(FIRST_US * 2 ** min(row["tries"], 30), LAST_US)
            tries = row["tries"] + 1
            changes.update(
                "reservation", (merchant, attempt_id), state=step, tries=tries, next_us=view.now_us + wait_us
            )
            if tries == TRIES_MAX and step in RESERVED_STATES:
                ask_a_person(view, changes, merchant, held["mode"], reason="reservation_not_ended", subject=attempt_id,
                             payment_id=held["payment_id"],
                             evidence={"authorisation": row["authorisation"], "step": step, "rail": held["rail"]})  # fmt: skip
            return {"step": step}

        locks = [
            row_lock("payment", merchant, held["payment_id"]),
            row_lock("attempt", merchant, attempt_id),
            row_lock("reservation", merchant, attempt_id),
        ]
        return str((await self.calls.writer.submit(Unit(merchant, held["mode"], None, locks, decide))).answer["step"])

    async def _released(self, held: Row, attempt: Row) -> None:
        """The rail lets it go: we take nothing of it any more, and the attempt is over."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("reservation", held["merchant_id"], held["attempt_id"])
            if row is not None and row["state"] == "releasing":
                changes.update("reservation", (held["merchant_id"], held["attempt_id"]), state="released")
            return {}

        locks = (row_lock("reservation", held["merchant_id"], held["attempt_id"]),)
        await self.calls.writer.submit(Unit(held["merchant_id"], held["mode"], None, locks, decide))
        found = AttemptAt.of_row(attempt)
        await self.calls.confirmation.apply(
            RailEvent(
                rail=found.rail, account=found.account, mode=Mode(found.mode), event_id=f"{found.attempt_id}:released",
                kind=RailEventKind.CANCELED, attempt_id=found.attempt_id, rail_reference=attempt["rail_reference"],
                occurred_at=self.calls.clock.now(),
            )
        )  # fmt: skip


def _next_step(state: str, attempt: Row, payment: Status) -> str:
    """Return the state that comes next. What was decided once stays decided: the rail may have acted on it."""
    status = AttemptStatus(attempt["status"])
    declined = status in {AttemptStatus.DECLINED_SOFT, AttemptStatus.DECLINED_HARD}
    page_open = declined and bool(attempt["open_at_rail"])
    """A first try was refused, and another one on the same page was not: nothing else was begun meanwhile."""
    if status is AttemptStatus.SUCCEEDED:
        return "captured"
    if status in {AttemptStatus.CANCELED, AttemptStatus.EXPIRED} or (declined and not page_open):
        return "released"  # the rail's word that no money comes of it
    if state != "held":
        return state
    return "capturing" if payment in WANTED and (status in IN_FLIGHT or page_open) else "releasing"
