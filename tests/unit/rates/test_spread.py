from __future__ import annotations

from typing import Any

import pytest

from rates.errors import BadRateConfig, NoSpread
from rates.spread import SpreadTable

TABLE = SpreadTable.from_config(
    [
        {"corridor": "USD-*", "spread_bps": 100},
        {"corridor": "USD-*", "spread_bps": 20, "method": "usdt"},
        {"corridor": "USD-NGN", "spread_bps": 250},
        {"corridor": "USD-NGN", "spread_bps": 300, "method": "card"},
        {"corridor": "USD-USDT", "spread_bps": 5, "method": "usdt_tron"},
        {"corridor": "USD-USDT", "spread_bps": 7, "method": "usdt"},
        {"corridor": "USD-EUR", "spread_bps": 0},
    ]
)


@pytest.mark.parametrize(
    ("quote", "method", "spread_bps"),
    [
        ("BRL", None, 100),
        ("BRL", "pix", 100),
        ("NGN", None, 250),
        ("NGN", "card", 300),
        ("NGN", "bank_transfer", 250),
        ("NGN", "usdt_tron", 250),  # the corridor is more specific than the method
        ("USDT", "usdt_tron", 5),
        ("USDT", "usdt_bsc", 7),
        ("USDT", None, 100),
        ("USDC", "usdt_tron", 20),
        ("EUR", "ideal", 0),
    ],
)
def test_the_most_specific_corridor_wins_then_the_most_specific_method(
    quote: str, method: str | None, spread_bps: int
) -> None:
    assert TABLE.spread("USD", quote, method).spread_bps == spread_bps


def test_a_corridor_that_nobody_priced_is_refused_and_not_free() -> None:
    with pytest.raises(NoSpread, match="EUR-BRL"):
        TABLE.spread("EUR", "BRL")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("USD-NGN", "corridor and spread_bps"),
        ({"spread_bps": 1}, "corridor None"),
        ({"corridor": "USDNGN", "spread_bps": 1}, "'USDNGN'"),
        ({"corridor": "usd-ngn", "spread_bps": 1}, "'usd-ngn'"),
        ({"corridor": "USD-USD", "spread_bps": 1}, "leads nowhere"),
        ({"corridor": "USD-BRL"}, "None"),
        ({"corridor": "USD-BRL", "spread_bps": 1.5}, "1.5"),
        ({"corridor": "USD-BRL", "spread_bps": "100"}, "'100'"),
        ({"corridor": "USD-BRL", "spread_bps": True}, "True"),
        ({"corridor": "USD-BRL", "spread_bps": -1}, "-1"),
        ({"corridor": "USD-BRL", "spread_bps": 5001}, "5001"),
        ({"corridor": "USD-BRL", "spread_bps": 1, "method": ""}, "method"),
        ({"corridor": "USD-BRL", "spread_bps": 1, "metod": "pix"}, "metod"),
        ({"corridor": "USD-*", "spread_bps": 1}, "twice"),
    ],
)
def test_a_wrong_entry_is_named(entry: Any, told: str) -> None:
    with pytest.raises(BadRateConfig, match=r"pricing\[1\]") as refused:
        SpreadTable.from_config([{"corridor": "USD-*", "spread_bps": 100}, entry])
    assert told in str(refused.value)
