"""``crossrail ledger statement``: what a wallet or a merchant began with, what moved, what it ended with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select

from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, run, settings_of
from orchestrator.clock import DAY_US, SystemClock, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Wallet, table_of
from orchestrator.errors import Refusal
from orchestrator.ledger.merchant_statement import MerchantStatement, merchant_statement
from orchestrator.ledger.span import Span
from orchestrator.metering import merchant_paper
from orchestrator.metering.periods import span_of
from orchestrator.metering.statement import Statement, statement
from orchestrator.metering.statement_paper import csv_text, html_page
from orchestrator.metering.usage_input import period_of_day


class Form(StrEnum):
    TEXT = "text"
    CSV = "csv"
    HTML = "html"
    PDF = "pdf"


class Mode(StrEnum):
    TEST = "test"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose statement, of which days."""

    wallet: str | None
    merchant: str | None
    mode: str | None
    start: datetime | None
    end: datetime | None
    period: str | None

    def __post_init__(self) -> None:
        if self.period is not None and (self.start is not None or self.end is not None):
            raise Failure("a period, or --from and --to: not both", 2)
        if (self.wallet is None) == (self.merchant is None):
            raise Failure("name a wallet, or --merchant and --mode: one of both", 2)
        if self.wallet is not None and self.mode is not None:
            raise Failure("--mode goes with --merchant: a wallet is of one mode", 2)

    def span(self) -> Span:
        """Return the days; without any, the current month up to today. Raises Invalid."""
        today = SystemClock().now_us() // DAY_US
        month = span_of(self.period or period_of_day(today))
        return Span(
            month.first if self.start is None else _day(self.start),
            (month.end if self.period is not None else today + 1) if self.end is None else _day(self.end),
        )


def register(ledger: typer.Typer) -> None:
    ledger.command("statement")(ledger_statement)


def ledger_statement(
    *,
    wallet: Annotated[str | None, typer.Argument(help="The wallet's id.")] = None,
    merchant: Annotated[str | None, typer.Option(help="A merchant's id, instead: earnings, reserve, payouts.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Of the merchant's books: live unless said otherwise.")] = None,
    start: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day inside.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="First day outside.")] = None,
    period: Annotated[str | None, typer.Option(help="A month such as 2026-11, instead of both.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How it is printed; pdf: of a merchant.")] = Form.TEXT,
    out: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Print a wallet's or a merchant's statement; exit 1 where opening and lines do not make the closing balance."""
    asked = Asked(wallet, merchant, None if mode is None else mode.value, start, end, period)
    if form is Form.PDF and (wallet is not None or out is None):
        raise Failure("a PDF is made of a merchant's statement, and wants --out FILE", 2)
    try:
        found = run(_read(config, asked))
    except Refusal as refusal:
        raise Failure(str(refusal)) from None
    if json_:
        print_json(found.shown())
        return
    body = _text(found).encode() if form is Form.TEXT else _file(found, form)
    if out is None:
        print(body.decode(), end="")
    else:
        out.write_bytes(body)
        print(f"{out}: {len(body)} bytes")


async def _read(config: Path, asked: Asked) -> Statement | MerchantStatement:
    settings, _ = settings_of(config)
    reads = Reads(settings.service.database)
    try:
        if asked.merchant is not None:
            return await merchant_statement(reads, asked.merchant, asked.mode or Mode.LIVE.value, asked.span())
        table = table_of(Wallet)
        row = await reads.one(select(table.c.merchant_id, table.c.mode, table.c.id).where(table.c.id == asked.wallet))
        if row is None:
            raise Failure(f"no wallet {asked.wallet}")
        return await statement(reads, row["merchant_id"], row["mode"], row["id"], asked.span())
    finally:
        await reads.close()


def _file(found: Statement | MerchantStatement, form: Form) -> bytes:
    if isinstance(found, MerchantStatement):
        return merchant_paper.as_file(found, form.value)[0]
    return (csv_text(found) if form is Form.CSV else html_page(found)).encode()


def _day(day: datetime) -> int:
    return to_us(day.replace(tzinfo=UTC)) // DAY_US


def _text(found: Statement | MerchantStatement) -> str:
    return _of_merchant(found) if isinstance(found, MerchantStatement) else _of_wallet(found)


def _of_wallet(found: Statement) -> str:
    shown = found.shown()
    lines = [
        (
            " ".join(str(line[name]) for name in ("at", "kind", "model", "period", "source") if name in line),
            line["amount"],
        )
        for line in shown["lines"]
    ]
    head = f"{shown['wallet']} ({shown['reference']}), {shown['from']} to {shown['to']}, USD\n"
    rows = [("opening", shown["opening"]), *lines, ("closing", shown["closing"])]
    return head + "".join(f"{text:<60}{amount:>20}\n" for text, amount in rows)


def _of_merchant(found: MerchantStatement) -> str:
    paper = merchant_paper.paper(found)
    head = f"{found.name} ({found.merchant}, {found.mode}), {found.shown()['from']} to {found.shown()['to']}, USD\n"
    rows = [paper.columns, *(row.cells for row in paper.rows)]
    table = "".join(f"{first:<60}" + "".join(f"{cell:>18}" for cell in cells) + "\n" for first, *cells in rows)
    return head + table + "".join(f"{note}\n" for note in paper.notes)
