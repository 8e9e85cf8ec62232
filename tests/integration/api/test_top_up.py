"""A merchant's program and a top-up: session, offer, payment, wallet; by the API alone, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.api.shop import USD20, Shop, open_shop


@pytest.fixture
async def shop(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(migrated_database_url, tmp_path, loops=True) as open_one:
        yield open_one


async def test_a_local_payment_and_one_in_tokens_reach_their_wallets(shop: Shop) -> None:
    hook = await shop.post("/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/hook", "event_types": ["*"]})
    assert hook["secret"].startswith("whsec_")
    pix, usdt = await shop.session("BR", "alice"), await shop.session("VN", "binh")
    payments = await asyncio.gather(shop.paid(pix), shop.paid(usdt))

    for session, payment_id in zip((pix, usdt), payments, strict=True):
        wallet = await shop.get(f"/v1/wallets/{session['wallet']}")
        assert wallet["balance"] == {
            "available": "20.00", "held": "0.00", "provisional": "0.00", "promotional": "0.00", "debt": "0.00",
        }  # fmt: skip
        entries = (await shop.get(f"/v1/wallets/{session['wallet']}/entries"))["data"]
        (line,) = (
            entry for entry in entries if entry["part"] == "paid"
        )  # what is seen on a chain is provisional first
        assert (line["amount"], line["payment"]) == (USD20, payment_id)
        assert (await shop.get(f"/v1/checkout/sessions/{session['id']}"))["status"] == "complete"
        whole = await shop.get(f"/v1/payments/{payment_id}?expand[]=checkout_session&expand[]=wallet")
        assert whole["checkout_session"]["id"] == session["id"]
        assert whole["wallet"]["balance"]["available"] == "20.00"
        assert whole["decision"] == session["decision"]
        assert whole["offer"]["id"] == session["offers"][0]["id"]
        assert [one["status"] for one in whole["attempts"]] == ["succeeded"]
        assert whole["history"][-1]["status"] == "credited"

    # "I paid, where is it?": the token transfer, by its hash as people copy it; not by somebody else
    events = (await shop.get("/v1/events?type=deposit.confirmed"))["data"]
    tx_hash = events[0]["data"]["object"]["tx_hash"]
    for written in (tx_hash, tx_hash.removeprefix("0x").upper()):
        (deposit,) = (await shop.get(f"/v1/deposits?tx_hash={written}"))["data"]
        assert (deposit["wallet"], deposit["status"], deposit["payment"]) == (usdt["wallet"], "credited", payments[1])
    for key in (shop.other_key, shop.live_key):
        assert (await shop.get(f"/v1/deposits?tx_hash={tx_hash}", key=key))["data"] == []

    listed = await shop.get("/v1/payments?status=credited&limit=1")
    rest = await shop.get(f"/v1/payments?status=credited&limit=1&after={listed['next_cursor']}")
    assert {listed["data"][0]["id"], rest["data"][0]["id"]} == set(payments)
    assert rest["next_cursor"] is None
    assert (await shop.get("/v1/payments?status=failed"))["data"] == []
    assert (await shop.get("/v1/reviews?status=open"))["data"] == []

    # what is paid does not expire, and is not paid twice
    assert await shop.refused("POST", f"/v1/checkout/sessions/{pix['id']}/expire") == (409, "session_complete", [])
    path, offer = f"/v1/checkout/sessions/{pix['id']}/select", {"offer": pix["offers"][1]["id"]}
    status, code, _ = await shop.refused("POST", path, offer)
    assert (status, code) == (409, "session_complete")

    again = await shop.post(f"/v1/events/{events[0]['id']}/resend")
    assert again["event"] == events[0]["id"]
    others = await shop.refused("POST", f"/v1/events/{events[0]['id']}/resend", key=shop.other_key)
    assert others[0] == 404


async def test_an_offer_chosen_twice_at_once_is_one_attempt(shop: Shop) -> None:
    session = await shop.session("BR")
    chosen = await asyncio.gather(*(shop.select(session) for _ in range(8)))
    assert len({one["attempt"] for one in chosen}) == 1
    assert len({one["payment"] for one in chosen}) == 1
    whole = await shop.get(f"/v1/payments/{chosen[0]['payment']}")
    assert len(whole["attempts"]) == 1


async def test_the_lines_of_every_offer_add_up_to_its_price(shop: Shop) -> None:
    for country in ("DE", "BR", "NL", "PH", "VN", "NG", "JP", "KW"):
        session = await shop.session(country, f"buyer-{country}")
        assert session["offers"], country
        for offer in session["offers"]:
            lines = [Decimal(line["amount"]) for line in offer["lines"]]
            assert sum(lines) == Decimal(offer["price"]["amount"]), offer
            assert {line["currency"] for line in offer["lines"]} == {offer["price"]["currency"]}
            assert all(line >= 0 for line in lines)
            assert (offer["quote"] is None) == (offer["price"]["currency"] == "USD")
