"""``crossrail ledger statement``: what a wallet began with, what moved, what it ended with."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select

from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, run, settings_of
from orchestrator.clock import SystemClock, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Wallet, table_of
from orchestrator.errors import Refusal
from orchestrator.metering.periods import span_of
from orchestrator.metering.statement import Span, Statement, statement
from orchestrator.metering.statement_paper import csv_text, html_page
from orchestrator.metering.usage_input import DAY_US, period_of_day


class Form(StrEnum):
    TEXT = "text"
    CSV = "csv"
    HTML = "html"


def register(ledger: typer.Typer) -> None:
    ledger.command("statement")(ledger_statement)


def ledger_statement(
    *,
    wallet: Annotated[str, typer.Argument(help="The wallet's id.")],
    start: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day inside.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="First day outside.")] = None,
    period: Annotated[str | None, typer.Option(help="A month such as 2026-11, instead of both.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = Form.TEXT,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Print a wallet's statement; exit 1 where opening and lines do not make the closing balance."""
    if period is not None and (start is not None or end is not None):
        raise Failure("a period, or --from and --to: not both", 2)
    try:
        found = run(_read(config, wallet, start, end, period))
    except Refusal as refusal:
        raise Failure(str(refusal)) from None
    if json_:
        print_json(found.shown())
    elif form is Form.CSV:
        print(csv_text(found), end="")
    elif form is Form.HTML:
        print(html_page(found))
    else:
        _print(found)


async def _read(
    config: Path, wallet_id: str, start: datetime | None, end: datetime | None, period: str | None
) -> Statement:
    settings, _ = settings_of(config)
    today = SystemClock().now_us() // DAY_US
    month = span_of(period or period_of_day(today))
    span = Span(
        month.first if start is None else _day(start),
        (month.end if period is not None else today + 1) if end is None else _day(end),
    )
    reads = Reads(settings.service.database)
    try:
        table = table_of(Wallet)
        row = await reads.one(select(table.c.merchant_id, table.c.mode).where(table.c.id == wallet_id))
        if row is None:
            raise Failure(f"no wallet {wallet_id}")
        return await statement(reads, row["merchant_id"], row["mode"], wallet_id, span)
    finally:
        await reads.close()


def _day(day: datetime) -> int:
    return to_us(day.replace(tzinfo=UTC)) // DAY_US


def _print(found: Statement) -> None:
    shown = found.shown()
    print(f"{shown['wallet']} ({shown['reference']}), {shown['from']} to {shown['to']}, USD")
    print(f"{'opening':<60}{shown['opening']:>20}")
    for line in shown["lines"]:
        text = " ".join(str(line[name]) for name in ("at", "kind", "model", "period", "source") if name in line)
        print(f"{text:<60}{line['amount']:>20}")
    print(f"{'closing':<60}{shown['closing']:>20}")
