"""A paper as a page to print and as a PDF. Pure: what it says was decided before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, Template

_PAGE: Final = """\
<!doctype html>
<html lang="{{ paper.language }}"><head><meta charset="utf-8"><title>{{ paper.title }} {{ paper.number }}</title><style>
body { font: 14px/1.5 system-ui, sans-serif; color: #111; max-width: {{ "84em" if paper.wide else "46em" }}; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100%; margin-top: 1em } th, td { text-align: left; padding: .35em .6em; border-bottom: 1px solid #ccc }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } tr.sum td { font-weight: 600; border-top: 2px solid #111 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1em } dt { color: #555 } dd { margin: 0 }
{% if paper.wide %}table { font-size: 12px } td:first-child { overflow-wrap: anywhere } @page { size: A4 landscape }
{% endif %}.note { color: #555 } @media print { body { margin: 0 } tr { break-inside: avoid } thead { display: table-header-group } }
</style></head><body>
<h1>{{ paper.title }} {{ paper.number }}</h1>
<dl>{% for name, text in paper.facts %}<dt>{{ name }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
<table><thead><tr>{% for name in paper.columns %}<th{% if not loop.first %} class="n"{% endif %}>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in paper.rows %}<tr{% if row.sum %} class="sum"{% endif %}>{% for cell in row.cells %}<td{% if not loop.first %} class="n"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{% for note in paper.notes %}<p class="note">{{ note }}</p>{% endfor %}
</body></html>
"""
PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
}
"""A page that has its style inside it, and nothing else."""
_FONT: Final = "Noto"
NARROW_MM: Final = 38
WIDE_MM: Final = 27
"""Widths of a column of amounts, on a sheet that stands and on one that lies: a million to the nano-dollar fits."""
NARROW_PT: Final = 10
WIDE_PT: Final = 8


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[str, ...]
    sum: bool = False


@dataclass(frozen=True, slots=True)
class Paper:
    """What is printed, word by word."""

    language: str
    title: str
    number: str
    facts: Sequence[tuple[str, str]]
    columns: tuple[str, ...]
    """The first is text, the others are amounts."""
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    wide: bool = False
    """Many amounts: the sheet lies on its side."""


def html(paper: Paper) -> bytes:
    return _template().render(paper=paper).encode()


@cache
def _template() -> Template:
    return Environment(autoescape=True).from_string(_PAGE)


def pdf(paper: Paper) -> bytes:
    """Return the same as A4. The font is embedded, so that every reader sees the same letters."""
    import fontpkg_noto_sans
    from fpdf import FPDF

    file = next(Path(fontpkg_noto_sans.ROOT).rglob("NotoSans?wdth,wght?.ttf"))
    sheet = FPDF(format="A4", orientation="landscape" if paper.wide else "portrait")
    sheet.set_title(f"{paper.title} {paper.number}")
    sheet.set_lang(paper.language)
    sheet.set_margin(18)
    sheet.add_page()
    sheet.add_font(_FONT, "", file)
    sheet.set_font(_FONT, size=18)
    sheet.multi_cell(0, 10, f"{paper.title} {paper.number}", new_x="LMARGIN", new_y="NEXT")
    sheet.ln(3)
    sheet.set_font(_FONT, size=NARROW_PT)
    for name, text in paper.facts:
        sheet.set_text_color(85)
        sheet.cell(45, 6, name)
        sheet.set_text_color(0)
        sheet.multi_cell(0, 6, text, new_x="LMARGIN", new_y="NEXT")
    sheet.ln(4)
    amounts = len(paper.columns) - 1
    sheet.set_font(_FONT, size=WIDE_PT if paper.wide else NARROW_PT)
    width = WIDE_MM if paper.wide else NARROW_MM
    widths = (sheet.epw - width * amounts, *([width] * amounts))
    with sheet.table(col_widths=widths, text_align=("LEFT", *(["RIGHT"] * amounts)), borders_layout="HORIZONTAL_LINES",
                     first_row_as_headings=False, line_height=6.5) as table:  # fmt: skip
        table.row(paper.columns)
        for row in paper.rows:
            table.row(row.cells)
    sheet.ln(4)
    sheet.set_text_color(85)
    for note in paper.notes:
        sheet.multi_cell(0, 5.5, note, new_x="LMARGIN", new_y="NEXT")
    return bytes(sheet.output())
