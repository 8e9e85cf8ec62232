"""Rebuild the books from their postings and compare. Reads only; rows are streamed, memory grows with accounts alone.

Checked: every entry sums to zero per asset; sequences are gapless; every ``balance_after`` follows; no fact is posted
twice; materialised balances equal the rebuilt ones; no wallet part is overdrawn; lots, holds and debt add up to the
accounts (``check_wallets``); usage events of each flush equal their entry (``check_usage``); pending earnings and open payouts equal their accounts
(``check_merchants``); every unit in suspense has its review item (``check_suspense``); every credited capture and
deposit has its money claim and its entry.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

from sqlalchemy import Select, except_, func, select, union_all

from orchestrator.database import tables
from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.tables import table_of
from orchestrator.ledger.chart import Account
from orchestrator.ledger.check_merchants import check_merchants
from orchestrator.ledger.check_suspense import check_suspense
from orchestrator.ledger.check_usage import check_usage
from orchestrator.ledger.check_wallets import AccountKey, check_wallets
from orchestrator.ledger.report import FINDINGS_MAX, Report

__all__ = ["Report", "check"]

Book: TypeAlias = tuple[str, str]


async def check(reads: Reads) -> Report:
    """Check every book, from one snapshot: it may run while the service writes."""
    report = Report()
    async with reads.snapshot() as snapshot:
        rebuilt = await _postings(snapshot, report)
        await _entries(snapshot, report)
        await check_wallets(snapshot, report, rebuilt)
        await check_usage(snapshot, report)
        await check_merchants(snapshot, report, rebuilt)
        await check_suspense(snapshot, report, rebuilt)
        await _facts(snapshot, report)
        await _balances(snapshot, report, rebuilt)
    return report


async def _postings(reads: Snapshot, report: Report) -> dict[AccountKey, int]:
    posting = table_of(tables.Posting)
    rebuilt: dict[AccountKey, int] = defaultdict(int)
    sums: dict[str, int] = {}
    current: tuple[Any, ...] | None = None
    query = select(posting).order_by(*posting.primary_key.columns)
    async for rows in reads.stream(query):
        for row in rows:
            entry = (row["merchant_id"], row["mode"], row["sequence"])
            if entry != current:
                _close(report, current, sums)
                current, sums = entry, {}
            sums[row["asset"]] = sums.get(row["asset"], 0) + row["units"]
            account = (row["merchant_id"], row["mode"], row["code"], row["subject"], row["asset"])
            rebuilt[account] += row["units"]
            if rebuilt[account] != row["balance_after"]:
                report.find(f"{account} after entry {row['sequence']}: {row['balance_after']}, not {rebuilt[account]}")
            report.postings += 1
    _close(report, current, sums)
    return rebuilt


def _close(report: Report, entry: tuple[Any, ...] | None, sums: dict[str, int]) -> None:
    if entry is not None and any(sums.values()):
        report.balanced = False
        report.find(f"entry {entry} does not sum to zero: {sums}")


async def _entries(reads: Snapshot, report: Report) -> None:
    journal = table_of(tables.JournalEntry)
    last: dict[Book, int] = defaultdict(int)
    numbers = select(journal.c.merchant_id, journal.c.mode, journal.c.sequence).order_by(*journal.primary_key.columns)
    async for rows in reads.stream(numbers):
        for row in rows:
            book = (row["merchant_id"], row["mode"])
            if row["sequence"] != last[book] + 1:
                report.find(f"{book}: entry {row['sequence']} follows {last[book]}")
            last[book] = row["sequence"]
            report.entries += 1
    for shard in await reads.all(select(table_of(tables.Shard))):
        if shard["entry_sequence"] != last[shard["merchant_id"], shard["mode"]]:
            report.find(f"{shard['merchant_id']} {shard['mode']}: head {shard['entry_sequence']} is not the last entry")
    names = (journal.c.merchant_id, journal.c.mode, journal.c.kind, journal.c.fact)
    times = func.count()
    twice = (
        select(*names, times.label("times"))
        .where(journal.c.fact.not_like("flu\\_%", escape="\\"))  # a flush's: merged entries
        .group_by(*names)
        .having(times > 1)
        .limit(FINDINGS_MAX)
    )
    for row in await reads.all(twice):
        report.find(f"{row['merchant_id']} {row['mode']}: {row['kind']} {row['fact']} was posted {row['times']} times")


async def _balances(reads: Snapshot, report: Report, rebuilt: dict[AccountKey, int]) -> None:
    """Compare account by account; takes what it compared out of ``rebuilt``."""
    async for rows in reads.stream(select(table_of(tables.Account))):
        for row in rows:
            key = (row["merchant_id"], row["mode"], row["code"], row["subject"], row["asset"])
            report.accounts += 1
            wanted = rebuilt.pop(key, 0)
            if wanted != row["balance"]:
                report.rebuilt_equals_materialised = False
                report.find(f"{key}: materialised {row['balance']}, rebuilt {wanted}")
            debt = row["code"] == Account.WALLET_DEBT.value
            if row["code"].startswith("wallet:") and (row["balance"] < 0 if debt else row["balance"] > 0):
                report.find(f"{key}: overdrawn by {abs(row['balance'])}")
    for key, balance in rebuilt.items():
        if balance:
            report.rebuilt_equals_materialised = False
            report.find(f"{key}: {balance} in the postings, no materialised balance")


async def _facts(reads: Snapshot, report: Report) -> None:
    """Every piece of money that was credited was claimed, and every claim was posted. Compared in the database."""
    journal, claim = table_of(tables.JournalEntry), table_of(tables.MoneyClaim)
    capture, deposit = table_of(tables.Capture), table_of(tables.Deposit)
    posted = select(journal.c.fact.label("id")).where(journal.c.kind.in_(("topup", "suspense")))
    claimed = select(claim.c.object_id.label("id"))
    placed = union_all(
        select(capture.c.id.label("id")).where(capture.c.status.in_(("credited", "review"))),
        select(deposit.c.id.label("id")).where(deposit.c.status.in_(("credited", "unallocated"))),
    ).subquery()
    for words, one, other in (
        ("posted without a money claim", posted, claimed),
        ("claimed, but never posted", claimed, posted),
        ("marked as placed, but the journal does not know it", select(placed.c.id), posted),
    ):
        for row in await reads.all(_only_in(one, other)):
            report.find(f"{row['id']}: {words}")


def _only_in(one: Select[Any], other: Select[Any]) -> Select[Any]:
    return select(except_(one, other).subquery()).limit(FINDINGS_MAX)
