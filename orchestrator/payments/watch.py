"""Asking rails again: every attempt that may still bring money has a next check; the unknown come first.

All of it is rows: a check is claimed by moving its time on, so that a crash loses nothing and two processes do not ask
twice. An attempt whose answer was lost is searched at its rail; where the rail cannot be searched, the same order is
sent again under the same key while the rail keeps the key.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import case, select

from adapters.base import Mode, PaymentReference, RailAdapter, RailError, RailEvent, RailEventKind, ScansChain
from orchestrator.clock import from_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.payments.attempt import AttemptStatus, closes
from orchestrator.payments.confirmation import NotOurs
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.wire_json import charges_saved, order_from_json
from rates.money import Asset, Money

BATCH = 50
LEASE_US = 60_000_000
AFTER_EXPIRY_US = 24 * 3600 * 1_000_000
"""How long an attempt on a chain is still matched to its payment after its price expired."""
CLOSE_AFTER_EXPIRY_US = 60 * 1_000_000
"""Who expires a session closes its page at the rail at once; a minute later that surely has failed."""
UNKNOWN_CHECKS_MAX = 20
"""After so many checks without an answer a person is asked; the checks go on."""
PENDING_CHECKS_MAX = 35
"""About a day of checks: the rail says it is paid or being paid, and its word of money never came (a lost webhook)."""
_UNANSWERED = (AttemptStatus.SENT.value, AttemptStatus.OUTCOME_UNKNOWN.value)

_log = structlog.get_logger("watch")


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """Seconds between checks: doubling from the first to the last."""

    first_s: float = 2.0
    last_s: float = 3600.0

    def next_us(self, now_us: int, checks: int) -> int:
        return now_us + int(min(self.first_s * 2 ** min(checks, 30), self.last_s) * 1_000_000)


def _overdue(status: str, checks: int) -> str | None:
    """Return why a person is to be asked about an attempt at this check, once each."""
    if checks == UNKNOWN_CHECKS_MAX and status in _UNANSWERED:
        return "outcome_unknown_too_long"
    if checks == PENDING_CHECKS_MAX and status == AttemptStatus.PENDING.value:
        return "pending_too_long"
    return None


def reference_of(attempt: Row) -> PaymentReference:
    return PaymentReference(
        attempt_id=attempt["id"],
        rail_reference=attempt["rail_reference"],
        method=attempt["method"],
        amount=Money(attempt["units"], Asset.parse(attempt["asset"])),
        created_at=from_us(attempt["created_us"]),
        saved=charges_saved(attempt["order_json"]),
    )


@dataclass(frozen=True, slots=True)
class SettlementWatch:
    """Asks rails about attempts that are due."""

    calls: RailCalls
    reads: Reads
    policy: WatchPolicy
    nudged: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a check was made due: the worker need not wait for its next look."""

    async def run_once(self) -> int:
        """Check what is due; return how many were checked."""
        table = table_of(Attempt)
        now_us = self.calls.clock.now_us()
        unanswered_first = case((table.c.status.in_(_UNANSWERED), 0), else_=1)
        due = await self.reads.all(
            select(table)
            .where(table.c.open_at_rail == 1, table.c.next_check_us <= now_us)
            .order_by(unanswered_first, table.c.next_check_us)
            .limit(BATCH)
        )
        results = await asyncio.gather(*(self._check(row) for row in due), return_exceptions=True)
        for row, result in zip(due, results, strict=True):
            if isinstance(result, BaseException):
                _log.error("check_failed", attempt=row["id"], rail=row["rail"], error=repr(result)[:300])
        return len(due)

    async def _check(self, row: Row) -> None:
        if not await self._claim(row):
            return
        found = AttemptAt.of_row(row)
        adapter = self.calls.rails.get((found.rail, found.account))
        if adapter is None:
            _log.error("rail_not_configured", rail=found.rail, account=found.account, attempt=found.attempt_id)
            return
        if isinstance(adapter, ScansChain):
            if row["status"] in _UNANSWERED:  # we died before the address was shown; asking for it sends nothing
                await self.calls.send(found, order_from_json(row["order_json"]), again=True)
            await self._close_old_chain_attempt(found, row)
            return
        try:
            async with asyncio.timeout(40):
                events = await adapter.fetch_status(reference_of(row))
        except (RailError, TimeoutError) as error:
            _log.info("rail_not_answering", rail=found.rail, attempt=found.attempt_id, error=repr(error)[:200])
            return
        for event in events:
            try:
                await self.calls.confirmation.apply(event)
            except NotOurs:
                _log.exception("rail_named_another_attempt", rail=found.rail, attempt=found.attempt_id)
        if self._is_left_open(row) and not any(closes(event) for event in events):
            await self._close_page(adapter, row)
        waits_for_buyer = all(event.kind is RailEventKind.ACTION_REQUIRED for event in events)
        if row["status"] not in _UNANSWERED or not waits_for_buyer:
            return
        # Nobody knows where to send the buyer: the same order under the same key gives the same payment's address.
        age_s = (self.calls.clock.now_us() - row["created_us"]) / 1_000_000
        if age_s < adapter.resend_window_seconds:
            await self.calls.send(found, order_from_json(row["order_json"]), again=True)

    async def _close_page(self, adapter: RailAdapter, row: Row) -> None:
        """Ask the rail to take no money any more; its word is read at the next check, as is money that was faster."""
        try:
            async with asyncio.timeout(40):
                outcome = await adapter.cancel_payment(reference_of(row))
        except (RailError, TimeoutError) as error:
            _log.info("page_not_closed", rail=row["rail"], attempt=row["id"], error=repr(error)[:200])
        else:
            _log.info("page_closed", rail=row["rail"], attempt=row["id"], outcome=outcome.value)

    def _is_left_open(self, row: Row) -> bool:
        """Say whether a buyer could still pay although the session is over: closing it failed, or we died before it."""
        waits = row["status"] == AttemptStatus.REQUIRES_ACTION.value and row["rail_reference"] is not None
        return waits and self.calls.clock.now_us() > row["quote_expires_us"] + CLOSE_AFTER_EXPIRY_US

    async def _claim(self, row: Row) -> bool:
        """Move the next check on, if nobody else has; say whether this check is ours."""
        merchant, attempt_id = row["merchant_id"], row["id"]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            attempt = view.one("attempt", merchant, attempt_id)
            if attempt is None or not attempt["open_at_rail"] or attempt["next_check_us"] != row["next_check_us"]:
                return {"mine": False}
            next_us = self.policy.next_us(view.now_us, attempt["checks"])
            checks = attempt["checks"] + 1
            changes.update("attempt", (merchant, attempt_id), checks=checks, next_check_us=next_us)
            reason = _overdue(attempt["status"], checks)
            if reason is not None:
                ask_a_person(
                    view, changes, merchant, row["mode"], reason=reason, subject=attempt_id,
                    payment_id=row["payment_id"], evidence={"checks": checks, "rail": row["rail"]},
                )  # fmt: skip
            return {"mine": True}

        unit = Unit(merchant, row["mode"], None, (row_lock("attempt", merchant, attempt_id),), decide)
        return bool((await self.calls.writer.submit(unit)).answer["mine"])

    async def _close_old_chain_attempt(self, found: AttemptAt, row: Row) -> None:
        now_us = self.calls.clock.now_us()
        if now_us <= row["quote_expires_us"] + AFTER_EXPIRY_US:
            return
        await self.calls.confirmation.apply(
            RailEvent(
                rail=found.rail, account=found.account, mode=Mode(found.mode), event_id=f"{found.attempt_id}:expired",
                kind=RailEventKind.EXPIRED, attempt_id=found.attempt_id, rail_reference=row["rail_reference"],
                occurred_at=from_us(now_us),
            )
        )  # fmt: skip
