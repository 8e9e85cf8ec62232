from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rates.build import market_from_config
from rates.errors import BadRateConfig
from rates.policy import MarketMode, MarketPolicy
from rates.sources.port import SourceKind

PEG = {"USD-USDT": {"rate": "1", "as_of": "2026-11-01", "reason": "at par"}}


def test_the_configuration_names_the_sources_and_nothing_is_asked_yet() -> None:
    sources = {"ecb": {}, "hmrc": None, "fixed": {"rates": PEG}, "forex_python": {"url": "http://127.0.0.1:9/api"}}
    market = market_from_config({"sources": sources, "minimum_sources": {"default": 1, "EUR": 2}}, MarketMode.SANDBOX)
    assert [status.name for status in market.statuses()] == ["ecb", "hmrc", "fixed", "forex_python"]
    assert [status.kind for status in market.statuses()] == [
        SourceKind.EMBEDDED,
        SourceKind.EMBEDDED,
        SourceKind.FIXED,
        SourceKind.NETWORK,
    ]
    assert all(status.fetched_at is None for status in market.statuses())


def test_a_policy_keeps_its_defaults_where_the_configuration_is_silent() -> None:
    policy = MarketPolicy.from_config(
        {
            "minimum_sources": {"default": 1, "EUR": 2},
            "live_age_days_max": {"NGN": 46},
            "sources": {"hmrc": {"deviation_bps_by_currency": {"TRY": 4000}}, "forex_python": {"origin": "ours"}},
        }
    )
    assert (policy.needed("USD", "EUR"), policy.needed("USD", "BRL")) == (2, 1)
    assert policy.sources["hmrc"].limit_bps("USD", "TRY") == 4000
    assert policy.sources["hmrc"].limit_bps("USD", "BRL") == 1600
    assert policy.sources["hmrc"].age_max == timedelta(days=46)
    assert policy.sources["forex_python"].origin == "ours"
    assert policy.live_age("hmrc", "USD", "NGN") == timedelta(days=46)
    assert policy.live_age("hmrc", "USD", "BRL") == timedelta(days=6)
    assert policy.live_age("fixed", "USD", "USDT") == timedelta(days=366)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "rates.sources"),
        ({"sources": []}, "rates.sources"),
        ({"sources": {"bloomberg": {}}}, "rates.sources.bloomberg"),
        ({"sources": {"ecb": {"url": "x"}}}, "rates.sources.ecb: url"),
        ({"sources": {"ecb": 5}}, "rates.sources.ecb"),
        ({"sources": {"ecb": {"age_days_max": 0}}}, "rates.sources.ecb.age_days_max"),
        ({"sources": {"ecb": {"deviation_bps": "100"}}}, "rates.sources.ecb.deviation_bps"),
        ({"sources": {"ecb": {"deviation_bps_by_currency": {"try": 1}}}}, "'try'"),
        ({"sources": {"ecb": {"origin": 5}}}, "rates.sources.ecb.origin"),
        ({"sources": {"fixed": {}}}, "rates.sources.fixed.rates"),
        ({"sources": {"forex_python": {"url": "theratesapi.com"}}}, "forex_python.url"),
        ({"sources": {"forex_python": {"base": "dollar"}}}, "forex_python.base"),
        ({"sources": {"forex_python": {"timeout_seconds": 0}}}, "forex_python.timeout_seconds"),
        ({"sources": {"forex_python": {"ttl_seconds": 1.5}}}, "forex_python.ttl_seconds"),
        ({"sources": {"ecb": {}}, "minimum_sources": {"NGN": 0}}, "minimum_sources.NGN"),
        ({"sources": {"ecb": {}}, "minimum_sources": 2}, "minimum_sources"),
        ({"sources": {"ecb": {}}, "live_age_days_max": {"ngn": 46}}, "'ngn'"),
        ({"sources": {"ecb": {}}, "minimum": {}}, "minimum is not known"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(config: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRateConfig) as refused:
        market_from_config(config, MarketMode.SANDBOX)
    assert told in str(refused.value)


def test_a_source_without_defaults_must_say_how_far_it_is_trusted() -> None:
    with pytest.raises(BadRateConfig, match=r"rates\.sources\.mine"):
        MarketPolicy.from_config({"sources": {"mine": {"deviation_bps": 5}}})
