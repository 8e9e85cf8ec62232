"""What would other rules have done with the decisions that were made? PURE.

Every stored decision holds its facts, the rates it was made at, and the health of the rails then: both sides decide
again from those, so that nothing but the rules differs. A million decisions fit into a minute on two cores: decisions
of one moment share a ``QuickRouter``, and a pair of answers is compared once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import orjson

from orchestrator.routing.catalogue import Catalogue, OptionKey, Supports
from orchestrator.routing.costs import landed_cost
from orchestrator.routing.decision import FORMAT
from orchestrator.routing.eligibility import health_of
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.figures import BANDS, Figures, band_of
from orchestrator.routing.quick import Answer, QuickRouter
from orchestrator.routing.ranking import Knowledge
from orchestrator.routing.ruleset import Ruleset

MOMENTS_MAX: Final = 64
"""Pairs of rates and health that are kept at once."""
COSTS_MAX: Final = 500_000
EXAMPLES_MAX: Final = 200
"""Decisions without an offer that are named."""
NOBODY: Final = "no offer"


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared, and what is known on both sides."""

    live: Ruleset
    draft: Ruleset
    catalogue: Catalogue
    supports: Supports
    knowledge: Knowledge
    rates_now: Mapping[str, Fraction]
    """For a currency that was not asked for then (a rail that is new)."""


@dataclass(slots=True)
class Side:
    """Sums over one side's first offers."""

    offered: int = 0
    cost_units: int = 0
    principal_units: int = 0
    cost_known: int = 0
    cost_ppm: int = 0
    """Cost in millionths of the principal, summed over decisions, and their squares: for the uncertainty."""
    cost_ppm_squares: int = 0
    cells: Counter[tuple[OptionKey, str, int, int]] = field(default_factory=Counter)
    """(option, country, amount band, the rail's own expected seconds) -> decisions."""

    def add(self, other: Side) -> None:
        self.offered += other.offered
        self.cost_units += other.cost_units
        self.principal_units += other.principal_units
        self.cost_known += other.cost_known
        self.cost_ppm += other.cost_ppm
        self.cost_ppm_squares += other.cost_ppm_squares
        self.cells.update(other.cells)


@dataclass(slots=True)
class Tally:
    """What was counted; tallies of parts add up to the tally of the whole."""

    decisions: int = 0
    unreadable: int = 0
    moved: int = 0
    """The first offer is another."""
    reordered: int = 0
    """The first offer is the same, what follows is not."""
    newly_without: int = 0
    newly_with: int = 0
    live: Side = field(default_factory=Side)
    draft: Side = field(default_factory=Side)
    all_by_country: Counter[str] = field(default_factory=Counter)
    moved_by_country: Counter[str] = field(default_factory=Counter)
    from_to: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(method at rail before, after) of the first offers that moved."""
    without: list[tuple[str, str, str]] = field(default_factory=list)
    """(decision, country, amount in USD) that had an offer and would have none."""

    def add(self, other: Tally) -> None:
        """Take another part in."""
        self.decisions += other.decisions
        self.unreadable += other.unreadable
        self.moved += other.moved
        self.reordered += other.reordered
        self.newly_without += other.newly_without
        self.newly_with += other.newly_with
        self.live.add(other.live)
        self.draft.add(other.draft)
        self.all_by_country.update(other.all_by_country)
        self.moved_by_country.update(other.moved_by_country)
        self.from_to.update(other.from_to)
        self.without = [*self.without, *other.without][:EXAMPLES_MAX]


class Replayer:
    """Decides stored decisions again, on both sides."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self._moments: dict[tuple[Any, ...], tuple[QuickRouter, QuickRouter]] = {}
        self._fractions: dict[str, Fraction] = {}
        self._costs: dict[tuple[int, int, OptionKey, str], int | None] = {}

    def run(self, stored: Iterable[tuple[str, str]]) -> Tally:
        """Replay (id, body) of decisions."""
        tally = Tally()
        for id_, body in stored:
            decision = orjson.loads(body)
            if decision.get("v") != FORMAT:
                tally.unreadable += 1
                continue
            self._one(id_, decision, tally)
        return tally

    def _one(self, id_: str, decision: Mapping[str, Any], tally: Tally) -> None:
        facts = RoutingFacts.from_json(decision["facts"])
        live_router, draft_router = self._routers(decision)
        live, draft = live_router.offers(facts), draft_router.offers(facts)
        tally.decisions += 1
        tally.all_by_country[facts.country] += 1
        self._count(tally.live, live, facts, 0)
        self._count(tally.draft, draft, facts, 1)
        if live is draft or live.keys == draft.keys:
            return
        first, then = _first(live), _first(draft)
        if first == then:
            tally.reordered += 1
            return
        tally.moved += 1
        tally.moved_by_country[facts.country] += 1
        tally.from_to[first, then] += 1
        if not draft.offers:
            tally.newly_without += 1
            if len(tally.without) < EXAMPLES_MAX:
                tally.without.append((id_, facts.country, facts.amount.decimal(2)))
        elif not live.offers:
            tally.newly_with += 1

    def _routers(self, decision: Mapping[str, Any]) -> tuple[QuickRouter, QuickRouter]:
        """Return both sides at the rates and the health of a decision's moment."""
        unwell = tuple((one[0], one[1], one[2], one[3]) for one in decision["options"] if one[3] in _UNWELL)
        moment = (tuple(decision["rates"].items()), unwell)
        found = self._moments.get(moment)
        if found is None:
            rates = {
                **self._sides.rates_now,
                **{code: self._fraction(text) for code, text in decision["rates"].items()},
            }
            health = health_of(((one[0], one[1], one[2]), (one[3], "")) for one in unwell)
            known = (self._sides.catalogue, rates.get, health, self._sides.supports, self._sides.knowledge)
            found = QuickRouter(self._sides.live, *known), QuickRouter(self._sides.draft, *known)
            if len(self._moments) >= MOMENTS_MAX:
                self._moments.pop(next(iter(self._moments)))
            self._moments[moment] = found
        return found

    def _fraction(self, text: str | None) -> Fraction | None:
        if text is None:
            return None
        found = self._fractions.get(text)
        if found is None:
            found = self._fractions[text] = Fraction(text)
        return found

    def _count(self, side: Side, answer: Answer, facts: RoutingFacts, number: int) -> None:
        if not answer.offers:
            return
        offer, units = answer.offers[0], facts.amount.units
        key = (offer.rail, offer.account, offer.method)
        side.offered += 1
        side.cells[key, facts.country, band_of(units), offer.capability.expected_seconds] += 1
        memo = (number, units, key, offer.currency)
        if memo in self._costs:
            cost = self._costs[memo]
        else:
            ruleset = self._sides.draft if number else self._sides.live
            known = self._sides.knowledge
            landed = landed_cost(
                units,
                key,
                offer.currency,
                ruleset,
                known.fees,
                known.chain_fees.get(key),
                known.volatility_bps.get(offer.currency),
            )
            if len(self._costs) >= COSTS_MAX:
                self._costs.clear()
            cost = self._costs[memo] = None if landed is None else landed.units
        if cost is not None:
            ppm = cost * 1_000_000 // units
            side.cost_known += 1
            side.cost_units += cost
            side.principal_units += units
            side.cost_ppm += ppm
            side.cost_ppm_squares += ppm * ppm


