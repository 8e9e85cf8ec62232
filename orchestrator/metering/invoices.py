"""The invoice of a usage cycle: one closed month of one wallet, model by model. Numbered when it is first asked for."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import orjson
from sqlalchemy import select

from orchestrator.clock import DAY_US, Clock, rfc3339, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Merchant, UsageRollup, Wallet, table_of
from orchestrator.database.unit import Row
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.papers import formatting
from orchestrator.papers.layout import Paper
from orchestrator.papers.layout import Row as Printed
from orchestrator.papers.numbers import issue, number_text
from orchestrator.papers.words import words
from rates.money import WALLET_USD, Money

KIND = "invoice"


@dataclass(frozen=True, slots=True)
class Invoices:
    writer: Writer
    reads: Reads
    clock: Clock

    async def of_month(self, merchant_id: str, mode: str, wallet_id: str, period: str) -> Row:
        """Return the invoice of a month that is over (``2026-10``). Raises NotFound, Invalid, Conflict before its end."""
        first, end = _days(period)
        if end * DAY_US > self.clock.now_us():
            raise Conflict("period_is_open", f"{period} is not over: ask for its statement instead")
        wallets, sellers = table_of(Wallet), table_of(Merchant)
        wallet = await self.reads.one(
            select(wallets).where(
                wallets.c.merchant_id == merchant_id, wallets.c.mode == mode, wallets.c.id == wallet_id
            )
        )
        if wallet is None:
            raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}")
        seller = await self.reads.one(select(sellers).where(sellers.c.id == merchant_id))
        body = {
            "date": rfc3339(to_us(datetime.combine(date.fromordinal(_EPOCH + end), time(tzinfo=UTC)))),
            "seller": merchant_id if seller is None else seller["name"], "customer": wallet["customer_reference"],
            "wallet": wallet_id, "period": period, "lines": await self._lines(merchant_id, mode, wallet_id, first, end),
        }  # fmt: skip
        subject = f"{wallet_id}:{period}"
        return await issue(self.writer, self.reads, merchant_id, mode, kind=KIND, subject=subject, body=body)

    async def _lines(self, merchant_id: str, mode: str, wallet_id: str, first: int, end: int) -> list[dict[str, Any]]:
        table = table_of(UsageRollup)
        rows = await self.reads.all(
            select(table.c.model, table.c.events, table.c.units)
            .where(table.c.merchant_id == merchant_id, table.c.mode == mode, table.c.wallet_id == wallet_id,
                   table.c.day >= first, table.c.day < end)
        )  # fmt: skip
        sums: dict[str, list[int]] = {}
        for row in rows:
            line = sums.setdefault(row["model"], [0, 0])
            line[0] += row["events"]
            line[1] += row["units"]
        return [{"model": model, "events": events, "units": units} for model, (events, units) in sorted(sums.items())]


_EPOCH = date(1970, 1, 1).toordinal()


def _days(period: str) -> tuple[int, int]:
    """Return the first day of a month and the first one after it, since 1970."""
    try:
        year, month = (int(part) for part in period.split("-"))
        first = date(year, month, 1).toordinal() - _EPOCH
    except ValueError:
        raise Invalid("period_unknown", "a month such as 2026-10", pointer="/period") from None
    return first, first + calendar.monthrange(year, month)[1]


def invoice_object(row: Row) -> dict[str, Any]:
    """Return an invoice as the API shows it."""
    body = orjson.loads(row["body"])
    lines = [{**line, "amount": _usd(line["units"])} for line in body["lines"]]
    for line in lines:
        del line["units"]
    total = sum(line["units"] for line in body["lines"])
    return {
        "number": number_text(row), "wallet": body["wallet"], "period": body["period"], "date": body["date"],
        "seller": body["seller"], "customer": body["customer"], "currency": "USD", "lines": lines, "total": _usd(total),
    }  # fmt: skip


def _usd(units: int) -> str:
    text = Money(abs(units), WALLET_USD).decimal(2)
    return f"-{text}" if units < 0 else text


def invoice_paper(row: Row, language: str) -> Paper:
    """Return an invoice as it is printed in one language."""
    say, body, locale = words(language), orjson.loads(row["body"]), formatting.locale_of(language)
    facts = [
        (say["date"], formatting.day(datetime.fromisoformat(body["date"]), locale)), (say["seller"], body["seller"]),
        (say["customer"], body["customer"]), (say["period"], body["period"]), (say["reference"], body["wallet"]),
    ]  # fmt: skip
    rows = [
        Printed((line["model"] or "-", str(line["events"]), formatting.money(Money(line["units"], WALLET_USD), locale)))
        for line in body["lines"]
    ]
    events, total = (sum(line[name] for line in body["lines"]) for name in ("events", "units"))
    rows.append(Printed((say["total"], str(events), formatting.money(Money(total, WALLET_USD), locale)), sum=True))
    notes = [say["opening_note"]] + ([] if row["mode"] == "live" else [say["sandbox"]])
    return Paper(
        language, say["invoice"], number_text(row), facts, (say["model"], say["events"], say["amount"]), rows, notes
    )
