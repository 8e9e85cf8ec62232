"""Taking an open payment back at its rail: its word that no money will come, or the payment is let go and watched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import select

from adapters.base import CancelOutcome, Mode, RailError, RailEvent, RailEventKind
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.payment import Fact
from orchestrator.payments.story import Story
from orchestrator.payments.watch import reference_of

_log = structlog.get_logger("closing")


class Closed(StrEnum):
    """How closing an attempt ended."""

    CLOSED = "closed"
    """No money comes any more (or it cannot be taken back and was superseded)."""
    PAID = "paid"
    """It was paid, or is being paid: what the rail said has been applied."""
    IN_DOUBT = "in_doubt"
    """Nobody can say now: ask again."""


@dataclass(frozen=True, slots=True)
class Closing:
    calls: RailCalls
    reads: Reads

    async def close(self, attempt: Row) -> Closed:
        """Close one attempt at its rail. Safe to repeat."""
        found = AttemptAt.of_row(attempt)
        adapter = self.calls.rails[found.rail, found.account]
        if attempt["rail_reference"] is None and attempt["status"] in IN_FLIGHT:
            return Closed.IN_DOUBT
        try:
            outcome = await adapter.cancel_payment(reference_of(attempt))
            match outcome:
                case CancelOutcome.CANCELED:
                    await self.calls.confirmation.apply(self._canceled(found, attempt))
                    return Closed.CLOSED
                case CancelOutcome.TOO_LATE:
                    for event in await adapter.fetch_status(reference_of(attempt)):
                        await self.calls.confirmation.apply(event)
                    return Closed.PAID
                case CancelOutcome.CANNOT:
                    await self._supersede(found)
                    return Closed.CLOSED
        except RailError as error:
            _log.info("attempt_not_closed", attempt=found.attempt_id, rail=found.rail, error=repr(error)[:200])
            return Closed.IN_DOUBT

    async def close_expired(self, merchant_id: str, payment_id: str) -> None:
        """Take back what a buyer could still pay after the session is over; the poller tries what fails again.

        A chain cannot take an address back: its attempt stays as it is, and money that comes is credited.
        """
        table = table_of(Attempt)
        rows = await self.reads.all(
            select(table).where(
                table.c.merchant_id == merchant_id, table.c.payment_id == payment_id, table.c.open_at_rail == 1
            )
        )
        for row in rows:
            if row["next_action"] is None or '"deposit_address"' not in row["next_action"]:
                await self.close(row)

    def _canceled(self, found: AttemptAt, attempt: Row) -> RailEvent:
        return RailEvent(
            rail=found.rail,
            account=found.account,
            mode=Mode(found.mode),
            event_id=f"{found.attempt_id}:canceled",
            kind=RailEventKind.CANCELED,
            attempt_id=found.attempt_id,
            rail_reference=attempt["rail_reference"],
            occurred_at=self.calls.clock.now(),
        )

    async def _supersede(self, found: AttemptAt) -> None:
        merchant = found.merchant_id
        locks = (row_lock("attempt", merchant, found.attempt_id), row_lock("payment", merchant, found.payment_id))

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            attempt = view.one("attempt", merchant, found.attempt_id)
            payment = view.one("payment", merchant, found.payment_id)
            assert attempt is not None
            assert payment is not None
            if attempt["status"] in IN_FLIGHT:
                status = AttemptStatus.SUPERSEDED.value
                changes.update("attempt", (merchant, found.attempt_id), status=status, updated_us=view.now_us)
                story = Story(payment, changes, view.now_us)
                story.tell(Fact.SUPERSEDED, attempt_id=found.attempt_id)
                story.write()
            return {}

        await self.calls.writer.submit(Unit(merchant, found.mode, None, locks, decide))
