"""What the writer needs to know of the tables: keys, columns, the order of locks."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Column, DefaultClause, LargeBinary, Text
from sqlmodel import SQLModel

from orchestrator.database import tables as _tables

METADATA: Final = SQLModel.metadata


def _plain(column: Column[Any]) -> str | int:
    """Return a column's server default as a value."""
    given = column.server_default
    assert isinstance(given, DefaultClause)
    word = str(given.arg)
    return word if isinstance(column.type, Text) else int(word)


PRIMARY_KEYS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(column.name for column in table.primary_key.columns) for name, table in METADATA.tables.items()
}


def reader(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return what takes columns of a row, always as a tuple."""
    if len(names) == 1:
        (name,) = names
        return lambda row: (row[name],)
    return operator.itemgetter(*names)


KEY_OF: Final = {name: reader(columns) for name, columns in PRIMARY_KEYS.items()}
"""What takes a row's primary key."""

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(column.name for column in table.columns) for name, table in METADATA.tables.items()
}

ROW_OF: Final = {name: reader(columns) for name, columns in COLUMNS.items()}
"""What takes a row's values in the order of its columns."""

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

DEFAULTS: Final[dict[str, dict[str, str | int | None]]] = {
    name: {
        column.name: None if column.server_default is None else _plain(column)
        for column in table.columns
        if column.server_default is not None or column.nullable
    }
    for name, table in METADATA.tables.items()
}
"""What a new row holds where its maker names nothing."""

APPEND_ONLY: Final = _tables.APPEND_ONLY

SUBJECT_OF: Final = {"wallet": "id", "lot": "wallet_id", "account": "subject", "usage_rollup": "wallet_id"}
"""The tables behind a book's gate, its row in ``shard``: who changes a row of theirs holds the gate, so that the rows need no lock
of their own and may be remembered. By the column that says whose the row is: a wallet's, or ("") the merchant's own."""

_LOCKED_FIRST: Final = (
    "idempotency", "money_claim", "chain_cursor", "chain_header", "deposit", "checkout_session", "payment", "attempt",
    "capture", "usage_producer", "customer", "deposit_address", "hold",
)  # fmt: skip
_GATED: Final = ("shard", *SUBJECT_OF)
_READ_LAST: Final = tuple(name for name in APPEND_ONLY if name not in _LOCKED_FIRST)
"""Nobody locks a row that never changes; read behind the gate, one that another process has just written is seen."""

LOCK_ORDER: Final[dict[str, int]] = {
    name: position
    for position, name in enumerate(
        [
            *_LOCKED_FIRST,
            *sorted(METADATA.tables.keys() - {*_LOCKED_FIRST, *_GATED, *_READ_LAST}),
            *_GATED,
            *_READ_LAST,
        ]
    )
}
"""Claim, payment, refund or dispute, the book, its wallets, lots and accounts: one order for everybody, so that no two flushes
deadlock."""
