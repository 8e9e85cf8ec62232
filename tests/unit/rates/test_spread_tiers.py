"""Spreads by amount: the largest tier that an amount reaches, and none where there is none."""

from __future__ import annotations

import pytest

from rates.errors import BadRateConfig, NoSpread
from rates.spread import SpreadTable

USD = 10**9
TIERS = [
    {"corridor": "USD-BRL", "spread_bps": 120},
    {"corridor": "USD-BRL", "spread_bps": 80, "from_units": 500 * USD},
    {"corridor": "USD-BRL", "spread_bps": 50, "from_units": 2_000 * USD, "method": "pix"},
    {"corridor": "USD-*", "spread_bps": 100, "from_units": 10 * USD},
]


@pytest.mark.parametrize(
    ("units", "method", "spread_bps"),
    [
        (0, "card", 120),
        (500 * USD - 1, "card", 120),
        (500 * USD, "card", 80),
        (1_999 * USD, "pix", 80),
        (2_000 * USD, "pix", 50),
        (2_000 * USD, "card", 80),
    ],
)
def test_an_amount_has_the_spread_of_its_tier(units: int, method: str, spread_bps: int) -> None:
    assert SpreadTable.from_config(TIERS).spread("USD", "BRL", method, units).spread_bps == spread_bps


def test_an_amount_below_every_tier_has_no_price() -> None:
    table = SpreadTable.from_config(TIERS)
    assert table.spread("USD", "EUR", "card", 10 * USD).spread_bps == 100
    with pytest.raises(NoSpread):
        table.spread("USD", "EUR", "card", 10 * USD - 1)


def test_amounts_of_one_tier_share_every_spread() -> None:
    table = SpreadTable.from_config(TIERS)
    assert [table.tier_of(units) for units in (0, 10 * USD - 1, 10 * USD, 499 * USD, 500 * USD, 9_999 * USD)] == [
        0, 0, 1, 1, 2, 3,
    ]  # fmt: skip


@pytest.mark.parametrize("from_units", [-1, "5", 1.5])
def test_a_tier_begins_at_whole_units(from_units: object) -> None:
    with pytest.raises(BadRateConfig, match="from_units"):
        SpreadTable.from_config([{"corridor": "USD-BRL", "spread_bps": 1, "from_units": from_units}])
