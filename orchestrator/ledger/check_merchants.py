"""What merchants earned and are paid, against the books: nothing is counted twice, nothing is stuck, nothing is invented.

For every book: what is in ``merchant:pending`` is what its days still have to mature, what the last matured day left over,
and what came after the last closed day; what is in ``payout:transit`` is its open payouts. A batch's file is the one that was
built, and its lines are the payouts that say so.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from sqlalchemy import func, select

from orchestrator.database.reads import Snapshot
from orchestrator.database.tables import Earning, JournalEntry, Payout, PayoutBatch, PayoutFile, Posting, table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.chart import Account
from orchestrator.ledger.check_wallets import AccountKey
from orchestrator.ledger.payout_recipes import EARNING
from orchestrator.ledger.report import Report
from rates.money import WALLET_USD

Book: TypeAlias = tuple[str, str]
_USD = str(WALLET_USD)


async def check_merchants(snapshot: Snapshot, report: Report, rebuilt: Mapping[AccountKey, int]) -> None:
    """Find what does not fit. Memory grows with books and their days."""
    await _earnings(snapshot, report, rebuilt)
    await _payouts(snapshot, report, rebuilt)
    await _batches(snapshot, report)


async def _earnings(snapshot: Snapshot, report: Report, rebuilt: Mapping[AccountKey, int]) -> None:
    table = table_of(Earning)
    last: dict[Book, Row] = {}
    owed: dict[Book, int] = defaultdict(int)
    async for rows in snapshot.stream(select(table).order_by(*table.primary_key.columns)):
        for row in rows:
            book = (row["merchant_id"], row["mode"])
            before = last.get(book)
            if row["first_sequence"] != (before["last_sequence"] + 1 if before else 1):
                report.find(
                    f"{book}: day {row['day']} begins at entry {row['first_sequence']}, not after the day before it"
                )
            if row["status"] == "pending":
                owed[book] += row["units"]
            elif before is not None and before["status"] == "pending":
                report.find(f"{book}: day {row['day']} matured before the day that came first")
            else:
                owed[book] = row["left_units"]
            last[book] = row
    for book, row in last.items():
        found = -rebuilt.get((*book, Account.MERCHANT_PENDING.value, "", _USD), 0)
        wanted = owed[book] + await _since(snapshot, book, row["last_sequence"])
        if found != wanted:
            report.find(f"{book}: {found} is pending, its days and what came since make {wanted}")


async def _since(snapshot: Snapshot, book: Book, sequence: int) -> int:
    """Return what was earned after the last closed day."""
    posting, entry = table_of(Posting), table_of(JournalEntry)
    same = (posting.c.merchant_id == entry.c.merchant_id) & (posting.c.mode == entry.c.mode)
    query = (
        select(posting.c.units)
        .join(entry, same & (posting.c.sequence == entry.c.sequence))
        .where(
            posting.c.merchant_id == book[0],
            posting.c.mode == book[1],
            posting.c.subject == "",
            posting.c.code == Account.MERCHANT_PENDING.value,
            posting.c.asset == _USD,
            posting.c.sequence > sequence,
            entry.c.kind != EARNING,
        )
    )
    units = 0
    async for rows in snapshot.stream(query):
        units -= sum(row["units"] for row in rows)
    return units


async def _payouts(snapshot: Snapshot, report: Report, rebuilt: Mapping[AccountKey, int]) -> None:
    table = table_of(Payout)
    open_: dict[Book, int] = defaultdict(int)
    query = select(table.c.merchant_id, table.c.mode, table.c.units).where(table.c.status.in_(("requested", "sent")))
    for row in await snapshot.all(query):
        open_[row["merchant_id"], row["mode"]] += row["units"]
    for (merchant_id, mode, code, _, _), balance in rebuilt.items():
        if code == Account.PAYOUT_TRANSIT.value:
            open_[merchant_id, mode] += balance
    for book, difference in open_.items():
        if difference:
            report.find(f"{book}: open payouts differ from payout:transit by {difference}")


async def _batches(snapshot: Snapshot, report: Report) -> None:
    """Compare each batch with its file and its payouts; one file at a time is in memory."""
    payout, batch, file = table_of(Payout), table_of(PayoutBatch), table_of(PayoutFile)
    counted = select(payout.c.batch_id, func.count().label("lines"), func.sum(payout.c.units).label("units"))
    query = counted.where(payout.c.batch_id.is_not(None)).group_by(payout.c.batch_id)
    held = {row["batch_id"]: (row["lines"], int(row["units"])) for row in await snapshot.all(query)}
    joined = select(batch, file.c.content).outerjoin(file, file.c.batch_id == batch.c.id)
    async for rows in snapshot.stream(joined, batch=1):
        for row in rows:
            if row["content"] is None or hashlib.sha256(row["content"].encode()).hexdigest() != row["content_hash"]:
                report.find(f"{row['id']}: its file is not the one that was built")
            wanted = (0, 0) if row["status"] == "canceled" else (row["lines"], row["units"])
            found = held.pop(row["id"], (0, 0))
            if found != wanted:
                report.find(f"{row['id']}: its payouts are {found[0]} of {found[1]}, the batch says {wanted}")
    for batch_id in held:
        report.find(f"{batch_id}: payouts stand in a batch that is not there")
