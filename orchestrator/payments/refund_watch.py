"""Watching refunds until they ended: what was sent without an answer is asked about first.

A person is asked after many checks, and at once when the rail keeps our key no longer: see ``refund_questions``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import select, text

from adapters import operations
from adapters.base import RailAdapter, RailError
from adapters.operations import RefundRefused
from orchestrator.database.tables import OPEN_REFUND, Refund, table_of
from orchestrator.database.unit import Changes, Row, View
from orchestrator.errors import NotFound
from orchestrator.payments.refund_questions import ask_not_sent_again, ask_overdue, questions_lock
from orchestrator.payments.refund_terms import OPEN
from orchestrator.payments.refund_words import SUCCEEDED, Word
from orchestrator.payments.refunds import CHECK_FIRST_US, Refunds

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
            .where(text(OPEN_REFUND), table.c.next_check_us <= self.refunds.clock.now_us())
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
        said = "nothing under our id"
        try:
            if await self.refunds.ask(refund):
                return
        except RefundRefused as no:
            await self.refunds.fail(refund, f"{no.code}: {no}")
            return
        except (RailError, TimeoutError) as error:
            self.refunds.say("rail_not_answering", refund, error)
            said = f"no answer: {type(error).__name__}"
        else:
            if refund["status"] == "sent" and self.refunds.clock.now_us() < _trusted_until_us(refund, adapter):
                await self.refunds.call(refund, again=True)  # the same order under the same key gives the same refund
        await self._ask_once(refund, _trusted_until_us(refund, adapter), said)

    async def _ask_once(self, refund: Row, until_us: int, said: str) -> None:
        """Ask a person as soon as a refund of which nothing is known can be sent no more."""
        if refund["status"] != "sent" or self.refunds.clock.now_us() < until_us:
            return

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("refund", refund["merchant_id"], refund["id"])
            if row is not None:
                ask_not_sent_again(view, changes, row, until_us, said)
            return {}

        await self.refunds.submit(refund, decide, questions_lock(refund))

    async def _look_at_chain(self, refund: Row) -> None:
        try:
            transfer = await self.refunds.chain.find(refund["merchant_id"], refund["id"])
        except NotFound:  # we died before it was stored: nothing was sent
            await self.refunds.call(refund)
            return
        if transfer["status"] == "done":
            await self.refunds.ended(refund, Word(SUCCEEDED))
        elif transfer["status"] == "failed":
            why = transfer["note"] or "the transfer failed on the chain"
            await self.refunds.fail(refund, why)

    async def _claim(self, refund: Row) -> bool:
        """Move the next check on, if nobody else has; ask a person after many."""
        adapter = self.refunds.rails.get((refund["rail"], refund["account"]))
        on_chain = refund["destination"] == "address"
        until_us = None if adapter is None or on_chain else _trusted_until_us(refund, adapter)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("refund", refund["merchant_id"], refund["id"])
            if row is None or row["status"] not in OPEN or row["next_check_us"] != refund["next_check_us"]:
                return {"mine": False}
            wait_us = min(CHECK_FIRST_US * 2 ** min(row["checks"], 30), CHECK_LAST_US)
            if row["status"] == "sent" and until_us is not None and until_us > view.now_us:
                wait_us = min(wait_us, until_us - view.now_us)  # the moment from which only a person can do something
            checks = row["checks"] + 1
            changes.update(
                "refund", (row["merchant_id"], row["id"]), checks=checks, next_check_us=view.now_us + wait_us
            )
            if checks == CHECKS_MAX:
                ask_overdue(view, changes, row)
            return {"mine": True}

        return bool((await self.refunds.submit(refund, decide, questions_lock(refund))).get("mine"))


def _trusted_until_us(refund: Row, adapter: RailAdapter) -> int:
    """Return until when the rail surely knows our key, so that the same order is no second refund."""
    return int(refund["created_us"] + (adapter.resend_window_seconds - RESEND_MARGIN_S) * 1_000_000)
