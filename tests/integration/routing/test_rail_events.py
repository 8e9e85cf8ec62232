"""Merchants hear of a rail that does badly once, and once more when it is well; ranking learns from payments."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select
from structlog.testing import capture_logs

from orchestrator.database.tables import Event, table_of
from orchestrator.payments.offers import offers_of
from orchestrator.routing.figures import CellKey, band_of
from orchestrator.routing.health import CallOutcome
from orchestrator.routing.reading import Source
from orchestrator.routing.versions import By
from orchestrator.workers import rail_events
from orchestrator.workers.rail_events import RailEvents, learn
from tests.integration.routing.conftest import Ops
from tests.support.world import MERCHANT

KEY = ("stripe", "main", "card")


async def told(ops: Ops) -> list[tuple[str, str]]:
    table = table_of(Event)
    rows = await ops.services.reads.all(
        select(table).where(table.c.merchant_id == MERCHANT, table.c.type.like("rail.%")).order_by(table.c.sequence)
    )
    return [(row["type"], orjson.loads(row["body"])["state"]) for row in rows]


async def test_a_rail_that_fails_is_told_once_and_its_recovery_too(ops: Ops) -> None:
    services, now = ops.services, ops.services.clock.now()
    one, other = RailEvents(services), RailEvents(services)  # two processes see the same
    for second in range(6):
        services.health.record(KEY, CallOutcome.UNAVAILABLE, now - timedelta(seconds=40 - second), "refused")
    for _ in range(2):
        await one.run_once()
        await other.run_once()
    assert await told(ops) == []  # the cool-down is over: it is being probed, and nobody was told that it was down

    for second in range(6):
        services.health.record(KEY, CallOutcome.UNAVAILABLE, now + timedelta(seconds=second / 10), "refused")
    await one.run_once()
    await other.run_once()
    await one.run_once()
    assert await told(ops) == [("rail.degraded", "down")]
    session = await ops.here.session("DE")
    assert offers_of(session)[0].method != "card"

    for second in range(3):
        services.health.record(KEY, CallOutcome.ANSWERED, now + timedelta(seconds=60 + second))
    await one.run_once()
    assert await told(ops) == [("rail.degraded", "down"), ("rail.recovered", "healthy")]


async def test_ranking_goes_by_what_was_seen_of_payments(ops: Ops) -> None:
    services = ops.services
    for n in range(3):
        session = await ops.here.session("BR", reference=f"c{n}")
        await ops.here.pay_at_rail(await ops.here.select(session))
        for _ in range(20):
            await ops.here.work_once()
    await learn(services)
    knowledge = services.routing.knowledge
    assert knowledge is not None
    seen = knowledge.figures.cells[CellKey(("adyen", "main", "pix"), "BR", band_of(20 * 10**9))]
    assert (seen.tries, seen.wins, seen.credited) == (3, 3, 3)

    ranked = ops.text().replace("      owner: ops-latam\n", "      owner: ops-latam\n      rank: cost\n", 1)
    await services.rules.apply(Source("d.yaml", ranked, {}), By("mia", "cheapest first"))
    session = await ops.here.session("BR", reference="c9")
    methods = [offer.method for offer in offers_of(session)]
    assert methods.index("pix") < methods.index("card")
    assert services.routing.knowledge is not None
    assert services.routing.knowledge.fees.version


async def test_what_is_learned_does_not_wait_for_an_exposure_that_cannot_be_read(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_slow(*_given: object) -> None:
        raise TimeoutError

    def shown() -> float | None:
        labels = {"currency": "BRL", "mode": "test"}
        return REGISTRY.get_sample_value("crossrail_fx_open_quotes_usd", labels)

    services = ops.services
    await ops.here.session("BR", "30.00")
    await learn(services)
    assert shown() in {30, 60}  # Pix and card may share a quote
    before = services.routing.knowledge
    assert before is not None
    with monkeypatch.context() as broken, capture_logs() as lines:
        broken.setattr(rail_events, "exposures", too_slow)
        await learn(services)
    assert [line["log_level"] for line in lines if line["event"] == "exposure_not_read"] == ["error"]
    assert shown() is None, "no figure, rather than an old one that looks new"
    after = services.routing.knowledge
    assert after is not None
    assert after.figures.until_us > before.figures.until_us
    await learn(services)
    assert shown() in {30, 60}
