"""The rules in force, with the rates and the health of this moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from orchestrator.clock import Clock
from orchestrator.routing import engine
from orchestrator.routing.catalogue import Catalogue, Supports
from orchestrator.routing.decision import Decision
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.health import HealthBoard
from orchestrator.routing.ruleset import Ruleset


@dataclass(slots=True)
class RoutingDesk:
    """What decides for new sessions. The ruleset is swapped whole."""

    ruleset: Ruleset
    catalogue: Catalogue
    supports: Supports
    board: HealthBoard
    mid: Callable[[str, datetime], Fraction | None]
    clock: Clock

    def decide(self, facts: RoutingFacts) -> Decision:
        now = self.clock.now()
        return engine.decide(
            facts,
            self.ruleset,
            self.catalogue,
            rates=lambda currency: self.mid(currency, now),
            health=self.board.snapshot(now),
            supports=self.supports,
        )
