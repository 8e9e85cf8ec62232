"""Sources with known numbers: the real fixed source under other names, so that a test can say who said what and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rates.market import Market
from rates.policy import MarketMode, MarketPolicy, SourcePolicy
from rates.sources.fixed import FixedSource
from rates.sources.port import SourceKind, SourceRate, exact_rate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def says(
    name: str, pairs: dict[str, str], *, age: timedelta = HOUR, kind: SourceKind = SourceKind.EMBEDDED
) -> FixedSource:
    """Build a source that says ``{"USD-BRL": "5.40"}``, observed so long before NOW."""
    rates = tuple(
        SourceRate(name, pair.partition("-")[0], pair.partition("-")[2], exact_rate(rate), NOW - age)
        for pair, rate in pairs.items()
    )
    return FixedSource(rates, {}, name=name, kind=kind)


def policy(
    *names: str,
    limit_bps: int = 100,
    age_max: timedelta = 6 * DAY,
    sources_min: int = 1,
    sources_min_by_currency: dict[str, int] | None = None,
) -> MarketPolicy:
    """Trust these sources alike."""
    return MarketPolicy(
        sources={name: SourcePolicy(age_max, limit_bps) for name in names},
        sources_min=sources_min,
        sources_min_by_currency=sources_min_by_currency or {},
    )


async def market(
    *sources: FixedSource, rules: MarketPolicy | None = None, mode: MarketMode = MarketMode.LIVE
) -> Market:
    """Build a market that has asked its sources."""
    opened = Market(sources, rules or policy(*(source.name for source in sources)), mode)
    await opened.refresh(NOW)
    return opened
