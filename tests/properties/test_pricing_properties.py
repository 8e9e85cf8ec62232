"""Prices: the lines add up, in both currencies, for every scale; nobody is credited more than what arrived is worth."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ledger.chart import Account
from orchestrator.ledger.recipes import Holding, top_up
from orchestrator.payments.pricing import FeeSchedule, Price, Rate, TooSmall, price, price_of_arrival, prorate
from rates.money import WALLET_USD, Asset, Money, display_asset

LOCALS = [display_asset(code) for code in ("JPY", "KWD", "VND", "USDT", "EUR", "BRL", "USD", "NGN")]
HOLDING = Holding(Account.CLEARING, "fake/main")


def usd(units: int) -> Money:
    return Money(units, WALLET_USD)


mids = st.one_of(
    st.fractions(min_value=Fraction(1, 10), max_value=30_000, max_denominator=10**9),
    st.sampled_from([Fraction(1), Fraction("0.3067"), Fraction("149.532"), Fraction(26_100), Fraction("5.4321")]),
)
rates = st.builds(Rate, mids, st.integers(0, 1_000))
fees = st.builds(
    FeeSchedule,
    rail_bps=st.integers(0, 5_000),
    rail_fixed=st.integers(0, 3 * 10**9).map(usd),
    network_fixed=st.integers(0, 5 * 10**9).map(usd),
    platform_bps=st.integers(0, 5_000),
)
principals = st.one_of(st.integers(1, 10**13), st.sampled_from([10**9, 20 * 10**9, 9_999_990_000_000])).map(usd)
assets = st.sampled_from(LOCALS)


def amounts(local: Asset, mid: Fraction) -> st.SearchStrategy[Money]:
    """Amounts up to a hundred million dollars' worth; beyond 64 bits see the test of what is too large."""
    most = int(10**8 * mid * 10**local.scale) + 1
    return st.one_of(st.integers(1, most), st.integers(1, 10**5)).map(lambda units: Money(units, local))


arrivals = st.tuples(assets, rates).flatmap(lambda both: st.tuples(amounts(both[0], both[1].mid), st.just(both[1])))


def worth(total: Money, rate: Rate) -> Fraction:
    return Fraction(total.units, 10**total.asset.scale) / rate.mid * 10**9


def assert_sound(priced: Price) -> None:
    lines = (
        priced.principal, priced.rail_fee, priced.network_fee, priced.platform_fee, priced.fx_spread, priced.rounding
    )  # fmt: skip
    assert all(line.units >= 0 for line in lines), priced
    assert sum(line.units for line in lines) == int(worth(priced.total, priced.rate)), "worth of the total, downwards"
    assert priced.received().value.units == sum(line.units for line in lines)
    local = priced.local_lines()
    assert all(line.units >= 0 and line.asset == priced.total.asset for _, line in local), local
    assert sum(line.units for _, line in local) == priced.total.units
    entry, paid = top_up("f", priced.received(), holding=HOLDING, wallet_id="w", payment_id=None)
    sums: dict[str, int] = {}
    for line in entry.lines:
        sums[line.asset] = sums.get(line.asset, 0) + line.units
    assert not any(sums.values())
    assert paid == priced.principal
    assert Price.from_json(priced.to_json()) == priced


@given(principals, fees, rates, assets)
def test_a_price_is_worth_its_lines_and_credits_what_was_asked_for(
    principal: Money, schedule: FeeSchedule, rate: Rate, local: Asset
) -> None:
    priced = price(principal, schedule, rate, local)
    assert_sound(priced)
    assert priced.principal == principal
    assert priced.network_fee == schedule.network_fixed
    assert priced.rail_fee.units >= schedule.rail_fixed.units
    # One unit of the currency less would leave somebody short.
    without_rounding = sum(line.units for line in (
        priced.principal, priced.rail_fee, priced.network_fee, priced.platform_fee, priced.fx_spread
    ))  # fmt: skip
    assert worth(Money(priced.total.units - 1, local), rate) < without_rounding


@given(principals, fees, rates, assets)
def test_the_rails_share_is_covered_by_the_line_that_is_charged_for_it(
    principal: Money, schedule: FeeSchedule, rate: Rate, local: Asset
) -> None:
    """What the rail really takes of the total (its share and its fixed part) is in the lines, to the nano-dollar."""
    priced = price(principal, schedule, rate, local)
    charged = priced.received().value.units - priced.rounding.units
    taken = Fraction(charged * schedule.rail_bps, 10_000) + schedule.rail_fixed.units
    assert priced.rail_fee.units + priced.fx_spread.units >= taken
    assert priced.rail_fee.units >= taken - 1


