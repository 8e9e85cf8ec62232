"""Rebuild the books from their postings and compare. Reads only; sums in Python (SQLite's SUM overflows).

Checked: every entry sums to zero per asset; sequences are gapless; every ``balance_after`` follows; materialised
balances equal the rebuilt ones; no wallet part is overdrawn; lots add up to the paid (and promotional) balance; every
credited capture and deposit has its money claim and exactly one entry; suspense has review items.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from orchestrator.database import tables
from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.tables import table_of
from orchestrator.ledger.chart import Account

Book = tuple[str, str]
AccountKey = tuple[str, str, str, str, str]
FINDINGS_MAX = 200


@dataclass(slots=True)
class Report:
    entries: int = 0
    postings: int = 0
    accounts: int = 0
    balanced: bool = True
    rebuilt_equals_materialised: bool = True
    findings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.balanced and self.rebuilt_equals_materialised and not self.findings

    def find(self, text: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "balanced": self.balanced,
            "rebuilt_equals_materialised": self.rebuilt_equals_materialised,
            "entries": self.entries,
            "postings": self.postings,
            "accounts": self.accounts,
            "findings": self.findings,
        }


async def check(reads: Reads) -> Report:
    """Check every book, from one snapshot: it may run while the service writes."""
    report = Report()
    async with reads.snapshot() as snapshot:
        rebuilt = await _postings(snapshot, report)
        await _entries(snapshot, report)
        await _balances(snapshot, report, rebuilt)
        await _lots(snapshot, report, rebuilt)
        await _facts(snapshot, report)
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
    facts: Counter[tuple[str, str, str, str]] = Counter()
    async for rows in reads.stream(select(journal).order_by(*journal.primary_key.columns)):
        for row in rows:
            book = (row["merchant_id"], row["mode"])
            if row["sequence"] != last[book] + 1:
                report.find(f"{book}: entry {row['sequence']} follows {last[book]}")
            last[book] = row["sequence"]
            if not row["fact"].startswith("flu_"):  # a flush's id: the merged entries of its wallets, one each
                facts[*book, row["kind"], row["fact"]] += 1
            report.entries += 1
    for fact, times in facts.items():
        if times > 1:
            report.find(f"{fact} was posted {times} times")
    for shard in await reads.all(select(table_of(tables.Shard))):
        if shard["entry_sequence"] != last[shard["merchant_id"], shard["mode"]]:
            report.find(f"{shard['merchant_id']} {shard['mode']}: head {shard['entry_sequence']} is not the last entry")


async def _balances(reads: Snapshot, report: Report, rebuilt: dict[AccountKey, int]) -> None:
    left = dict(rebuilt)
    for row in await reads.all(select(table_of(tables.Account))):
        key = (row["merchant_id"], row["mode"], row["code"], row["subject"], row["asset"])
        report.accounts += 1
        if left.pop(key, 0) != row["balance"]:
            report.rebuilt_equals_materialised = False
            report.find(f"{key}: materialised {row['balance']}, rebuilt {rebuilt.get(key, 0)}")
        debt = row["code"] == Account.WALLET_DEBT.value
        if row["code"].startswith("wallet:") and (row["balance"] < 0 if debt else row["balance"] > 0):
            report.find(f"{key}: overdrawn by {abs(row['balance'])}")
    for key, balance in left.items():
        if balance:
            report.rebuilt_equals_materialised = False
            report.find(f"{key}: {balance} in the postings, no materialised balance")


async def _lots(reads: Snapshot, report: Report, rebuilt: dict[AccountKey, int]) -> None:
    owed: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for (merchant, mode, code, subject, _), balance in rebuilt.items():
        if code in {"wallet:paid", "wallet:held_paid", "wallet:frozen", "wallet:refunding"}:
            owed[merchant, mode, subject, "paid"] -= balance
        elif code in {"wallet:promo", "wallet:held_promo"}:
            owed[merchant, mode, subject, "promotional"] -= balance
    for row in await reads.all(select(table_of(tables.Lot))):
        owed[row["merchant_id"], row["mode"], row["wallet_id"], row["kind"]] -= row["remaining_units"]
    for wallet, difference in owed.items():
        if difference:
            report.find(f"{wallet}: lots differ from the balance by {difference}")


async def _facts(reads: Snapshot, report: Report) -> None:
    """Every piece of money that was credited was claimed, and every claim was posted once."""
    journal, claim = table_of(tables.JournalEntry), table_of(tables.MoneyClaim)
    kinds = ("topup", "suspense")
    posted = {row["fact"] for row in await reads.all(select(journal.c.fact).where(journal.c.kind.in_(kinds)))}
    claimed = {row["object_id"] for row in await reads.all(select(claim.c.object_id))}
    for fact in sorted(posted ^ claimed):
        report.find(f"{fact}: {'posted without a money claim' if fact in posted else 'claimed, but never posted'}")
    capture, deposit = table_of(tables.Capture), table_of(tables.Deposit)
    credited = [
        *await reads.all(select(capture.c.id).where(capture.c.status.in_(("credited", "review")))),
        *await reads.all(select(deposit.c.id).where(deposit.c.status.in_(("credited", "unallocated")))),
    ]
    for row in credited:
        if row["id"] not in posted:
            report.find(f"{row['id']}: marked as placed, but the journal does not know it")
