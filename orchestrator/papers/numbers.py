"""Numbers of papers: gapless per merchant and mode, and what was printed under a number never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Paper, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer


async def issue(
    writer: Writer, reads: Reads, merchant_id: str, mode: str, *, kind: str, subject: str, body: Mapping[str, Any]
) -> Row:
    """Return the paper of a kind about a subject; the first call gives it its number and keeps its content for ever."""
    found = await find(reads, merchant_id, mode, kind, subject)
    if found is not None:
        return found
    counter = (merchant_id, mode)

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = view.one("paper_counter", *counter)
        number = 1 if row is None else row["next_number"]
        if row is None:
            changes.insert("paper_counter", merchant_id=merchant_id, mode=mode, next_number=number + 1)
        else:
            changes.update("paper_counter", counter, next_number=number + 1)
        changes.insert(
            "paper", merchant_id=merchant_id, mode=mode, number=number, kind=kind, subject=subject,
            body=orjson.dumps(body).decode(), created_us=view.now_us,
        )  # fmt: skip
        return {"number": number}

    unit = Unit(merchant_id, mode, f"paper:{kind}:{subject}", (row_lock("paper_counter", *counter),), decide)
    await writer.submit(unit)
    made = await find(reads, merchant_id, mode, kind, subject)
    assert made is not None, "it was written a moment ago"
    return made


async def find(reads: Reads, merchant_id: str, mode: str, kind: str, subject: str) -> Row | None:
    table = table_of(Paper)
    return await reads.one(
        select(table).where(table.c.merchant_id == merchant_id, table.c.mode == mode, table.c.kind == kind,
                            table.c.subject == subject)
    )  # fmt: skip


def number_text(row: Row) -> str:
    """Return the number as it is printed: ``R-2026-000042``; a sandbox's papers say so."""
    letter = {"receipt": "R", "invoice": "I"}[row["kind"]]
    year = orjson.loads(row["body"])["date"][:4]
    test = "" if row["mode"] == "live" else "TEST-"
    return f"{test}{letter}-{year}-{row['number']:06}"
