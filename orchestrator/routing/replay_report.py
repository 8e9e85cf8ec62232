"""A replay's report: as data for programs, as one HTML page with charts that asks nothing of the internet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from orchestrator.routing.figures import Figures
from orchestrator.routing.replay import Estimate, Outlook, Sides, Tally, outlook

ROWS_MAX: Final = 15
BAR_WIDTH: Final = 360


@dataclass(frozen=True, slots=True)
class Report:
    tally: Tally
    live_name: str
    draft_name: str
    live: Outlook
    draft: Outlook
    seconds: float
    """How long the replay took."""

    @classmethod
    def of(cls, tally: Tally, sides: Sides, figures: Figures, names: tuple[str, str], seconds: float) -> Report:
        return cls(
            tally,
            names[0],
            names[1],
            outlook(tally.live, figures, sides.live),
            outlook(tally.draft, figures, sides.draft),
            seconds,
        )

    @property
    def moved_percent(self) -> float:
        return 100 * self.tally.moved / self.tally.decisions if self.tally.decisions else 0.0

    def to_json(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "live": self.live_name,
            "draft": self.draft_name,
            "decisions": tally.decisions,
            "unreadable": tally.unreadable,
            "moved": tally.moved,
            "moved_percent": round(self.moved_percent, 3),
            "reordered": tally.reordered,
            "newly_without_offer": tally.newly_without,
            "newly_with_offer": tally.newly_with,
            "without_offer_examples": [
                {"decision": id_, "country": country, "amount_usd": amount} for id_, country, amount in tally.without
            ],
            "by_country": [
                {"country": country, "moved": many, "of": tally.all_by_country[country]}
                for country, many in _most(tally.moved_by_country)
            ],
            "from_to": [{"from": old, "to": new, "decisions": many} for (old, new), many in _most(tally.from_to)],
            "first_offers": {"live": _shares(self.tally.live.cells), "draft": _shares(self.tally.draft.cells)},
            "expected": {"live": self.live.to_json(), "draft": self.draft.to_json()},
            "seconds": round(self.seconds, 2),
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Return what is expected of both sides, for a table."""
        return [
            ("with an offer", f"{self.live.offered:,}", f"{self.draft.offered:,}"),
            ("cost per 100 USD", _told(self.live.cost_per_hundred, "USD"), _told(self.draft.cost_per_hundred, "USD")),
            ("expected to settle", _told(self.live.success_percent, "%"), _told(self.draft.success_percent, "%")),
            ("time to credit", _told(self.live.seconds, "s"), _told(self.draft.seconds, "s")),
        ]

    def html(self) -> str:
        """Return the page."""
        tally = self.tally
        countries = [(country, many, tally.all_by_country[country]) for country, many in _most(tally.moved_by_country)]
        ways = [(f"{old} → {new}", many) for (old, new), many in _most(tally.from_to)]
        shares = {side: dict(_shares_list(cells)) for side, cells in
                  (("live", tally.live.cells), ("draft", tally.draft.cells))}  # fmt: skip
        names = sorted({*shares["live"], *shares["draft"]}, key=lambda name: -shares["live"].get(name, 0))[:ROWS_MAX]
        body = [
            f"<h1>Replay of {tally.decisions:,} decisions</h1>",
            f"<p><code>{escape(self.live_name)}</code> against the draft <code>{escape(self.draft_name)}</code></p>",
            _HEADLINE.format(
                percent=self.moved_percent,
                moved=tally.moved,
                reordered=tally.reordered,
                without=tally.newly_without,
                newly=tally.newly_with,
            ),
            "<h2>What to expect of the first offers</h2>",
            _table(("", "in force", "draft"), self.rows()),
            _HOW_SURE,
            "<h2>First offers</h2>",
            _pairs(names, shares["live"], shares["draft"], tally.decisions),
            "<h2>Moved, by country</h2>",
            _bars([(f"{c} ({many:,} of {whole:,})", many) for c, many, whole in countries]),
            "<h2>From where to where</h2>",
            _bars([(f"{name} ({many:,})", many) for name, many in ways]),
            "<h2>Newly without an offer</h2>",
            _table(("decision", "country", "USD"), tally.without) if tally.without else "<p>Nobody.</p>",
        ]
        return _PAGE.format(body="\n".join(body))


