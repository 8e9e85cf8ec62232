"""Sources of exchange rates that fail: down, slow, old, or far beside the truth. What they said is remembered, for the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction

from rates.errors import SourceUnavailable
from rates.market import Market
from rates.policy import MarketMode, MarketPolicy, SourcePolicy
from rates.sources.port import SourceKind, SourceRate
from tests.integration.payments.scene import SetClock
from tests.simulation.faults import Faults

AGE_MAX = timedelta(hours=6)
DEVIATION_BPS = 200
NEEDED = {"BRL": 1, "EUR": 2}
"""Brazilian money is priced by any source that is fresh, European money by two that agree."""
BASE = {"BRL": Fraction("5.4321"), "EUR": Fraction("0.8765")}
PEGGED = Fraction(1)
AT_PAR = ("USD", "USDT")
"""A buyer whose money nobody can price is asked for dollars."""
SLOW_S = 0.01
TTL_S = 900.0


@dataclass
class Source:
    """One source of rates over the network."""

    desk: RateDesk
    name: str
    kind: SourceKind = SourceKind.NETWORK
    ttl_seconds: float | None = TTL_S

    async def fetch(self) -> Sequence[SourceRate]:
        now, fault = self.desk.clock.now(), None
        if self.name != "pegged" and not self.desk.steady:
            fault = self.desk.faults.of("rates", self.name, down=0.15, slow=0.04, old=0.1, beside=0.1)
        if fault == "down":
            raise SourceUnavailable(self.name, "down")
        if fault == "slow":
            await asyncio.sleep(3600)
        as_of = now - (AGE_MAX + timedelta(minutes=1) if fault == "old" else timedelta(0))
        known = {"USDT": PEGGED} if self.name == "pegged" else {quote: self.desk.truth(quote) for quote in BASE}
        factor = Fraction(4, 3) if fault == "beside" else Fraction(1)
        said = [SourceRate(self.name, "USD", quote, rate * factor, as_of) for quote, rate in known.items()]
        self.desk.says(self.name, said)
        return said


@dataclass
class RateDesk:
    """All sources, and what our process can know of them: what they said since it was started."""

    clock: SetClock
    faults: Faults
    steady: bool = False
    """Nothing fails and nothing moves."""
    held: dict[tuple[str, str], SourceRate] = field(default_factory=dict)
    """By source and currency: the last word."""
    ever: dict[str, set[Fraction]] = field(default_factory=lambda: {code: {PEGGED} for code in AT_PAR})
    """Every rate that was said of a currency."""

    def market(self) -> Market:
        """Return the market of a process that starts: it knows nothing."""
        self.held.clear()
        names = ("north", "south", "pegged")
        policy = MarketPolicy(
            sources={name: SourcePolicy(age_max=AGE_MAX, deviation_bps=DEVIATION_BPS) for name in names},
            sources_min_by_currency=NEEDED, live_age_max=AGE_MAX,
        )  # fmt: skip
        sources = [Source(self, name) for name in names]
        return Market(sources, policy, MarketMode.LIVE, fetch_timeout_seconds=SLOW_S)

    def truth(self, quote: str) -> Fraction:
        """What a dollar is worth: it moves by up to a quarter of a percent a day."""
        return BASE[quote] * (1 + Fraction(0 if self.steady else self.clock.now().hour, 10_000))

    def says(self, source: str, said: Sequence[SourceRate]) -> None:
        for one in said:
            self.held[source, one.quote] = one
            self.ever.setdefault(one.quote, set()).add(one.rate)

    def expected(self, quote: str) -> Fraction | None:
        """Return the rate that a price must be made of now; None: there must be no price."""
        if quote in AT_PAR:
            return PEGGED
        now = self.clock.now()
        fresh = [one for (_, code), one in self.held.items() if code == quote and now - one.as_of <= AGE_MAX]
        low, high = min((one.rate for one in fresh), default=0), max((one.rate for one in fresh), default=0)
        if len(fresh) < NEEDED[quote] or (high - low) * 10_000 > low * DEVIATION_BPS:
            return None
        newest = max(one.as_of for one in fresh)
        return min((one for one in fresh if one.as_of == newest), key=lambda one: one.source).rate
