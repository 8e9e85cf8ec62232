"""What the pricer keeps between sessions is what it would work out anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import orjson
import pytest

from orchestrator.payments.offers import PriceTag
from orchestrator.payments.pricer import FeeKey, Pricer
from orchestrator.payments.pricing import FeeSchedule, Rate, price
from rates.build import market_from_config
from rates.market import Market
from rates.money import WALLET_USD, Money, display_asset
from rates.policy import MarketMode
from rates.quote import Quote
from rates.sources.port import SourceRate
from rates.spread import SpreadTable

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = FeeKey("stripe", "main", "card")
FEES = FeeSchedule(290, Money(300_000_000, WALLET_USD), Money.zero(WALLET_USD), 100)
SECRET = b"a secret of tests, long enough to sign"
CONFIG = {
    "sources": {"fixed": {"rates": {"USD-BRL": {"rate": "5.4321", "as_of": "2026-11-23", "reason": "a test"}}}},
    "minimum_sources": {"default": 1},
}
TWENTY = Money.parse("20.00", WALLET_USD)


async def opened() -> tuple[Market, Pricer]:
    market = market_from_config(CONFIG, MarketMode.SANDBOX)
    await market.refresh(NOW)
    spreads = SpreadTable.from_config([{"corridor": "USD-*", "spread_bps": 100}])
    return market, Pricer(market, spreads, {KEY: FEES}, SECRET)


def written(tag: PriceTag) -> list[object]:
    return [orjson.loads(orjson.dumps(part)) for part in (tag.stored, tag.total, tag.lines)]


@pytest.mark.parametrize("currency", ["BRL", "USD"])
async def test_a_tag_that_was_kept_is_the_price_worked_out_anew(currency: str) -> None:
    market, pricer = await opened()
    rate = Rate(market.mid("USD", currency, NOW).rate, pricer.spread_bps(currency, "card", NOW))
    anew = price(TWENTY, FEES, rate, display_asset(currency))
    first, again = (pricer.tag(TWENTY, KEY, currency, NOW) for _ in range(2))
    assert first is again
    assert first.price == anew
    assert written(first) == written(PriceTag.of(anew))
    assert orjson.loads(orjson.dumps(first.stored)) == anew.to_json()


async def test_another_amount_has_another_tag() -> None:
    _, pricer = await opened()
    assert pricer.tag(TWENTY, KEY, "BRL", NOW).price.principal == TWENTY
    other = Money.parse("20.01", WALLET_USD)
    assert pricer.tag(other, KEY, "BRL", NOW).price.principal == other
    assert pricer.tag(TWENTY, KEY, "BRL", NOW).price.principal == TWENTY


async def test_a_kept_tag_and_kept_terms_go_with_their_mid() -> None:
    market, pricer = await opened()
    before = pricer.tag(TWENTY, KEY, "BRL", NOW)
    quoted = quote_of(pricer)
    held = market._held["fixed"]  # the source speaks anew, without waiting for its time to come
    known: SourceRate = held.table["USD", "BRL"]
    held.table = {("USD", "BRL"): SourceRate(known.source, "USD", "BRL", known.rate * 2, known.as_of)}
    market._mids.clear()  # as a refresh does
    after = pricer.tag(TWENTY, KEY, "BRL", NOW)
    assert after.price.rate.mid == before.price.rate.mid * 2
    assert after.price.total.units > before.price.total.units
    assert quote_of(pricer).mid == quoted.mid * 2


async def test_a_price_follows_what_the_rate_did_lately_and_a_kept_tag_goes_with_it() -> None:
    market, pricer = await opened()
    entry = {"corridor": "USD-*", "spread_bps": 100, "volatility_percent": 100}
    pricer.use(SpreadTable.from_config([entry]))
    calm = pricer.tag(TWENTY, KEY, "BRL", NOW)
    assert calm.price.rate.spread_bps == 100  # a fixed rate has no history: nothing is guessed
    newest = market.mid("USD", "BRL", NOW).as_of.date()
    days = {newest - timedelta(days=back): Fraction(500 + 5 * (back % 2), 100) for back in range(21)}
    market.remember({("USD", "BRL"): days})
    moved = pricer.tag(TWENTY, KEY, "BRL", NOW)
    assert moved.price.rate.spread_bps == 100 + 103
    assert moved.price.total.units > calm.price.total.units


def quote_of(pricer: Pricer) -> Quote:
    fields = pricer.quote_json(
        quote_id="quo_1", session_id="cs_1", currency="BRL", spread_bps=100, now=NOW,
        expires_at=NOW + timedelta(minutes=30),
    )  # fmt: skip
    return Quote.from_json(fields)


async def test_a_session_s_quote_is_the_quote_made_the_long_way_and_verifies() -> None:
    _, pricer = await opened()
    for _ in range(2):  # from terms made now, then from those that were kept
        fast = quote_of(pricer)
        slow = pricer.quote(
            quote_id="quo_1", session_id="cs_1", currency="BRL", method="card", now=NOW, ttl_seconds=1800
        )
        assert fast == slow
        assert fast.to_json() == slow.to_json()
        assert fast.verify(SECRET)
        assert not fast.verify(b"another secret")
