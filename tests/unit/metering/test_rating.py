from __future__ import annotations

import pytest

from orchestrator.metering.price_content import Content, ModelPrices, digest, model_prices, stored
from orchestrator.metering.rating import (
    TOKEN_TYPES,
    PriceInvalid,
    PriceMissing,
    charge,
    cost_of_amount,
    parse_price,
    rates_of,
    show_cost,
    show_price,
)


def test_a_price_keeps_eighteen_decimals() -> None:
    assert parse_price("0.000000000000000001") == 1
    assert parse_price("15") == 15 * 10**18
    assert show_price(parse_price("0.00000015")) == "0.00000015"
    assert show_price(0) == "0"
    for text in ("0.0000000000000000001", "-1", "1e-6", "1.", ".5", "", "1,5", "NaN", "٣"):
        with pytest.raises(PriceInvalid):
            parse_price(text)


def test_fifteen_cents_a_million_with_twenty_percent_is_exact() -> None:
    rates = rates_of({"input": parse_price("0.00000015")}, {}, 2000)
    assert charge(0, rates.cost({"input": 1})) == (180, 0)
    assert show_cost(rates.cost({"input": 1_000_000})) == "0.18"


def test_what_is_below_one_nano_dollar_is_carried() -> None:
    rates = rates_of({"input": 1}, {}, 0)  # 10**-18 dollar
    units, remainder = charge(0, rates.cost({"input": 999_999_999}))
    assert (units, remainder) == (0, 999_999_999 * 10_000)
    assert charge(remainder, rates.cost({"input": 1})) == (1, 0)


def test_a_correction_takes_back_what_was_charged() -> None:
    units, remainder = charge(7, -(10**13))
    assert (units, remainder) == (-1, 7)
    assert charge(7, -8) == (-1, 10**13 - 1)


def test_reasoning_costs_what_output_costs_unless_it_has_a_price() -> None:
    assert rates_of({"output": 5}, {}, 0).cost({"reasoning": 2}) == 100_000
    assert rates_of({"output": 5, "reasoning": 1}, {}, 0).cost({"reasoning": 2}) == 20_000


def test_a_type_without_a_price_is_refused_and_never_free() -> None:
    rates = rates_of({"input": 5}, {}, 0)
    for name in set(TOKEN_TYPES) - {"input"}:
        with pytest.raises(PriceMissing):
            rates.cost({name: 1})


def test_a_long_prompt_costs_the_long_price_all_of_it() -> None:
    rates = rates_of({"input": 3, "cache_read": 1, "output": 7}, {200_000: {"input": 6, "output": 9}}, 0)
    assert rates.cost({"input": 150_000, "cache_read": 50_000, "output": 1}) == (450_000 + 50_000 + 7) * 10_000
    assert rates.cost({"input": 150_000, "cache_read": 50_001, "output": 1}) == (900_000 + 50_001 + 9) * 10_000


def test_an_amount_bears_no_markup() -> None:
    assert charge(0, cost_of_amount(10**18)) == (10**9, 0)


def test_the_same_book_is_the_same_text_and_reads_back() -> None:
    one = Content({"b": model_prices({"input": "1"}), "a": model_prices({"output": "2", "input": "1"})}, 5, {"a": 7})
    other = Content(
        {"a": model_prices({"input": "1.0", "output": "2"}), "b": model_prices({"input": "1"})}, 5, {"a": 7}
    )
    assert one.body() == other.body()
    assert digest(one, None) == digest(other, None) != digest(one, "prv_1")
    assert digest(one, None) != digest(Content(one.models, 6, one.markups), None)
    assert stored(one.body(), 5) == one


def test_own_prices_stand_before_those_of_the_base() -> None:
    base = Content({"a": ModelPrices({"input": 1}), "b": ModelPrices({"input": 1})})
    own = Content({"a": ModelPrices({"input": 9})}, 100, {"b": 0})
    assert [own.rates(model, base) for model in ("a", "b", "c")] == [
        rates_of({"input": 9}, {}, 100), rates_of({"input": 1}, {}, 0), None,
    ]  # fmt: skip
