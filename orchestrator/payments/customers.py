"""Customers and their one wallet each, made and changed inside units; and since when each is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Customer, table_of
from orchestrator.database.unit import Changes, Lock, Row, View, row_lock
from orchestrator.ids import new_id

KNOWN_MAX: Final = 50_000
DAY_US: Final = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class CustomerRef:
    """The merchant's own name for a customer."""

    merchant_id: str
    mode: str
    reference: str
    country: str
    email: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.merchant_id, self.mode, self.reference)

    def lock(self) -> Lock:
        return row_lock("customer", *self.key)


def ensure_customer(view: View, changes: Changes, ref: CustomerRef) -> Row:
    """Return the customer's row, made with a wallet where it is new; a new country or email is taken over."""
    row = view.one("customer", *ref.key)
    if row is not None:
        if row["country"] != ref.country or (ref.email and row["email"] != ref.email):
            changes.update("customer", ref.key, country=ref.country, email=ref.email or row["email"])
        return row
    fresh = {
        "merchant_id": ref.merchant_id,
        "mode": ref.mode,
        "reference": ref.reference,
        "id": new_id("cus"),
        "country": ref.country,
        "email": ref.email,
        "wallet_id": new_id("wal"),
        "velocity_day": 0,
        "velocity_count": 0,
        "velocity_units": 0,
        "created_us": view.now_us,
    }
    changes.insert("customer", **fresh)
    changes.insert(
        "wallet",
        merchant_id=ref.merchant_id,
        id=fresh["wallet_id"],
        mode=ref.mode,
        customer_id=fresh["id"],
        customer_reference=ref.reference,
        status="active",
        created_us=view.now_us,
    )
    return fresh


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
