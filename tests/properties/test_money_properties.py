"""Laws of money and quotes that hold for every amount, rate and spread."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from rates.agreement import deviation_bps
from rates.market import Mid
from rates.money import UNITS_MAX, WALLET_USD, Asset, Money, MoneyError, Rounding, display_asset
from rates.quote import Quote, make_quote
from rates.sources.port import SourceRate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CODES = ("BRL", "JPY", "KWD", "VND", "USDT", "EUR", "UYW")

assets = st.builds(Asset, st.just("USD"), st.integers(0, 9))
monies = st.builds(Money, st.integers(-UNITS_MAX, UNITS_MAX), assets)
rates = st.fractions(min_value=Fraction(1, 100_000), max_value=200_000, max_denominator=10**9)
wallet_amounts = st.integers(0, 10**15).map(lambda units: Money(units, WALLET_USD))


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    code = draw(st.sampled_from(CODES))
    rate = draw(rates)
    sources = tuple(
        SourceRate(name, "USD", code, rate, NOW) for name in draw(st.sets(st.sampled_from(("ecb", "hmrc"))))
    )
    mid = Mid("USD", code, rate, NOW, sources, sandbox_as_of=NOW if draw(st.booleans()) else None)
    return make_quote(
        quote_id="quo_1", session_id="cs_1", mid=mid, spread_bps=draw(st.integers(0, 5000)), now=NOW, ttl_seconds=60
    )


@given(monies)
def test_writing_and_reading_an_amount_gives_the_same_amount(money: Money) -> None:
    assert Money.parse(money.decimal(), money.asset) == money
    assert Money.parse(money.decimal(2), money.asset) == money


@given(st.text(max_size=50))
def test_any_text_is_an_exact_amount_or_a_money_error(text: str) -> None:
    try:
        money = Money.parse(text, WALLET_USD)
    except MoneyError:
        return
    assert money.value == Fraction(Decimal(text))


@given(monies, st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
def test_a_split_loses_nothing_and_is_fair_to_the_unit(money: Money, weights: list[int]) -> None:
    assume(sum(weights) > 0)
    parts = money.split(weights)
    assert sum(part.units for part in parts) == money.units
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part.units - Fraction(money.units * weight, sum(weights))) < 1
        assert weight or not part


@given(st.fractions(min_value=-(10**6), max_value=10**6), assets)
def test_up_and_down_are_at_most_one_unit_apart_and_enclose_the_truth(value: Fraction, asset: Asset) -> None:
    down, up = Money.of(value, asset, Rounding.DOWN), Money.of(value, asset, Rounding.UP)
    assert abs(down.value) <= abs(value) <= abs(up.value)
    assert abs(up.units - down.units) <= 1


@given(quotes(), wallet_amounts, st.sampled_from((Rounding.DOWN, Rounding.UP)))
def test_converting_in_whole_numbers_is_the_exact_fraction_rounded_once(
    quote: Quote, money: Money, rounding: Rounding
) -> None:
    assume(money.value * quote.rate * 10**quote.quote.scale < UNITS_MAX)
    assert quote.convert(money, rounding) == Money.of(money.value * quote.rate, quote.quote, rounding)
    assert quote.convert_at_mid(money, rounding) == Money.of(money.value * quote.mid, quote.quote, rounding)


@given(quotes(), st.integers(0, 10**12))
def test_a_round_trip_of_local_money_never_gains_the_buyer_a_unit(quote: Quote, units: int) -> None:
    paid = Money(units, quote.quote)
    assume(paid.value / quote.mid * 10**9 < UNITS_MAX)
    credited = quote.invert(paid, Rounding.DOWN)
    assert quote.convert(credited, Rounding.DOWN) <= paid
    assert quote.convert(credited, Rounding.UP) <= paid
    assert credited <= quote.invert_at_mid(paid, Rounding.DOWN)


@given(quotes(), wallet_amounts)
def test_what_a_buyer_is_charged_always_pays_for_what_is_credited(quote: Quote, wanted: Money) -> None:
    assume(wanted.value * quote.rate * 10**quote.quote.scale < UNITS_MAX)
    charge = quote.convert(wanted, Rounding.UP)
    assert charge.value >= wanted.value * quote.rate
    assume(charge.value / quote.rate * 10**9 < UNITS_MAX)
    assert wanted <= quote.invert(charge, Rounding.DOWN)
    if charge:  # one unit less would not have been enough
        assert quote.invert(Money(charge.units - 1, charge.asset), Rounding.UP) <= wanted


@given(quotes())
def test_a_quote_survives_json_and_its_signature_too(quote: Quote) -> None:
    signed = quote.sign(b"secret")
    again = Quote.from_json(signed.to_json())
    assert again == signed
    assert again.verify(b"secret")
    assert not again.verify(b"other")


@given(rates, rates)
def test_two_rates_are_as_far_apart_as_their_inverses(one: Fraction, other: Fraction) -> None:
    assert deviation_bps(one, other) == deviation_bps(other, one) == deviation_bps(1 / one, 1 / other)
    assert (deviation_bps(one, other) == 0) == (one == other)


def test_every_code_used_here_is_one_that_buyers_can_see() -> None:
    assert {display_asset(code).scale for code in CODES} == {0, 2, 3, 4, 6}
