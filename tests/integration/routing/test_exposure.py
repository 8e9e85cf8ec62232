"""What moves with exchange rates is told from the books and the open quotes; rates are recorded once."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

import orjson

from orchestrator.clock import from_us
from orchestrator.payments.offers import offers_of
from orchestrator.routing.exposure import RateRecorder, chart, exposures, history, recorded_currencies, unrealised
from rates.build import market_from_config
from rates.policy import MarketMode
from tests.integration.routing.conftest import Ops

ONE_RATE = {
    "sources": {"fixed": {"rates": {"USD-USDT": {"rate": "1", "as_of": "2026-11-20", "reason": "for tests"}}}},
    "minimum_sources": {"default": 1},
}


async def test_open_quotes_and_what_was_taken_are_exposed(ops: Ops) -> None:
    services = ops.services
    await ops.here.session("BR", "30.00", reference="waits")
    paid = await ops.here.session("BR", "20.00", reference="pays")
    total = offers_of(paid)[0].price.total
    await ops.here.pay_at_rail(await ops.here.select(paid))
    for _ in range(20):
        await ops.here.work_once()
    found = {one.currency: one for one in await exposures(services.reads, services.pricer.market, services.clock.now())}
    brl = found["BRL"]
    assert (brl.mode, brl.held) == ("test", total)
    assert brl.open_usd.decimal(2) in {"30.00", "60.00"}  # Pix and card may share a quote
    assert brl.to_json()["to_be_flat"] == f"sell {total.decimal(2)} BRL"
    assert brl.held_usd is not None
    assert brl.held_usd.decimal().startswith(str(brl.to_json()["held_usd"]))  # for reading: whole cents
    assert 20 * 10**9 < brl.held_usd.units < 22 * 10**9
    assert found["USDT"].held.units == 0
    (told,) = await unrealised(services.reads, services.pricer.market, services.clock.now())
    assert told.worth == brl.held_usd
    assert told.worth is not None
    assert abs((told.worth - told.counted).units) < 10**7, "it was counted at the mid of a moment ago"
    assert told.to_json()["unrealised_usd"] in {"0.00", "-0.00"}
    market = market_from_config(ONE_RATE, MarketMode.SANDBOX)
    await market.refresh(services.clock.now())
    nothing = await unrealised(services.reads, market, services.clock.now())
    assert (nothing[0].worth, nothing[0].without_rate) == (None, ("BRL",))


async def test_a_rate_is_recorded_when_it_is_first_seen(ops: Ops) -> None:
    services = ops.services
    recorder = RateRecorder(services.writer, services.reads, services.pricer.market)
    now = services.clock.now()
    first = await recorder.run_once(now)
    assert first > 20
    assert await recorder.run_once(now) == 0
    again = RateRecorder(services.writer, services.reads, services.pricer.market)  # another process has seen the same
    assert await again.run_once(now) == first
    assert "EUR" in await recorded_currencies(services.reads)
    (row,) = await history(services.reads, "EUR")
    assert row["rate"] == str(services.pricer.mid("EUR", now))
    (crossed,) = await history(services.reads, "BRL")
    winner = orjson.loads(crossed["sources"])[0]
    assert winner.startswith("ecb (")  # USD in reais by way of the euro: both printed rates are kept
    assert "EUR-BRL" in winner
    assert "EUR" in winner.split(",")[0]
    days = services.pricer.market.days("USD", "EUR")
    assert days[from_us(row["as_of_us"]).date()] == services.pricer.mid("EUR", now)
    assert len(chart(days).split()) == len(days) > 20


def test_a_line_needs_two_days_and_ends_at_the_edges() -> None:
    day = date(2026, 10, 30)
    assert chart({day: Fraction(1)}) == ""
    assert chart({day: Fraction(1), day - timedelta(days=2): Fraction(2)}) == "0,0 720,180"
