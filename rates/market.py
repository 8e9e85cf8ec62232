"""The market: asks the sources now and then, and answers from memory with the freshest agreed mid rate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Final

from rates.agreement import PIVOTS, Agreement, Candidate, agree, candidate_of
from rates.errors import BadRateConfig, NoRate, SourceUnavailable
from rates.policy import Mark, MarketMode, MarketPolicy
from rates.sources.port import RateSource, RemembersDays, SourceKind, SourceRate
from rates.volatility import Days, crossed, daily_deviation_bps

RETRY_SECONDS: Final = 60
"""A source that failed is asked again no sooner, unless its time to live is shorter."""
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Mid:
    """What 1 ``base`` is worth in ``quote``, exactly, and by whose word. No spread in it."""

    base: str
    quote: str
    rate: Fraction
    as_of: datetime
    sources: tuple[SourceRate, ...]
    """The winner first, then those that agree. Empty only for a currency in itself."""
    legs: tuple[SourceRate, ...] = ()
    """The printed rates that the winner was crossed from, where it was (through EUR, GBP or USD)."""
    dropped: tuple[tuple[str, str], ...] = ()
    """(source, reason) for every source that was left out."""
    sandbox_as_of: datetime | None = None
    """Set in sandbox mode: the age was counted from this moment and not from now. Never charge real money at it."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """What became of one source's last fetch."""

    name: str
    kind: SourceKind
    rates_count: int = 0
    newest_as_of: datetime | None = None
    fetched_at: datetime | None = None
    """The last time that it answered."""
    error: str | None = None
    """Why the last fetch failed; the rates from before are kept until they are stale."""
    due_at: datetime = LONG_AGO


@dataclass(slots=True)
class _Held:
    """What the market keeps of one source."""

    source: RateSource
    status: SourceStatus
    table: Mapping[tuple[str, str], SourceRate] = field(default_factory=dict)
    days: Mapping[tuple[str, str], Days] = field(default_factory=dict)


