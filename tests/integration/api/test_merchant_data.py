"""What the card world is told of a merchant: set by the platform, sent with each attempt, printed, and a routing fact."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.database.tables import Attempt, table_of
from orchestrator.papers.words import all_words
from orchestrator.payments.sellers import UNSAID, Seller, Sellers
from orchestrator.payments.wire_json import order_from_json
from tests.integration.api.shop import Shop, open_shop
from tests.support.world import FAST

ADMIN = FAST["admin"]["token"]
TOLD = {"statement_descriptor": "ACME AI", "merchant_category": "5734"}


@pytest.fixture
async def shop(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(migrated_database_url, tmp_path, loops=True) as open_one:
        yield open_one


@pytest.fixture
async def small_shop(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(sqlite_url, tmp_path) as open_one:
        yield open_one


async def test_what_a_merchant_says_of_itself_goes_to_the_rail_the_receipt_and_the_rules(shop: Shop) -> None:
    path = f"/v1/merchants/{shop.merchant}"
    before = await shop.select(await shop.session("BR"))
    changed = await shop.call("PATCH", path, {**TOLD, "statement_descriptor": "  ACME   AI "}, key=ADMIN)
    assert {name: changed.json[name] for name in TOLD} == TOLD
    assert (await shop.get(path, key=ADMIN)) == changed.json
    payment = await shop.paid(await shop.session("NL", "nina"))

    orders = await _orders(shop)
    assert (orders[before["attempt"]].statement_suffix, orders[before["attempt"]].merchant_category) == ("", "")
    told = next(order for attempt, order in orders.items() if attempt != before["attempt"])
    assert (told.statement_suffix, told.merchant_category) == ("ACME AI", "5734")

    (part,) = (await shop.get(f"/v1/payments/{payment}/receipt"))["parts"]
    assert {name: part[name] for name in TOLD} == TOLD
    page = (await shop.call("GET", f"/v1/payments/{payment}/receipt?format=html&locale=de")).raw.decode()
    assert all_words()["de"]["on_statement"] in page
    assert "ACME AI" in page

    explain = {"country": "NL", "amount": {"amount": "20.00", "currency": "USD"}}
    assert (await shop.post("/v1/routing/explain", explain))["facts"]["merchant_category"] == "5734"
    other = await shop.post("/v1/routing/explain", {**explain, "merchant_category": "7372"})
    assert other["facts"]["merchant_category"] == "7372"
    session = await shop.session("NL", "nora")
    stored = await shop.get(f"/v1/routing/decisions/{session['decision']}")
    assert stored["facts"]["merchant_category"] == "5734"


async def test_tokens_on_chains_say_nothing_of_the_merchant(small_shop: Shop) -> None:
    shop = small_shop
    await shop.call("PATCH", f"/v1/merchants/{shop.merchant}", TOLD, key=ADMIN)
    await shop.select(await shop.session("NG", "ngozi"))
    (order,) = (await _orders(shop)).values()
    assert (order.statement_suffix, order.merchant_category) == ("", "")


WRONG = (
    ({"statement_descriptor": "A"}, "statement_descriptor_has_a_bad_length"),
    ({"statement_descriptor": "A" * 23}, "statement_descriptor_has_a_bad_length"),
    ({"statement_descriptor": "ACME* <AI>"}, "statement_descriptor_has_bad_characters"),
    ({"statement_descriptor": "日本の店"}, "statement_descriptor_has_bad_characters"),
    ({"statement_descriptor": "2026-11"}, "statement_descriptor_needs_a_letter"),
    ({"merchant_category": "573"}, "merchant_category_is_not_a_code"),
    ({"merchant_category": "57345"}, "merchant_category_is_not_a_code"),
    ({"merchant_category": "\u0665\u0667\u0663\u0664"}, "merchant_category_is_not_a_code"),
    ({"merchant_category": "0000"}, "merchant_category_is_not_a_code"),
)


async def test_words_that_no_statement_shows_are_refused_and_change_nothing(small_shop: Shop) -> None:
    path = f"/v1/merchants/{small_shop.merchant}"
    for wrong, code in WRONG:
        pointer = "/" + next(iter(wrong))
        assert await small_shop.refused("PATCH", path, wrong, key=ADMIN) == (422, code, [pointer])
        made = await small_shop.refused("POST", "/v1/merchants", {"name": "B", **wrong}, key=ADMIN)
        assert made == (422, code, [pointer])
    assert (await small_shop.get(path, key=ADMIN))["statement_descriptor"] == ""


async def test_only_the_platform_says_what_a_merchant_is_and_nothing_takes_it_away(small_shop: Shop) -> None:
    shop = small_shop
    assert (await shop.refused("PATCH", f"/v1/merchants/{shop.merchant}", TOLD))[0] == 403
    assert (await shop.refused("PATCH", "/v1/merchants/mer_none", TOLD, key=ADMIN))[:2] == (404, "no_such_merchant")
    made = await shop.post("/v1/merchants", {"name": "Bolt", **TOLD}, key=ADMIN)
    path = f"/v1/merchants/{made['id']}"
    assert {name: made[name] for name in TOLD} == TOLD
    cleared = (await shop.call("PATCH", path, {"statement_descriptor": ""}, key=ADMIN)).json
    assert (cleared["statement_descriptor"], cleared["merchant_category"]) == ("", "5734")
    assert (await shop.call("PATCH", path, {}, key=ADMIN)).json == cleared


async def test_another_process_sees_a_change_after_five_seconds(small_shop: Shop) -> None:
    shop, services, now = small_shop, small_shop.world.services, [100.0]
    elsewhere = Sellers(services.writer, services.reads, lambda: now[0])
    assert await elsewhere.of(shop.merchant) == UNSAID
    assert await elsewhere.of("mer_none") == UNSAID
    await services.sellers.set(shop.merchant, **TOLD)
    assert await services.sellers.of(shop.merchant) == Seller(**TOLD)
    now[0] += 4.9
    assert await elsewhere.of(shop.merchant) == UNSAID
    now[0] += 0.1
    assert await elsewhere.of(shop.merchant) == Seller(**TOLD)
    await services.sellers.set(shop.merchant, statement_descriptor="", merchant_category="")


async def _orders(shop: Shop) -> dict[str, Any]:
    rows = await shop.world.services.reads.all(select(table_of(Attempt)))
    return {row["id"]: order_from_json(row["order_json"]) for row in rows}
