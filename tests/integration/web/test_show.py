"""Amounts as people read them: exact, in the scale that is charged."""

from __future__ import annotations

import pytest
from babel import Locale

from orchestrator.papers import formatting as show
from rates.money import WALLET_USD, Asset, Money, display_asset


@pytest.mark.parametrize(
    ("amount", "locale", "text"),
    [
        (Money(11290, display_asset("BRL")), "pt", "R$\u00a0112,90"),
        (Money(2000, display_asset("JPY")), "en", "¥2,000"),
        (Money(6123, display_asset("KWD")), "en", "KWD\u00a06.123"),
        (Money(20_741_400, Asset("USDT", 6)), "en", "20.7414 USDT"),
        (Money(1_020_000_001, Asset("USDT", 6)), "de", "1.020,000001 USDT"),
        (Money(20 * 10**9, WALLET_USD), "en", "$20.00"),
        (Money(150, WALLET_USD), "en", "$0.00000015"),
        (Money(-5 * 10**8, WALLET_USD), "en", "-$0.50"),
        (Money(9_007_199_254_740_993 * 10**2, display_asset("USD")), "en", "$9,007,199,254,740,993.00"),
    ],
)
def test_money_is_shown_to_its_last_unit(amount: Money, locale: str, text: str) -> None:
    assert show.money(amount, Locale.parse(locale)) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [("5.432514", "5.432514"), ("26345.5", "26,345.5"), ("0.30714285714", "0.3071429"), ("1", "1")],
)
def test_a_rate_keeps_six_digits_behind_what_matters(rate: str, text: str) -> None:
    assert show.rate(rate, Locale.parse("en")) == text


def test_a_span_is_said_in_the_largest_unit_that_fits() -> None:
    assert show.span(60, Locale.parse("en")) == "1 minute"
    assert show.span(10, Locale.parse("de")) == "10 Sekunden"
