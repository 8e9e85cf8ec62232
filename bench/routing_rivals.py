"""The same rules in two engines that one could have used instead: the first rule that matches, nothing else.

Both are given what favours them: expressions compiled beforehand and facts in their own form. Packages
``common-expression-language`` (CEL in Rust) and ``rule-engine``; a rival that is not installed is left out, and said so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType

from bench.routing_scene import Written, as_plain
from orchestrator.routing.facts import RoutingFacts

FirstMatch = Callable[[int], int | None]
"""Place of a session -> index of the first rule that matches."""


def rivals(rules: Sequence[Written], sessions: Sequence[RoutingFacts]) -> dict[str, FirstMatch]:
    """Return every rival that is installed."""
    found: dict[str, FirstMatch] = {}
    for name, module, build in (("cel", "cel", _cel), ("rule_engine", "rule_engine", _rule_engine)):
        try:
            package = importlib.import_module(module)
        except ModuleNotFoundError:
            print(f"  routing: the rival {name} is not installed and is left out", flush=True)
            continue
        found[name] = build(package, rules, sessions)
    return found


def _cel(cel: ModuleType, rules: Sequence[Written], sessions: Sequence[RoutingFacts]) -> FirstMatch:
    programs = [cel.compile(rule.expression("&&", "||")) for rule in rules]
    contexts = [cel.Context(as_plain(facts)) for facts in sessions]

    def first(place: int) -> int | None:
        context = contexts[place]
        return next((number for number, program in enumerate(programs) if program.execute(context)), None)

    return first


def _rule_engine(engine: ModuleType, rules: Sequence[Written], sessions: Sequence[RoutingFacts]) -> FirstMatch:
    compiled = [engine.Rule(rule.expression("and", "or")) for rule in rules]
    things = [as_plain(facts) for facts in sessions]

    def first(place: int) -> int | None:
        thing = things[place]
        return next((number for number, rule in enumerate(compiled) if rule.matches(thing)), None)

    return first
