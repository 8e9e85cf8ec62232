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
from typing import Any, Final

from sqlalchemy import Select, case, func, select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Capture, CheckoutSession, Merchant, table_of
from orchestrator.routing.catalogue import OptionKey
from orchestrator.routing.ruleset import Weights

BANDS: Final = (10 * 10**9, 50 * 10**9, 200 * 10**9, 1_000 * 10**9)
"""Nano-dollars where one amount band ends and the next begins."""
ATTEMPTS_MAX: Final = 200_000
"""Of one merchant, the newest."""
SQUARES_PART: Final = 1_000_000
"""Squares of seconds are summed in two parts: SQLite's ``SUM`` of them whole would end in an error."""
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
    merchants = table_of(Merchant)
    async with reads.snapshot() as snapshot:
        for merchant in await snapshot.all(select(merchants.c.id)):
            for row in await snapshot.all(cells_query(merchant["id"], since_us)):
                key = CellKey((row["rail"], row["account"], row["method"]), row["country"], int(row["band"]))
                squares = int(row["squares_high"]) * SQUARES_PART + int(row["squares_low"])
                seen = Cell(int(row["tries"]), int(row["wins"]), int(row["credited"]), int(row["seconds"]), squares)
                cells[key] = cells.get(key, Cell()).plus(seen)
    return Figures.of(cells, until_us)


def cells_query(merchant_id: str, since_us: int) -> Select[Any]:
    """Count one merchant's cells in the database: a row for each, not for each attempt."""
    attempts, sessions, captures = table_of(Attempt), table_of(CheckoutSession), table_of(Capture)
    amount, seconds = sessions.c.amount_units, (captures.c.created_us - attempts.c.created_us) // 1_000_000
    ended = (
        select(
            attempts.c.rail, attempts.c.account, attempts.c.method, sessions.c.country,
            case(*((amount < end, band) for band, end in enumerate(BANDS)), else_=len(BANDS)).label("band"),
            case((attempts.c.status.in_(WON), 1), else_=0).label("won"),
            case((attempts.c.status.in_(WON), seconds)).label("seconds"),
            attempts.c.status,
        )
        .join(sessions, (sessions.c.merchant_id == attempts.c.merchant_id) & (sessions.c.id == attempts.c.session_id))
        .outerjoin(
            captures,
            (captures.c.merchant_id == attempts.c.merchant_id)
            & (captures.c.payment_id == attempts.c.payment_id)  # what its index begins with; there is none by attempt
            & (captures.c.attempt_id == attempts.c.id),
        )
        .where(attempts.c.merchant_id == merchant_id, attempts.c.id >= f"att_{since_us // 1_000:012x}")
        .order_by(attempts.c.id.desc())
        .limit(ATTEMPTS_MAX)
        .subquery()
    )  # fmt: skip
    key, took = (ended.c.rail, ended.c.account, ended.c.method, ended.c.country, ended.c.band), ended.c.seconds
    return (
        select(
            *key, func.count().label("tries"), func.sum(ended.c.won).label("wins"), func.count(took).label("credited"),
            func.coalesce(func.sum(took), 0).label("seconds"),
            func.coalesce(func.sum(took * took // SQUARES_PART), 0).label("squares_high"),
            func.coalesce(func.sum(took * took % SQUARES_PART), 0).label("squares_low"),
        )
        .where(ended.c.status.in_(WON | LOST))
        .group_by(*key)
    )  # fmt: skip
