"""Watching refunds until they ended: what was sent without an answer is asked about first, a person after many checks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import select

from adapters import operations
from adapters.base import RailError
from adapters.operations import RefundRefused
from orchestrator.database.tables import Refund, table_of
from orchestrator.database.unit import Changes, Row, View
from orchestrator.errors import NotFound
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.refund_terms import OPEN
from orchestrator.payments.refunds import CHECK_FIRST_US, Refunds
from orchestrator.payments.story import money_body
from rates.money import Asset, Money

CHECKS_MAX: Final = 20
"""After so many checks of a refund that has not ended a person is asked; the checks go on."""
CHECK_LAST_US: Final = 3600 * 1_000_000
RESEND_MARGIN_S: Final = 3600
"""A key is not trusted in its last hour: clocks differ, and a call takes its time."""
BATCH: Final = 50
_log = structlog.get_logger("refunds")


@dataclass(frozen=True, slots=True)
class RefundWatch:
    """May run in several processes at once: a check is claimed by moving its time on."""

    refunds: Refunds

    async def run_once(self) -> int:
        """Carry on what is due, what was sent without an answer first; return how many were looked at."""
        table = table_of(Refund)
        due = await self.refunds.reads.all(
            select(table)
            .where(table.c.status.in_(sorted(OPEN)), table.c.next_check_us <= self.refunds.clock.now_us())
            .order_by(table.c.status.desc(), table.c.next_check_us)
            .limit(BATCH)
        )
        results = await asyncio.gather(*map(self._carry_on, due), return_exceptions=True)
        for row, result in zip(due, results, strict=True):
            if isinstance(result, BaseException):
                _log.error("refund_check_failed", refund=row["id"], rail=row["rail"], error=repr(result)[:300])
        return len(due)

    async def _carry_on(self, refund: Row) -> None:
        if not await self._claim(refund):
            return
        if refund["status"] == "created":
            await self.refunds.send(refund)
        elif refund["destination"] == "address":
            await self._look_at_chain(refund)
        else:
            await self._ask_the_rail(refund)

    async def _ask_the_rail(self, refund: Row) -> None:
        adapter = self.refunds.rails.get((refund["rail"], refund["account"]))
        if not isinstance(adapter, operations.Refunds):
            _log.error("rail_not_configured", rail=refund["rail"], account=refund["account"], refund=refund["id"])
            return
        try:
            if await self.refunds.ask(refund):
                return
        except RefundRefused as no:
            await self.refunds.fail(refund, f"{no.code}: {no}")
            return
        except (RailError, TimeoutError) as error:
            self.refunds.say("rail_not_answering", refund, error)
            return
        age_s = (self.refunds.clock.now_us() - refund["created_us"]) / 1_000_000
        if refund["status"] == "sent" and age_s < adapter.resend_window_seconds - RESEND_MARGIN_S:
            await self.refunds.call(refund)  # the same order under the same key gives the same refund

    async def _look_at_chain(self, refund: Row) -> None:
        try:
            transfer = await self.refunds.chain.find(refund["merchant_id"], refund["id"])
        except NotFound:  # we died before it was stored: nothing was sent
            await self.refunds.call(refund)
            return
        if transfer["status"] == "done":
            await self.refunds.ended(refund, lambda book, row: book.succeed(row, None), "succeeded")
        elif transfer["status"] == "failed":
            why = transfer["note"] or "the transfer failed on the chain"
            await self.refunds.fail(refund, why)

    async def _claim(self, refund: Row) -> bool:
        """Move the next check on, if nobody else has; ask a person after many."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("refund", refund["merchant_id"], refund["id"])
            if row is None or row["status"] not in OPEN or row["next_check_us"] != refund["next_check_us"]:
                return {"mine": False}
            wait_us = min(CHECK_FIRST_US * 2 ** min(row["checks"], 30), CHECK_LAST_US)
            checks = row["checks"] + 1
            changes.update(
                "refund", (row["merchant_id"], row["id"]), checks=checks, next_check_us=view.now_us + wait_us
            )
            if checks == CHECKS_MAX:
                reason = "refund_unknown_too_long" if row["status"] == "sent" else "refund_pending_too_long"
                _overdue(view, changes, row, reason)
            return {"mine": True}

        return bool((await self.refunds.submit(refund, decide)).get("mine"))


def _overdue(view: View, changes: Changes, refund: Row, reason: str) -> None:
    """Ask a person about a refund that does not end."""
    local = Money(refund["local_units"], Asset.parse(refund["asset"]))
    ask_a_person(view, changes, refund["merchant_id"], refund["mode"], reason=reason, subject=refund["id"],
                 payment_id=refund["payment_id"], evidence={"amount": money_body(local), "rail": refund["rail"]})  # fmt: skip
