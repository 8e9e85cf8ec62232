"""Replaying stored decisions through two sets of 50 rules: a million in under a minute on two cores.

Measured over 200,000 stored decisions of 500 kinds, processes started and everything handed over included; both sides
are decided, their offers compared, their costs summed up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date

import orjson

from bench.result import Result
from bench.routing_scene import RATES, SPLIT, everything, rail_options, ruleset_text, sessions, written
from orchestrator.config_source import load_document
from orchestrator.routing.costs import FeeLine, FeeTables
from orchestrator.routing.engine import decide
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.ranking import Knowledge
from orchestrator.routing.replay import Sides, Tally
from orchestrator.routing.replay_run import BATCH, KnownSupports, replay_batches

DECISIONS = 200_000
GOAL_PER_SECOND = 1_000_000 / 60
PRICING = '  pricing:\n    - {corridor: "USD-*", spread_bps: 100}\n'


def run() -> list[Result]:
    """Measure decisions a second."""
    started = time.perf_counter()
    tally = asyncio.run(_replay())
    seconds = time.perf_counter() - started
    if tally.decisions != DECISIONS or not 0 < tally.moved < DECISIONS:
        raise RuntimeError(f"the replay counted {tally.decisions} decisions, {tally.moved} of them moved")
    return [Result("routing_replay_two_sides", "decisions/s", DECISIONS / seconds, goal=GOAL_PER_SECOND)]


async def _replay() -> Tally:
    catalogue = rail_options()
    live = load_ruleset(load_document(ruleset_text(written(50), SPLIT + PRICING)), catalogue, today=date(2026, 11, 23))
    changed = [
        replace(rule, countries=("BR", "TR")) if number % 7 == 0 else rule for number, rule in enumerate(written(50))
    ]
    draft = load_ruleset(load_document(ruleset_text(changed, SPLIT + PRICING)), catalogue, today=date(2026, 11, 23))
    fees = FeeTables.of({option.key: FeeLine(200, 100_000_000, 0) for option in catalogue.options})
    currencies = [*RATES, "USD"]
    triples = frozenset((o.rail, o.account, code) for o in catalogue.options for code in currencies)
    sides = Sides(live, draft, catalogue, KnownSupports(triples), Knowledge(fees), RATES)
    bodies = [
        decide(one, live, catalogue, rates=RATES.get, health={}, supports=everything).to_json()
        for one in sessions(500, 50)
    ]
    if not orjson.loads(bodies[0])["offers"]:
        raise RuntimeError("the sessions of this benchmark are offered nothing")

    async def stored() -> AsyncIterator[Sequence[tuple[str, str]]]:
        for start in range(0, DECISIONS, BATCH):
            yield [(f"dec_{number}", bodies[number % len(bodies)]) for number in range(start, start + BATCH)]

    return await replay_batches(stored(), sides, lambda _many: None)
