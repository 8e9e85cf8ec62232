"""The words of PostgreSQL: rows are found by arrays of keys, written as arrays of columns."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, TypeAlias

from orchestrator.database.schema import APPEND_ONLY, COLUMNS, POSTGRES_TYPES, PRIMARY_KEYS
from orchestrator.database.statements import Insert, Update

Write: TypeAlias = Insert | Update
Shape: TypeAlias = tuple[str, tuple[str, ...] | None]
"""Table, and the columns that are set; None: new rows."""


def shape(write: Write) -> Shape:
    return write.table, write.columns if isinstance(write, Update) else None


def arrays_of(write: Write) -> list[list[Any]]:
    """Return the parameters: one array per column."""
    return [[row[name] for row in write.rows] for name in _names(shape(write))]


@cache
def select_sql(table: str, columns: tuple[str, ...], *, share: bool) -> str:
    aliases = ",".join(f"k_{name}" for name in columns)
    match = " AND ".join(f"t.{name}=k.k_{name}" for name in columns)
    names = ",".join(f"t.{name}" for name in COLUMNS[table])
    order = ",".join(f"t.{name}" for name in PRIMARY_KEYS[table])
    # A row that nobody may change needs no lock; and a role that may not change it (``db roles``) may not lock it.
    lock = "" if table in APPEND_ONLY else f" FOR {'SHARE' if share else 'UPDATE'} OF t"
    return (
        f"SELECT {names} FROM unnest({_arrays(table, columns, 1)}) AS k({aliases}) "  # noqa: S608  # names of our own schema
        f"JOIN {table} t ON {match} ORDER BY {order}{lock}"
    )


@lru_cache(maxsize=1000)
def write_sql(shapes: tuple[Shape, ...]) -> str:
    """Return one statement for several writes; none of them looks at what another one wrote.

    PostgreSQL runs the main statement first and the others after it in their order: the first stands there.
    """
    parts, first = [], 1
    for each in shapes:
        parts.append(_write_sql(each, first))
        first += len(_names(each))
    others = ",".join(f"w{number} AS ({part})" for number, part in enumerate(parts[1:]))
    return f"WITH {others} {parts[0]}" if others else parts[0]


def _names(what: Shape) -> tuple[str, ...]:
    table, columns = what
    return COLUMNS[table] if columns is None else (*columns, *PRIMARY_KEYS[table])


def _arrays(table: str, names: tuple[str, ...], first: int) -> str:
    types = POSTGRES_TYPES[table]
    return ",".join(f"${position}::{types[name]}[]" for position, name in enumerate(names, first))


def _write_sql(what: Shape, first: int) -> str:
    table, columns = what
    names = _names(what)
    arrays = _arrays(table, names, first)
    if columns is None:
        return f"INSERT INTO {table} ({','.join(names)}) SELECT * FROM unnest({arrays})"  # noqa: S608  # names of our own schema
    setters = ",".join(f"{name}=k.k_{name}" for name in columns)
    match = " AND ".join(f"t.{name}=k.k_{name}" for name in PRIMARY_KEYS[table])
    aliases = ",".join(f"k_{name}" for name in names)
    return f"UPDATE {table} t SET {setters} FROM unnest({arrays}) AS k({aliases}) WHERE {match}"  # noqa: S608  # names of our own schema
