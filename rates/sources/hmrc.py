"""Monthly customs rates of HM Revenue & Customs, from the tables inside the package ``hmrc-rates``.

Base GBP, 141 currencies, four decimals. A table is published on the penultimate Thursday of the month before the one
it applies to (https://www.trade-tariff.service.gov.uk/exchange_rates; announced 9 November 2023). What it shows are
the rates of the Wednesday before: measured against the ECB's history 2021-2026 (nine currencies), the mean deviation
is 24 bps on that Wednesday, 44 a day later, 47 a day earlier, and grows from there. That Wednesday is ``as_of``: the
first of the month that the table applies to would claim to be ten days fresher than it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from rates.errors import SourceUnavailable
from rates.sources.port import SourceKind, SourceRate, exact_rate, is_code

NAME: Final = "hmrc"
THURSDAY: Final = 3
OBSERVED_AT: Final = time(11, 0, tzinfo=UTC)
"""Midday in London in summer: never fresher than it is."""


@dataclass(frozen=True, slots=True)
class HmrcSource:
    """The newest embedded monthly table."""

    name: str = NAME
    kind: SourceKind = SourceKind.EMBEDDED
    ttl_seconds: float | None = None

    async def fetch(self) -> Sequence[SourceRate]:
        """Read the newest table (6 ms, in a thread)."""
        from hmrc_rates import HmrcRatesError

        try:
            return await asyncio.to_thread(newest_table)
        except (HmrcRatesError, OSError, ValueError) as error:
            raise SourceUnavailable(self.name, f"the embedded tables cannot be read: {error!r}") from error


def newest_table() -> list[SourceRate]:
    """Return GBP-X for each currency X of the newest month."""
    from hmrc_rates import Rates

    tables = Rates()
    months = tables.months()
    if not months:
        raise ValueError("the package holds no month")
    newest = max(months)
    as_of = observed_on(newest.prev().year, newest.prev().month)
    return [
        SourceRate(NAME, "GBP", currency.code, exact_rate(rate.units_per_gbp), as_of)
        for currency, rate in tables.monthly(newest)
        if is_code(currency.code) and currency.code != "GBP"
    ]


def observed_on(year: int, month: int) -> datetime:
    """Return the Wednesday before the penultimate Thursday of this month."""
    last_day = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    last_thursday = last_day - timedelta(days=(last_day.weekday() - THURSDAY) % 7)
    return datetime.combine(last_thursday - timedelta(days=8), OBSERVED_AT)
