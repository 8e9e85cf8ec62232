"""A statement as CSV and as a page to print. Pure."""

from __future__ import annotations

import csv
import io
from functools import cache
from typing import Any, Final

from jinja2 import Environment, Template

from orchestrator.ledger.shown import usd_text
from orchestrator.metering.statement import Line, Statement

COLUMNS: Final = ("at", "kind", "description", "events", "amount", "balance")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Statement {{ shown.wallet }}</title><style>
body { font: 14px/1.4 system-ui, sans-serif; color: #111; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3em .6em; border-bottom: 1px solid #ccc }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } tr.sum td { font-weight: 600; border-top: 2px solid #111 }
@media print { body { margin: 0 } tr { break-inside: avoid } thead { display: table-header-group } }
</style></head><body>
<h1>Statement</h1>
<p>Wallet {{ shown.wallet }}, customer {{ shown.reference }}<br>
{{ shown.from }} (inside) to {{ shown.to }} (outside), US dollars</p>
<table><thead><tr><th>Time (UTC)</th><th>What</th><th class="n">Events</th><th class="n">Amount</th><th class="n">Balance</th></tr></thead><tbody>
<tr class="sum"><td></td><td>Opening balance</td><td></td><td></td><td class="n">{{ shown.opening }}</td></tr>
{% for row in rows %}<tr><td>{{ row.at }}</td><td>{{ row.kind }} {{ row.description }}</td><td class="n">{{ row.events }}</td>\
<td class="n">{{ row.amount }}</td><td class="n">{{ row.balance }}</td></tr>
{% endfor %}<tr class="sum"><td></td><td>Closing balance</td><td></td><td></td><td class="n">{{ shown.closing }}</td></tr>
</tbody></table></body></html>
"""


def csv_text(statement: Statement) -> str:
    """Return RFC 4180 text: the opening balance, the lines, the closing balance."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    writer.writerow({"kind": "opening", "balance": usd_text(statement.opening)})
    for row in _rows(statement):
        writer.writerow({**row, "description": _plain(row["description"])})
    writer.writerow({"kind": "closing", "balance": usd_text(statement.closing)})
    return out.getvalue()


def html_page(statement: Statement) -> str:
    """Return a page that prints; everything in it is escaped."""
    return _template().render(shown=statement.shown(), rows=_rows(statement))


@cache
def _template() -> Template:
    return Environment(autoescape=True).from_string(_PAGE)


def _rows(statement: Statement) -> list[dict[str, Any]]:
    balance, rows = statement.opening, []
    for line in statement.lines:
        balance += line.units
        shown = line.shown()
        rows.append(
            {
                "at": shown.get("at", ""),
                "kind": line.kind,
                "description": _description(line),
                "events": "" if line.events is None else line.events,
                "amount": shown["amount"],
                "balance": usd_text(balance),
            }
        )
    return rows


def _description(line: Line) -> str:
    if line.period is None:
        return line.source or ""
    tokens = ", ".join(f"{quantity} {name}" for name, quantity in (line.tokens or {}).items())
    return f"{line.model or 'amounts'} {line.period}" + (f" ({tokens})" if tokens else "")


def _plain(text: str) -> str:
    """Keep a spreadsheet from reading a name as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
