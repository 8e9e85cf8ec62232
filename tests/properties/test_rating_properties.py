"""Rating: whatever is used in whatever order, the sum of the charges is the sum of the costs, rounded down."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.metering.rating import (
    COST_PER_UNIT,
    MARKUP_BPS_MAX,
    MARKUP_BPS_MIN,
    TOKEN_TYPES,
    charge,
    parse_price,
    rates_of,
    show_cost,
    show_price,
)

PRICES = st.dictionaries(st.sampled_from(sorted(TOKEN_TYPES)), st.integers(0, 10**20), min_size=1)
MARKUPS = st.integers(MARKUP_BPS_MIN, MARKUP_BPS_MAX)
QUANTITIES = st.integers(0, 10**12)


@given(PRICES, MARKUPS, st.data())
def test_the_cost_is_the_sum_over_the_types_with_the_markup(
    prices: dict[str, int], bps: int, data: st.DataObject
) -> None:
    quantities = data.draw(st.dictionaries(st.sampled_from(sorted(prices)), QUANTITIES))
    cost = rates_of(prices, {}, bps).cost(quantities)
    exact = sum(Fraction(prices[name], 10**18) * number for name, number in quantities.items()) * Fraction(
        10_000 + bps, 10_000
    )
    assert Fraction(cost, 10**22) == exact
    assert Fraction(show_cost(cost)) == exact


@given(st.lists(st.integers(0, 10**16), max_size=50), st.integers(0, COST_PER_UNIT - 1))
def test_the_sum_of_the_charges_is_the_rounded_sum(costs: list[int], carried: int) -> None:
    charged, remainder = 0, carried
    for cost in costs:
        units, remainder = charge(remainder, cost)
        assert units >= 0
        assert 0 <= remainder < COST_PER_UNIT
        charged += units
    assert (charged, remainder) == divmod(carried + sum(costs), COST_PER_UNIT)


@given(st.lists(st.integers(-(10**16), 10**16), max_size=50))
def test_corrections_keep_the_sum_too(costs: list[int]) -> None:
    charged, remainder = 0, 0
    for cost in costs:
        units, remainder = charge(remainder, cost)
        charged += units
    assert (charged, remainder) == divmod(sum(costs), COST_PER_UNIT)


@given(st.integers(0, 10**27 - 1))
def test_a_price_is_read_as_it_is_shown(price: int) -> None:
    assert parse_price(show_price(price)) == price
