"""Saved methods: asked for at a checkout, read from the rail once the payment is made, charged later, revoked.

asked -> active -> revoked
      -> unused            the buyer did not pay, or the rail saved nothing
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
import structlog
from sqlalchemy import select

from adapters.base import ChargesSaved, PaymentReference, RailAdapter, RailError, SavedMethod
from orchestrator.clock import Clock, from_us, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Mandate, table_of
from orchestrator.database.unit import Changes, Decide, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, NotFound
from orchestrator.events.catalog import EventType, emit
from rates.money import Asset, Money

BATCH = 50
CALL_TIMEOUT_S = 40
CHECK_AGAIN_US_MIN = 10_000_000
CHECK_AGAIN_US_MAX = 3600 * 1_000_000
_log = structlog.get_logger("mandates")


class MandateStatus(StrEnum):
    ASKED = "asked"
    ACTIVE = "active"
    REVOKED = "revoked"
    UNUSED = "unused"


SHOWN = (MandateStatus.ACTIVE.value, MandateStatus.REVOKED.value)


def mandate_of_attempt(attempt_id: str) -> str:
    """Return the id of what an attempt asks the buyer to save."""
    return "man_" + attempt_id.partition("_")[2]


def ask_to_save(changes: Changes, attempt: Row, now_us: int) -> None:
    """Note, with a new attempt, that its page asks the buyer to save the method."""
    changes.insert(
        "mandate",
        merchant_id=attempt["merchant_id"],
        id=mandate_of_attempt(attempt["id"]),
        mode=attempt["mode"],
        wallet_id=attempt["wallet_id"],
        attempt_id=attempt["id"],
        rail=attempt["rail"],
        account=attempt["account"],
        method=attempt["method"],
        reference="{}",
        label="",
        status=MandateStatus.ASKED.value,
        next_check_us=now_us,
        created_us=now_us,
    )


def mandate_object(row: Row) -> dict[str, Any]:
    """Return a mandate as events and the API show it: never the rail's own reference."""
    return {
        "id": row["id"],
        "wallet": row["wallet_id"],
        "rail": row["rail"],
        "method": row["method"],
        "label": row["label"],
        "status": row["status"],
        "created_at": rfc3339(row["created_us"]),
    }


@dataclass(frozen=True, slots=True)
class StandingCharge:
    """A charge that nobody looks at. It starts only while all that it rests on holds, seen under lock."""

    merchant_id: str
    wallet_id: str
    session_id: str
    mandate_id: str
    saved: Mapping[str, str]

    def locks(self) -> list[Lock]:
        return [
            row_lock("wallet", self.merchant_id, self.wallet_id),
            row_lock("auto_topup", self.merchant_id, self.wallet_id),
            row_lock("mandate", self.merchant_id, self.mandate_id),
        ]

    def check(self, view: View) -> None:
        """Raise Conflict where the wallet, its standing order or the mandate no longer allows it."""
        wallet = view.one("wallet", self.merchant_id, self.wallet_id)
        if wallet is None or wallet["status"] != "active":
            raise Conflict("wallet_not_active", "the wallet is frozen or closed: its saved method is not charged")
        order = view.one("auto_topup", self.merchant_id, self.wallet_id)
        if order is None or not order["enabled"] or order["session_id"] != self.session_id:
            raise Conflict("auto_topup_changed", "the auto top-up was switched off or changed meanwhile")
        mandate = view.one("mandate", self.merchant_id, self.mandate_id)
        if mandate is None or mandate["status"] != MandateStatus.ACTIVE.value:
            raise Conflict("mandate_revoked", "the saved method may not be charged any more")


