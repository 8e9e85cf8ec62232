"""The rules in force, with the rates and the health of this moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal

from orchestrator.clock import Clock
from orchestrator.routing import engine
from orchestrator.routing.catalogue import Catalogue, OptionKey, Supports
from orchestrator.routing.decision import Decision
from orchestrator.routing.eligibility import Rates, Table, table_for
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.health import HealthBoard, HealthState
from orchestrator.routing.overlay import OverlayBook
from orchestrator.routing.ranking import Knowledge
from orchestrator.routing.rollout import in_canary
from orchestrator.routing.ruleset import Ruleset

SHADOW_MAX: Final = 5_000
KEPT_MAX: Final = 4096
"""Decisions that are kept: one for each country, amount and way through the rules."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A decision and all that it came from, besides the amount and the rules' outcomes that it is found by."""

    decision: Decision
    ruleset: Ruleset
    table: Table
    health: Mapping[OptionKey, HealthState]

    def holds(self, ruleset: Ruleset, table: Table, health: Mapping[OptionKey, HealthState], rates: Rates) -> bool:
        if self.ruleset is not ruleset or self.table is not table or self.health != health:
            return False
        known = self.decision.rates.items()
        return all((now := rates(currency)) is rate or now == rate for currency, rate in known if currency != "USD")


@dataclass(frozen=True, slots=True)
class Trial:
    """A draft beside the rules in force: it decides for a part of the customers, or only in the shadow."""

    number: int
    kind: Literal["canary", "shadow"]
    ruleset: Ruleset
    percent: int


@dataclass(slots=True)
class RoutingDesk:
    """What decides for new sessions. The ruleset is swapped whole."""

    ruleset: Ruleset
    catalogue: Catalogue
    supports: Supports
    board: HealthBoard
    mid: Callable[[str, datetime], Fraction | None]
    clock: Clock
    knowledge: Knowledge | None = None
    """What ``rank: cost`` and ``rank: success`` go by; a worker brings it up to date."""
    overlays: OverlayBook | None = None
    """What merchants have rules of their own."""
    trial: Trial | None = None
    shadowed: deque[Decision] = field(default_factory=lambda: deque(maxlen=SHADOW_MAX), init=False, repr=False)
    """Decisions that a draft in the shadow has not been asked about yet; the oldest go first."""
    _kept: dict[tuple[int, int, tuple[int, ...] | int | None], _Kept] = field(
        default_factory=dict, init=False, repr=False
    )

    def swap(self, ruleset: Ruleset) -> None:
        """Bring other rules into force: the next decision is theirs."""
        self.ruleset = ruleset
        self._kept.clear()

    def asks_age(self, merchant: str, mode: str) -> bool:
        """Say whether any rules that may decide for a merchant's session, or be counted, ask how old its customer is."""
        if self.ruleset.asks_age or (self.trial is not None and self.trial.ruleset.asks_age):
            return True
        overlay = None if self.overlays is None else self.overlays.of(merchant, mode)
        return overlay is not None and overlay.asks_age

    def decide(self, facts: RoutingFacts) -> Decision:
        """Decide by the rules in force, or by the draft where the customer belongs to its canary."""
        trial = self.trial
        if trial is None:
            return self._decide(facts, self.ruleset)
        if trial.kind == "canary":
            chosen = in_canary(trial.number, facts.merchant, facts.customer, trial.percent)
            return self._decide(facts, trial.ruleset if chosen else self.ruleset)
        decision = self._decide(facts, self.ruleset)
        self.shadowed.append(decision)
        return decision

    def _decide(self, facts: RoutingFacts, ruleset: Ruleset) -> Decision:
        """Decide; where a session just like this one was decided at the same rates and health, that holds here too."""
        now = self.clock.now()
        catalogue, health = self.catalogue, self.board.snapshot(now)

        def rates(currency: str) -> Fraction | None:
            return self.mid(currency, now)

        overlay = None if self.overlays is None else self.overlays.of(facts.merchant, facts.mode.value)
        varies = ruleset.varies or HealthState.PROBING in health.values()
        if varies or overlay is not None:  # by customer, by the minute, or by anything that a session has
            return engine.decide(
                facts,
                ruleset,
                catalogue,
                rates=rates,
                health=health,
                supports=self.supports,
                knowledge=self.knowledge,
                overlay=overlay,
            )
        table = table_for(facts, catalogue, self.supports)
        matched, outcomes = ruleset.try_rules(facts, table.method_words)
        key = (id(table), facts.amount.units, matched if outcomes is None else outcomes)
        kept = self._kept.get(key)
        if kept is None or not kept.holds(ruleset, table, health, rates):
            decision = engine.decide_by(facts, ruleset, catalogue, table, matched, outcomes, rates=rates, health=health)
            kept = _Kept(decision.for_facts(facts), ruleset, table, health)
            if len(self._kept) >= KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = kept
        return kept.decision.for_facts(facts)
