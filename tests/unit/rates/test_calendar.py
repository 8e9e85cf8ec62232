"""The ECB's working days, and currencies whose official rate is not what they cost."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from rates.build import market_from_config
from rates.calendar import easter, fixes_on, fixings_missed
from rates.errors import BadRateConfig, NoRate
from rates.policy import MarketMode

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FIXED = {"rates": {"USD-ARS": {"rate": "1450", "as_of": "2026-11-20", "reason": "what exporters get"}}}


def test_easter_falls_where_the_church_says() -> None:
    assert [easter(year) for year in (2024, 2025, 2026, 2027, 2038)] == [
        date(2024, 3, 31), date(2025, 4, 20), date(2026, 4, 5), date(2027, 3, 28), date(2038, 4, 25),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "fixes"),
    [
        (date(2026, 4, 2), True),
        (date(2026, 4, 3), False),
        (date(2026, 4, 6), False),
        (date(2026, 4, 7), True),
        (date(2026, 5, 1), False),
        (date(2026, 12, 24), True),
        (date(2026, 12, 25), False),
        (date(2026, 11, 21), False),
        (date(2026, 11, 23), True),
    ],
)
def test_the_ecb_rests_on_weekends_and_six_holidays(day: date, fixes: bool) -> None:
    assert fixes_on(day) is fixes


def test_easter_takes_nothing_from_a_rate_and_three_silent_working_days_do() -> None:
    thursday = datetime(2026, 4, 2, 12, 10, tzinfo=UTC)
    assert fixings_missed(thursday, datetime(2026, 4, 7, 15, 59, tzinfo=UTC)) == 0
    assert fixings_missed(thursday, datetime(2026, 4, 7, 16, 0, tzinfo=UTC)) == 1
    assert fixings_missed(thursday, datetime(2026, 4, 10, 16, 0, tzinfo=UTC)) == 4
    assert fixings_missed(thursday, thursday) == 0


async def test_a_marked_currency_is_quoted_by_the_named_source_only() -> None:
    mark = {"ARS": {"kind": "dual", "sources": ["fixed"], "why": "official and market rate differ"}}
    config = {"sources": {"hmrc": {}, "fixed": FIXED}, "marked": mark}
    market = market_from_config(config, MarketMode.SANDBOX)
    await market.refresh(NOW)
    mid = market.mid("USD", "ARS", NOW)
    assert mid.rate.as_integer_ratio() == (1450, 1)
    assert [one.source for one in mid.sources] == ["fixed"]

    assert str(market.marked["ARS"]).startswith("dual rate, quoted by fixed only: ")
    nobody = market_from_config({"sources": {"hmrc": {}}, "marked": {"ARS": {**mark["ARS"], "sources": []}}},
                                MarketMode.SANDBOX)  # fmt: skip
    await nobody.refresh(NOW)
    with pytest.raises(NoRate, match="may quote this currency"):
        nobody.mid("USD", "ARS", NOW)


@pytest.mark.parametrize("mark", [{}, {"kind": "odd", "why": "x"}, {"kind": "peg", "sources": ["nobody"], "why": "x"}])
def test_a_mark_says_its_kind_its_sources_and_why(mark: dict[str, object]) -> None:
    with pytest.raises(BadRateConfig, match=r"marked\.ARS"):
        market_from_config({"sources": {"hmrc": {}}, "marked": {"ARS": mark}}, MarketMode.SANDBOX)
