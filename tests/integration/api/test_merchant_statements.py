"""The merchant's own statement over HTTP: it opens with what the day before closed, and adds up account by account."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.clock import DAY_US, from_us
from orchestrator.ledger.chart import Account
from orchestrator.ledger.merchant_statement import SIDES, Line, MerchantStatement
from orchestrator.ledger.span import Span, StatementDoesNotAddUp
from tests.integration.api.shop import Shop, open_shop
from tests.integration.api.test_payouts import ADMIN, move, with_terms

PATH = "/v1/balance/statement"


@pytest.fixture
async def shop(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(migrated_database_url, tmp_path) as opened:
        yield opened


def days(shop: Shop, first: int, end: int) -> str:
    """Days from today, as a query."""
    today = shop.world.services.clock.now_us() // DAY_US
    return "&".join(f"{name}={from_us((today + day) * DAY_US).date()}" for name, day in (("from", first), ("to", end)))


async def paid_out(shop: Shop, dollars: str) -> str:
    asked = await shop.post("/v1/payouts", {"amount": {"amount": dollars, "currency": "USD"}})
    path = f"/v1/payouts/{asked['id']}"
    await shop.post(f"{path}/approve", key=ADMIN)
    await shop.post(f"{path}/confirm", {"bank_reference": "FT1"}, key=ADMIN)
    return str(asked["id"])


async def test_it_adds_up_account_by_account_and_opens_where_the_day_before_closed(shop: Shop) -> None:
    await with_terms(shop)
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    await move(shop, Account.MERCHANT_PENDING, 7)
    payout = await paid_out(shop, "70.00")
    query = days(shop, 0, 1)
    found = await shop.get(f"{PATH}?{query}")
    assert found["opening"] == dict.fromkeys([*SIDES.values(), "total"], "0.00")
    assert [(line["kind"], line["amount"], line["changes"]) for line in found["lines"]] == [
        ("usage", "107.00", {"available": "100.00", "pending": "7.00"}),
        ("payout", "0.00", {"available": "-70.00", "in_transit": "70.00"}),
        ("payout_paid", "-70.00", {"in_transit": "-70.00"}),
    ]
    assert {line["source"] for line in found["lines"][1:]} == {payout}
    assert found["closing"] == {
        "pending": "7.00", "available": "30.00", "reserve": "0.00", "unfunded": "0.00",
        "in_transit": "0.00", "owed": "0.00", "total": "37.00",
    }  # fmt: skip
    assert found["buyers_paid"]["rounding"] == "-107.00", "what this test took it from"
    following = await shop.get(f"{PATH}?{days(shop, 1, 2)}")
    assert (following["opening"], following["lines"], following["closing"]) == (found["closing"], [], found["closing"])


async def test_it_comes_as_csv_as_a_page_and_as_a_pdf(shop: Shop) -> None:
    await with_terms(shop)
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    await paid_out(shop, "100.00")
    reply = await shop.call("GET", f"{PATH}?format=csv")
    rows = list(csv.DictReader(io.StringIO(reply.raw.decode())))
    assert [row["kind"] for row in rows] == ["opening", "usage", "payout", "payout_paid", "closing"]
    assert [row["available"] for row in rows] == ["0.00", "100.00", "-100.00", "0.00", "0.00"]
    page = await shop.call("GET", f"{PATH}?format=html")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "Sandbox: no real money was moved." in page.raw.decode()
    printed = await shop.call("GET", f"{PATH}?format=pdf")
    assert printed.raw.startswith(b"%PDF-")
    assert printed.headers["Content-Disposition"].endswith('.pdf"')


async def test_a_key_sees_its_own_and_the_platform_names_whose(shop: Shop) -> None:
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    for stranger in (shop.other_key, shop.live_key):
        assert (await shop.get(PATH, key=stranger))["lines"] == []
    asked = await shop.get(f"{PATH}?merchant={shop.merchant}&mode=test", key=ADMIN)
    assert asked == await shop.get(PATH)
    assert await shop.refused("GET", f"{PATH}?merchant={shop.merchant}", key=shop.other_key) == (
        422, "merchant_not_possible", ["/merchant"],
    )  # fmt: skip
    assert (await shop.refused("GET", PATH, key=ADMIN))[:2] == (422, "merchant_missing")
    assert (await shop.refused("GET", f"{PATH}?merchant=mer_none", key=ADMIN))[:2] == (404, "no_such_merchant")
    assert (await shop.refused("GET", f"{PATH}?{days(shop, 1, 1)}"))[:2] == (422, "statement_is_empty")


def test_one_that_does_not_add_up_is_not_shown() -> None:
    nothing = dict.fromkeys(SIDES.values(), 0)
    lines = (Line("payout", 0, {"available": -3, "in_transit": 3}, "po_1", "je_1"),)

    def closing(**sides: int) -> MerchantStatement:
        return MerchantStatement("mer_1", "a", "test", Span(0, 1), nothing, lines, {**nothing, **sides}, {}, ())

    assert closing(available=-3, in_transit=3).check().lines == lines
    with pytest.raises(StatementDoesNotAddUp, match="in_transit"):
        closing(available=-3).check()
