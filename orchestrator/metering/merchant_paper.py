"""A merchant's statement as CSV, as a page to print and as a PDF. Pure."""

from __future__ import annotations

import csv
import io
from typing import Final

from orchestrator.ledger.merchant_statement import SIDES, MerchantStatement, Sides
from orchestrator.ledger.shown import usd_text
from orchestrator.papers import layout
from orchestrator.papers.layout import Paper, Row

TITLES: Final = {
    "pending": "Waits",
    "available": "Available",
    "reserve": "Reserve",
    "unfunded": "Not covered",
    "in_transit": "To the bank",
    "owed": "Owed",
    "total": "Position",
}
FEE_TITLES: Final = {
    "platform_fee": "Service fee",
    "rail_fee": "Payment provider's fee",
    "fx_spread": "Currency exchange",
    "rounding": "Rounding",
}
COLUMNS: Final = ("at", "kind", "source", *SIDES.values(), "total")


FORMS: Final = {"csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8", "pdf": "application/pdf"}
"""Media types."""


def as_file(statement: MerchantStatement, form: str) -> tuple[bytes, dict[str, str]]:
    """Return a form's bytes and headers; all but the page are saved under a name."""
    headers = {"Content-Type": FORMS[form]}
    if form == "html":
        return layout.html(paper(statement)), {**headers, **layout.PAGE_HEADERS}
    name = f"statement-{statement.merchant}-{statement.shown()['from'][:10]}.{form}"
    body = csv_text(statement).encode() if form == "csv" else layout.pdf(paper(statement))
    return body, {**headers, "Content-Disposition": f'attachment; filename="{name}"'}


def csv_text(statement: MerchantStatement) -> str:
    """Return RFC 4180 text: opening, lines (what each account gained), closing. All in US dollars."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    writer.writerow({"kind": "opening", **_cells(statement.opening)})
    for line in statement.lines:
        writer.writerow({"at": line.when, "kind": line.kind, "source": line.source or "", **_cells(line.changes)})
    writer.writerow({"kind": "closing", **_cells(statement.closing)})
    return out.getvalue()


def paper(statement: MerchantStatement) -> Paper:
    """Return the statement as it is printed."""
    shown = statement.shown()
    facts = [
        ("Merchant", f"{statement.name} ({statement.merchant})"),
        ("From", f"{shown['from']} (inside)"),
        ("To", f"{shown['to']} (outside)"),
        ("Currency", "US dollars"),
    ]
    rows = [
        Row(("Opening", *_cells(statement.opening).values()), sum=True),
        *(Row((_what(line.when, line.kind, line.source), *_cells(line.changes).values())) for line in statement.lines),
        Row(("Closing", *_cells(statement.closing).values()), sum=True),
    ]
    fees = ", ".join(f"{FEE_TITLES[name]} {usd_text(units)}" for name, units in statement.fees.items())
    notes = [f"Buyers paid beside the credit: {fees} (US dollars)."]
    if statement.dispute_fees:
        taken = ", ".join(f"{one.decimal()} {one.asset.code}" for one in statement.dispute_fees)
        notes.append(f"Payment providers took for disputes: {taken}.")
    if statement.mode != "live":
        notes.append("Sandbox: no real money was moved.")
    return Paper("en", "Statement", _number(statement), facts, ("", *TITLES.values()), rows, notes, wide=True)


def _number(statement: MerchantStatement) -> str:
    return f"{statement.merchant} {statement.shown()['from'][:10]}"


def _what(when: str, kind: str, source: str | None) -> str:
    day = when[:16].replace("T", " ")
    return f"{day} {kind.replace('_', ' ')}" + (f" {source}" if source else "")


def _cells(sides: Sides) -> dict[str, str]:
    found = {name: usd_text(sides.get(name, 0)) for name in SIDES.values()}
    return {**found, "total": usd_text(sum(sides.values()))}
