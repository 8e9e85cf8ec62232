"""Putting offers in order by what is known: cheapest for a credited dollar, most likely to settle, fastest. PURE.

The same offers, knowledge, rule and customer give the same order. Exploration is a part of that: where there is enough
traffic, a small share of customers (by hash) sees the second best first, so that it keeps being measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.routing.catalogue import OptionKey
from orchestrator.routing.costs import FeeTables, landed_cost
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.figures import NOTHING_SEEN, Figures
from orchestrator.routing.ruleset import Ruleset

By = Literal["cost", "success", "speed"]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was known when it was decided."""

    fees: FeeTables
    figures: Figures = NOTHING_SEEN
    chain_fees: Mapping[OptionKey, int] = field(default_factory=dict)
    """What a transfer costs now, nano-dollars, where somebody estimates it."""
    volatility_bps: Mapping[str, int] = field(default_factory=dict)
    """How much a currency moved a day lately, where that is known."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One offer to be placed."""

    place: int
    """Where the rule wrote it."""
    key: OptionKey
    currency: str
    expected_seconds: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """The order, and what it was made of."""

    by: By
    order: tuple[int, ...]
    """Places, best first."""
    explored: bool
    known: tuple[Mapping[str, Any], ...]
    """For every offer, best first: what was known of it."""
    fees_version: str
    figures_until_us: int

    def to_json(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "explored": self.explored,
            "fees_version": self.fees_version,
            "figures_until_us": self.figures_until_us,
            "known": list(self.known),
        }


def rank(
    by: By, candidates: list[Candidate], rule_id: str, facts: RoutingFacts, ruleset: Ruleset, knowledge: Knowledge
) -> Ranked:
    """Return the candidates' places, best first. What nothing is known of goes last; equals stay as written."""
    rows = [(_sort_key(by, one, facts, ruleset, knowledge), one) for one in candidates]
    rows.sort(key=lambda row: (row[0][0], row[1].place))
    explored = by != "speed" and _explores(rule_id, facts, ruleset, knowledge, candidates)
    if explored:
        rows[0], rows[1] = rows[1], rows[0]
    known = tuple({"option": list(one.key), **told} for (_, told), one in rows)
    return Ranked(
        by,
        tuple(one.place for _, one in rows),
        explored,
        known,
        knowledge.fees.version,
        knowledge.figures.until_us,
    )


def _sort_key(
    by: By, one: Candidate, facts: RoutingFacts, ruleset: Ruleset, knowledge: Knowledge
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    units = facts.amount.units
    if by == "speed":
        return (0, one.expected_seconds), {"expected_seconds": one.expected_seconds}
    if by == "success":
        chance = knowledge.figures.chance(one.key, facts.country, units, ruleset.weights)
        told = {
            "success": str(chance.mean),
            "success_percent": round(float(chance.mean) * 100, 2),
            "tries": chance.tries,
        }
        return (0, -chance.mean), told
    cost = landed_cost(
        units,
        one.key,
        one.currency,
        ruleset,
        knowledge.fees,
        knowledge.chain_fees.get(one.key),
        knowledge.volatility_bps.get(one.currency),
    )
    if cost is None:
        return (1,), {"cost_units": None}
    parts = {"rail": cost.rail, "exchange": cost.exchange, "network": cost.network, "refunds": cost.refunds,
             "disputes": cost.disputes}  # fmt: skip
    return (0, cost.units), {"cost_units": cost.units, "parts": parts}


def _explores(
    rule_id: str, facts: RoutingFacts, ruleset: Ruleset, knowledge: Knowledge, candidates: list[Candidate]
) -> bool:
    weights = ruleset.weights
    if len(candidates) < 2 or weights.explore_percent == 0:
        return False
    tried = knowledge.figures.tries(tuple(one.key for one in candidates), facts.country, facts.amount.units)
    if tried < weights.explore_above_tries:
        return False
    seed = f"explore\x00{rule_id}\x00{facts.merchant}\x00{facts.customer}".encode()
    return int.from_bytes(hashlib.sha256(seed).digest()[:8]) % 100 < weights.explore_percent
