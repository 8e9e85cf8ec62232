"""The few statements that a flush is made of; each database has its own words for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.database.unit import Key, Row


@dataclass(frozen=True, slots=True)
class Select:
    """Read and lock the rows of one table whose columns equal any of the values, in the order of their keys."""

    table: str
    columns: tuple[str, ...]
    values: Sequence[Key]
    share: bool = False
    """Keep others from changing the rows; several may hold them so."""


@dataclass(frozen=True, slots=True)
class Insert:
    table: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Update:
    """Set ``columns`` of rows found by their primary key."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[Row]


Statement: TypeAlias = Select | Insert | Update
