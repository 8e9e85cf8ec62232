"""The raw inbox: what rails send is stored byte for byte, answered, and only then worked on.

Verification is a few microseconds of hashing, so the verdict is stored with the bytes in one commit; the rail is
answered after it. Bytes that are not signed are not believed, but an attempt that they name is asked about.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, cast

import orjson
import structlog
from prometheus_client import Counter
from sqlalchemy import select

from adapters.base import ReceivesWebhooks, WebhookRejected
from adapters.operations import NamesEventTypes, ReportsReversals
from orchestrator.database.reads import Reads
from orchestrator.database.tables import RawWebhook, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.errors import Forbidden, NotFound
from orchestrator.ids import new_id
from orchestrator.payments.confirmation import Confirmation, NotOurs
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.outcome import Rails
from orchestrator.payments.reversals import Reversals
from orchestrator.payments.wire_json import event_from_json, event_to_json, reversal_from_json, reversal_to_json

PLATFORM = "platform"
BATCH = 100
TRIES_MAX = 8
HEADERS_KEPT = 40
_ATTEMPT = re.compile(rb"att_[0-9a-f]{32}")
_log = structlog.get_logger("inbox")
_types = Counter("crossrail_webhook_types", "What signed webhooks were about", ["rail", "type", "read"])
_webhooks = Counter("crossrail_webhooks_in", "Webhooks by what became of them", ["rail", "state"])


@cache
def _can(kind: type, protocol: type) -> bool:
    """Say whether adapters of a class speak a protocol: asked of each webhook, and dear to find out."""
    return issubclass(kind, protocol)


_type_count = lru_cache(maxsize=512)(_types.labels)
_state_count = lru_cache(maxsize=512)(_webhooks.labels)


def _count_types(rail: str, adapter: NamesEventTypes, body: bytes) -> str:
    """Count what a verified message is about; return a note where a type is none that is read here."""
    unread = []
    for kind, read in adapter.event_types(body):
        _type_count(rail, kind[:60], "yes" if read else "no").inc()
        unread += [] if read else [kind[:60]]
    return f"not read here: {', '.join(unread)}" if unread else ""


def subject_of_money(rail: str, account: str, money_id: str) -> str:
    return f"{rail}/{account}/{money_id}"


def _subjects(rail: str, account: str, events: list[dict[str, Any]], body: bytes) -> list[str]:
    """Return under what a webhook is found: by our own id where the rail echoes one, else by the rail's id of the money.

    One that says nothing we believe is found by the attempt that it names, if it names one.
    """
    found: dict[str, None] = {}
    for event in events:
        ours = event.get("attempt_id") or event.get("refund_id")
        money = event.get("money_id")
        if event.get("about") and money:  # its refund may be nobody's of ours, and a dispute has no id of ours
            found[subject_of_money(rail, account, money)] = None
        elif ours:
            found[ours] = None
    if not events and (named := _ATTEMPT.search(body)) is not None:
        found[named.group().decode()] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes webhooks in, and works them off."""

    confirmation: Confirmation
    reversals: Reversals
    reads: Reads
    rails: Rails
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something came: the worker need not wait for its next look."""

    async def take(self, rail: str, account: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str, str]:
        """Store one webhook and return the answer that the rail wants. Raises NotFound, Forbidden (not signed)."""
        adapter = self.rails.get((rail, account))
        if adapter is None or not _can(type(adapter), ReceivesWebhooks):
            raise NotFound("no_such_webhook", f"no rail account {rail}/{account} receives webhooks here")
        door = cast("ReceivesWebhooks", adapter)
        events: list[dict[str, Any]] = []
        state, note = "received", ""
        try:
            events = [event_to_json(event) for event in door.parse_webhook(headers, body)]
            if _can(type(adapter), ReportsReversals):
                reversals = cast("ReportsReversals", adapter).parse_reversals(headers, body)
                events += [reversal_to_json(event) for event in reversals]
            if _can(type(adapter), NamesEventTypes):
                note = _count_types(rail, cast("NamesEventTypes", adapter), body)
        except WebhookRejected as error:
            state, note = "rejected", str(error)
        except Exception as error:  # noqa: BLE001  # a bug of ours must not lose what the rail said: kept for a person
            events, state, note = [], "stuck", repr(error)
            _log.exception("webhook_not_readable", rail=rail, account=account)
        await self._store(rail, account, headers, body, state, note, events)
        _state_count(rail, state).inc()
        self.arrived.set()
        if state == "rejected":
            await self._ask_the_rail(rail, account, body)
            raise Forbidden("webhook_not_signed", "the signature does not fit this account's secrets")
        return door.webhook_answer()

    async def replay(self, webhook_id: str) -> dict[str, Any]:
        """Apply what a stored webhook said once more: {id, state, note, events}. Safe to repeat.

        For what could not be placed or applied before. Signatures grow old, so that the verdict of its arrival stands:
        one that was rejected or unreadable then is not believed now; its rail is asked about the attempt instead.
        """
        table = table_of(RawWebhook)
        rows = await self.reads.all(select(table).where(table.c.id == webhook_id))
        if not rows:
            raise NotFound("webhook_not_found", f"no stored webhook {webhook_id}")
        row = rows[0]
        unreadable = row["state"] == "stuck" and row["events"] == "[]"
        if row["state"] == "rejected" or unreadable:
            await self._ask_the_rail(row["rail"], row["account"], row["body"])
        else:
            await self._work(row)
        after = (await self.reads.all(select(table).where(table.c.id == webhook_id)))[0]
        events = len(orjson.loads(after["events"]))
        return {"id": webhook_id, "state": after["state"], "note": after["note"], "events": events}

    async def _store(
        self, rail: str, account: str, headers: Mapping[str, str], body: bytes, state: str, note: str, events: list[Any]
    ) -> None:
        webhook_id, subjects = new_id("we"), _subjects(rail, account, events, body)

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            for subject in subjects:
                changes.insert("webhook_subject", subject=subject, webhook_id=webhook_id)
            changes.insert(
                "raw_webhook",
                id=webhook_id,
                rail=rail,
                account=account,
                received_us=view.now_us,
                headers=orjson.dumps(dict(list(headers.items())[:HEADERS_KEPT])).decode(),
                body=body,
                events=orjson.dumps(events).decode(),
                state=state,
                note=note[:500],
                tries=0,
                next_try_us=view.now_us,
            )
            return {}

        await self.confirmation.writer.submit(Unit(PLATFORM, "", None, (), decide))

    async def _ask_the_rail(self, rail: str, account: str, body: bytes) -> None:
        """Have the poller look at the attempt that an unsigned body names: a real query, not belief."""
        named = _ATTEMPT.search(body)
        found = None if named is None else await self.confirmation.finder.of_attempt(named.group().decode())
        if found is not None and (found.rail, found.account) == (rail, account):
            await self._check_now(found)

    async def _check_now(self, found: AttemptAt) -> None:
        def decide(view: View, changes: Changes) -> dict[str, Any]:
            attempt = view.one("attempt", found.merchant_id, found.attempt_id)
            if attempt is not None and attempt["open_at_rail"] and attempt["next_check_us"] > view.now_us:
                changes.update("attempt", (found.merchant_id, found.attempt_id), next_check_us=view.now_us)
            return {}

        locks = (row_lock("attempt", found.merchant_id, found.attempt_id),)
        await self.confirmation.writer.submit(Unit(found.merchant_id, found.mode, None, locks, decide))

    async def run_once(self) -> int:
        """Work off what waits, oldest first; return how many were taken up.

        Two processes may take up the same one: the events' own keys make that harmless.
        """
        table = table_of(RawWebhook)
        now_us = self.confirmation.clock.now_us()
        rows = await self.reads.all(
            select(table)
            .where(table.c.state == "received", table.c.next_try_us <= now_us)
            .order_by(table.c.id)
            .limit(BATCH)
        )
        for row in rows:
            await self._work(row)
        return len(rows)

    async def _work(self, row: Row) -> None:
        state, note = "processed", row["note"] if row["note"].startswith("not read here") else ""
        try:
            for event in orjson.loads(row["events"]):
                try:
                    if "about" in event:
                        await self.reversals.apply(reversal_from_json(event))
                    else:
                        await self.confirmation.apply(event_from_json(event))
                except NotOurs as error:  # the other items of the message may well be ours
                    # Of a dispute a rail may tell us once only, and before the word of the money itself has come.
                    early = "about" in event and row["tries"] + 1 < TRIES_MAX
                    state, note = ("received" if early else "unplaced"), str(error)
        except Exception as error:  # noqa: BLE001  # one webhook must not stop the others; it is tried again
            _log.exception("webhook_not_applied", rail=row["rail"], webhook=row["id"])
            state, note = ("stuck" if row["tries"] + 1 >= TRIES_MAX else "received"), repr(error)
        _state_count(row["rail"], state).inc()
        await self._mark(row, state, note)

    async def _mark(self, row: Row, state: str, note: str) -> None:
        def decide(view: View, changes: Changes) -> dict[str, Any]:
            tries = row["tries"] + 1
            next_try_us = view.now_us + 2**tries * 1_000_000
            changes.update(
                "raw_webhook", (row["id"],), state=state, note=note[:500], tries=tries, next_try_us=next_try_us
            )
            return {}

        await self.confirmation.writer.submit(Unit(PLATFORM, "", None, (row_lock("raw_webhook", row["id"]),), decide))
