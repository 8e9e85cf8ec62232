"""The few statements that a flush is made of; each database has its own words for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.database.unit import Key, Row

Hold: TypeAlias = Literal["update", "share", "none"]


@dataclass(frozen=True, slots=True)
class Select:
    """Read and lock the rows of one table whose columns equal any of the values, in the order of their keys."""

    table: str
    columns: tuple[str, ...]
    values: Sequence[Key]
    hold: Hold = "update"
    """What others may not do with the rows until the commit: lock or change them; or only change them (``share``; several may
    hold them so). ``none``: another row that is held keeps them from it."""


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