@given(principals, st.integers(1, 10**12), fees, rates, assets)
def test_a_larger_top_up_never_costs_less(
    principal: Money, more: int, schedule: FeeSchedule, rate: Rate, local: Asset
) -> None:
    small, large = price(principal, schedule, rate, local), price(usd(principal.units + more), schedule, rate, local)
    assert large.total.units >= small.total.units


@given(principals, fees, rates, assets, st.integers(0, 500))
def test_a_wider_spread_never_makes_it_cheaper(
    principal: Money, schedule: FeeSchedule, rate: Rate, local: Asset, wider: int
) -> None:
    wide = price(principal, schedule, Rate(rate.mid, rate.spread_bps + wider), local)
    assert wide.total.units >= price(principal, schedule, rate, local).total.units


@given(principals, fees, arrivals)
def test_a_part_or_more_than_asked_is_prorated_and_never_credits_more_than_it_is_worth(
    principal: Money, schedule: FeeSchedule, arrival: tuple[Money, Rate]
) -> None:
    received, rate = arrival
    locked = price(principal, schedule, rate, received.asset)
    part = prorate(locked, received)
    if part.principal.units == 0:
        return  # held in suspense by its caller
    assert_sound(part)
    assert part.total == received
    assert part.principal.units * locked.total.units <= locked.principal.units * received.units, "rounded down"
    assert part.principal.units <= worth(received, rate)


@given(principals, fees, rates, assets, st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_parts_together_never_credit_more_than_the_whole(
    principal: Money, schedule: FeeSchedule, rate: Rate, local: Asset, weights: list[int]
) -> None:
    locked = price(principal, schedule, rate, local)
    cuts = [locked.total.units * sum(weights[: n + 1]) // sum(weights) for n in range(len(weights))]
    parts = [b - a for a, b in zip([0, *cuts], cuts, strict=False) if b > a]
    assert sum(parts) == locked.total.units
    credited = sum(prorate(locked, Money(part, local)).principal.units for part in parts)
    assert credited <= principal.units
    assert principal.units - credited < len(parts), "each part loses less than one nano-dollar"


@given(fees, arrivals)
def test_money_without_a_locked_price_credits_what_is_left_after_every_fee_or_goes_to_a_person(
    schedule: FeeSchedule, arrival: tuple[Money, Rate]
) -> None:
    total, rate = arrival
    try:
        arrived = price_of_arrival(total, schedule, rate)
    except TooSmall:
        smallest = Fraction(int(worth(total, rate)))
        before_spread = smallest * (1 - Fraction(schedule.rail_bps, 10_000)) / (1 + Fraction(rate.spread_bps, 10_000))
        left = before_spread - schedule.rail_fixed.units - schedule.network_fixed.units
        assert left / (1 + Fraction(schedule.platform_bps, 10_000)) < 5
        return
    assert_sound(arrived)
    assert arrived.principal.units > 0
    assert arrived.principal.units <= worth(total, rate)


@given(st.integers(1, 10**5), fees, arrivals)
def test_more_money_on_arrival_never_credits_less(
    more: int, schedule: FeeSchedule, arrival: tuple[Money, Rate]
) -> None:
    total, rate = arrival
    try:
        less = price_of_arrival(total, schedule, rate).principal.units
    except TooSmall:
        return
    assert price_of_arrival(Money(total.units + more, total.asset), schedule, rate).principal.units >= less


@settings(max_examples=50)
@given(principals, fees, rates, assets)
def test_late_money_at_the_same_rate_credits_what_was_asked_for_and_what_rounding_added(
    principal: Money, schedule: FeeSchedule, rate: Rate, local: Asset
) -> None:
    """The two formulas agree but for rounding: waiting for a lock to end is worth nothing, and costs nothing."""
    locked = price(principal, schedule, rate, local)
    try:
        arrived = price_of_arrival(locked.total, schedule, rate)
    except TooSmall:
        pytest.fail("a price that was offered covers its own fees")
    assert principal.units - 10 <= arrived.principal.units <= principal.units + locked.rounding.units + 10


def test_a_yen_a_fils_a_dong_and_a_millionth_of_a_token_are_whole_units() -> None:
    schedule = FeeSchedule(290, usd(300_000_000), usd(0), 100)
    shown = {
        code: price(usd(20 * 10**9), schedule, Rate(Fraction(mid), 100), display_asset(code)).total.decimal()
        for code, mid in (("JPY", "150"), ("KWD", "0.3067"), ("VND", "26100"), ("USDT", "1"))
    }
    # (20 + 0.20 + 0.30) * 1.01 / 0.971 = 21.32337796 USD, up to the currency's own unit.
    assert shown == {"JPY": "3199", "KWD": "6.540", "VND": "556541", "USDT": "21.323378"}
