"""Since when a customer is known here: the one fact of routing that costs a look into the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from orchestrator.clock import DAY_US
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Customer, table_of
from orchestrator.payments.customers import CustomerRef

KNOWN_MAX: Final = 50_000


def age_days(since_us: int, now_us: int) -> int:
    """Return whole days since a customer was first seen."""
    return max(0, now_us - since_us) // DAY_US


@dataclass(slots=True)
class KnownCustomers:
    """Since when a customer is known here: written once with the customer, so it is remembered."""

    reads: Reads
    _since_us: dict[tuple[str, str, str], int] = field(default_factory=dict)

    async def age_days(self, ref: CustomerRef, now_us: int) -> int:
        """Return whole days since the customer was first seen; 0 for one that was never seen."""
        since_us = self._since_us.get(ref.key)
        if since_us is None:
            customers = table_of(Customer)
            same = (
                (customers.c.merchant_id == ref.merchant_id)
                & (customers.c.mode == ref.mode)
                & (customers.c.reference == ref.reference)
            )
            row = await self.reads.one(select(customers.c.created_us).where(same))
            if row is None:
                return 0
            since_us = int(row["created_us"])
            if len(self._since_us) >= KNOWN_MAX:
                self._since_us.pop(next(iter(self._since_us)))
            self._since_us[ref.key] = since_us
        return age_days(since_us, now_us)
