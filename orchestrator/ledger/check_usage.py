"""Usage against the journal: what the events of a flush charged a wallet is what its merged entry took. In the database."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, except_, func, select

from orchestrator.database import tables
from orchestrator.database.reads import Snapshot
from orchestrator.database.tables import table_of
from orchestrator.ledger.report import FINDINGS_MAX, Report

USAGE: Final = "usage"
"""The kind of the entries that charge usage events; their fact is the flush."""


async def check_usage(reads: Snapshot, report: Report) -> None:
    """Compare both sides by merchant, mode, flush and wallet. The sums are the database's own: a flush's are small."""
    charged, booked = _charged(), _booked()
    for row in await reads.all(_only_in(charged, booked)):
        report.find(f"{_whose(row)}: usage events charge {row['units']}, the journal says otherwise")
    for row in await reads.all(_only_in(booked, charged)):
        report.find(f"{_whose(row)}: the journal took {row['units']}, usage events say otherwise")


def _charged() -> Select[Any]:
    event = table_of(tables.UsageEvent)
    names = (event.c.merchant_id, event.c.mode, event.c.flush_id, event.c.wallet_id)
    total = func.sum(event.c.units)
    return select(*_named(names), total.label("units")).where(event.c.units != 0).group_by(*names).having(total != 0)


def _booked() -> Select[Any]:
    entry, posting = table_of(tables.JournalEntry), table_of(tables.Posting)
    same = and_(*(posting.c[name] == entry.c[name] for name in ("merchant_id", "mode", "sequence")))
    names = (entry.c.merchant_id, entry.c.mode, entry.c.fact, posting.c.subject)
    total = func.sum(posting.c.units)
    return (
        select(*_named(names), total.label("units"))
        .join(posting, same)
        .where(entry.c.kind == USAGE, posting.c.code.like("wallet:%"))
        .group_by(*names)
        .having(total != 0)
    )


def _named(columns: tuple[ColumnElement[Any], ...]) -> list[ColumnElement[Any]]:
    return [column.label(name) for column, name in zip(columns, ("merchant", "mode", "flush", "wallet"), strict=True)]


def _only_in(one: Select[Any], other: Select[Any]) -> Select[Any]:
    return select(except_(one, other).subquery()).limit(FINDINGS_MAX)


def _whose(row: dict[str, Any]) -> str:
    return f"{row['merchant']} {row['mode']} {row['wallet']} in {row['flush']}"
