"""The words of PostgreSQL: rows are found by arrays of keys, written as arrays of columns.

Of many rows, a column in which all agree (such as the merchant) is sent once, not once a row: each element of an array costs
a third of a microsecond on our side alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from orchestrator.database.schema import APPEND_ONLY, COLUMNS, POSTGRES_TYPES, PRIMARY_KEYS
from orchestrator.database.statements import Hold, Insert, Select, Update

Write: TypeAlias = Insert | Update
SAME_ROWS_MIN: Final = 16
"""Rows from which it pays to look for columns that agree; below, a statement has one form only."""


class Shape(NamedTuple):
    """What a write looks like to PostgreSQL."""

    table: str
    columns: tuple[str, ...] | None
    """That are set; None: new rows."""
    same: tuple[bool, ...]
    """Of each parameter, whether it is one value for all rows."""


class Prepared(NamedTuple):
    """A write with its parameters, one for each column."""

    shape: Shape
    parameters: list[Any]


def prepared(write: Write) -> Prepared:
    columns = write.columns if isinstance(write, Update) else None
    arrays = [[row[name] for row in write.rows] for name in _names(write.table, columns)]
    same, parameters = _once(arrays)
    return Prepared(Shape(write.table, columns, same), parameters)


def select(statement: Select) -> tuple[str, list[Any]]:
    """Return the words and parameters of a look-up."""
    same, parameters = _once([list(column) for column in zip(*statement.values, strict=True)])
    return select_sql(statement.table, statement.columns, statement.hold, same), parameters


def _once(arrays: Sequence[list[Any]]) -> tuple[tuple[bool, ...], list[Any]]:
    """Return which columns hold one value, and each column as it is sent."""
    if len(arrays[0]) < SAME_ROWS_MIN:
        return (False,) * len(arrays), list(arrays)
    same = tuple(column.count(column[0]) == len(column) for column in arrays)
    return same, [column[0] if alike else column for column, alike in zip(arrays, same, strict=True)]


@cache
def select_sql(table: str, columns: tuple[str, ...], hold: Hold, same: tuple[bool, ...]) -> str:
    source, words = _source(table, columns, same, 1)
    match = " AND ".join(f"t.{name}={word}" for name, word in zip(columns, words, strict=True))
    names = ",".join(f"t.{name}" for name in COLUMNS[table])
    order = ",".join(f"t.{name}" for name in PRIMARY_KEYS[table])
    # A row that nobody may change needs no lock; and a role that may not change it (``db roles``) may not lock it.
    lock = "" if hold == "none" or table in APPEND_ONLY else f" FOR {hold.upper()} OF t"
    return f"SELECT {names} FROM {source} JOIN {table} t ON {match} ORDER BY {order}{lock}"  # noqa: S608  # names of our own schema


@lru_cache(maxsize=1000)
def write_sql(shapes: tuple[Shape, ...]) -> str:
    """Return one statement for several writes; none of them looks at what another one wrote.

    PostgreSQL runs the main statement first and the others after it in their order: the first stands there.
    """
    parts, first = [], 1
    for each in shapes:
        parts.append(_write_sql(each, first))
        first += len(each.same)
    others = ",".join(f"w{number} AS ({part})" for number, part in enumerate(parts[1:]))
    return f"WITH {others} {parts[0]}" if others else parts[0]


def _names(table: str, columns: tuple[str, ...] | None) -> tuple[str, ...]:
    return COLUMNS[table] if columns is None else (*columns, *PRIMARY_KEYS[table])


def _source(table: str, names: tuple[str, ...], same: tuple[bool, ...], first: int) -> tuple[str, list[str]]:
    """Return the rows that the parameters from number ``first`` on make, and the word for each column of them."""
    types = POSTGRES_TYPES[table]
    arrays, aliases, words = [], [], []
    for number, (name, alike) in enumerate(zip(names, same, strict=True), first):
        if alike:
            words.append(f"${number}::{types[name]}")
        else:
            arrays.append(f"${number}::{types[name]}[]")
            aliases.append(f"k_{name}")
            words.append(f"k.k_{name}")
    return f"unnest({','.join(arrays)}) AS k({','.join(aliases)})", words


def _write_sql(what: Shape, first: int) -> str:
    table, columns, same = what
    names = _names(table, columns)
    source, words = _source(table, names, same, first)
    if columns is None:
        return f"INSERT INTO {table} ({','.join(names)}) SELECT {','.join(words)} FROM {source}"  # noqa: S608  # names of our own schema
    pairs = [*zip(names, words, strict=True)]
    setters = ",".join(f"{name}={word}" for name, word in pairs[: len(columns)])
    match = " AND ".join(f"t.{name}={word}" for name, word in pairs[len(columns) :])
    return f"UPDATE {table} t SET {setters} FROM {source} WHERE {match}"  # noqa: S608  # names of our own schema
