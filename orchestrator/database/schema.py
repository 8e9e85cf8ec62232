"""What the writer needs to know of the tables: keys, columns, the order of locks."""

from __future__ import annotations

from typing import Final

from sqlalchemy import LargeBinary, Text
from sqlmodel import SQLModel

from orchestrator.database import tables as _tables

METADATA: Final = SQLModel.metadata

PRIMARY_KEYS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(column.name for column in table.primary_key.columns) for name, table in METADATA.tables.items()
}

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(column.name for column in table.columns) for name, table in METADATA.tables.items()
}

POSTGRES_TYPES: Final[dict[str, dict[str, str]]] = {
    name: {
        column.name: "text"
        if isinstance(column.type, Text)
        else "bytea"
        if isinstance(column.type, LargeBinary)
        else "bigint"
        for column in table.columns
    }
    for name, table in METADATA.tables.items()
}

_LOCKED_FIRST: Final = (
    "idempotency", "money_claim", "chain_cursor", "chain_header", "deposit", "checkout_session", "payment", "attempt",
    "capture", "customer", "wallet", "deposit_address", "lot", "account",
)  # fmt: skip
"""Claim, payment, refund or dispute, wallet, lots, accounts: one order for everybody, so that no two flushes deadlock."""

LOCK_ORDER: Final[dict[str, int]] = {
    name: position
    for position, name in enumerate(
        [*_LOCKED_FIRST, *sorted(name for name in METADATA.tables if name not in _LOCKED_FIRST)]
    )
}

APPEND_ONLY: Final = _tables.APPEND_ONLY
