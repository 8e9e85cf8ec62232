"""Gives and takes back free credit: one unit each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Lot, table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.ledger.grants import Grant, give, grant_locks, lot_shown, revoke, revoke_locks


async def give_credit(writer: Writer, grant: Grant) -> dict[str, Any]:
    """Credit a wallet; return the lot. Safe to repeat under the same id. Raises NotFound, WalletFrozen, Invalid."""

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        return lot_shown(give(view, changes, grant))

    applied = await writer.submit(Unit(grant.merchant_id, grant.mode, None, grant_locks(grant), decide))
    return dict(applied.answer)


async def revoke_credit(
    writer: Writer, merchant_id: str, mode: str, wallet_id: str, lot_id: str, reason: str
) -> dict[str, Any]:
    """Take back what is left of a grant; return the lot. Raises NotFound, Conflict."""

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        return lot_shown(revoke(view, changes, merchant_id, mode, wallet_id, lot_id, reason))

    locks = revoke_locks(merchant_id, mode, wallet_id, lot_id)
    return dict((await writer.submit(Unit(merchant_id, mode, None, locks, decide))).answer)


async def lots_of(reads: Reads, wallet: Row, limit: int, after: str | None) -> list[Row]:
    """Return a wallet's lots, newest first."""
    table = table_of(Lot)
    wanted = select(table).where(table.c.merchant_id == wallet["merchant_id"], table.c.wallet_id == wallet["id"])
    if after is not None:
        wanted = wanted.where(table.c.id < after)
    return await reads.all(wanted.order_by(table.c.id.desc()).limit(limit))
