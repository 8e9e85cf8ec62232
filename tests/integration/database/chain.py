"""Follows every hash chain of a database from its rows, as an auditor would from an export."""

from __future__ import annotations

from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.seal import seal_hash
from orchestrator.database.tables import JournalEntry, Posting, Seal, Shard, table_of
from orchestrator.database.unit import Row


async def sealed_entries(reads: Reads) -> int:
    """Assert that every link follows from the one before and its entries, up to the head; return how many entries."""
    tables = {model: table_of(model) for model in (JournalEntry, Posting, Seal, Shard)}
    rows = {
        model: await reads.all(select(table).order_by(*table.primary_key.columns)) for model, table in tables.items()
    }
    lines: dict[tuple[str, str, int], list[Row]] = {}
    for line in rows[Posting]:
        lines.setdefault((line["merchant_id"], line["mode"], line["sequence"]), []).append(line)
    covered = 0
    for shard in rows[Shard]:
        book = (shard["merchant_id"], shard["mode"])
        seals, entries = (
            [row for row in rows[m] if (row["merchant_id"], row["mode"]) == book] for m in (Seal, JournalEntry)
        )
        head, number, sequence = "", 0, seals[0]["first_sequence"] - 1 if seals else shard["entry_sequence"]
        for seal in seals:
            inside = [row for row in entries if seal["first_sequence"] <= row["sequence"] <= seal["last_sequence"]]
            assert (seal["number"], seal["previous_hash"]) == (number + 1, head), seal
            assert [row["sequence"] for row in inside] == list(range(sequence + 1, seal["last_sequence"] + 1)), seal
            assert seal["hash"] == seal_hash(head, [(row, lines[(*book, row["sequence"])]) for row in inside]), seal
            head, number, sequence = seal["hash"], seal["number"], seal["last_sequence"]
            covered += len(inside)
        assert (shard["seal_number"], shard["seal_hash"], shard["entry_sequence"]) == (number, head, sequence), shard
    return covered