def _told(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return "not known"
    if estimate.give_or_take is None:
        return f"{estimate.value:.2f} {unit} (partly the rails' own figures: how sure is not known)"
    return f"{estimate.value:.2f} {unit} ± {estimate.give_or_take:.2f}"


def _most(counted: Any) -> list[tuple[Any, int]]:
    return sorted(counted.items(), key=lambda pair: (-pair[1], str(pair[0])))[:ROWS_MAX]


def _shares_list(cells: Any) -> list[tuple[str, int]]:
    sums: dict[str, int] = {}
    for (option, _, _, _), many in cells.items():
        name = f"{option[2]} at {option[0]}/{option[1]}"
        sums[name] = sums.get(name, 0) + many
    return sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))


def _shares(cells: Any) -> list[dict[str, Any]]:
    return [{"option": name, "decisions": many} for name, many in _shares_list(cells)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _bars(rows: Sequence[tuple[str, int]]) -> str:
    if not rows:
        return "<p>None.</p>"
    most = max(many for _, many in rows)
    height = 24 * len(rows)
    parts = [
        f"<rect x='0' y='{24 * place + 3}' width='{BAR_WIDTH * many // most or 1}' height='16' class='draft'/>"
        f"<text x='{BAR_WIDTH * many // most + 8}' y='{24 * place + 16}'>{escape(name)}</text>"
        for place, (name, many) in enumerate(rows)
    ]
    return f"<svg role='img' viewBox='0 0 900 {height}' width='900' height='{height}'>{''.join(parts)}</svg>"


def _pairs(names: Sequence[str], live: dict[str, int], draft: dict[str, int], whole: int) -> str:
    most = max([*live.values(), *draft.values(), 1])
    parts = []
    for place, name in enumerate(names):
        for row, (kind, many) in enumerate((("live", live.get(name, 0)), ("draft", draft.get(name, 0)))):
            y = 44 * place + 16 * row + 4
            share = f"{100 * many / whole:.1f} %" if whole else ""
            label = f"{escape(name)}: {share}" if row == 0 else share
            parts.append(
                f"<rect x='0' y='{y}' width='{BAR_WIDTH * many // most}' height='13' class='{kind}'/>"
                f"<text x='{BAR_WIDTH * many // most + 8}' y='{y + 11}'>{label}</text>"
            )
    height = 44 * len(names)
    legend = "<p class='small'><span class='box live'></span> in force <span class='box draft'></span> draft</p>"
    return f"{legend}<svg role='img' viewBox='0 0 900 {height}' width='900' height='{height}'>{''.join(parts)}</svg>"


_HEADLINE: Final = (
    "<p class='big'><b>{percent:.2f} %</b> get another first offer ({moved:,}); {reordered:,} only another order below "
    "it; <b>{without:,}</b> would have no offer any more, {newly:,} would have one that had none.</p>"
)
_HOW_SURE: Final = (
    "<p class='small'>± is the range that holds the truth 19 times of 20. Cost comes from fee tables and spreads; "
    "success and time from the payments that were made.</p>"
)
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Replay of routing rules</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; --live: #8a94a6; --draft: #2b6cb0; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #8884; }}
svg {{ max-width: 100%; height: auto; }} text {{ font-size: 12px; fill: currentColor; }}
rect.live {{ fill: var(--live); }} rect.draft {{ fill: var(--draft); }}
.box {{ display: inline-block; width: .8rem; height: .8rem; }} .box.live {{ background: var(--live); }}
.box.draft {{ background: var(--draft); }} .small {{ font-size: .85rem; }} .big {{ font-size: 1.1rem; }}
</style></head><body>
{body}
</body></html>
"""