@dataclass(frozen=True, slots=True)
class Mandates:
    """Reads what buyers saved, lists it, revokes it."""

    writer: Writer
    reads: Reads
    rails: Mapping[tuple[str, str], RailAdapter]
    clock: Clock

    async def of_wallet(self, merchant_id: str, wallet_id: str) -> list[Row]:
        """Return a wallet's mandates, newest first; what was only asked for is none."""
        table = table_of(Mandate)
        return await self.reads.all(
            select(table)
            .where(table.c.merchant_id == merchant_id, table.c.wallet_id == wallet_id, table.c.status.in_(SHOWN))
            .order_by(table.c.id.desc())
        )

    async def revoke(self, merchant_id: str, mode: str, wallet_id: str, mandate_id: str) -> Row:
        """Never charge it again; an auto top-up that rests on it is switched off. Safe to repeat. Raises NotFound."""
        locks = (row_lock("mandate", merchant_id, mandate_id), row_lock("auto_topup", merchant_id, wallet_id))

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            row = view.one("mandate", merchant_id, mandate_id)
            if row is None or (row["mode"], row["wallet_id"]) != (mode, wallet_id) or row["status"] not in SHOWN:
                raise NotFound("mandate_not_found", f"this wallet has no mandate {mandate_id}")
            if row["status"] == MandateStatus.REVOKED.value:
                return {"mandate": row}
            revoked = {**row, "status": MandateStatus.REVOKED.value}
            changes.update("mandate", (merchant_id, mandate_id), status=revoked["status"])
            emit(changes, EventType.MANDATE_REVOKED, mandate_id, mandate_object(revoked))
            order = view.one("auto_topup", merchant_id, wallet_id)
            if order is not None and order["mandate_id"] == mandate_id and order["enabled"]:
                changes.update("auto_topup", (merchant_id, wallet_id), enabled=0, updated_us=view.now_us)
                stopped = {"wallet": wallet_id, "reason": "mandate_revoked"}
                emit(changes, EventType.AUTO_TOPUP_STOPPED, wallet_id, stopped)
            return {"mandate": revoked}

        answer = (await self.writer.submit(Unit(merchant_id, mode, None, locks, decide))).answer
        mandate: Row = answer["mandate"]
        return mandate

    async def run_once(self) -> int:
        """Ask rails what was saved with payments that have ended; return how many were looked at."""
        mandate, attempt = table_of(Mandate), table_of(Attempt)
        ended = (attempt.c.status == "succeeded") | (attempt.c.open_at_rail == 0)
        same = (attempt.c.merchant_id == mandate.c.merchant_id) & (attempt.c.id == mandate.c.attempt_id)
        now_us = self.clock.now_us()
        due = await self.reads.all(
            select(
                mandate,
                attempt.c.status.label("attempt_status"),
                attempt.c.rail_reference,
                attempt.c.units,
                attempt.c.asset,
                attempt.c.created_us.label("attempt_created_us"),
            )
            .join(attempt, same)
            .where(mandate.c.status == MandateStatus.ASKED.value, mandate.c.next_check_us <= now_us, ended)
            .order_by(mandate.c.next_check_us)
            .limit(BATCH)
        )
        for row in due:
            await self._look(row)
        return len(due)

    async def _look(self, row: Row) -> None:
        if row["attempt_status"] != "succeeded":
            await self._end(row, None)
            return
        try:
            saved = await self._ask(row)
        except (RailError, TimeoutError) as error:
            _log.info("saved_method_not_read", rail=row["rail"], mandate=row["id"], error=repr(error)[:200])
            await self._later(row)
        else:
            await self._end(row, saved)

    async def _ask(self, row: Row) -> SavedMethod | None:
        adapter = self.rails.get((row["rail"], row["account"]))
        if not isinstance(adapter, ChargesSaved):
            return None
        reference = PaymentReference(
            attempt_id=row["attempt_id"],
            rail_reference=row["rail_reference"],
            method=row["method"],
            amount=Money(row["units"], Asset.parse(row["asset"])),
            created_at=from_us(row["attempt_created_us"]),
        )
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await adapter.saved_method(reference)

    async def _end(self, row: Row, saved: SavedMethod | None) -> None:
        def decide(view: View, changes: Changes) -> dict[str, Any]:
            asked = view.one("mandate", row["merchant_id"], row["id"])
            if asked is None or asked["status"] != MandateStatus.ASKED.value:
                return {}
            key = (row["merchant_id"], row["id"])
            if saved is None:
                changes.update("mandate", key, status=MandateStatus.UNUSED.value)
                return {}
            reference = orjson.dumps(dict(saved.reference)).decode()
            active = {**asked, "reference": reference, "label": saved.label, "status": MandateStatus.ACTIVE.value}
            changes.update("mandate", key, reference=reference, label=saved.label, status=active["status"])
            emit(changes, EventType.MANDATE_SAVED, row["id"], mandate_object(active))
            return {}

        await self._write(row, decide)

    async def _later(self, row: Row) -> None:
        """Ask again after half of the time that was waited already."""

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            waited_us = (view.now_us - row["created_us"]) // 2
            next_us = view.now_us + max(CHECK_AGAIN_US_MIN, min(waited_us, CHECK_AGAIN_US_MAX))
            changes.update("mandate", (row["merchant_id"], row["id"]), next_check_us=next_us)
            return {}

        await self._write(row, decide)

    async def _write(self, row: Row, decide: Decide) -> None:
        locks = (row_lock("mandate", row["merchant_id"], row["id"]),)
        await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))
