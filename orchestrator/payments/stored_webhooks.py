"""The stored webhooks of one payment: which they are, and one of them applied once more by a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from adapters.base import ReceivesWebhooks
from adapters.operations import NamesEventTypes
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Capture, Payment, RawWebhook, Refund, WebhookSubject, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.errors import NotFound
from orchestrator.payments.inbox import Inbox, subject_of_money
from orchestrator.payments.payment import Fact
from orchestrator.payments.story import Story

SHOWN_MAX: Final = 200
"""The newest of one payment."""
WORDS_MAX: Final = 6


@dataclass(frozen=True, slots=True)
class StoredWebhooks:
    inbox: Inbox

    @property
    def reads(self) -> Reads:
        return self.inbox.reads

    async def of_payment(self, merchant_id: str, payment_id: str) -> list[dict[str, Any]]:
        """Return what the rails sent about a payment, newest first: {id, rail, account, received_us, types, state, ...}."""
        table, links = table_of(RawWebhook), table_of(WebhookSubject)
        subjects = await self._subjects(merchant_id, payment_id)
        if not subjects:
            return []
        named = select(links.c.webhook_id).where(links.c.subject.in_(subjects))
        rows = await self.reads.all(
            select(table).where(table.c.id.in_(named)).order_by(table.c.id.desc()).limit(SHOWN_MAX)
        )
        return [self._shown(row) for row in rows]

    async def replay(self, merchant_id: str, payment_id: str, webhook_id: str, by: str) -> Mapping[str, Any]:
        """Have one applied once more, and write down who asked. Safe to repeat. Raises NotFound."""
        if webhook_id not in {one["id"] for one in await self.of_payment(merchant_id, payment_id)}:
            raise NotFound("webhook_not_found", f"{payment_id} has no stored webhook {webhook_id}")
        table = table_of(Payment)
        query = select(table.c.mode).where(table.c.merchant_id == merchant_id, table.c.id == payment_id)
        payment = await self.reads.one(query)
        assert payment is not None, "its webhooks were just found"

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("payment", merchant_id, payment_id)
            assert row is not None, "payments are never deleted"
            story = Story(row, changes, view.now_us)
            story.tell(Fact.WEBHOOK_REPLAYED, webhook=webhook_id, by=by)
            story.write()
            return {}

        locks = (row_lock("payment", merchant_id, payment_id),)
        await self.inbox.confirmation.writer.submit(Unit(merchant_id, payment["mode"], None, locks, decide))
        return await self.inbox.replay(webhook_id)

    async def _subjects(self, merchant_id: str, payment_id: str) -> list[str]:
        """Return every name under which a rail may speak of a payment."""
        found: list[str] = []
        for model in (Attempt, Refund):
            table = table_of(model)
            rows = await self.reads.all(
                select(table.c.id).where(table.c.merchant_id == merchant_id, table.c.payment_id == payment_id)
            )
            found += [row["id"] for row in rows]
        captures = table_of(Capture)
        money = await self.reads.all(
            select(captures).where(captures.c.merchant_id == merchant_id, captures.c.payment_id == payment_id)
        )
        return found + [subject_of_money(row["rail"], row["account"], row["money_id"]) for row in money]

    def _shown(self, row: Row) -> dict[str, Any]:
        names = ("id", "rail", "account", "received_us", "state", "note", "tries")
        body = bytes(row["body"]).decode(errors="replace")
        return {**{name: row[name] for name in names}, "types": self._types(row), "body": body}

    def _types(self, row: Row) -> Sequence[str]:
        """Return the vendor's words for what a message is about; none where nobody signed it."""
        adapter = self.inbox.rails.get((row["rail"], row["account"]))
        if row["state"] == "rejected" or not isinstance(adapter, ReceivesWebhooks):
            return ()
        if isinstance(adapter, NamesEventTypes):
            try:
                return [kind for kind, _ in adapter.event_types(bytes(row["body"]))][:WORDS_MAX]
            except (ValueError, KeyError):  # stored as unreadable: a person looks at the bytes
                return ()
        return [str(event.get("kind") or event.get("about")) for event in orjson.loads(row["events"])][:WORDS_MAX]
