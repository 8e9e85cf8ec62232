"""How much a rate moved lately: the standard deviation of its daily changes, in basis points. PURE.

Integer arithmetic on exact fractions, so that two processes always find the same number.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from math import isqrt
from typing import Final

BPS: Final = 10_000
CHANGES_MAX: Final = 20
"""Working days in a month: long enough to mean something, short enough to be recent."""
CHANGES_MIN: Final = 10
"""Fewer say nothing: there is no volatility then, rather than a guess."""
AGE_MAX: Final = timedelta(days=10)
"""The newest day may lie so far before the mid that is charged (Easter with a weekend on each side)."""

Days = Mapping[date, Fraction]
"""One rate a day."""


def crossed(base: Days, quote: Days) -> dict[date, Fraction]:
    """Return base-quote for the days that both have a rate, of the same third currency, for."""
    return {day: quote[day] / base[day] for day in base.keys() & quote.keys()}


def daily_deviation_bps(days: Days, as_of: date) -> int | None:
    """Return the standard deviation of the newest daily changes, rounded up; None: too few days, or none recent.

    Days after ``as_of`` do not count, so that a mid is always judged by what was known then.
    """
    known = sorted(day for day in days if day <= as_of)[-(CHANGES_MAX + 1) :]
    if len(known) <= CHANGES_MIN or as_of - known[-1] > AGE_MAX:
        return None
    changes = [days[later] / days[earlier] - 1 for earlier, later in pairwise(known)]
    mean = sum(changes, Fraction()) / len(changes)
    variance = sum(((one - mean) ** 2 for one in changes), Fraction()) / (len(changes) - 1) * BPS**2
    return _root_up(variance)


def _root_up(value: Fraction) -> int:
    """Return the smallest whole number whose square is not below the value."""
    whole = -(-value.numerator // value.denominator)
    root = isqrt(whole)
    return root if root * root == whole else root + 1
