"""From the ``rates:`` block of the configuration to a Market."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rates.errors import BadRateConfig
from rates.market import Market
from rates.policy import MarketMode, MarketPolicy
from rates.sources.ecb import EcbSource
from rates.sources.fixed import FixedSource
from rates.sources.hmrc import HmrcSource
from rates.sources.port import RateSource, is_code

FIELDS: Final = frozenset({"sources", "minimum_sources", "live_age_days_max", "marked"})
OWN_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "ecb": frozenset(),
    "hmrc": frozenset(),
    "fixed": frozenset({"rates"}),
    "forex_python": frozenset({"url", "base", "timeout_seconds", "ttl_seconds"}),
}
POLICY_FIELDS: Final = frozenset({"age_days_max", "deviation_bps", "deviation_bps_by_currency", "origin"})
SECONDS_MAX: Final = 86_400


def market_from_config(config: Mapping[str, Any], mode: MarketMode) -> Market:
    """Open the sources that are named, in their order; nothing is fetched yet (``await market.refresh(now)``).

    ``{"sources": {"ecb": {}, "hmrc": {"deviation_bps": 1600}, "fixed": {"rates": {...}},
    "forex_python": {"url": "...", "timeout_seconds": 5, "ttl_seconds": 3600}}, "minimum_sources": {"default": 1},
    "live_age_days_max": {"default": 6, "NGN": 46}}``.
    Raises BadRateConfig, naming the entry.
    """
    if unknown := sorted(map(str, set(config) - FIELDS)):
        raise BadRateConfig(f"rates: {', '.join(unknown)} is not known here; {', '.join(sorted(FIELDS))} are")
    named = config.get("sources")
    if not isinstance(named, Mapping) or not named:
        raise BadRateConfig("rates.sources: name at least one of ecb, hmrc, forex_python, fixed")
    sources = [_source(str(name), entry or {}) for name, entry in named.items()]
    return Market(sources, MarketPolicy.from_config(config), mode)


def _source(name: str, entry: Any) -> RateSource:
    own = OWN_FIELDS.get(name)
    if own is None:
        raise BadRateConfig(f"rates.sources.{name}: unknown; ecb, hmrc, forex_python and fixed are known")
    if not isinstance(entry, Mapping):
        raise BadRateConfig(f"rates.sources.{name}: a mapping is expected")
    if wrong := sorted(map(str, set(entry) - own - POLICY_FIELDS)):
        known = ", ".join(sorted(own | POLICY_FIELDS))
        raise BadRateConfig(f"rates.sources.{name}: {', '.join(wrong)} is not known here; {known} are")
    match name:
        case "ecb":
            return EcbSource()
        case "hmrc":
            return HmrcSource()
        case "fixed":
            rates = entry.get("rates")
            if not isinstance(rates, Mapping):
                raise BadRateConfig("rates.sources.fixed.rates: a mapping of pairs such as USD-USDT is expected")
            return FixedSource.from_config(rates)
        case _:
            return _forex_python(entry)


def _forex_python(entry: Mapping[str, Any]) -> RateSource:
    from rates.sources.forex_python import ForexPythonSource

    url, base = entry.get("url"), entry.get("base", "USD")
    if url is not None and (not isinstance(url, str) or not url.startswith(("https://", "http://"))):
        raise BadRateConfig(f"rates.sources.forex_python.url: {url!r} is no address")
    if not is_code(base):
        raise BadRateConfig(f"rates.sources.forex_python.base: {base!r} is no currency code")
    return ForexPythonSource(
        url=url,
        base=base,
        timeout_seconds=_seconds(entry, "timeout_seconds", 5),
        ttl_seconds=_seconds(entry, "ttl_seconds", 3600),
    )


def _seconds(entry: Mapping[str, Any], field: str, default: int) -> int:
    value = entry.get(field, default)
    if type(value) is not int or not 1 <= value <= SECONDS_MAX:
        raise BadRateConfig(f"rates.sources.forex_python.{field}: whole seconds from 1 to {SECONDS_MAX}, not {value!r}")
    return value
