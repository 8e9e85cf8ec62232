"""How several sources become one rate. PURE: no clock, no network; the market hands in what it holds.

1. Each source gives at most one candidate for a pair: direct, else inverse, else crossed inside that source.
2. Stale ones go, and (live) ones from the future.
3. A candidate is agreed when more than half of the fresh sources are within the limit of it, itself included. The
   others are outliers and go. Two that contradict each other have no majority: nobody can say which one is right.
4. Two agreed candidates that contradict each other (each leaning on a third in the middle) are no agreement.
5. What is left must be as many independent origins as the currency asks for. The freshest of them is the mid; live, it must be young
   enough itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from rates.calendar import fixings_missed
from rates.errors import NoRate, SourcesDisagree, StaleRate, TooFewSources
from rates.policy import MarketPolicy
from rates.sources.port import SourceRate

PIVOTS = ("EUR", "GBP", "USD")
BPS = 10_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one source says about the pair, and the printed rates that it comes from (one, or two of a cross)."""

    rate: SourceRate
    legs: tuple[SourceRate, ...] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """The winner first, then those that agree with it; ``dropped`` says who was left out and why."""

    agreed: tuple[Candidate, ...]
    dropped: tuple[tuple[str, str], ...]


def candidate_of(source: str, table: Mapping[tuple[str, str], SourceRate], base: str, quote: str) -> Candidate | None:
    """Find the pair in one source's table. A cross is as old as its older leg."""
    known = _either_way(table, base, quote)
    if known is not None:
        return Candidate(known)
    for pivot in PIVOTS:
        first, second = _either_way(table, base, pivot), _either_way(table, pivot, quote)
        if first is not None and second is not None:
            as_of = min(first.as_of, second.as_of)
            return Candidate(SourceRate(source, base, quote, first.rate * second.rate, as_of), (first, second))
    return None


def _either_way(table: Mapping[tuple[str, str], SourceRate], base: str, quote: str) -> SourceRate | None:
    direct = table.get((base, quote))
    if direct is not None:
        return direct
    inverse = table.get((quote, base))
    if inverse is not None:
        return SourceRate(inverse.source, base, quote, 1 / inverse.rate, inverse.as_of)
    return None


def deviation_bps(one: Fraction, other: Fraction) -> Fraction:
    """Return how far two rates are apart, of the smaller one; the same for a pair and its inverse."""
    return (max(one, other) / min(one, other) - 1) * BPS


def agree(
    *,
    pair: tuple[str, str],
    candidates: Sequence[Candidate],
    missing: Sequence[tuple[str, str]],
    clock: datetime,
    live: bool,
    policy: MarketPolicy,
) -> Agreement:
    """Decide between candidates. Raises StaleRate, SourcesDisagree, TooFewSources with a reason for every source."""
    base, quote = pair
    fresh, dropped = _fresh(candidates, missing, clock, policy, live=live)
    if not fresh:
        if not candidates:
            raise NoRate(base, quote, "no source has it", dropped)
        raise StaleRate(base, quote, "no source is fresh enough", dropped)
    friends = {one.rate.source: [other for other in fresh if not _contradict(one, other, policy)] for one in fresh}
    agreed = [one for one in fresh if 2 * len(friends[one.rate.source]) > len(fresh)]
    told = [(one.rate.source, _told(one, fresh)) for one in fresh]
    clash = any(_contradict(one, other, policy) for one in agreed for other in agreed)
    if not agreed or clash:
        raise SourcesDisagree(base, quote, "fresh sources contradict each other", [*told, *dropped])
    names = {one.rate.source for one in agreed}
    dropped += [(source, f"outlier: {text}") for source, text in told if source not in names]
    origins = {policy.sources[name].origin or name for name in names}
    if len(origins) < (needed := policy.needed(base, quote)):
        short = f"{len(origins)} independent source(s), {needed} needed"
        raise TooFewSources(base, quote, short, [*((s, f"agrees, {t}") for s, t in told if s in names), *dropped])
    # Equally fresh: the source that is trusted more closely; then the name, so that two processes choose the same.
    agreed.sort(key=lambda one: (policy.sources[one.rate.source].limit_bps(base, quote), one.rate.source))
    agreed.sort(key=lambda one: one.rate.as_of, reverse=True)
    if live:
        # Stable: those that may make a price first, each part still freshest first.
        agreed.sort(key=lambda one: not _may_price(one, clock, policy))
        if not _may_price(agreed[0], clock, policy):
            old = "what is agreed is too old to be charged, good only to check others"
            raise StaleRate(base, quote, old, [*((s, t) for s, t in told if s in names), *dropped])
    return Agreement(tuple(agreed), tuple(dropped))


def _fresh(
    candidates: Sequence[Candidate],
    missing: Sequence[tuple[str, str]],
    clock: datetime,
    policy: MarketPolicy,
    *,
    live: bool,
) -> tuple[list[Candidate], list[tuple[str, str]]]:
    fresh: list[Candidate] = []
    dropped = list(missing)
    for one in candidates:
        age_max = policy.sources[one.rate.source].age_max
        if clock - one.rate.as_of > age_max:
            stale = (
                f"stale: as of {one.rate.as_of:%Y-%m-%d %H:%M}, more than {age_max.days} days before {clock:%Y-%m-%d}"
            )
            dropped.append((one.rate.source, stale))
        elif live and (missed := _missed(one, clock, policy)) is not None:
            dropped.append((one.rate.source, f"stale: {missed} fixings since {one.rate.as_of:%Y-%m-%d} are missing"))
        elif live and one.rate.as_of - clock > policy.clock_skew_max:
            dropped.append((one.rate.source, f"from the future: as of {one.rate.as_of:%Y-%m-%d %H:%M}"))
        else:
            fresh.append(one)
    return fresh, dropped


def _missed(one: Candidate, clock: datetime, policy: MarketPolicy) -> int | None:
    """Return how many fixings are missing, where they are too many."""
    most = policy.sources[one.rate.source].fixings_missed_max
    if most is None:
        return None
    missed = fixings_missed(one.rate.as_of, clock)
    return missed if missed > most else None


def _may_price(one: Candidate, clock: datetime, policy: MarketPolicy) -> bool:
    rate = one.rate
    return clock - rate.as_of <= policy.live_age(rate.source, rate.base, rate.quote)


def _contradict(one: Candidate, other: Candidate, policy: MarketPolicy) -> bool:
    base, quote = one.rate.base, one.rate.quote
    limit_bps = max(policy.sources[each.rate.source].limit_bps(base, quote) for each in (one, other))
    return deviation_bps(one.rate.rate, other.rate.rate) > limit_bps


def _told(one: Candidate, fresh: Sequence[Candidate]) -> str:
    apart = ", ".join(
        f"{int(deviation_bps(one.rate.rate, other.rate.rate))} bps from {other.rate.source}"
        for other in fresh
        if other is not one
    )
    return f"{decimal_text(one.rate.rate)} as of {one.rate.as_of:%Y-%m-%d %H:%M}{f', {apart}' if apart else ''}"


@lru_cache(maxsize=4096)
def decimal_text(rate: Fraction, digits: int = 10) -> str:
    """Show a rate to people, rounded to so many significant digits. Not for sums: those use the fraction."""
    context = Context(prec=digits)
    shown = context.divide(Decimal(rate.numerator), Decimal(rate.denominator)).normalize(context)
    return f"{shown:f}"
