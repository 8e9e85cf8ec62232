"""On which days the ECB fixes its reference rates: every working day of TARGET. PURE.

Closed: Saturdays, Sundays, 1 January, Good Friday, Easter Monday, 1 May, 25 and 26 December.
Source: https://www.ecb.europa.eu/ecb/contacts/working-hours/html/index.en.html
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

PUBLISHED_AT: Final = time(16, 0, tzinfo=UTC)
"""About 16:00 in Frankfurt is 14:00 or 15:00 UTC; an hour later nobody may say that it should have been there."""
_SATURDAY: Final = 5


@lru_cache(maxsize=512)
def easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar (Meeus, Jones, Butcher)."""
    golden = year % 19
    century, rest = divmod(year, 100)
    skipped, leap = divmod(century, 4)
    moon = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - skipped - moon + 15) % 30
    quarter, day = divmod(rest, 4)
    weekday = (32 + 2 * leap + 2 * quarter - epact - day) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, before = divmod(epact + weekday - 7 * shift + 114, 31)
    return date(year, month, before + 1)


@lru_cache(maxsize=4096)
def fixes_on(day: date) -> bool:
    """Say whether the ECB publishes rates on a day."""
    if day.weekday() >= _SATURDAY or (day.month, day.day) in {(1, 1), (5, 1), (12, 25), (12, 26)}:
        return False
    sunday = easter(day.year)
    return day not in {sunday - timedelta(days=2), sunday + timedelta(days=1)}


def fixings_missed(as_of: datetime, now: datetime) -> int:
    """Return how many fixings should have been published after a rate's own day, and until now."""
    missed, day = 0, as_of.date() + timedelta(days=1)
    while day <= now.date() and missed < 1_000:
        published = datetime.combine(day, PUBLISHED_AT)
        missed += fixes_on(day) and published <= now
        day += timedelta(days=1)
    return missed
