"""Routing decisions a second, in one process; 50 rules of 3 to 4 conditions, and 5,000.

- ``routing_decision_50_rules``: whole decisions, the outcome of every rule and rail kept. Reference: the same with the
  rules held against the facts one condition at a time (``interpret_rules``), in the same run, in turns.
- ``routing_quick_50_rules``: what is offered, without reasons (``QuickRouter``); with a split of cards by customer, too.
- ``routing_5000_rules_cost``: how much more a decision costs with 5,000 rules than with 50 (goal: less than 3 times).
- ``routing_first_match_vs_*``: only "which rule matches first", beside two other engines with the same rules.
- ``routing_swap_5000_rules_pause_ms``: the longest between two decisions while 5,000 rules were read, checked and
  swapped in (goal: less than 20 ms); every decision was answered.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from bench.routing_rivals import rivals
from bench.routing_scene import RATES, SPLIT, everything, rail_options, ruleset_text, sessions, written
from orchestrator.config_source import load_document
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.compiled import interpret_rules
from orchestrator.routing.engine import decide
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.health import HealthState
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.quick import QuickRouter
from orchestrator.routing.reading import Source, read_aside
from orchestrator.routing.ruleset import Ruleset

TODAY: Final = date(2026, 11, 23)
WHOLE_PER_SECOND: Final = 20_000
QUICK_PER_SECOND: Final = 100_000
GROWTH_MAX: Final = 3.0
PAUSE_MS_MAX: Final = 20.0
SESSIONS: Final = 500
ROUNDS: Final = 5
HEALTH: Final = {("adyen", "main", "card"): HealthState.DEGRADED}


def _ruleset(count: int, catalogue: Catalogue, tail: str = "") -> Ruleset:
    return load_ruleset(load_document(ruleset_text(written(count), tail)), catalogue, today=TODAY)


def run() -> list[dict[str, Any]]:
    """Measure, and return lines for ``var/bench.json``."""
    catalogue = rail_options()
    few, met = sessions(SESSIONS, 50), sessions(SESSIONS, 5_000)
    split = _ruleset(50, catalogue, SPLIT)
    small, large = _ruleset(50, catalogue), _ruleset(5_000, catalogue)
    return [
        _whole(split, catalogue, few),
        _quick("routing_quick_50_rules", small, catalogue, few),
        _quick("routing_quick_50_rules_split", split, catalogue, few),
        *_growth(small, large, catalogue, few, met),
        *_rivals(small, few),
        _swap(small, catalogue, few),
    ]


def _whole(ruleset: Ruleset, catalogue: Catalogue, facts: Sequence[RoutingFacts]) -> dict[str, Any]:
    naive = replace(ruleset, evaluate_rules=interpret_rules([rule.conditions for rule in ruleset.rules]))
    fast, slow = _deciding(ruleset, catalogue, facts), _deciding(naive, catalogue, facts)
    matched = sum(ruleset.match(one, frozenset()) is not None for one in facts)
    if not 0 < matched < len(facts):
        raise RuntimeError("the sessions of this benchmark no longer meet its rules")
    pairs = [(_per_second(fast, len(facts), 6), _per_second(slow, len(facts), 2)) for _ in range(ROUNDS)]
    value, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
    return _line("routing_decision_50_rules", value, reference, f"{WHOLE_PER_SECOND}/s", met=value >= WHOLE_PER_SECOND)


def _deciding(ruleset: Ruleset, catalogue: Catalogue, facts: Sequence[RoutingFacts]) -> Callable[[], None]:
    def all_of_them() -> None:
        for one in facts:
            decide(one, ruleset, catalogue, rates=RATES.get, health=HEALTH, supports=everything)

    return all_of_them


def _quick(name: str, ruleset: Ruleset, catalogue: Catalogue, facts: Sequence[RoutingFacts]) -> dict[str, Any]:
    value = statistics.median(_per_second(_asking(ruleset, catalogue, facts), len(facts), 40) for _ in range(ROUNDS))
    return _line(name, value, None, f"{QUICK_PER_SECOND}/s", met=value >= QUICK_PER_SECOND)


def _asking(ruleset: Ruleset, catalogue: Catalogue, facts: Sequence[RoutingFacts]) -> Callable[[], None]:
    quick = QuickRouter(ruleset, catalogue, RATES.get, HEALTH, everything)

    def all_of_them() -> None:
        for one in facts:
            quick.offers(one)

    return all_of_them


def _growth(
    small: Ruleset, large: Ruleset, catalogue: Catalogue, few: Sequence[RoutingFacts], met: Sequence[RoutingFacts]
) -> list[dict[str, Any]]:
    def grown(one: Callable[[], None], other: Callable[[], None], repeats: int) -> tuple[float, float]:
        one()
        other()  # both know their countries now
        pairs = [(_per_second(one, SESSIONS, repeats), _per_second(other, SESSIONS, repeats)) for _ in range(ROUNDS)]
        fifty, many = (statistics.median(side) for side in zip(*pairs, strict=True))
        return fifty / many, many

    lines = []
    for name, build, repeats in (("whole", _deciding, 4), ("quick", _asking, 20)):
        times, many = grown(build(small, catalogue, few), build(large, catalogue, met), repeats)
        lines.append(
            {
                "name": f"routing_5000_rules_cost_{name}",
                "unit": f"times of 50 ({many:,.0f}/s)",
                "value": round(times, 2),
                "reference": None,
                "ratio": None,
                "goal": f"<{GROWTH_MAX:g}",
                "met": times < GROWTH_MAX,
            }
        )
    return lines


def _rivals(ruleset: Ruleset, facts: Sequence[RoutingFacts]) -> list[dict[str, Any]]:
    nobody: frozenset[str] = frozenset()

    def ours() -> None:
        for one in facts:
            ruleset.match(one, nobody)

    lines = []
    for name, first in rivals(written(50), facts).items():
        wrong = [place for place, one in enumerate(facts) if first(place) != ruleset.match(one, nobody)]
        if wrong:
            raise RuntimeError(f"{name} finds other rules than we do: session {wrong[0]}")

        def theirs(first: Callable[[int], int | None] = first) -> None:
            for place in range(len(facts)):
                first(place)

        pairs = [(_per_second(ours, len(facts), 20), _per_second(theirs, len(facts), 1)) for _ in range(3)]
        value, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
        lines.append(_line(f"routing_first_match_vs_{name}", value, reference, ">1x", met=value > reference))
    return lines


def _swap(ruleset: Ruleset, catalogue: Catalogue, facts: Sequence[RoutingFacts]) -> dict[str, Any]:
    """Decide on and on while 5,000 rules are read, checked and swapped in, as the service does it.

    A pause is what this process's own threads used between two decisions: the work of others on the machine, which
    stops an idle loop for 30 to 70 ms here, does not count.
    """
    source = Source("rules.yaml", ruleset_text(written(5_000)), {})
    gc.collect()
    gc.freeze()
    try:
        swaps = [asyncio.run(_swap_once(source, ruleset, catalogue, facts)) for _ in range(1)]
    finally:
        gc.unfreeze()
    pause_ms = max(pause for pause, _ in swaps) * 1_000
    lost = sum(answered == 0 for _, answered in swaps)
    return {
        "name": "routing_swap_5000_rules_pause_ms",
        "unit": f"ms ({sum(answered for _, answered in swaps):,} decisions)",
        "value": round(pause_ms, 2),
        "reference": None,
        "ratio": None,
        "goal": f"<{PAUSE_MS_MAX:g}",
        "met": pause_ms < PAUSE_MS_MAX and not lost,
    }


async def _swap_once(
    source: Source, ruleset: Ruleset, catalogue: Catalogue, facts: Sequence[RoutingFacts]
) -> tuple[float, int]:
    reading = asyncio.create_task(read_aside(source, catalogue, TODAY))
    worst, answered, in_force = 0.0, 0, ruleset
    last = time.process_time()
    while in_force is ruleset:
        if reading.done():
            in_force = reading.result()
        for one in facts[:20]:
            decision = decide(one, in_force, catalogue, rates=RATES.get, health={}, supports=everything)
            answered += decision.ruleset_hash == in_force.hash
            now = time.process_time()
            worst, last = max(worst, now - last), now
        await asyncio.sleep(0)
    return worst, answered


def _line(name: str, value: float, reference: float | None, goal: str, *, met: bool) -> dict[str, Any]:
    return {
        "name": name,
        "unit": "decisions/s",
        "value": round(value),
        "reference": None if reference is None else round(reference),
        "ratio": None if reference is None else round(value / reference, 2),
        "goal": goal,
        "met": met,
    }


def _per_second(work: Callable[[], None], decisions: int, repeats: int) -> float:
    """Return decisions a second of processor time: other work on the machine does not count."""
    start = time.process_time()
    for _ in range(repeats):
        work()
    return decisions * repeats / (time.process_time() - start)


if __name__ == "__main__":
    for line in run():
        print(json.dumps(line))
