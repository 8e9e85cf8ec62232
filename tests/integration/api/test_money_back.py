"""Refunds, disputes, evidence, reconciliation and papers by the API alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.database.tables import Capture, table_of
from orchestrator.papers.words import all_words
from tests.integration.api.shop import Shop, open_shop
from tests.support.world import FAST

ADMIN = FAST["admin"]["token"]
PART = {"amount": {"amount": "5.00", "currency": "USD"}, "reason": "an outage"}


@pytest.fixture
async def shop(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(migrated_database_url, tmp_path, loops=True) as open_one:
        yield open_one


@pytest.fixture
async def small_shop(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(sqlite_url, tmp_path, loops=True) as open_one:
        yield open_one


async def until(shop: Shop, path: str, true: Callable[[Any], bool]) -> Any:
    seen: Any = None
    for _ in range(200):
        seen = await shop.get(path)
        if true(seen):
            return seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path}: {seen}")


async def test_a_refund_is_asked_once_followed_and_told(shop: Shop) -> None:
    payment = await shop.paid(await shop.session("BR"))
    path, once = f"/v1/payments/{payment}/refunds", {"Idempotency-Key": "refund-1"}
    first = await shop.post(path, PART, headers=once)
    assert (first["status"], first["amount"]["amount"], first["paid_back"]["currency"]) == ("pending", "5.00", "BRL")
    assert {line["type"] for line in first["lines"]} == {"principal", "platform_fee", "fx_spread"}
    again = await shop.call("POST", path, PART, headers=once)
    assert again.json["id"] == first["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    ended = await until(shop, f"/v1/refunds/{first['id']}", lambda seen: seen["status"] != "pending")
    assert ended["status"] == "succeeded"
    assert (await shop.get(f"/v1/payments/{payment}"))["refunded"] == {"amount": "5.00", "currency": "USD"}
    assert [one["id"] for one in (await shop.get(f"/v1/refunds?payment={payment}"))["data"]] == [first["id"]]
    types = [event["type"] for event in (await shop.get("/v1/events?limit=50"))["data"]]
    assert types.count("refund.created") == types.count("refund.succeeded") == 1
    assert await shop.refused("GET", f"/v1/refunds/{first['id']}", key=shop.other_key) == (404, "refund_not_found", [])
    assert (await shop.refused("POST", path, {**PART, "force": True}))[:2] == (403, "force_is_the_platform_s")
    much = {"amount": {"amount": "15.01", "currency": "USD"}, "reason": "too much"}
    assert (await shop.refused("POST", path, much))[:2] == (409, "refund_exceeds_payment")
    address = {"reason": "no", "destination": {"type": "address"}}
    assert await shop.refused("POST", path, address) == (422, "destination_not_possible", ["/destination/type"])


async def test_a_dispute_is_answered_with_what_the_records_say(small_shop: Shop) -> None:
    shop = small_shop
    chosen = await shop.select(await shop.session("DE", "carl"))
    await shop.world.pay_at_rail(chosen, {"card": "4242424242424242"})
    payment = chosen["payment"]
    await until(shop, f"/v1/payments/{payment}", lambda seen: seen["status"] == "credited")
    wallet = (await shop.get(f"/v1/payments/{payment}"))["wallet"]
    await shop.post("/v1/usage", {"events": [{"id": "call-1", "wallet": wallet, "model": "m", "amount": "2.50"}]})
    receipt = await shop.get(f"/v1/payments/{payment}/receipt")
    attempts = (await shop.get(f"/v1/payments/{payment}"))["attempts"]
    capture = receipt["parts"][0]["reference"]
    assert capture.startswith("cap_")
    intent = next(
        row["money_id"]
        for row in await shop.world.services.reads.all(select(table_of(Capture)))
        if row["id"] == capture
    )  # fmt: skip
    await shop.world.post(f"{shop.world.sandbox_url}/stripe/main/_bank/disputes", {"payment_intent": intent})
    found = await until(shop, f"/v1/disputes?payment={payment}", lambda seen: bool(seen["data"]))
    dispute = found["data"][0]["id"]
    await until(shop, f"/v1/disputes/{dispute}", lambda seen: seen["frozen"]["amount"] == "17.50")
    pack = await shop.get(f"/v1/disputes/{dispute}/evidence")
    assert pack["usage"]["charged"] == {"amount": "2.50", "currency": "USD"}
    assert [one["credited"]["amount"] for one in pack["delivery"]] == ["20.00"]
    assert pack["paid"]["rail_reference"] == attempts[0]["rail_reference"]
    said = {"summary": "The buyer used it at once.", "submit": True}
    answered = await shop.post(f"/v1/disputes/{dispute}/evidence", said)
    assert answered["answered"] == "submitted"
    await until(shop, f"/v1/disputes/{dispute}", lambda seen: seen["status"] == "under_review")
    assert (await shop.refused("POST", f"/v1/disputes/{dispute}/accept"))[:2] == (409, "dispute_needs_no_answer")
    reconciled = await shop.post("/v1/reconciliations", {"rail": "stripe"}, key=ADMIN)
    assert reconciled["ok"], reconciled
    assert (await shop.get("/v1/reconciliations?rail=stripe", key=ADMIN))["ok"]
    assert (await shop.refused("POST", "/v1/reconciliations", {}))[0] == 403


async def test_where_tokens_go_back_to_is_the_customer_s_to_say(small_shop: Shop) -> None:
    shop = small_shop
    session = await shop.session("NG", "ngozi")
    path = f"/v1/checkout/sessions/{session['id']}/refund_address"
    address = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
    body = {"network": "eip155:56", "address": address, "again": address}
    secret = session["client_secret"]
    assert (await shop.refused("POST", path, body))[0] == 403  # a merchant's key cannot speak for the customer
    assert await shop.refused("POST", path, {**body, "again": address[:-1] + "5"}, key=secret) == (
        422, "addresses_differ", ["/again"],
    )  # fmt: skip
    other = await shop.session("NG", "other")
    assert (await shop.refused("POST", path, body, key=other["client_secret"]))[0] in {401, 403, 404}
    assert await shop.refused("POST", path, body, key=secret) == (422, "network_not_possible", ["/network"])


async def test_a_receipt_has_one_number_for_ever_and_prints_in_every_language(small_shop: Shop) -> None:
    shop = small_shop
    first, second = await shop.paid(await shop.session("BR")), await shop.paid(await shop.session("NL", "nina"))
    numbers = [(await shop.get(f"/v1/payments/{one}/receipt"))["number"] for one in (first, second, first)]
    assert [number[-6:] for number in numbers] == ["000001", "000002", "000001"]
    assert numbers[0].startswith("TEST-R-")
    shown = await shop.get(f"/v1/payments/{first}/receipt")
    (part,) = shown["parts"]
    cents = sum(round(float(line["amount"]) * 100) for line in part["lines"])
    assert cents == round(float(part["paid"]["amount"]) * 100)
    for language, said in all_words().items():
        page = (await shop.call("GET", f"/v1/payments/{first}/receipt?format=html&locale={language}")).raw.decode()
        assert said["receipt"] in page
        assert "112" in page
    paper = await shop.call("GET", f"/v1/payments/{first}/receipt?format=pdf&locale=vi")
    assert paper.headers["Content-Type"] == "application/pdf"
    assert paper.raw.startswith(b"%PDF-")
    assert await shop.refused("GET", f"/v1/payments/{first}/receipt", key=shop.other_key) == (
        404,
        "payment_not_found",
        [],
    )


async def test_an_invoice_is_for_a_month_that_is_over(small_shop: Shop) -> None:
    shop = small_shop
    wallet = (await shop.get(f"/v1/payments/{await shop.paid(await shop.session('BR'))}"))["wallet"]
    assert (await shop.refused("GET", f"/v1/wallets/{wallet}/invoice?period=2999-01"))[:2] == (409, "period_is_open")
    assert (await shop.refused("GET", f"/v1/wallets/{wallet}/invoice?period=2026-13"))[0] == 422
    invoice = await shop.get(f"/v1/wallets/{wallet}/invoice?period=2020-01")
    assert (invoice["total"], invoice["lines"]) == ("0.00", [])
    assert (await shop.call("GET", f"/v1/wallets/{wallet}/invoice?period=2020-01&format=pdf")).raw.startswith(b"%PDF-")


def test_every_language_has_every_word() -> None:
    languages = all_words()
    assert len(languages) == 8
    assert len({frozenset(said) for said in languages.values()}) == 1
    assert all(word.strip() for said in languages.values() for word in said.values())
