"""How much of the rules their tests say: which rule some test reaches, and which condition some test sees fail. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.compiled import interpret_rules
from orchestrator.routing.conditions import describe
from orchestrator.routing.engine import decide
from orchestrator.routing.rules import RoutingBlock
from orchestrator.routing.ruleset import Ruleset
from orchestrator.routing.selftest import facts_of


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    rule: str
    reached: int
    """Tests, of any rule, that this rule decides."""
    unseen: tuple[str, ...]
    """Conditions that no test ever sees fail: nobody would notice if they were gone."""


@dataclass(frozen=True, slots=True)
class Coverage:
    tests: int
    rules: tuple[RuleCoverage, ...]
    defaults_reached: int

    @property
    def percent(self) -> int:
        """Rules that a test reaches, in whole percent, rounded down; 100 where there is no rule."""
        reached = sum(one.reached > 0 for one in self.rules)
        return 100 * reached // len(self.rules) if self.rules else 100


def coverage(block: RoutingBlock, ruleset: Ruleset, catalogue: Catalogue) -> Coverage:
    """Run every test and note what it reaches."""
    tried = interpret_rules([rule.conditions for rule in ruleset.rules])
    reached = [0] * len(ruleset.rules)
    failed: list[set[int]] = [set() for _ in ruleset.rules]
    defaults = tests = 0
    sunny = Catalogue(
        tuple(
            replace(one, capability=replace(one.capability, amount_min={}, amount_max={})) for one in catalogue.options
        )
    )
    for rule in block.rules:
        for test in rule.tests:
            tests += 1
            facts = facts_of(test.given, catalogue)
            decision = decide(
                facts, ruleset, sunny, rates=lambda _code: Fraction(1), health={}, supports=lambda _r, _a, _c: True
            )
            if decision.matched_rule is None:
                defaults += 1
            else:
                reached[decision.matched_rule] += 1
            _note(tried(facts, facts.methods or frozenset()), failed)
    return Coverage(
        tests,
        tuple(
            RuleCoverage(
                rule.id,
                reached[number],
                tuple(describe(part) for n, part in enumerate(rule.conditions, 1) if n not in failed[number]),
            )
            for number, rule in enumerate(ruleset.rules)
        ),
        defaults,
    )


def _note(outcomes: Sequence[int], failed: Sequence[set[int]]) -> None:
    for number, outcome in enumerate(outcomes):
        if outcome:
            failed[number].add(outcome)
