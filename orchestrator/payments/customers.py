"""Customers and their one wallet each. Used inside units."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.database.unit import Changes, Lock, Row, View, row_lock
from orchestrator.ids import new_id


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
