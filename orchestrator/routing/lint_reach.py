"""Rules that can never match: their conditions contradict each other, or others above take everything from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from orchestrator.config_source import Trail
from orchestrator.routing.cells import Example, examples
from orchestrator.routing.conditions import Between, Condition, OneOf, describe, holds
from orchestrator.routing.facts import token_word
from orchestrator.routing.lint import Finding, Scene
from orchestrator.routing.load import covers
from orchestrator.routing.ruleset import RailChoice, Rule

EARLIER_MAX: Final = 12
"""Rules above that are looked at together; with more, the cells are too many to ask."""
ASKED_MAX: Final = 400_000
"""Sessions asked in one run: a set of thousands of rules is checked in part, and by load's quicker check in whole."""


def reach(scene: Scene) -> Iterator[Finding]:
    rules = scene.ruleset.rules
    words = {method: frozenset({method, token_word(method) or method}) for method in scene.catalogue.by_method}
    budget = _Budget()
    yield from _list(scene, "rules", rules, None, budget)
    yield from _list(scene, "rail_choice", scene.ruleset.rail_choices, list(words.values()), budget)


class _Budget:
    left = ASKED_MAX


def _list(
    scene: Scene,
    name: str,
    rules: Sequence[Rule | RailChoice],
    method_sets: list[frozenset[str]] | None,
    budget: _Budget,
) -> Iterator[Finding]:
    for number, rule in enumerate(rules):
        path: Trail = (name, number, "id")
        if not _satisfiable(rule.conditions, method_sets):
            told = "; ".join(describe(condition) for condition in rule.conditions)
            hint = "no session can have all of it: mend or remove one condition"
            yield scene.error("contradiction", path, f"{rule.id} can never match: {told}", hint)
            continue
        if budget.left <= 0 or any(covers(one.conditions, rule.conditions) for one in rules[:number]):
            continue  # what a single rule above takes is told already
        takers = _takers(rules[:number], rule, method_sets, budget)
        if takers:
            message = f"{rule.id} can never match: {', '.join(takers)}, further up, take all of its sessions"
            yield scene.error("shadowed", path, message, "move it up, or remove it")


def _satisfiable(conditions: Sequence[Condition], method_sets: list[frozenset[str]] | None) -> bool:
    asked = examples(conditions, method_sets)
    return asked is None or any(_all_hold(conditions, example) for example in asked)


def _takers(
    above: Sequence[Rule | RailChoice],
    rule: Rule | RailChoice,
    method_sets: list[frozenset[str]] | None,
    budget: _Budget,
) -> list[str]:
    """Return who takes a rule's sessions, where none is left for it; [] = it can match (or nobody can tell)."""
    near = [one for one in above if not _apart(one.conditions, rule.conditions)]
    if not 0 < len(near) <= EARLIER_MAX:
        return []
    asked = examples([*rule.conditions, *(part for one in near for part in one.conditions)], method_sets)
    if asked is None:
        return []
    takers: dict[str, None] = {}
    for example in asked:
        budget.left -= 1
        if not _all_hold(rule.conditions, example):
            continue
        taker = next((one.id for one in near if _all_hold(one.conditions, example)), None)
        if taker is None:
            return []
        takers[taker] = None
    return list(takers)


def _all_hold(conditions: Sequence[Condition], example: Example) -> bool:
    facts, methods = example
    return all(holds(condition, facts, methods) for condition in conditions)


def _apart(one: Sequence[Condition], other: Sequence[Condition]) -> bool:
    """Say whether two rules certainly share no session."""
    for left in one:
        for right in other:
            match left, right:
                case OneOf(), OneOf():
                    if left.fact == right.fact and left.words.isdisjoint(right.words):
                        return True
                case Between(), Between():
                    if left.fact == right.fact and (_below(left, right) or _below(right, left)):
                        return True
                case _:
                    continue
    return False


def _below(low: Between, high: Between) -> bool:
    return low.high is not None and high.low is not None and low.high < high.low
