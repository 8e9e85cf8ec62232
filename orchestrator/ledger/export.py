"""The books as NDJSON: every entry with its lines and seals, from one snapshot, in an order that can be followed once.

One JSON object a line, told apart by ``record``; amounts are whole units of their asset, times microseconds since 1970:

    {"record":"export","format":1,"exported_at":"2026-11-23T12:00:00.000Z"}
    {"record":"book","merchant_id":..,"mode":..,"entry_sequence":9,"seal_number":4,"seal_hash":".."}   the head of a book
    {"record":"seal","number":1,"first_sequence":1,"last_sequence":2,"previous_hash":"","hash":"..","created_us":..}
    {"record":"entry","sequence":1,"id":"ent_..","kind":"topup","fact":"cap_..","payment_id":"pay_..","created_us":..,
     "lines":[[0,"clearing","stripe/main","EUR/2",1999,1999],[1,"fx:position","","EUR/2",-1999,-1999], ..]}
    ...                                                       the entries of a seal follow it, then the next seal comes
    {"record":"end","books":1,"seals":4,"entries":9}

A seal's hash is that of ``orchestrator/database/seal.py``, over the entries between its two sequences. A line is
``[line, code, subject, asset, units, balance_after]``, debit positive. An export without its ``end`` was cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeAlias

from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.seal import LINE_COLUMNS
from orchestrator.database.tables import JournalEntry, Posting, Seal, Shard, table_of
from orchestrator.database.unit import Row

FORMAT: Final = 1
PAGE_ENTRIES: Final = 2000
SEAL_FIELDS: Final = ("number", "first_sequence", "last_sequence", "previous_hash", "hash", "created_us")
ENTRY_FIELDS: Final = ("sequence", "id", "kind", "fact", "payment_id", "created_us")

Record: TypeAlias = Mapping[str, Any]


async def records(reads: Reads, now_us: int) -> AsyncIterator[Record]:
    """Yield the whole export, a page of entries in memory at a time. The service may write meanwhile."""
    counts = {"books": 0, "seals": 0, "entries": 0}
    yield {"record": "export", "format": FORMAT, "exported_at": rfc3339(now_us)}
    async with reads.snapshot() as snapshot:
        for book in await _books(snapshot):
            counts["books"] += 1
            yield {"record": "book", **book}
            async for record in _book(snapshot, book):
                counts["seals" if record["record"] == "seal" else "entries"] += 1
                yield record
    yield {"record": "end", **counts}


async def _books(snapshot: Snapshot) -> list[Row]:
    """Return the head of every book; one whose shard row is gone is found by its entries."""
    shard, journal = table_of(Shard), table_of(JournalEntry)
    names = ("merchant_id", "mode", "entry_sequence", "seal_number", "seal_hash")
    heads = {
        (row["merchant_id"], row["mode"]): row
        for row in await snapshot.all(select(*(shard.c[name] for name in names)))
        if row["entry_sequence"] or row["seal_number"]
    }
    for row in await snapshot.all(select(journal.c.merchant_id, journal.c.mode).distinct()):
        heads.setdefault(
            (row["merchant_id"], row["mode"]), {**row, "entry_sequence": 0, "seal_number": 0, "seal_hash": ""}
        )
    return [heads[book] for book in sorted(heads)]


async def _book(snapshot: Snapshot, book: Row) -> AsyncIterator[Record]:
    """Yield seals and entries of one book: each seal before the first entry that it covers."""
    journal, seal = table_of(JournalEntry), table_of(Seal)
    waiting: deque[Row] = deque()
    number = sequence = 0
    while True:
        entries = await snapshot.all(_of(journal, book).where(journal.c.sequence > sequence)
                                     .order_by(journal.c.sequence).limit(PAGE_ENTRIES))  # fmt: skip
        if not entries:
            break
        lines = await _lines(snapshot, book, entries[0]["sequence"], entries[-1]["sequence"])
        for entry in entries:
            if not waiting:
                waiting.extend(await snapshot.all(_of(seal, book).where(seal.c.number > number)
                                                  .order_by(seal.c.number).limit(PAGE_ENTRIES)))  # fmt: skip
            while waiting and waiting[0]["first_sequence"] <= entry["sequence"]:
                found = waiting.popleft()
                number = found["number"]
                yield _seal(found)
            shown = {name: entry[name] for name in ENTRY_FIELDS}
            yield {"record": "entry", **shown, "lines": lines.get(entry["sequence"], [])}
        sequence = entries[-1]["sequence"]
    for found in await snapshot.all(_of(seal, book).where(seal.c.number > number).order_by(seal.c.number)):
        yield _seal(found)


async def _lines(snapshot: Snapshot, book: Row, first: int, last: int) -> dict[int, list[list[Any]]]:
    posting = table_of(Posting)
    query = _of(posting, book).where(posting.c.sequence >= first, posting.c.sequence <= last)
    lines: dict[int, list[list[Any]]] = {}
    for row in await snapshot.all(query.order_by(posting.c.sequence, posting.c.line)):
        lines.setdefault(row["sequence"], []).append([row[name] for name in LINE_COLUMNS])
    return lines


def _of(table: Any, book: Row) -> Any:
    return select(table).where(table.c.merchant_id == book["merchant_id"], table.c.mode == book["mode"])


def _seal(row: Row) -> Record:
    return {"record": "seal", **{name: row[name] for name in SEAL_FIELDS}}