_UNWELL: Final = frozenset({1, 9, 11})


def _first(answer: Answer) -> str:
    if not answer.offers:
        return NOBODY
    offer = answer.offers[0]
    return f"{offer.method} at {offer.rail}/{offer.account}"


# --- what it means ----------------------------------------------------------------------------------------------------

SURE: Final = 1.96
"""Standard errors to each side: nineteen times of twenty the truth lies between."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and how far the truth may be from it (95 %); None = nothing is known of how sure it is."""

    value: float
    give_or_take: float | None

    def to_json(self) -> dict[str, float | None]:
        return {
            "value": round(self.value, 4),
            "give_or_take": None if self.give_or_take is None else round(self.give_or_take, 4),
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """One side's expectations: of its first offers."""

    offered: int
    cost_per_hundred: Estimate | None
    """USD for every 100 USD that reach a wallet."""
    success_percent: Estimate | None
    seconds: Estimate | None

    def to_json(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in ("cost_per_hundred", "success_percent", "seconds")}
        return {"offered": self.offered, **{n: None if one is None else one.to_json() for n, one in told.items()}}


def outlook(side: Side, figures: Figures, ruleset: Ruleset) -> Outlook:
    """Return what a side's first offers would cost, settle and take, with their uncertainty.

    Cost: from fee tables and spreads, so that what is uncertain is only how sessions vary. Success and time: from what
    was seen in each cell; what a cell has not seen is believed to be its method's average, and that shows in the width.
    """
    cost = None
    if side.cost_known:
        mean = side.cost_ppm / side.cost_known
        variance = max(0.0, side.cost_ppm_squares / side.cost_known - mean * mean)
        cost = Estimate(
            side.cost_units / side.principal_units * 100, SURE * math.sqrt(variance / side.cost_known) / 10_000
        )
    if not side.offered:
        return Outlook(0, cost, None, None)
    chance = doubt = seconds = seconds_doubt = 0.0
    guessed = False
    for (option, country, band, expected), many in side.cells.items():
        share = many / side.offered
        units = _within(band)
        believed = figures.chance(option, country, units, ruleset.weights)
        chance += share * float(believed.mean)
        doubt += (share * believed.deviation) ** 2
        mean, error = figures.seconds(option, country, units, expected)
        seconds += share * mean
        seconds_doubt += (share * (error or 0.0)) ** 2
        guessed = guessed or error is None
    return Outlook(
        side.offered,
        cost,
        Estimate(chance * 100, SURE * math.sqrt(doubt) * 100),
        Estimate(seconds, None if guessed else SURE * math.sqrt(seconds_doubt)),
    )


def _within(band: int) -> int:
    """Return an amount that lies in a band."""
    return BANDS[band] - 1 if band < len(BANDS) else BANDS[-1]
