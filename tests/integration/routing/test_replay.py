"""Stored decisions decided again: by the same rules nothing moves, by others what moves is counted."""

from __future__ import annotations

import pytest

from orchestrator.bootstrap import fee_tables
from orchestrator.routing.figures import read
from orchestrator.routing.ranking import Knowledge
from orchestrator.routing.reading import Source
from orchestrator.routing.replay import Sides
from orchestrator.routing.replay_report import Report
from orchestrator.routing.replay_run import KnownSupports, count, replay
from orchestrator.routing.ruleset import Ruleset
from orchestrator.workers import rules as worker
from tests.integration.routing.conftest import Ops
from tests.integration.routing.test_rules_in_force import without_pix

COUNTRIES = ("BR", "NL", "PH", "VN", "NG", "DE", "MX", "BR")


async def sides(ops: Ops, draft: Ruleset) -> Sides:
    services = ops.services
    until_us = services.clock.now_us()
    knowledge = Knowledge(fee_tables(services.settings), await read(services.reads, 0, until_us))
    codes = [*services.pricer.market.currencies(), "USD"]
    supports = KnownSupports.of(services.rails.values(), codes)
    return Sides(services.routing.ruleset, draft, services.routing.catalogue, supports, knowledge, {})


async def test_a_replay_counts_what_moves_and_says_what_to_expect(ops: Ops) -> None:
    for number, country in enumerate(COUNTRIES):
        session = await ops.here.session(country, f"{20 + number}.00", reference=f"c{number}")
        if number == 0:
            chosen = await ops.here.select(session)
            await ops.here.pay_at_rail(chosen)
            for _ in range(50):
                await ops.here.work_once()
    services = ops.services
    draft = await services.rules.checked(Source("draft.yaml", without_pix(ops.text()), {}))
    assert await count(services.reads, 0) == len(COUNTRIES)

    told: list[int] = []
    same = await replay(services.reads, await sides(ops, services.routing.ruleset), 0, told.append, processes=1)
    assert (same.decisions, same.moved, same.reordered, same.newly_without) == (8, 0, 0, 0)
    assert sum(told) == 8
    assert same.live.cells == same.draft.cells

    both = await sides(ops, draft)
    tally = await replay(services.reads, both, 0, told.append, processes=1)
    assert (tally.moved, dict(tally.moved_by_country)) == (2, {"BR": 2})
    assert tally.from_to == {("pix at adyen/main", "card at stripe/main"): 2}
    report = Report.of(tally, both, both.knowledge.figures, ("live", "draft"), 0.1)
    assert report.live.cost_per_hundred is not None
    assert report.draft.cost_per_hundred is not None
    assert report.draft.cost_per_hundred.value > report.live.cost_per_hundred.value  # cards cost more than Pix
    assert report.to_json()["moved_percent"] == 25.0
    page = report.html()
    assert "pix at adyen/main → card at stripe/main" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing of it comes from the internet


async def test_a_canary_guard_without_a_canary_does_nothing(ops: Ops) -> None:
    before = ops.services.routing.ruleset.hash
    assert await worker.guard(ops.services) is False
    assert ops.services.routing.ruleset.hash == before


@pytest.mark.parametrize("age_us", [3_600_000_000])
async def test_only_decisions_since_then_are_replayed(ops: Ops, age_us: int) -> None:
    await ops.here.session("BR")
    now_us = ops.services.clock.now_us()
    assert await count(ops.services.reads, now_us - age_us) == 1
    assert await count(ops.services.reads, now_us + age_us) == 0
