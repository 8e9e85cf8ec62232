"""Promises of service, looked at all the time: what waits longer than it may is a gauge, a line in the log and a review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from prometheus_client import Gauge
from sqlalchemy import ColumnElement, Table, TextClause, func, select, text

from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Changes, Lock, Unit, View
from orchestrator.payments.crediting import ask_a_person
from orchestrator.services import Services

PLATFORM: Final = "platform"
BY_SUBJECT: Final = ("merchant_id", "subject")
MINUTE_US: Final = 60 * 1_000_000
SETTLED_US: Final = MINUTE_US
"""Settled, not credited: both are one transaction, so any that is seen is a fault."""
UNKNOWN_US: Final = 60 * MINUTE_US
WEBHOOK_US: Final = 2 * MINUTE_US
REVIEW_US: Final = 3 * 24 * 60 * MINUTE_US
RECONCILED_US: Final = 36 * 60 * MINUTE_US
_late = Gauge("crossrail_late", "What waits longer than it may", ["what"])
_log = structlog.get_logger("alarms")


@dataclass(slots=True)
class Alarms:
    """Counts what is late. A review of the platform is open while something is, one for each kind."""

    services: Services
    told: dict[str, int] = field(default_factory=dict)

    async def look(self) -> dict[str, int]:
        """Return how many are late, by kind."""
        now_us = self.services.clock.now_us()
        payment, attempt, refund = (table_of(one) for one in (tables.Payment, tables.Attempt, tables.Refund))
        webhook, review = table_of(tables.RawWebhook), table_of(tables.Review)
        cursor = table_of(tables.SettlementCursor)
        # What is open, in the words of an index: no table is read whole.
        flies, refund_open = text(tables.FLIES), text(tables.OPEN_REFUND)
        questions: dict[str, tuple[Table, *tuple[ColumnElement[bool] | TextClause, ...]]] = {
            "settled_not_credited": (payment, text(tables.SETTLED), payment.c.updated_us < now_us - SETTLED_US),
            "attempt_unknown": (
                attempt, flies, attempt.c.status == "outcome_unknown", attempt.c.updated_us < now_us - UNKNOWN_US,
            ),
            "refund_unknown": (refund, refund_open, refund.c.status == "sent", refund.c.updated_us < now_us - UNKNOWN_US),
            "webhook_waits": (webhook, webhook.c.state == "received", webhook.c.received_us < now_us - WEBHOOK_US),
            "review_waits": (review, text(tables.OPEN_REVIEW), review.c.created_us < now_us - REVIEW_US),
            "reconciliation_late": (cursor, cursor.c.read_us < now_us - RECONCILED_US),
        }  # fmt: skip
        found: dict[str, int] = {}
        for what, (table, *late) in questions.items():
            row = await self.services.reads.one(select(func.count().label("many")).select_from(table).where(*late))
            found[what] = 0 if row is None else int(row["many"])
        return found

    async def run_once(self) -> bool:
        """Look, tell what changed."""
        for what, many in (await self.look()).items():
            _late.labels(what).set(many)
            before, self.told[what] = self.told.get(what, 0), many
            if many and not before:
                _log.error("service_promise_broken", what=what, many=many)
                await self._ask(what, many)
            elif before and not many:
                _log.warning("service_promise_kept_again", what=what)
                await self._close(what)
        return False

    async def _ask(self, what: str, many: int) -> None:
        subject = f"alarm:{what}"

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if not any(row["status"] == "open" for row in view.many("review", BY_SUBJECT, (PLATFORM, subject))):
                ask_a_person(view, changes, PLATFORM, "live", reason="service_promise_broken", subject=subject,
                             payment_id=None, evidence={"what": what, "many": many})  # fmt: skip
            return {}

        locks = (Lock("review", BY_SUBJECT, (PLATFORM, subject)),)
        await self.services.writer.submit(Unit(PLATFORM, "live", None, locks, decide))

    async def _close(self, what: str) -> None:
        subject = f"alarm:{what}"

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            for row in view.many("review", BY_SUBJECT, (PLATFORM, subject)):
                if row["status"] == "open":
                    changes.update("review", (PLATFORM, row["id"]), status="resolved", resolved_us=view.now_us)
            return {}

        locks = (Lock("review", BY_SUBJECT, (PLATFORM, subject)),)
        await self.services.writer.submit(Unit(PLATFORM, "live", None, locks, decide))
