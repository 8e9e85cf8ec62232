"""Closing a month: a row that says where it ends in the journal and what was in it. Never changed afterwards.

What arrives later for a closed month is booked in the open one and says which month it belongs to (``period``). Entries are
booked under the time of their commit, so a month can be closed once it is over; ``SETTLE_S`` is for clocks that differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import func, select

from orchestrator.clock import DAY_US, rfc3339, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import StatementClose, UsageRollup, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid
from orchestrator.ledger.shown import usd_text
from orchestrator.ledger.span import Span, first_sequence

SETTLE_S: Final = 3600
_PERIOD: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


def span_of(period: str) -> Span:
    """Return the days of a month such as ``2026-11``. Raises Invalid."""
    found = _PERIOD.fullmatch(period)
    if found is None:
        raise Invalid("period_invalid", "a period is a month such as 2026-11", pointer="/period")
    year, month = int(found[1]), int(found[2])
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    first, end = (to_us(datetime(*one, 1, tzinfo=UTC)) // DAY_US for one in ((year, month), following))
    return Span(first, end)


async def close(writer: Writer, reads: Reads, merchant_id: str, mode: str, period: str) -> dict[str, Any]:
    """Close a month; a month that is closed already is returned as it was closed. Raises Invalid, Conflict."""
    span = span_of(period)
    found = await _closed(reads, merchant_id, mode, period)
    if found is not None:
        return close_shown(found)
    async with reads.snapshot() as snapshot:
        last = await first_sequence(snapshot, merchant_id, mode, span.end * DAY_US) - 1
        rollup = table_of(UsageRollup)
        totals = await snapshot.all(
            select(rollup.c.period, func.sum(rollup.c.events).label("events"), func.sum(rollup.c.units).label("units"))
            .where(
                rollup.c.merchant_id == merchant_id,
                rollup.c.mode == mode,
                rollup.c.day >= span.first,
                rollup.c.day < span.end,
            )
            .group_by(rollup.c.period)
            .order_by(rollup.c.period)
        )
    usage = {one["period"]: {"events": int(one["events"]), "units": int(one["units"])} for one in totals}
    key = (merchant_id, mode, period)

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        there = view.one("statement_close", *key)
        if there is not None:
            return {"row": there}
        if view.now_us < span.end * DAY_US + SETTLE_S * 1_000_000:
            raise Conflict("period_is_not_over", f"{period} can be closed an hour after its end")
        row: Row = {
            "merchant_id": merchant_id, "mode": mode, "period": period, "last_sequence": last,
            "totals": orjson.dumps({"usage": usage}).decode(), "closed_us": view.now_us,
        }  # fmt: skip
        changes.insert("statement_close", **row)
        return {"row": row}

    applied = await writer.submit(Unit(merchant_id, mode, None, (row_lock("statement_close", *key),), decide))
    return close_shown(applied.answer["row"])


async def _closed(reads: Reads, merchant_id: str, mode: str, period: str) -> Row | None:
    table = table_of(StatementClose)
    return await reads.one(
        select(table).where(table.c.merchant_id == merchant_id, table.c.mode == mode, table.c.period == period)
    )


def close_shown(row: Row) -> dict[str, Any]:
    usage = orjson.loads(row["totals"])["usage"]
    return {
        "period": row["period"],
        "last_sequence": row["last_sequence"],
        "usage": {
            period: {"events": sums["events"], "amount": usd_text(sums["units"])} for period, sums in usage.items()
        },
        "closed_at": rfc3339(row["closed_us"]),
    }
