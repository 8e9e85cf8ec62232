"""Sessions whose time is over are expired; money that still arrives for them is taken all the same."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import CheckoutSession, table_of
from orchestrator.payments.checkout import Checkout
from orchestrator.payments.closing import Closing

BATCH = 200


@dataclass(frozen=True, slots=True)
class Expiry:
    checkout: Checkout
    closing: Closing
    reads: Reads

    async def run_once(self) -> int:
        """Expire what is due; return how many."""
        table = table_of(CheckoutSession)
        due = await self.reads.all(
            select(table.c.merchant_id, table.c.mode, table.c.id, table.c.payment_id)
            .where(table.c.status == "open", table.c.expires_us <= self.checkout.clock.now_us())
            .order_by(table.c.expires_us)
            .limit(BATCH)
        )
        for row in due:
            await self.checkout.expire(row["merchant_id"], row["mode"], row["id"])
            if row["payment_id"] is not None:
                await self.closing.close_expired(row["merchant_id"], row["payment_id"])
        return len(due)
