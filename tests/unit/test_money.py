from fractions import Fraction

import pytest

from rates.money import (
    UNITS_MAX,
    WALLET_USD,
    Asset,
    AssetMismatch,
    Money,
    MoneyError,
    Rounding,
    UnknownAsset,
    display_asset,
)

USD = Asset("USD", 2)


@pytest.mark.parametrize(
    ("code", "scale"),
    [("USD", 2), ("KWD", 3), ("BHD", 3), ("JPY", 0), ("XOF", 0), ("UYW", 4), ("USDT", 6), ("USDC", 6), ("VND", 0)],
)
def test_a_buyer_sees_the_decimals_of_iso_4217_and_of_tokens(code: str, scale: int) -> None:
    assert display_asset(code) == Asset(code, scale)


@pytest.mark.parametrize("code", ["", "US", "usd", "XYZ", "TRL", "USD ", "٣٣٣", "BTC", "XAU"])
def test_an_unknown_currency_or_one_without_a_minor_unit_is_refused(code: str) -> None:
    with pytest.raises(UnknownAsset):
        display_asset(code)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "NaN", "nan", "sNaN", "Infinity", "-inf", "1e5", "1E5", "1e-2", "1_0", "٣", "１", "1,00", "1 0", " 1", "1\n",
        "0x10", "--1", "1.2.3", "$1", "1" * 41, "1e999999999", "None", "true",
    ],
)  # fmt: skip
def test_what_is_not_a_plain_decimal_number_is_not_money(text: str) -> None:
    with pytest.raises(MoneyError):
        Money.parse(text, USD)


@pytest.mark.parametrize(
    ("text", "asset"),
    [("0.001", USD), ("1.0000000001", WALLET_USD), ("1.2345", Asset("KWD", 3)), ("100.5", Asset("JPY", 0))],
)
def test_more_decimals_than_the_asset_has_are_refused_and_not_rounded(text: str, asset: Asset) -> None:
    with pytest.raises(MoneyError):
        Money.parse(text, asset)


def test_trailing_zeros_beyond_the_scale_are_the_same_amount() -> None:
    assert Money.parse("20.000", USD) == Money(2000, USD)
    assert Money.parse("100.0", Asset("JPY", 0)) == Money(100, Asset("JPY", 0))


def test_amounts_end_where_64_bits_end() -> None:
    assert Money(2**63 - 1, USD).units == UNITS_MAX
    for units in (2**63, -(2**63)):
        with pytest.raises(MoneyError):
            Money(units, USD)
    with pytest.raises(MoneyError):
        Money.parse("9223372036.854775808", WALLET_USD)
    with pytest.raises(MoneyError):
        Money(UNITS_MAX, USD) + Money(1, USD)


@pytest.mark.parametrize("units", [1.0, True, "1", None, Fraction(1)])
def test_units_are_whole_numbers_and_nothing_that_looks_like_one(units: object) -> None:
    with pytest.raises(MoneyError):
        Money(units, USD)  # type: ignore[arg-type]  # the wrong type is the test


def test_different_assets_and_different_scales_do_not_mix() -> None:
    for other in (Money(1, Asset("EUR", 2)), Money(1, WALLET_USD)):
        with pytest.raises(AssetMismatch):
            Money(1, USD) + other
        with pytest.raises(AssetMismatch):
            Money(1, USD) - other
        with pytest.raises(AssetMismatch):
            assert Money(1, USD) < other
    with pytest.raises(AssetMismatch):
        Money(1, USD).narrow(Asset("EUR", 2), Rounding.DOWN)


def test_rounding_goes_where_the_caller_says_on_both_sides_of_zero() -> None:
    for units, down, up in ((15, 1, 2), (-15, -1, -2), (20, 2, 2)):
        money = Money(units * 10**6, WALLET_USD)  # 0.015 dollars and so on
        assert money.narrow(USD, Rounding.DOWN).units == down
        assert money.narrow(USD, Rounding.UP).units == up
    with pytest.raises(MoneyError):
        Money(1, WALLET_USD).narrow(USD, Rounding.EXACT)


@pytest.mark.parametrize(
    ("money", "places_min", "text"),
    [
        (Money(2000, USD), None, "20.00"),
        (Money(-5, USD), None, "-0.05"),
        (Money(0, USD), None, "0.00"),
        (Money(7, Asset("JPY", 0)), None, "7"),
        (Money(1, Asset("KWD", 3)), None, "0.001"),
        (Money(20_000_000_000, WALLET_USD), 2, "20.00"),
        (Money(150, WALLET_USD), 2, "0.00000015"),
    ],
)
def test_an_amount_is_written_with_its_decimals(money: Money, places_min: int | None, text: str) -> None:
    assert money.decimal(places_min) == text


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1]])
def test_a_split_needs_weights_that_are_a_split(weights: list[int]) -> None:
    with pytest.raises(MoneyError):
        Money(100, USD).split(weights)


def test_a_split_gives_what_is_over_to_the_largest_remainders() -> None:
    assert [part.units for part in Money(100, USD).split([1, 1, 1])] == [34, 33, 33]
    assert [part.units for part in Money(-100, USD).split([1, 1, 1])] == [-34, -33, -33]
    assert [part.units for part in Money(10, USD).split([0, 3, 4])] == [0, 4, 6]


@pytest.mark.parametrize("text", ["USD", "USD/", "/2", "USD/-3", "USD/x", "USD/٣", "USD/2.0", "USD/99", ""])
def test_an_asset_without_a_sane_scale_is_refused(text: str) -> None:
    """A negative scale would have made a float of ten to the power of it."""
    with pytest.raises(MoneyError):
        Asset.parse(text)


def test_an_asset_is_read_as_it_is_written() -> None:
    assert Asset.parse(str(WALLET_USD)) == WALLET_USD
