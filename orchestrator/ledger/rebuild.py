"""Make the materialised balances again from the postings, and compare; repair them where nothing else writes.

The postings are the truth: they are append-only and sealed. A balance that differs was written beside the product, or is
a bug of ours. So a repair first follows the hash chain (``verify``), and changes nothing where a link is broken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, Posting, Shard, WriterLease, table_of
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict
from orchestrator.ledger.chain import ChainReport, ChainWalk
from orchestrator.ledger.export import records

REBUILT: Final = "ledger.rebuilt"


@dataclass(frozen=True, slots=True)
class Difference:
    """One account whose materialised balance is not the sum of its postings. Debit positive."""

    merchant_id: str
    mode: str
    code: str
    subject: str
    asset: str
    materialised: int | None
    """None: there is no row."""
    rebuilt: int

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        return (self.merchant_id, self.mode, self.code, self.subject, self.asset)

    def to_json(self) -> dict[str, Any]:
        names = ("merchant_id", "mode", "code", "subject", "asset", "materialised", "rebuilt")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Rebuild:
    accounts: int
    postings: int
    differences: Sequence[Difference]
    heads: Mapping[tuple[str, str], int]
    """The last entry of each book when this was read: a repair is refused where it has moved since."""


class SomethingWrites(Conflict):
    title = "The books are being written"


async def rebuild(reads: Reads) -> Rebuild:
    """Add up every posting, from one snapshot; change nothing."""
    posting, account, shard = table_of(Posting), table_of(Account), table_of(Shard)
    sums: dict[tuple[str, str, str, str, str], int] = defaultdict(int)
    count = 0
    async with reads.snapshot() as snapshot:
        async for rows in snapshot.stream(select(posting)):
            for row in rows:
                sums[row["merchant_id"], row["mode"], row["code"], row["subject"], row["asset"]] += row["units"]
            count += len(rows)
        there: dict[tuple[str, str, str, str, str], int] = {
            (row["merchant_id"], row["mode"], row["code"], row["subject"], row["asset"]): row["balance"]
            for row in await snapshot.all(select(account))
        }
        heads = {(row["merchant_id"], row["mode"]): row["entry_sequence"] for row in await snapshot.all(select(shard))}
    differences = [
        Difference(*key, there.get(key), sums.get(key, 0))
        for key in sorted(sums.keys() | there.keys())
        if there.get(key, 0) != sums.get(key, 0)
    ]
    return Rebuild(len(there), count, differences, heads)


async def verify(reads: Reads, now_us: int, anchored: Sequence[str] = ()) -> ChainReport:
    """Follow the chains of the database itself, as of now."""
    walk = ChainWalk(anchored)
    async for record in records(reads, now_us):
        walk.take(record)
    return walk.finish()


async def writers(reads: Reads, now_us: int) -> list[str]:
    """Return who holds a lease to write now (PostgreSQL, several processes)."""
    lease = table_of(WriterLease)
    rows = await reads.all(select(lease.c.owner).where(lease.c.expires_us > now_us))
    return sorted({row["owner"] for row in rows})


async def repair(writer: Writer, found: Rebuild) -> list[Difference]:
    """Set the balances to what the postings say, one unit for each book; return what was changed.

    Raises SomethingWrites where a book has moved, or a balance has changed, since it was read: nothing of that book is
    changed then. The caller sees to it that no service runs.
    """
    done: list[Difference] = []
    writer.forget()  # a balance that somebody changed beside it
    for book in sorted({(one.merchant_id, one.mode) for one in found.differences}):
        wrong = [one for one in found.differences if (one.merchant_id, one.mode) == book]
        await writer.submit(_repair_of(book, wrong, found.heads.get(book, 0)))
        done += wrong
    return done


def _repair_of(book: tuple[str, str], wrong: Sequence[Difference], head: int) -> Unit:
    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        shard = view.one("shard", *book)
        if (shard["entry_sequence"] if shard else 0) != head:
            raise SomethingWrites("book_has_moved", f"{book[0]} {book[1]} was written meanwhile: stop what writes")
        for one in wrong:
            row = view.one("account", *one.key)
            if (None if row is None else row["balance"]) != one.materialised:
                raise SomethingWrites("balance_has_changed", f"{one.key} changed meanwhile: stop what writes")
            if row is None:
                names = ("merchant_id", "mode", "code", "subject", "asset")
                changes.insert("account", **dict(zip(names, one.key, strict=True)), balance=one.rebuilt)
            else:
                changes.update("account", one.key, balance=one.rebuilt)
        changes.emit(REBUILT, book[0], orjson.dumps([one.to_json() for one in wrong]).decode())
        return {"repaired": len(wrong)}

    locks = [row_lock("shard", *book), *(row_lock("account", *one.key) for one in wrong)]
    return Unit(book[0], book[1], None, locks, decide)
