"""Tells a merchant when a wallet will last fewer days than it wants, at the rate of the last seven days."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from sqlalchemy import func, select

from orchestrator.clock import DAY_US, Clock
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Hold, UsageRollup, Wallet, table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.ledger.alerts import tell_low
from orchestrator.ledger.holds import BY_AMOUNT
from orchestrator.ledger.purse import Purse, purse_locks
from orchestrator.ledger.shown import usd

DAYS: Final = 7
BATCH: Final = 500

_log = structlog.get_logger("runway")


def watch_runway(view: View, changes: Changes, merchant_id: str, mode: str, wallet_id: str, spent: int) -> bool:
    """Tell the merchant where ``spent`` (USD/9 in seven days) leaves too few days; say whether it was told now.

    Once per crossing: ``low_told_us`` is empty again when neither threshold nor runway is low. Locks: ``purse_locks``.
    """
    purse = Purse.open(view, merchant_id, mode, wallet_id)
    wallet, available = purse.wallet, purse.available
    if wallet["runway_days"] is None:
        return False
    low = available * DAYS < spent * wallet["runway_days"]  # days left = available / (spent / 7)
    threshold = wallet["low_balance_units"]
    key = (merchant_id, wallet_id)
    if low and wallet["low_told_us"] is None:
        lasts = available * DAYS // spent
        tell_low(changes, wallet, available, reason="runway", days_left=lasts, spent_in_seven_days=usd(spent))
        changes.update("wallet", key, low_told_us=view.now_us)
        return True
    if not low and wallet["low_told_us"] is not None and (threshold is None or available >= threshold):
        changes.update("wallet", key, low_told_us=None)
    return False


class RunwayWatch:
    """Looks at every wallet that wants it. Reads roll-ups and captured holds; each decides under its locks."""

    def __init__(self, writer: Writer, reads: Reads, clock: Clock) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock

    async def run_once(self) -> int:
        """Look at all of them, in pages; return how many merchants were told."""
        table = table_of(Wallet)
        told, after = 0, ("", "")
        while True:
            page = await self._reads.all(
                select(table.c.merchant_id, table.c.mode, table.c.id)
                .where(
                    table.c.runway_days.is_not(None),
                    table.c.status != "closed",
                    (table.c.merchant_id > after[0]) | ((table.c.merchant_id == after[0]) & (table.c.id > after[1])),
                )
                .order_by(table.c.merchant_id, table.c.id)
                .limit(BATCH)
            )
            for wallet in page:
                told += await self._look(wallet)
            if len(page) < BATCH:
                return told
            after = (page[-1]["merchant_id"], page[-1]["id"])
            await asyncio.sleep(0)

    async def _look(self, wallet: Row) -> bool:
        merchant_id, mode, wallet_id = wallet["merchant_id"], wallet["mode"], wallet["id"]
        spent = await self.spent(merchant_id, mode, wallet_id)

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            return {"told": watch_runway(view, changes, merchant_id, mode, wallet_id, spent)}

        unit = Unit(merchant_id, mode, None, purse_locks(merchant_id, mode, wallet_id), decide)
        try:
            return bool((await self._writer.submit(unit)).answer["told"])
        except Exception:  # noqa: BLE001  # one wallet must not keep the others; it is looked at again
            _log.exception("runway_not_watched", wallet=wallet_id)
            return False

    async def spent(self, merchant_id: str, mode: str, wallet_id: str) -> int:
        """Return what a wallet spent in the last seven days, today counted, USD/9: metered usage, and holds captured with an amount."""
        now_us = self._clock.now_us()
        rollup, hold = table_of(UsageRollup), table_of(Hold)
        metered = await self._reads.one(
            select(func.coalesce(func.sum(rollup.c.units), 0).label("units")).where(
                rollup.c.merchant_id == merchant_id,
                rollup.c.mode == mode,
                rollup.c.wallet_id == wallet_id,
                rollup.c.day > now_us // DAY_US - DAYS,
            )
        )
        captured = await self._reads.one(
            select(func.coalesce(func.sum(hold.c.captured_units), 0).label("units")).where(
                hold.c.merchant_id == merchant_id,
                hold.c.wallet_id == wallet_id,
                hold.c.status == "captured",
                hold.c.mode == mode,
                hold.c.answer.contains(f'"captured_by":"{BY_AMOUNT}"'),  # what usage events captured is metered above
                hold.c.updated_us > now_us - DAYS * DAY_US,
            )
        )
        assert metered is not None
        assert captured is not None
        return int(metered["units"]) + int(captured["units"])