class Market:
    """Rates of all configured sources. ``refresh`` is for a worker, ``mid`` for everybody, thousands of times a second."""

    def __init__(
        self,
        sources: Sequence[RateSource],
        policy: MarketPolicy,
        mode: MarketMode,
        *,
        fetch_timeout_seconds: float = 15,
    ) -> None:
        self._held = {source.name: _Held(source, SourceStatus(source.name, source.kind)) for source in sources}
        if len(self._held) != len(sources):
            raise BadRateConfig("two rate sources have one name")
        if unknown := sorted(set(self._held) - set(policy.sources)):
            raise BadRateConfig(f"no policy (age, deviation) for rate source {', '.join(unknown)}")
        self._policy = policy
        self._mode = mode
        self._fetch_timeout_seconds = fetch_timeout_seconds
        self._refreshing = asyncio.Lock()
        self._mids: dict[tuple[str, str], tuple[datetime, datetime, Mid]] = {}
        self._recorded: Mapping[tuple[str, str], Days] = {}
        self._volatilities: dict[tuple[str, str, date], int | None] = {}

    @property
    def mode(self) -> MarketMode:
        return self._mode

    async def refresh(self, now: datetime) -> tuple[SourceStatus, ...]:
        """Ask every source that is due, all at once. Never raises for a source: its error stands in its status."""
        async with self._refreshing:
            due = [held for held in self._held.values() if held.status.due_at <= now]
            async with asyncio.TaskGroup() as group:
                for held in due:
                    group.create_task(self._refresh_one(held, now))
            if due:
                self._mids.clear()
                self._volatilities.clear()
        return self.statuses()

    def remember(self, recorded: Mapping[tuple[str, str], Days]) -> None:
        """Take the mids that were recorded day by day: the history of sources that keep none themselves."""
        self._recorded = recorded
        self._volatilities.clear()

    async def _refresh_one(self, held: _Held, now: datetime) -> None:
        ttl_seconds = held.source.ttl_seconds
        retry_at = now + timedelta(seconds=RETRY_SECONDS if ttl_seconds is None else min(ttl_seconds, RETRY_SECONDS))
        try:
            async with asyncio.timeout(self._fetch_timeout_seconds):
                rates = await held.source.fetch()
                days = await held.source.fetch_days() if isinstance(held.source, RemembersDays) else {}
        except SourceUnavailable as error:
            held.status = replace(held.status, error=error.reason, due_at=retry_at)
            return
        except TimeoutError:
            silent = f"no answer within {self._fetch_timeout_seconds:g} s"
            held.status = replace(held.status, error=silent, due_at=retry_at)
            return
        except Exception as error:  # noqa: BLE001 - a bug in one source must not take the others along; its status shows it
            held.status = replace(held.status, error=f"a bug in this source: {error!r}", due_at=retry_at)
            return
        table: dict[tuple[str, str], SourceRate] = {}
        for rate in sorted(rates, key=lambda rate: rate.as_of):
            table[rate.base, rate.quote] = rate
        held.table, held.days = table, days
        held.status = replace(
            held.status,
            rates_count=len(table),
            newest_as_of=max((rate.as_of for rate in rates), default=None),
            fetched_at=now,
            error=None,
            due_at=NEVER if ttl_seconds is None else now + timedelta(seconds=ttl_seconds),
        )

    def statuses(self) -> tuple[SourceStatus, ...]:
        return tuple(held.status for held in self._held.values())

    @property
    def marked(self) -> Mapping[str, Mark]:
        """Return the currencies that only named sources may quote, and why."""
        return self._policy.marked

    def currencies(self) -> frozenset[str]:
        """Return every code that some source knows, fresh or not."""
        return frozenset(code for held in self._held.values() for pair in held.table for code in pair)

    def mid(self, base: str, quote: str, now: datetime) -> Mid:
        """Return the freshest agreed mid. In memory, no await.

        Raises NoRate (StaleRate, SourcesDisagree, TooFewSources) with what every source had to say.
        """
        cached = self._mids.get((base, quote))
        if cached is not None and cached[0] <= now <= cached[1]:
            return cached[2]
        if base == quote:
            return Mid(base, quote, Fraction(1), now, ())
        mid, until = self._decide(base, quote, now)
        # A live clock that goes back decides anew, as does a refresh.
        self._mids[base, quote] = (LONG_AGO if self._mode is MarketMode.SANDBOX else now, until, mid)
        return mid

    def volatility_bps(self, base: str, quote: str, now: datetime) -> int | None:
        """Return the standard deviation of a pair's daily changes, rounded up; None where too few days are known.

        Raises NoRate as ``mid`` does.
        """
        as_of = self.mid(base, quote, now).as_of.date()
        key = (base, quote, as_of)
        if key not in self._volatilities:
            self._volatilities[key] = daily_deviation_bps(self.days(base, quote), as_of)
        return self._volatilities[key]

    def days(self, base: str, quote: str) -> Days:
        """Return one rate a day: as it was recorded here, else as the first source that remembers has it."""
        known = dict(self._recorded.get((base, quote), {}))
        for held in self._held.values():
            for pivot in PIVOTS:
                if pivot in (base, quote):
                    one = held.days.get((pivot, quote if pivot == base else base), {})
                    found = one if pivot == base else {day: 1 / rate for day, rate in one.items()}
                else:
                    found = crossed(held.days.get((pivot, base), {}), held.days.get((pivot, quote), {}))
                known = {**found, **known}
        return known

    def _decide(self, base: str, quote: str, now: datetime) -> tuple[Mid, datetime]:
        candidates, missing = self._gather(base, quote)
        if candidates:
            return self._agreed(base, quote, now, candidates, missing)
        # No source knows the pair by itself: two agreed mids make one, such as USDT-USD (fixed) and USD-NGN (hmrc).
        for pivot in PIVOTS:
            if pivot in {base, quote}:
                continue
            first, first_missing = self._gather(base, pivot)
            second, second_missing = self._gather(pivot, quote)
            if first and second:
                one, one_until = self._agreed(base, pivot, now, first, first_missing)
                two, two_until = self._agreed(pivot, quote, now, second, second_missing)
                return _crossed(one, two), min(one_until, two_until)
        raise NoRate(base, quote, "no source has it", missing)

    def _gather(self, base: str, quote: str) -> tuple[list[Candidate], list[tuple[str, str]]]:
        candidates: list[Candidate] = []
        missing: list[tuple[str, str]] = []
        for name, held in self._held.items():
            found = candidate_of(name, held.table, base, quote)
            if found is not None and not self._policy.may_quote(name, base, quote):
                missing.append((name, "is not among the sources that may quote this currency"))
            elif found is not None:
                candidates.append(found)
            elif held.table:
                missing.append((name, "does not have it"))
            else:
                missing.append((name, held.status.error or "not asked yet"))
        return candidates, missing

    def _agreed(
        self, base: str, quote: str, now: datetime, candidates: Sequence[Candidate], missing: list[tuple[str, str]]
    ) -> tuple[Mid, datetime]:
        """Return the mid and until when it may be used without deciding anew: until the first of its rates is stale."""
        sandbox = self._mode is MarketMode.SANDBOX
        clock = self._sandbox_clock(candidates, now) if sandbox else now
        agreement: Agreement = agree(
            pair=(base, quote),
            candidates=candidates,
            missing=missing,
            clock=clock,
            live=not sandbox,
            policy=self._policy,
        )
        winner = agreement.agreed[0]
        mid = Mid(
            base=base,
            quote=quote,
            rate=winner.rate.rate,
            as_of=winner.rate.as_of,
            sources=tuple(one.rate for one in agreement.agreed),
            legs=winner.legs,
            dropped=agreement.dropped,
            sandbox_as_of=clock if sandbox else None,
        )
        if sandbox:
            return mid, NEVER
        stale_at = [rate.as_of + self._policy.sources[rate.source].age_max for rate in mid.sources]
        return mid, min(*stale_at, mid.as_of + self._policy.live_age(mid.sources[0].source, base, quote))

    def _sandbox_clock(self, candidates: Sequence[Candidate], now: datetime) -> datetime:
        """Return the newest date known of this pair; of a dead currency, the newest date embedded at all."""
        statuses = [held.status for held in self._held.values()]
        embedded = [s.newest_as_of for s in statuses if s.kind is SourceKind.EMBEDDED and s.newest_as_of is not None]
        newest_embedded = max(embedded, default=now)
        dated = [
            one.rate.as_of for one in candidates if self._held[one.rate.source].source.kind is not SourceKind.FIXED
        ]
        clock = max(dated, default=newest_embedded)
        return clock if newest_embedded - clock <= self._policy.embedded_behind_max else newest_embedded


def _crossed(one: Mid, two: Mid) -> Mid:
    """Make USDT-NGN of USDT-USD and USD-NGN: as old as the older of them."""
    return Mid(
        base=one.base,
        quote=two.quote,
        rate=one.rate * two.rate,
        as_of=min(one.as_of, two.as_of),
        sources=one.sources + two.sources,
        legs=(*(one.legs or one.sources[:1]), *(two.legs or two.sources[:1])),
        dropped=one.dropped + two.dropped,
        sandbox_as_of=None if one.sandbox_as_of is None else min(one.sandbox_as_of, two.sandbox_as_of or NEVER),
    )
