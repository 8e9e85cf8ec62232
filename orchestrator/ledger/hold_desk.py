"""Makes and ends holds: one unit per request and, for a hold of this process, no query beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import structlog
from sqlalchemy import select

from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Hold, table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.errors import NotFound
from orchestrator.ledger.holds import (
    HoldTerms,
    capture_hold,
    expire_hold,
    hold_locks,
    hold_shown,
    make_hold,
    void_hold,
)

BATCH: Final = 500
"""Holds that one look of the worker expires; they share a flush."""
KNOWN_MAX: Final = 50_000
"""Holds whose wallet is remembered, about 20 MB."""

_log = structlog.get_logger("holds")
End: TypeAlias = Callable[[View, Changes, Row], dict[str, Any]]


class Holds:
    """Holds and spend leases of every merchant."""

    def __init__(self, writer: Writer, reads: Reads, clock: Clock) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock
        self._wallets: dict[tuple[str, str], str] = {}
        """A hold's wallet never changes, and a unit has to name what it locks before it can read the hold."""

    async def make(self, terms: HoldTerms) -> dict[str, Any]:
        """Set an amount aside; return the hold. Raises InsufficientBalance, WalletFrozen, NotFound."""

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            return hold_shown(make_hold(view, changes, terms))

        locks = hold_locks(terms.merchant_id, terms.mode, terms.wallet_id, terms.id)
        applied = await self._writer.submit(Unit(terms.merchant_id, terms.mode, None, locks, decide))
        self._remember(terms.merchant_id, terms.id, terms.wallet_id)
        return dict(applied.answer)

    async def capture(self, merchant_id: str, mode: str, hold_id: str, kind: str, units: int) -> dict[str, Any]:
        """Charge what a hold was for, USD/9 from 0. Raises Conflict, NotFound."""
        return await self._end(
            merchant_id, mode, hold_id, kind, lambda view, changes, hold: capture_hold(view, changes, hold, units)
        )

    async def void(self, merchant_id: str, mode: str, hold_id: str, kind: str) -> dict[str, Any]:
        """Give back what a hold set aside. Raises Conflict, NotFound."""
        return await self._end(merchant_id, mode, hold_id, kind, void_hold)

    async def get(self, merchant_id: str, mode: str, hold_id: str, kind: str) -> dict[str, Any]:
        return hold_shown(await self._find(merchant_id, mode, hold_id, kind))

    async def _end(self, merchant_id: str, mode: str, hold_id: str, kind: str, end: End) -> dict[str, Any]:
        wallet_id = self._wallets.get((merchant_id, hold_id))
        if wallet_id is None:
            wallet_id = (await self._find(merchant_id, mode, hold_id, kind))["wallet_id"]
            self._remember(merchant_id, hold_id, wallet_id)

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            hold = view.one("hold", merchant_id, hold_id)
            if hold is None or hold["mode"] != mode or hold["kind"] != kind:
                raise _unknown(kind, hold_id)
            return end(view, changes, hold)

        locks = hold_locks(merchant_id, mode, wallet_id, hold_id)
        return dict((await self._writer.submit(Unit(merchant_id, mode, None, locks, decide))).answer)

    async def _find(self, merchant_id: str, mode: str, hold_id: str, kind: str) -> Row:
        table = table_of(Hold)
        row = await self._reads.one(select(table).where(table.c.merchant_id == merchant_id, table.c.id == hold_id))
        if row is None or row["mode"] != mode or row["kind"] != kind:
            raise _unknown(kind, hold_id)
        return row

    def _remember(self, merchant_id: str, hold_id: str, wallet_id: str) -> None:
        if len(self._wallets) >= KNOWN_MAX:
            del self._wallets[next(iter(self._wallets))]
        self._wallets[merchant_id, hold_id] = wallet_id

    # --- for the worker ---------------------------------------------------------------------------------------------

    async def expire_due(self) -> int:
        """Give back what holds set aside whose time is over; return how many. Each decides again under its lock."""
        table = table_of(Hold)
        due = await self._reads.all(
            select(table.c.merchant_id, table.c.mode, table.c.wallet_id, table.c.id)
            .where(table.c.status == "open", table.c.expires_us <= self._clock.now_us())
            .order_by(table.c.expires_us)
            .limit(BATCH)
        )
        return sum(await asyncio.gather(*map(self._expire, due)))

    async def _expire(self, due: Row) -> bool:
        merchant_id, mode, hold_id = due["merchant_id"], due["mode"], due["id"]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            hold = view.one("hold", merchant_id, hold_id)
            return {"expired": hold is not None and expire_hold(view, changes, hold)}

        locks = hold_locks(merchant_id, mode, due["wallet_id"], hold_id)
        try:
            applied = await self._writer.submit(Unit(merchant_id, mode, None, locks, decide))
        except Exception:  # noqa: BLE001  # one hold that cannot be ended must not keep the others; it is looked at again
            _log.exception("hold_not_expired", hold=hold_id)
            return False
        return bool(applied.answer["expired"])


def _unknown(kind: str, hold_id: str) -> NotFound:
    return NotFound(f"{kind}_not_found", f"there is no {kind} {hold_id}")
