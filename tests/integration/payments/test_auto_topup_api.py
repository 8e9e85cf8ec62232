"""Auto top-ups and mandates over HTTP, with the workers' loops of a whole service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ids import new_id
from tests.integration.api.shop import SESSIONS, Shop, open_shop

DE = {"reference": "dora", "country": "DE"}


def dollars(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


def order(**changes: Any) -> dict[str, Any]:
    wanted = {"enabled": True, "below": dollars("5"), "amount": dollars("25"), "daily_max": dollars("100.00")}
    return {**wanted, **changes}


@pytest.fixture
async def shop(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(migrated_database_url, tmp_path, loops=True) as open_one:
        yield open_one


async def saved(shop: Shop) -> tuple[str, Mapping[str, Any]]:
    """Return a wallet and the mandate that its customer gave with a payment."""
    body = {"customer": DE, "amount": dollars("20.00"), "save_method": True}
    session = await shop.post(SESSIONS, body)
    offer = next(offer["id"] for offer in session["offers"] if offer["rail"] == "stripe")
    chosen = await shop.post(f"{SESSIONS}/{session['id']}/select", {"offer": offer})
    await shop.world.post(chosen["next_action"]["url"], {"card": "4242424242424242"})
    for _ in range(200):
        await shop.world.services.mandates.run_once()
        listed = (await shop.get(f"/v1/wallets/{session['wallet']}/mandates"))["data"]
        if listed:
            return session["wallet"], listed[0]
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was saved")


async def test_an_order_is_set_read_and_refused_in_words_that_say_what_to_do(shop: Shop) -> None:
    wallet, mandate = await saved(shop)
    path = f"/v1/wallets/{wallet}/auto_topup"
    assert (mandate["label"], mandate["status"], mandate["rail"]) == ("Visa 4242", "active", "stripe")
    assert "cus_" not in str({**mandate, "wallet": ""})
    assert (await shop.call("GET", path)).status == 404

    set_ = await shop.call("PUT", path, order())
    assert set_.status == 200, set_.raw
    shown = await shop.get(path)
    assert shown == {
        "wallet": wallet, "enabled": True, "below": dollars("5.00"), "amount": dollars("25.00"),
        "daily_max": dollars("100.00"), "charged_today": dollars("0.00"), "mandate": mandate["id"], "state": "idle",
        "checkout_session": None, "declines": 0, "next_try_at": None,
    }  # fmt: skip
    assert (await shop.call("GET", path, key=shop.other_key)).status == 404
    assert (await shop.call("PUT", path, order(), key=shop.other_key)).status == 404
    assert (await shop.call("PUT", path, order(), key=shop.live_key)).status == 404

    for changes, status, code in (
        ({"amount": dollars("0.50")}, 422, "amount_out_of_range"),
        ({"amount": dollars("10001")}, 422, "amount_out_of_range"),
        ({"daily_max": dollars("24.99")}, 422, "daily_max_below_amount"),
        ({"mandate": new_id("man")}, 422, "mandate_not_found"),
        ({"below": {"amount": "5", "currency": "EUR"}}, 422, "currency_not_possible"),
    ):
        reply = await shop.call("PUT", path, order(**changes))
        assert (reply.status, reply.json["code"]) == (status, code), reply.raw
    assert await shop.get(path) == shown, "a refusal changes nothing"
    nowhere = await shop.call("PUT", f"/v1/wallets/{new_id('wal')}/auto_topup", order())
    assert (nowhere.status, nowhere.json["code"]) == (404, "wallet_not_found")


async def test_without_a_saved_method_nothing_can_be_switched_on_and_a_revoked_one_switches_off(shop: Shop) -> None:
    bare = await shop.post("/v1/wallets", {"customer": {"reference": "eve", "country": "DE"}})
    reply = await shop.call("PUT", f"/v1/wallets/{bare['id']}/auto_topup", order())
    assert (reply.status, reply.json["code"]) == (409, "no_mandate")
    off = await shop.call("PUT", f"/v1/wallets/{bare['id']}/auto_topup", order(enabled=False))
    assert (off.status, off.json["state"], off.json["mandate"]) == (200, "off", None)

    wallet, mandate = await saved(shop)
    await shop.call("PUT", f"/v1/wallets/{wallet}/auto_topup", order(mandate=mandate["id"]))
    path = f"/v1/wallets/{wallet}/mandates/{mandate['id']}"
    assert (await shop.call("DELETE", path, key=shop.other_key)).status == 404
    assert (await shop.call("DELETE", f"/v1/wallets/{bare['id']}/mandates/{mandate['id']}")).status == 404
    revoked = await shop.call("DELETE", path)
    assert (revoked.status, revoked.json["status"]) == (200, "revoked")
    assert (await shop.call("DELETE", path)).json == revoked.json, "safe to repeat"
    assert (await shop.get(f"/v1/wallets/{wallet}/auto_topup"))["state"] == "off"
    [listed] = (await shop.get(f"/v1/wallets/{wallet}/mandates"))["data"]
    assert listed["status"] == "revoked"
    again = await shop.call("PUT", f"/v1/wallets/{wallet}/auto_topup", order())
    assert (again.status, again.json["code"]) == (409, "no_mandate")
