"""A top-up's receipt: what was paid, line by line, what was credited, at which rate. Numbered when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Capture, CheckoutSession, Deposit, Merchant, Payment, table_of
from orchestrator.database.unit import Row
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, NotFound
from orchestrator.papers import formatting
from orchestrator.papers.layout import Paper
from orchestrator.papers.layout import Row as Printed
from orchestrator.papers.numbers import issue, number_text
from orchestrator.papers.words import words
from orchestrator.payments.pricing import Price
from orchestrator.payments.story import usd_body
from rates.agreement import decimal_text
from rates.money import WALLET_USD, Asset, Money

KIND = "receipt"


@dataclass(frozen=True, slots=True)
class Receipts:
    writer: Writer
    reads: Reads

    async def of_payment(self, merchant_id: str, mode: str, payment_id: str) -> Row:
        """Return the receipt's row; its content is fixed the first time. Raises NotFound; Conflict before it is credited."""
        body = await self._body(merchant_id, mode, payment_id)
        return await issue(self.writer, self.reads, merchant_id, mode, kind=KIND, subject=payment_id, body=body)

    async def _body(self, merchant_id: str, mode: str, payment_id: str) -> dict[str, Any]:
        payment = await self._one(Payment, merchant_id=merchant_id, mode=mode, id=payment_id)
        if payment is None:
            raise NotFound("payment_not_found", f"there is no payment {payment_id}")
        if payment["credited_units"] <= 0:
            raise Conflict("payment_not_credited", "a receipt is for money that was credited")
        session = await self._one(CheckoutSession, merchant_id=merchant_id, id=payment["session_id"])
        seller = await self._one(Merchant, id=merchant_id)
        assert session is not None, "a payment has its session"
        pieces = await self._pieces(merchant_id, payment_id)
        return {
            "date": rfc3339(min(piece["at_us"] for piece in pieces)),
            "seller": payment["merchant_id"] if seller is None else seller["name"],
            "customer": session["customer_reference"], "country": session["country"], "locale": session["locale"],
            "payment": payment_id, "credited": payment["credited_units"], "pieces": pieces,
        }  # fmt: skip

    async def _pieces(self, merchant_id: str, payment_id: str) -> list[dict[str, Any]]:
        """Return each piece of money that was credited, with the price it came in at."""
        found: list[dict[str, Any]] = []
        for model, at in ((Capture, "captured_us"), (Deposit, "block_us")):
            table = table_of(model)
            rows = await self.reads.all(
                select(table).where(table.c.merchant_id == merchant_id, table.c.payment_id == payment_id,
                                    table.c.status == "credited", table.c.lines.is_not(None)).order_by(table.c.id)
            )  # fmt: skip
            for row in rows:
                attempt = await self._one(Attempt, merchant_id=merchant_id, id=row["attempt_id"])
                sent = {} if attempt is None else orjson.loads(attempt["order_json"])
                found.append({
                    "at_us": row[at], "method": row["method"] if attempt is None else attempt["method"],
                    "reference": row["id"], "price": orjson.loads(row["lines"]),
                    "statement_descriptor": sent.get("statement_suffix", ""),
                    "merchant_category": sent.get("merchant_category", ""),
                })  # fmt: skip
        if not found:
            raise Conflict("payment_not_credited", "no money of this payment is credited for good")
        return found

    async def _one(self, model: Any, **where: Any) -> Row | None:
        table = table_of(model)
        return await self.reads.one(select(table).where(*(table.c[name] == value for name, value in where.items())))


def receipt_object(row: Row) -> dict[str, Any]:
    """Return a receipt as the API shows it."""
    body = orjson.loads(row["body"])
    pieces = []
    for piece in body["pieces"]:
        price = Price.from_json(piece["price"])
        lines = [
            {"type": name, "amount": money.decimal(), "currency": money.asset.code}
            for name, money in price.local_lines()
        ]
        pieces.append({
            "method": piece["method"], "reference": piece["reference"], "at": rfc3339(piece["at_us"]),
            "paid": {"amount": price.total.decimal(), "currency": price.total.asset.code}, "lines": lines,
            "mid": decimal_text(price.rate.mid), "spread_bps": price.rate.spread_bps,
            # Receipts that were issued before these were known say nothing of them.
            "statement_descriptor": piece.get("statement_descriptor", ""),
            "merchant_category": piece.get("merchant_category", ""),
        })  # fmt: skip
    return {
        "number": number_text(row), "payment": body["payment"], "date": body["date"], "seller": body["seller"],
        "customer": body["customer"], "credited": usd_body(body["credited"]), "parts": pieces,
    }  # fmt: skip


def receipt_paper(row: Row, language: str) -> Paper:
    """Return a receipt as it is printed in one language."""
    say, body, locale = words(language), orjson.loads(row["body"]), formatting.locale_of(language)
    printed: list[Printed] = []
    facts = [
        (say["date"], formatting.day(datetime.fromisoformat(body["date"]), locale)), (say["seller"], body["seller"]),
        (say["customer"], body["customer"]), (say["reference"], body["payment"]),
    ]  # fmt: skip
    for piece in body["pieces"]:
        price = Price.from_json(piece["price"])
        total = price.total
        facts.append((say["paid_by"], piece["method"]))
        for name, label in (("statement_descriptor", "on_statement"), ("merchant_category", "category")):
            if piece.get(name):
                facts.append((say[label], piece[name]))
        usd = Asset(WALLET_USD.code, WALLET_USD.scale)
        worth = {
            "principal": price.principal, "rail_fee": price.rail_fee, "platform_fee": price.platform_fee,
            "fx_spread": price.fx_spread, "network_fee": price.network_fee, "rounding": price.rounding,
        }  # fmt: skip
        for name, money in price.local_lines():
            if money.units or worth[name].units:
                printed.append(
                    Printed((say[name], formatting.money(money, locale), formatting.money(worth[name], locale)))
                )
        value = Money(price.received().value.units, usd)
        printed.append(
            Printed((say["paid"], formatting.money(total, locale), formatting.money(value, locale)), sum=True)
        )
        if total.asset.code != WALLET_USD.code:
            rate = formatting.rate(decimal_text(price.rate.mid), locale)
            facts.append((say["rate"], f"1 USD = {rate} {total.asset.code} ({say['mid']})"))
    printed.append(
        Printed((say["credited"], "", formatting.money(Money(body["credited"], WALLET_USD), locale)), sum=True)
    )
    notes = () if row["mode"] == "live" else (say["sandbox"],)
    return Paper(
        language, say["receipt"], number_text(row), facts, (say["line"], say["amount"], say["in_usd"]), printed, notes
    )
