"""From a rail's word to the attempt it speaks of. These links never change, so they are read outside the unit."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlmodel import col

from adapters.base import RailEvent
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, AttemptIndex, table_of
from orchestrator.database.unit import Row


@dataclass(frozen=True, slots=True)
class AttemptAt:
    """Where an attempt stands: what locks and checks need."""

    attempt_id: str
    merchant_id: str
    mode: str
    rail: str
    account: str
    payment_id: str
    session_id: str
    wallet_id: str

    @classmethod
    def of_row(cls, row: Row) -> AttemptAt:
        return cls(
            row["id"],
            row["merchant_id"],
            row["mode"],
            row["rail"],
            row["account"],
            row["payment_id"],
            row["session_id"],
            row["wallet_id"],
        )


class Finder:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def of_event(self, event: RailEvent) -> AttemptAt | None:
        """Return the attempt that an event names, by our reference or, failing that, by the rail's own."""
        if event.attempt_id is not None:
            return await self.of_attempt(event.attempt_id)
        if event.rail_reference is None:
            return None
        attempt = table_of(Attempt)
        row = await self._reads.one(
            select(attempt).where(
                attempt.c.rail == event.rail,
                attempt.c.account == event.account,
                attempt.c.mode == event.mode.value,
                attempt.c.rail_reference == event.rail_reference,
            )
        )
        return None if row is None else AttemptAt.of_row(row)

    async def of_attempt(self, attempt_id: str) -> AttemptAt | None:
        attempt = table_of(Attempt)
        index = await self._reads.one(
            select(col(AttemptIndex.merchant_id)).where(col(AttemptIndex.attempt_id) == attempt_id)
        )
        if index is None:
            return None
        row = await self._reads.one(
            select(attempt).where(attempt.c.merchant_id == index["merchant_id"], attempt.c.id == attempt_id)
        )
        return None if row is None else AttemptAt.of_row(row)
