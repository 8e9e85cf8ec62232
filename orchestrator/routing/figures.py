"""How often payments settle and how fast they are credited: counted per method, rail, country and amount. PURE but for ``read``.

A cell that has seen little says little: what it saw is mixed with the average of its method on its rail, and that
with a prior (Bayesian shrinkage, Beta prior), all in whole fractions, so that the same counts rank the same way anywhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Capture, CheckoutSession, Merchant, table_of
from orchestrator.routing.catalogue import OptionKey
from orchestrator.routing.ruleset import Weights

BANDS: Final = (10 * 10**9, 50 * 10**9, 200 * 10**9, 1_000 * 10**9)
"""Nano-dollars where one amount band ends and the next begins."""
ATTEMPTS_MAX: Final = 200_000
"""Of one merchant, the newest."""
WON: Final = frozenset({"succeeded"})
LOST: Final = frozenset({"declined_soft", "declined_hard", "not_sent", "expired"})


def band_of(units: int) -> int:
    """Return the number of the amount band, from 0."""
    return bisect_right(BANDS, units)


@dataclass(frozen=True, slots=True)
class CellKey:
    option: OptionKey
    country: str
    band: int


@dataclass(frozen=True, slots=True)
class Cell:
    tries: int = 0
    wins: int = 0
    credited: int = 0
    seconds: int = 0
    """From the attempt to the credit, summed over ``credited``."""
    squares: int = 0
    """Of the seconds, summed."""

    def plus(self, other: Cell) -> Cell:
        return Cell(
            self.tries + other.tries,
            self.wins + other.wins,
            self.credited + other.credited,
            self.seconds + other.seconds,
            self.squares + other.squares,
        )


@dataclass(frozen=True, slots=True)
class Chance:
    """How likely a payment settles: the mean of what is believed, and how sure that is."""

    mean: Fraction
    deviation: float
    tries: int
    """Seen in this very cell."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted until one moment."""

    cells: Mapping[CellKey, Cell] = field(default_factory=dict)
    until_us: int = 0
    of_option: Mapping[OptionKey, Cell] = field(default_factory=dict)

    @classmethod
    def of(cls, cells: Mapping[CellKey, Cell], until_us: int) -> Figures:
        """Return them with the sums per option."""
        sums: dict[OptionKey, Cell] = {}
        for key, cell in cells.items():
            sums[key.option] = sums.get(key.option, Cell()).plus(cell)
        return cls(dict(cells), until_us, sums)

    def chance(self, option: OptionKey, country: str, units: int, weights: Weights) -> Chance:
        """Return how likely a payment settles there."""
        cell = self.cells.get(CellKey(option, country, band_of(units)), Cell())
        whole = self.of_option.get(option, Cell())
        prior = Fraction(weights.prior_percent, 100)
        average = _mixed(whole.wins, whole.tries, prior, weights.prior_tries)
        mean = _mixed(cell.wins, cell.tries, average, weights.prior_tries)
        strength = cell.tries + weights.prior_tries
        return Chance(mean, math.sqrt(float(mean * (1 - mean)) / (strength + 1)), cell.tries)

    def tries(self, options: tuple[OptionKey, ...], country: str, units: int) -> int:
        """Return how much was tried of some options by sessions like this one."""
        band = band_of(units)
        return sum(self.cells.get(CellKey(option, country, band), Cell()).tries for option in options)

    def seconds(self, option: OptionKey, country: str, units: int, expected: int) -> tuple[float, float | None]:
        """Return the mean time to credit and its standard error; (the rail's own figure, None) where nothing was seen."""
        for cell in (self.cells.get(CellKey(option, country, band_of(units))), self.of_option.get(option)):
            if cell is not None and cell.credited >= 2:
                mean = cell.seconds / cell.credited
                variance = max(0.0, cell.squares / cell.credited - mean * mean)
                return mean, math.sqrt(variance / cell.credited)
        return float(expected), None


def _mixed(wins: int, tries: int, prior: Fraction, strength: int) -> Fraction:
    return (wins + prior * strength) / (tries + strength)


NOTHING_SEEN: Final = Figures()


async def read(reads: Reads, since_us: int, until_us: int) -> Figures:
    """Count what ended between two moments, over all merchants."""
    cells: dict[CellKey, Cell] = {}
    first = f"att_{since_us // 1_000:012x}"
    merchants, attempts, sessions = table_of(Merchant), table_of(Attempt), table_of(CheckoutSession)
    captures = table_of(Capture)
    async with reads.snapshot() as snapshot:
        for merchant in await snapshot.all(select(merchants.c.id)):
            query = (
                select(
                    attempts.c.rail, attempts.c.account, attempts.c.method, attempts.c.status, attempts.c.created_us,
                    sessions.c.country, sessions.c.amount_units, captures.c.created_us.label("credited_us"),
                )
                .join(
                    sessions,
                    (sessions.c.merchant_id == attempts.c.merchant_id) & (sessions.c.id == attempts.c.session_id),
                )
                .outerjoin(
                    captures,
                    (captures.c.merchant_id == attempts.c.merchant_id) & (captures.c.attempt_id == attempts.c.id),
                )
                .where(attempts.c.merchant_id == merchant["id"], attempts.c.id >= first)
                .order_by(attempts.c.id.desc())
                .limit(ATTEMPTS_MAX)
            )  # fmt: skip
            async for rows in snapshot.stream(query):
                for row in rows:
                    won, lost = row["status"] in WON, row["status"] in LOST
                    if not (won or lost):
                        continue
                    key = CellKey(
                        (row["rail"], row["account"], row["method"]), row["country"], band_of(row["amount_units"])
                    )
                    credited = won and row["credited_us"] is not None
                    seconds = (row["credited_us"] - row["created_us"]) // 1_000_000 if credited else 0
                    seen = Cell(1, int(won), int(credited), seconds, seconds * seconds)
                    cells[key] = cells.get(key, Cell()).plus(seen)
    return Figures.of(cells, until_us)
