"""Every fact that a rule may ask for is one that a session can send; what nobody sends cannot be asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator.clock import DAY_US
from orchestrator.database.tables import Customer, table_of
from orchestrator.payments.customer_age import KnownCustomers
from orchestrator.payments.customers import CustomerRef
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.reading import Source
from orchestrator.routing.rules import When
from orchestrator.routing.versions import By
from tests.integration.api.shop import Shop, open_shop
from tests.support.world import CONFIG, FAST

WORKED_OUT = {"region", "hour", "weekday"}
"""Conditions that are worked out of another fact: the country, the moment."""
JOINING = {"all", "any", "not"}
EVERYTHING = {
    "methods": ["pix", "card", "usdt"],
    "currency": "EUR",
    "risk": "high",
    "metadata": {"plan": "pro"},
}
RULE = """
    - id: new-and-risky
      when: {country: BR, risk: high, customer_age_days: {max: 7}, currency: EUR, method: card, merchant_category: "5734", metadata.plan: pro}
      offers: [usdt_bsc, card]
      owner: ops
      tests:
        - given: {country: BR, risk: high, customer_age_days: 0, currency: EUR, methods: card, merchant_category: "5734", metadata: {plan: pro}}
          expect: {first: card}
    - id: brazil-pix
"""


@pytest.fixture
async def shop(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(migrated_database_url, tmp_path) as open_one:
        yield open_one


def test_a_rule_asks_for_what_is_a_fact_and_nothing_else() -> None:
    facts = {one.name for one in dataclasses.fields(RoutingFacts)}
    asked = {field.alias or name for name, field in When.model_fields.items()}
    of_facts = {"amount_usd": "amount", "method": "methods"}
    assert {of_facts.get(name, name) for name in asked - WORKED_OUT - JOINING} <= facts


async def test_a_session_sends_every_fact_and_a_rule_on_all_of_them_matches(shop: Shop) -> None:
    await shop.call(
        "PATCH", f"/v1/merchants/{shop.merchant}", {"merchant_category": "5734"}, key=FAST["admin"]["token"]
    )
    before = await shop.session("BR", "rita", **EVERYTHING)
    stored = (await shop.get(f"/v1/routing/decisions/{before['decision']}"))["facts"]
    names = {"amount_usd" if one.name == "amount" else one.name for one in dataclasses.fields(RoutingFacts)}
    assert set(stored) == names - {"weekday"}, "a fact that no session sends"
    assert (stored["customer_age_days"], stored["risk"], stored["currency"]) == (0, "high", "EUR")

    services = shop.world.services
    assert not services.checkout.known._since_us, (
        "no rule asked for the age: nobody looked, and it is stored all the same"
    )
    written = CONFIG.read_text("utf-8").replace("    - id: brazil-pix\n", RULE.lstrip("\n"), 1)
    await services.rules.apply(Source("draft.yaml", written, {}), By("mia", "risky ones pay in tokens"))
    assert services.routing.asks_age(shop.merchant, "test")
    risky = await shop.session("BR", "rita", **EVERYTHING)
    assert [offer["method"] for offer in risky["offers"]] == ["usdt_bsc", "card"]
    assert risky["offers"][1]["price"]["currency"] == "EUR"
    assert services.checkout.known._since_us
    calm = await shop.session("BR", "rita", **{**EVERYTHING, "risk": "low"})
    assert calm["offers"][0]["method"] == "pix"


async def test_a_merchants_rule_and_a_draft_on_trial_may_ask_for_the_age_too(shop: Shop) -> None:
    routing = shop.world.services.routing
    assert not routing.asks_age(shop.merchant, "test")
    young = {"id": "young", "when": {"any": [{"customer_age_days": {"max": 7}}]}, "drop": ["card"]}
    await shop.post("/v1/routing/overlay", {"rules": [young], "author": "shop"})
    assert routing.asks_age(shop.merchant, "test")
    assert not routing.asks_age(shop.merchant, "live")
    assert "card" not in [offer["method"] for offer in (await shop.session("BR", "rita"))["offers"]]
    await shop.post("/v1/routing/overlay", {"rules": [], "author": "shop"})
    assert not routing.asks_age(shop.merchant, "test")
    written = CONFIG.read_text("utf-8").replace("    - id: brazil-pix\n", RULE.lstrip("\n"), 1)
    rules = shop.world.services.rules
    await rules.apply(Source("draft.yaml", written, {}), By("mia", "only counted"), trial="shadow")
    assert routing.asks_age(shop.merchant, "test")
    await rules.stop(By("mia", "enough"))
    assert not routing.asks_age(shop.merchant, "test")


async def test_a_customer_grows_older_and_an_unknown_one_is_new(shop: Shop) -> None:
    session = await shop.session("BR", "olga")
    services, customers = shop.world.services, table_of(Customer)
    row = await services.reads.one(select(customers).where(customers.c.id == session["customer"]))
    assert row is not None
    ref = CustomerRef(shop.merchant, "test", "olga", "BR")
    for known in (KnownCustomers(services.reads), services.checkout.known):
        assert await known.age_days(ref, row["created_us"]) == 0
        assert await known.age_days(ref, row["created_us"] + DAY_US - 1) == 0
        assert await known.age_days(ref, row["created_us"] + 31 * DAY_US) == 31
        assert await known.age_days(ref, row["created_us"] - DAY_US) == 0, "a clock that went back"
    stranger = CustomerRef(shop.merchant, "live", "olga", "BR")  # the other mode knows nobody
    assert await services.checkout.known.age_days(stranger, row["created_us"] + 31 * DAY_US) == 0


async def test_a_currency_that_is_none_is_refused_with_its_place(shop: Shop) -> None:
    body = {"customer": {"reference": "a", "country": "BR"}, "amount": {"amount": "20.00", "currency": "USD"}}
    for more, pointer in (({"currency": "XYZ"}, "/currency"), ({"risk": "none"}, "/risk")):
        status, _, pointers = await shop.refused("POST", "/v1/checkout/sessions", {**body, **more})
        assert (status, pointers) == (422, [pointer])
