"""What the market asks of its sources: how old, how far apart, how many. Every number here can be configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from rates.errors import BadRateConfig
from rates.sources.port import is_code


class MarketMode(StrEnum):
    """Whether the age of a rate is counted from now or from the newest date that the packages carry."""

    SANDBOX = "sandbox"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """How far one source is trusted."""

    age_max: timedelta
    """Older than this, counted from ``as_of``, is stale."""
    deviation_bps: int
    """How far another source may be away before the two contradict each other; the wider limit of the two counts."""
    deviation_bps_by_currency: Mapping[str, int] = field(default_factory=dict)
    origin: str | None = None
    """Who measured it, where that is not the source itself: two sources of one origin count once."""
    fixings_missed_max: int | None = None
    """Live: of how many working days of the ECB the rate may be missing, holidays and weekends not counted."""
    live_age_max: timedelta | None = None
    """Live: how old a price of this source may be, where the market's own ``live_age_max`` does not fit."""

    def limit_bps(self, base: str, quote: str) -> int:
        own = self.deviation_bps_by_currency
        return max(own.get(base, 0), own.get(quote, 0)) or self.deviation_bps


DEFAULT_SOURCES: Final[Mapping[str, SourcePolicy]] = {
    # Easter: nothing from Thursday 16:00 to Tuesday 16:00, so a working week must not be stale on its last day. Within six
    # days the ECB's USD crosses moved 711 bps or less in 99.9 % of cases per currency, 2021 to October 2026, without
    # TRY and RUB.
    # Three fixings missed: the source is broken, whatever the calendar says.
    "ecb": SourcePolicy(age_max=timedelta(days=6), deviation_bps=750, fixings_missed_max=3),
    # Observed up to 44 days before the last day that the table applies to. ECB against the HMRC table of the same
    # month, each day from January 2021 to October 2026, 29 currencies in USD: at most 1534 bps (HUF, 7 March 2022); 813 for BRL on
    # 30 October 2026; only TRY was further away, on 48 of 1494 days, and was right to be refused then.
    "hmrc": SourcePolicy(age_max=timedelta(days=46), deviation_bps=1600),
    # Republishes the ECB unless another address is configured.
    "forex_python": SourcePolicy(age_max=timedelta(days=6), deviation_bps=750, origin="ecb"),
    # A person looks at it at least once a year.
    "fixed": SourcePolicy(age_max=timedelta(days=366), deviation_bps=100, live_age_max=timedelta(days=366)),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A currency with several rates, or held at a peg that may break: a person says who may quote it."""

    kind: str
    """dual | peg"""
    sources: frozenset[str]
    why: str

    def __str__(self) -> str:
        by = ", ".join(sorted(self.sources)) or "nobody"
        return f"{'dual rate' if self.kind == 'dual' else 'peg'}, quoted by {by} only: {self.why}"


@dataclass(frozen=True, slots=True)
class MarketPolicy:
    """The policies of all sources, and how many independent ones a currency needs."""

    sources: Mapping[str, SourcePolicy] = field(default_factory=lambda: DEFAULT_SOURCES)
    sources_min: int = 1
    sources_min_by_currency: Mapping[str, int] = field(default_factory=dict)
    live_age_max: timedelta = timedelta(days=6)
    """Live: older rates may contradict others but not make a price. So a monthly table checks a daily one: on
    30 October 2026 the newest table was 8 % beside the market for BRL."""
    live_age_max_by_currency: Mapping[str, timedelta] = field(default_factory=dict)
    """Where nothing but a monthly table exists and somebody takes that risk (with a spread that pays for it)."""
    marked: Mapping[str, Mark] = field(default_factory=dict)
    """Currencies whose official rate is not what they cost: nobody quotes them but the sources that are named."""
    clock_skew_max: timedelta = timedelta(minutes=5)
    """Live: a rate from further in the future is not believed."""
    embedded_behind_max: timedelta = timedelta(days=62)
    """Sandbox: a currency whose last embedded date is further behind the newest one is dead (BGN, TRL), not quoted."""

    def may_quote(self, source: str, base: str, quote: str) -> bool:
        """Say whether a source's word counts for a pair: for a marked currency only who is named for it."""
        return all(source in mark.sources for code in (base, quote) if (mark := self.marked.get(code)) is not None)

    def needed(self, base: str, quote: str) -> int:
        """Return how many independent sources this pair needs: the stricter of its two currencies."""
        own = self.sources_min_by_currency
        return max(own.get(base, self.sources_min), own.get(quote, self.sources_min))

    def live_age(self, source: str, base: str, quote: str) -> timedelta:
        """Return how old a live price may be. The widest counts: each was written down for this source or currency."""
        own = [self.live_age_max_by_currency[code] for code in (base, quote) if code in self.live_age_max_by_currency]
        return max([self.sources[source].live_age_max or self.live_age_max, *own])

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MarketPolicy:
        """Read the policy's part of the ``rates:`` block.

        ``{"minimum_sources": {"default": 1, "NGN": 2}, "live_age_days_max": {"default": 6, "NGN": 46},
        "sources": {"hmrc": {"deviation_bps": 1600}}}``. What is left out is as in DEFAULT_SOURCES. Raises BadRateConfig, naming the entry.
        """
        minimum = dict(_mapping(config.get("minimum_sources", {}), "minimum_sources"))
        default = _whole(minimum.pop("default", 1), "minimum_sources.default", at_least=1)
        by_currency = {_code(k, "minimum_sources"): _whole(v, f"minimum_sources.{k}", 1) for k, v in minimum.items()}
        ages = dict(_mapping(config.get("live_age_days_max", {}), "live_age_days_max"))
        live_age = timedelta(days=_whole(ages.pop("default", 6), "live_age_days_max.default", at_least=1))
        sources = dict(DEFAULT_SOURCES)
        for name, entry in _mapping(config.get("sources", {}), "sources").items():
            sources[name] = _source(f"sources.{name}", _mapping(entry or {}, f"sources.{name}"), sources.get(name))
        return cls(
            sources=sources,
            sources_min=default,
            sources_min_by_currency=by_currency,
            live_age_max=live_age,
            marked={
                _code(k, "marked"): _mark(f"marked.{k}", v, sources)
                for k, v in _mapping(config.get("marked", {}), "marked").items()
            },
            live_age_max_by_currency={
                _code(k, "live_age_days_max"): timedelta(days=_whole(v, f"live_age_days_max.{k}", 1))
                for k, v in ages.items()
            },
        )


def _mark(where: str, value: object, sources: Mapping[str, SourcePolicy]) -> Mark:
    entry = _mapping(value, where)
    kind, named, why = entry.get("kind"), entry.get("sources", []), entry.get("why")
    if set(entry) - {"kind", "sources", "why"} or kind not in ("dual", "peg") or not isinstance(why, str) or not why:
        raise BadRateConfig(f"rates.{where}: kind (dual or peg), sources and why are expected")
    if not isinstance(named, list) or any(name not in sources for name in named):
        raise BadRateConfig(f"rates.{where}.sources: a list of sources such as [fixed] is expected")
    return Mark(str(kind), frozenset(named), why)


def _source(where: str, entry: Mapping[str, Any], default: SourcePolicy | None) -> SourcePolicy:
    if default is None and not {"age_days_max", "deviation_bps"} <= set(entry):
        raise BadRateConfig(f"rates.{where}: age_days_max and deviation_bps are needed for a source without defaults")
    base = default or SourcePolicy(timedelta(0), 0)
    days = entry.get("age_days_max")
    by_currency = _mapping(entry.get("deviation_bps_by_currency", {}), f"{where}.deviation_bps_by_currency")
    origin = entry.get("origin", base.origin)
    if origin is not None and not isinstance(origin, str):
        raise BadRateConfig(f"rates.{where}.origin: a name such as ecb is expected")
    return SourcePolicy(
        age_max=base.age_max if days is None else timedelta(days=_whole(days, f"{where}.age_days_max", 1)),
        deviation_bps=_whole(entry.get("deviation_bps", base.deviation_bps), f"{where}.deviation_bps", 0),
        deviation_bps_by_currency={
            _code(k, where): _whole(v, f"{where}.deviation_bps_by_currency.{k}", 0) for k, v in by_currency.items()
        },
        origin=origin,
        fixings_missed_max=base.fixings_missed_max,
        live_age_max=base.live_age_max,
    )


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRateConfig(f"rates.{where}: a mapping is expected")
    return value


def _whole(value: object, where: str, at_least: int) -> int:
    if type(value) is not int or value < at_least:
        raise BadRateConfig(f"rates.{where}: a whole number from {at_least} is expected, not {value!r}")
    return value


def _code(value: object, where: str) -> str:
    if not is_code(value):
        raise BadRateConfig(f"rates.{where}: {value!r} is no currency code")
    return str(value)
