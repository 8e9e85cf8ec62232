"""A checked and compiled set of rules: immutable, known by the hash of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any, Final, Literal, Never

from orchestrator.config_source import Problem
from orchestrator.routing.compiled import MATCHED, Evaluate
from orchestrator.routing.conditions import Condition
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.index import Match
from orchestrator.routing.rules import RoutingBlock
from rates.spread import VOLATILITY_BPS_MAX

OUTCOMES_MAX: Final = 250
"""Rules up to which every decision keeps the outcome of each. Above it, facts and ruleset are kept, which say the same."""


@dataclass(frozen=True, slots=True)
class OnDecline:
    """Who is next after a clear no of the rail: the next offer, the buyer, or nobody."""

    soft: Literal["next", "ask", "stop"] = "ask"
    hard: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a rule writes: a method or token word, perhaps with its rail and account."""

    method: str
    rail: str | None
    account: str | None
    on_decline: OnDecline


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    conditions: tuple[Condition, ...]
    offers: tuple[Offer, ...]
    rank: Literal["cost", "success", "speed"] | None
    otherwise: Literal["defaults", "nothing"]
    owner: str | None
    expires: date | None


@dataclass(frozen=True, slots=True)
class Target:
    """A rail, or one account of it."""

    rail: str
    account: str | None
    weight: int
    """Percent of the customers; 100 where there is no split."""

    @classmethod
    def parse(cls, text: str, weight: int = 100) -> Target:
        """Read ``adyen`` or ``evm/bsc``."""
        rail, _, account = text.partition("/")
        return cls(rail, account or None, weight)


@dataclass(frozen=True, slots=True)
class RailChoice:
    id: str
    conditions: tuple[Condition, ...]
    targets: tuple[Target, ...]
    """One, or the parts of a split in the order of their names."""


@dataclass(frozen=True, slots=True)
class Window:
    """When a rail, or an account or method of it, is not offered."""

    rail: str
    account: str | None
    method: str | None
    starts: datetime
    ends: datetime
    reason: str

    def covers(self, rail: str, account: str, method: str) -> bool:
        """Say whether an option is meant."""
        return self.rail == rail and self.account in (None, account) and self.method in (None, method)


@dataclass(frozen=True, slots=True)
class Cost:
    method: str | None
    rail: str | None
    currency: str | None
    fx_bps: int
    refund_bps: int
    dispute_bps: int


@dataclass(frozen=True, slots=True)
class Weights:
    """How ranking weighs what is known: ``rules.Ranking``."""

    prior_tries: int = 20
    prior_percent: int = 80
    window_days: int = 30
    explore_percent: int = 0
    explore_above_tries: int = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """What a merchant's own rules may do: ``rules.OverlayLimits``."""

    may: tuple[str, ...] = ("drop", "order")
    rules_max: int = 50
    methods: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pricing:
    corridor: str
    """``USD-NGN`` or ``USD-*``."""
    spread_bps: int
    method: str | None
    from_units: int = 0
    volatility_percent: int = 0
    volatility_bps_max: int = VOLATILITY_BPS_MAX

    def entry(self) -> dict[str, Any]:
        """Return it as ``SpreadTable.from_config`` reads it."""
        return {
            "corridor": self.corridor,
            "spread_bps": self.spread_bps,
            "method": self.method,
            "from_units": self.from_units,
            "volatility_percent": self.volatility_percent,
            "volatility_bps_max": self.volatility_bps_max,
        }


def _not_compiled(_facts: RoutingFacts, _methods: frozenset[str]) -> Never:
    raise AssertionError("this ruleset was not compiled: load.compiled(ruleset)")


@dataclass(frozen=True, slots=True)
class Ruleset:
    hash: str
    """sha256 of ``canonical``; the same content has the same hash however it was laid out."""
    canonical: str
    """The ``routing:`` block as JSON with everything in one order; loading it gives this ruleset again."""
    regions: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...]
    defaults: tuple[Offer, ...]
    rail_choices: tuple[RailChoice, ...]
    pricing: tuple[Pricing, ...]
    warnings: tuple[Problem, ...]
    costs: tuple[Cost, ...] = ()
    weights: Weights = Weights()
    maintenance: tuple[Window, ...] = ()
    overlays: Limits = Limits()
    varies: bool = False
    """Whether two sessions of one country and amount that meet the same rules may still be offered different things."""
    asks_age: bool = False
    """Whether some condition asks how long a customer is known."""
    match: Match = field(default=_not_compiled, compare=False, repr=False)
    """The first rule that matches: what every decision asks, whatever the number of rules."""
    evaluate_rules: Evaluate | None = field(default=None, compare=False, repr=False)
    """The outcome of every rule; None in a set of more than ``OUTCOMES_MAX``, whose outcomes are told when read."""
    evaluate_choices: Evaluate = field(default=_not_compiled, compare=False, repr=False)

    def __getstate__(self) -> list[Any]:
        """Functions stay at home: whoever receives it says ``load.compiled``."""
        functions = {"match", "evaluate_rules", "evaluate_choices"}
        return [None if one.name in functions else getattr(self, one.name) for one in fields(self)]

    def __setstate__(self, state: list[Any]) -> None:
        for one, value in zip(fields(self), state, strict=True):
            given = _not_compiled if one.name in {"match", "evaluate_choices"} else value
            object.__setattr__(self, one.name, given)

    def try_rules(self, facts: RoutingFacts, methods: frozenset[str]) -> tuple[int | None, tuple[int, ...] | None]:
        """Return the first rule that matches, and the outcome of every rule where they are few enough to be kept."""
        if self.evaluate_rules is None:
            return self.match(facts, methods), None
        outcomes = self.evaluate_rules(facts, methods)
        return (outcomes.index(MATCHED) if MATCHED in outcomes else None), outcomes


def canonical_json(block: RoutingBlock) -> str:
    """Return a block as JSON that depends on its meaning only: keys sorted, defaults left out."""
    content = block.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def content_hash(canonical: str) -> str:
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
