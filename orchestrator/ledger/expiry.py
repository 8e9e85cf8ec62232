"""Credit whose time is over leaves its wallet by an entry, never silently. Nothing spends it meanwhile: see ``purse``.

Free credit goes back the way it came; paid credit with an expiry becomes breakage. What a hold has set aside waits until
the hold ends.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import select

from orchestrator.clock import Clock, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Lot, table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.ledger.alerts import watch_threshold
from orchestrator.ledger.credit_recipes import taken_back
from orchestrator.ledger.grants import taken_out, unbound
from orchestrator.ledger.lots import PROMO_KINDS
from orchestrator.ledger.purse import OPEN_LOTS, Purse, purse_locks
from orchestrator.ledger.shown import usd

BATCH: Final = 500
"""Lots that one look of the worker takes; they share a flush."""
EXPIRING: Final = (*sorted(PROMO_KINDS), "paid")
"""Provisional credit has no time of its own: its block decides."""

_log = structlog.get_logger("expiry")


def expire_credit(view: View, changes: Changes, merchant_id: str, mode: str, wallet_id: str) -> int:
    """Book the expiry of every lot of a wallet whose time is over; return how many were. Locks: ``purse_locks``."""
    purse = Purse.open(view, merchant_id, mode, wallet_id)
    expired = 0
    for lot in view.many("lot", OPEN_LOTS, (merchant_id, wallet_id, 1)):
        due = lot["expires_us"] is not None and lot["expires_us"] <= view.now_us and lot["kind"] in EXPIRING
        units = unbound(lot) if due else 0
        if units == 0:
            continue
        after, columns = taken_out(lot, units)
        changes.post(
            taken_back("credit_expiry", lot["id"], lot["kind"], wallet_id, units, left=after["remaining_units"])
        )
        changes.update("lot", (merchant_id, lot["id"]), **columns)
        _tell(changes, lot, units, purse.available)
        expired += 1
    if expired:
        told = watch_threshold(changes, purse.wallet, purse.available, purse.available, view.now_us)
        if told:
            changes.update("wallet", (merchant_id, wallet_id), **told)
    return expired


def _tell(changes: Changes, lot: Row, units: int, available: int) -> None:
    body = {
        "wallet": lot["wallet_id"],
        "credit": lot["id"],
        "kind": lot["kind"],
        "amount": usd(units),
        "expired_at": rfc3339(lot["expires_us"]),
        "available": usd(available),
    }
    changes.emit("wallet.expired_credit", lot["wallet_id"], orjson.dumps(body).decode(), lot["merchant_id"])


class CreditExpiry:
    """Finds wallets with credit whose time is over; each decides again under its locks."""

    def __init__(self, writer: Writer, reads: Reads, clock: Clock) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock

    async def expire_due(self) -> int:
        """Book what is due; return how many lots."""
        table = table_of(Lot)
        due = await self._reads.all(
            select(table.c.merchant_id, table.c.mode, table.c.wallet_id)
            .where(
                table.c.open == 1,
                table.c.expires_us <= self._clock.now_us(),
                table.c.kind.in_(EXPIRING),
                table.c.remaining_units > table.c.held_units + table.c.frozen_units,
            )
            .order_by(table.c.expires_us)
            .limit(BATCH)
        )
        wallets = dict.fromkeys((row["merchant_id"], row["mode"], row["wallet_id"]) for row in due)
        return sum(await asyncio.gather(*(self._expire(*wallet) for wallet in wallets)))

    async def _expire(self, merchant_id: str, mode: str, wallet_id: str) -> int:
        def decide(view: View, changes: Changes) -> dict[str, Any]:
            return {"expired": expire_credit(view, changes, merchant_id, mode, wallet_id)}

        unit = Unit(merchant_id, mode, None, purse_locks(merchant_id, mode, wallet_id), decide)
        try:
            return int((await self._writer.submit(unit)).answer["expired"])
        except Exception:  # noqa: BLE001  # one wallet must not keep the others; it is looked at again
            _log.exception("credit_not_expired", wallet=wallet_id)
            return 0
