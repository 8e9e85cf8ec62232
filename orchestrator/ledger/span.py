"""Spans of days as places in the journal, for every statement; and the refusal of one that does not add up."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from orchestrator.clock import DAY_US
from orchestrator.database.reads import Snapshot
from orchestrator.database.tables import JournalEntry, Shard, table_of
from orchestrator.errors import Invalid, Refusal


class StatementDoesNotAddUp(Refusal):
    """Opening and lines do not make the closing balance: the books are to be looked at before anybody sees it."""

    status = 500
    title = "The statement does not add up"


@dataclass(frozen=True, slots=True)
class Span:
    """Days since 1970, UTC: ``first`` inside, ``end`` outside."""

    first: int
    end: int

    async def sequences(self, snapshot: Snapshot, merchant_id: str, mode: str) -> tuple[int, int]:
        """Return the first entry inside and the first one after. Raises Invalid for a span without a day."""
        if self.first >= self.end:
            raise Invalid(
                "statement_is_empty", "`to` is the first day after the statement: later than `from`", pointer="/to"
            )
        return (
            await first_sequence(snapshot, merchant_id, mode, self.first * DAY_US),
            await first_sequence(snapshot, merchant_id, mode, self.end * DAY_US),
        )


async def first_sequence(snapshot: Snapshot, merchant_id: str, mode: str, at_us: int) -> int:
    """Return the sequence of the first entry at or after a time (or the one that comes next).

    Sequences are gapless and in the order of commits, so it is found by halving, in the index of the key.
    """
    shard, entry = table_of(Shard), table_of(JournalEntry)
    heads = await snapshot.all(
        select(shard.c.entry_sequence).where(shard.c.merchant_id == merchant_id, shard.c.mode == mode)
    )
    low, high = 1, (heads[0]["entry_sequence"] if heads else 0) + 1
    while low < high:
        middle = (low + high) // 2
        rows = await snapshot.all(
            select(entry.c.created_us).where(
                entry.c.merchant_id == merchant_id, entry.c.mode == mode, entry.c.sequence == middle
            )
        )
        if rows[0]["created_us"] < at_us:
            low = middle + 1
        else:
            high = middle
    return low
