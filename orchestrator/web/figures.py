"""What the dashboard's first page counts. Sums are made here: SQLite's own SUM overflows at nine billion dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from orchestrator.clock import DAY_US, Clock
from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.tables import Capture, Deposit, Payment, RawWebhook, Review, table_of
from rates.money import WALLET_USD, Money


@dataclass(frozen=True, slots=True)
class Figures:
    payments: Mapping[str, int]
    """By status, created in the last 24 hours."""
    credited_today: Money
    """Since midnight UTC."""
    reviews_open: int
    webhooks: Mapping[str, int]
    """Those that a person should look at, by state."""
    deposits_unallocated: int


async def figures(reads: Reads, clock: Clock) -> Figures:
    now_us = clock.now_us()
    midnight_us = now_us - now_us % DAY_US
    async with reads.snapshot() as snapshot:
        return Figures(
            payments=await _payments(snapshot, now_us - DAY_US),
            credited_today=await _credited(snapshot, midnight_us),
            reviews_open=await _count_reviews(snapshot),
            webhooks=await _webhooks(snapshot),
            deposits_unallocated=await _unallocated(snapshot),
        )


async def _payments(snapshot: Snapshot, since_us: int) -> Mapping[str, int]:
    table = table_of(Payment)
    rows = await snapshot.all(
        select(table.c.status, func.count().label("many"))
        .where(table.c.created_us >= since_us)
        .group_by(table.c.status)
        .order_by(table.c.status)
    )
    return {row["status"]: row["many"] for row in rows}


async def _credited(snapshot: Snapshot, since_us: int) -> Money:
    captures, deposits = table_of(Capture), table_of(Deposit)
    units = 0
    for query in (
        select(captures.c.credited_units).where(captures.c.created_us >= since_us),
        select(deposits.c.credited_units).where(deposits.c.status == "credited", deposits.c.updated_us >= since_us),
    ):
        async for rows in snapshot.stream(query):
            units += sum(row["credited_units"] for row in rows)
    return Money(units, WALLET_USD)


async def _count_reviews(snapshot: Snapshot) -> int:
    table = table_of(Review)
    rows = await snapshot.all(select(func.count().label("many")).where(table.c.status == "open"))
    return int(rows[0]["many"])


async def _webhooks(snapshot: Snapshot) -> Mapping[str, int]:
    table = table_of(RawWebhook)
    rows = await snapshot.all(
        select(table.c.state, func.count().label("many"))
        .where(table.c.state.in_(("received", "rejected", "unplaced", "stuck")))
        .group_by(table.c.state)
    )
    return Counter({row["state"]: row["many"] for row in rows})


async def _unallocated(snapshot: Snapshot) -> int:
    table = table_of(Deposit)
    rows = await snapshot.all(select(func.count().label("many")).where(table.c.status == "unallocated"))
    return int(rows[0]["many"])
