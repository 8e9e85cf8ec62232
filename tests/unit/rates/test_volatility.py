"""How much a rate moves, and what of it goes into the spread."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from fractions import Fraction
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rates.errors import BadRateConfig
from rates.market import Market
from rates.policy import MarketMode, MarketPolicy
from rates.sources.ecb import EcbSource
from rates.sources.hmrc import HmrcSource
from rates.spread import SpreadTable
from rates.volatility import CHANGES_MAX, CHANGES_MIN, crossed, daily_deviation_bps

from .builders import NOW

TODAY = date(2026, 10, 30)


def days_of(rates: list[Fraction]) -> dict[date, Fraction]:
    return {TODAY - timedelta(days=back): rate for back, rate in enumerate(reversed(rates))}


def test_a_rate_that_goes_up_and_down_by_one_percent_moves_about_a_hundred_points_a_day() -> None:
    rates = [Fraction(101 if number % 2 else 100) for number in range(21)]
    changes = [float(later / earlier - 1) for earlier, later in itertools.pairwise(rates)]
    moved = daily_deviation_bps(days_of(rates), TODAY)
    assert moved is not None
    assert moved - 1 < stdev(changes) * 10_000 <= moved == 103


def test_a_peg_does_not_move() -> None:
    assert daily_deviation_bps(days_of([Fraction(1)] * 21), TODAY) == 0


@given(st.lists(st.fractions(min_value="0.9", max_value="1.1", max_denominator=1000), min_size=11, max_size=40))
def test_it_is_the_standard_deviation_of_the_newest_changes_rounded_up(rates: list[Fraction]) -> None:
    newest = rates[-(CHANGES_MAX + 1) :]
    changes = [float(later / earlier - 1) for earlier, later in itertools.pairwise(newest)]
    moved = daily_deviation_bps(days_of(rates), TODAY)
    assert moved is not None
    assert moved - 1 - 1e-6 <= stdev(changes) * 10_000 <= moved + 1e-6


def test_too_few_days_or_old_ones_say_nothing() -> None:
    few = days_of([Fraction(number + 1) for number in range(CHANGES_MIN)])
    assert daily_deviation_bps(few, TODAY) is None
    enough = days_of([Fraction(number + 1) for number in range(CHANGES_MIN + 1)])
    assert daily_deviation_bps(enough, TODAY) is not None
    assert daily_deviation_bps(enough, TODAY + timedelta(days=11)) is None


def test_a_day_after_the_mid_is_not_looked_at() -> None:
    days = days_of([Fraction(1)] * 15)
    assert daily_deviation_bps({**days, TODAY + timedelta(days=1): Fraction(5)}, TODAY) == 0


def test_two_histories_against_one_currency_make_one_of_both() -> None:
    day, other = TODAY, TODAY - timedelta(days=1)
    found = crossed({day: Fraction(2), other: Fraction(4)}, {day: Fraction(10)})
    assert found == {day: Fraction(5)}


async def test_the_embedded_history_says_how_much_currencies_move_and_nothing_where_it_has_none() -> None:
    market = Market([EcbSource(), HmrcSource()], MarketPolicy(), MarketMode.SANDBOX)
    await market.refresh(NOW)
    euro, dollar_of_hong_kong = (market.volatility_bps("USD", code, NOW) for code in ("EUR", "HKD"))
    assert euro is not None
    assert dollar_of_hong_kong is not None
    assert 0 < dollar_of_hong_kong < euro < 200  # a peg moves less
    assert market.volatility_bps("USD", "NGN", NOW) is None  # the monthly tables say nothing about days
    assert market.volatility_bps("EUR", "USD", NOW) is not None


async def test_what_was_recorded_here_is_a_history_too() -> None:
    market = Market([HmrcSource()], MarketPolicy(), MarketMode.SANDBOX)
    await market.refresh(NOW)
    as_of = market.mid("USD", "NGN", NOW).as_of.date()
    days = {as_of - timedelta(days=back): Fraction(1500 + 15 * (back % 2)) for back in range(21)}
    assert market.volatility_bps("USD", "NGN", NOW) is None
    market.remember({("USD", "NGN"): days})
    assert market.volatility_bps("USD", "NGN", NOW) in {102, 103}


@pytest.mark.parametrize(("volatility_bps", "whole"), [(None, 100), (0, 100), (31, 116), (290, 245), (1_000, 350)])
def test_a_share_of_it_is_added_to_the_spread_up_to_a_limit(volatility_bps: int | None, whole: int) -> None:
    entry = {"corridor": "USD-*", "spread_bps": 100, "volatility_percent": 50, "volatility_bps_max": 250}
    assert SpreadTable.from_config([entry]).spread("USD", "BRL").bps(volatility_bps) == whole


def test_a_spread_without_it_is_fixed() -> None:
    assert SpreadTable.from_config([{"corridor": "USD-*", "spread_bps": 100}]).spread("USD", "BRL").bps(290) == 100


@pytest.mark.parametrize("value", [-1, "50", 501, True])
def test_a_share_is_a_whole_number_of_percent(value: object) -> None:
    with pytest.raises(BadRateConfig, match="volatility_percent is a whole number from 0 to 500"):
        SpreadTable.from_config([{"corridor": "USD-*", "spread_bps": 100, "volatility_percent": value}])
