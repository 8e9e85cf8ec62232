"""Payouts and the balance over HTTP."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.database.unit import Changes, Unit, View
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from rates.money import WALLET_USD, Money
from tests.integration.api.shop import Shop, open_shop

ADMIN = "admin-token-of-tests"
BANK = {"name": "Acme GmbH", "iban": "DE02120300000000202051"}


@pytest.fixture
async def shop(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(sqlite_url, tmp_path) as opened:
        yield opened


async def move(shop: Shop, account: Account, dollars: int) -> None:
    money = Money(dollars * 10**9, WALLET_USD)

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.post(entry("usage", f"fact of {account}", debit(Account.ROUNDING, money), credit(account, money)))
        return {}

    await shop.world.services.writer.submit(Unit(shop.merchant, "test", None, (), decide))


async def with_terms(shop: Shop, tier: str = "standard") -> Any:
    path, body = f"/v1/merchants/{shop.merchant}/payout_terms", {"risk_tier": tier, "destination": BANK}
    reply = await shop.call("PUT", path, body, key=ADMIN)
    assert reply.status == 200, reply.raw
    assert not reply.json["destination_held"], "in a sandbox one person plays both"
    return reply.json


async def test_the_merchant_asks_and_the_platform_approves_and_confirms(shop: Shop) -> None:
    terms = await with_terms(shop, "high")
    assert terms == {"merchant": shop.merchant, "risk_tier": "high", "destination": BANK,
                     "destination_by": "admin_token", "destination_held": False}  # fmt: skip
    assert await shop.get(f"/v1/merchants/{shop.merchant}/payout_terms", key=ADMIN) == terms
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    asked = await shop.post("/v1/payouts", {"amount": {"amount": "70.00", "currency": "USD"}})
    assert asked["id"].startswith("po_")
    balance = await shop.get("/v1/balance")
    assert (balance["available"], balance["payable"], balance["in_transit"]) == ("30.00", "30.00", "70.00")
    path = f"/v1/payouts/{asked['id']}"
    assert (await shop.post(f"{path}/approve", key=ADMIN))["approved_by"] == "admin_token"
    paid = await shop.post(f"{path}/confirm", {"bank_reference": "FT1"}, key=ADMIN)
    assert await shop.get(path) == paid
    assert (await shop.get("/v1/payouts"))["data"] == [paid]
    assert (await shop.get("/v1/payouts?status=sent", key=ADMIN))["data"] == []
    assert (await shop.get(f"/v1/payouts?merchant={shop.merchant}", key=ADMIN))["data"] == [paid]
    events = [event["type"] for event in (await shop.get("/v1/events"))["data"]]
    assert {"payout.created", "payout.paid"} <= set(events)


async def test_an_idempotent_request_sets_money_aside_once(shop: Shop) -> None:
    await with_terms(shop)
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    headers = {"Idempotency-Key": "payout-1"}
    body = {"amount": {"amount": "60.00", "currency": "USD"}}
    first = await shop.post("/v1/payouts", body, headers=headers)
    assert await shop.post("/v1/payouts", body, headers=headers) == first
    assert (await shop.get("/v1/balance"))["available"] == "40.00"


async def test_the_platform_asks_for_a_merchant_but_does_not_approve_its_own_request(shop: Shop) -> None:
    await with_terms(shop)
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    asked = await shop.post("/v1/payouts", {"merchant": shop.merchant, "mode": "test"}, key=ADMIN)
    refusal = await shop.refused("POST", f"/v1/payouts/{asked['id']}/approve", key=ADMIN)
    assert refusal == (403, "payout_needs_a_second_person", [])
    failed = await shop.post(f"/v1/payouts/{asked['id']}/fail", {"reason": "asked by mistake"}, key=ADMIN)
    assert (failed["status"], failed["failure"]) == ("canceled", "asked by mistake")
    assert (await shop.get("/v1/balance"))["available"] == "100.00"


async def test_a_merchant_moves_no_money_out_by_itself_and_sees_only_its_own(shop: Shop) -> None:
    await with_terms(shop)
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    asked = await shop.post("/v1/payouts", {})
    path = f"/v1/payouts/{asked['id']}"
    for verb, body in (("approve", None), ("confirm", {"bank_reference": "x"}), ("fail", {"reason": "x"})):
        assert (await shop.refused("POST", f"{path}/{verb}", body))[:2] == (403, "scope_missing")
    terms = f"/v1/merchants/{shop.merchant}/payout_terms"
    assert (await shop.refused("PUT", terms, {"destination": {"iban": "mine"}}))[:2] == (403, "scope_missing")
    for stranger in (shop.other_key, shop.live_key):
        assert (await shop.refused("GET", path, key=stranger))[:2] == (404, "payout_not_found")
        assert (await shop.get("/v1/payouts", key=stranger))["data"] == []
    refusal = await shop.refused("POST", "/v1/payouts", {"merchant": shop.merchant}, key=shop.other_key)
    assert refusal == (422, "merchant_not_possible", ["/merchant"])


async def test_what_cannot_be_paid_is_refused_in_words(shop: Shop) -> None:
    assert (await shop.refused("POST", "/v1/payouts", {}))[:2] == (409, "payout_destination_missing")
    assert (await shop.refused("POST", "/v1/payouts", {}, key=ADMIN))[:2] == (422, "merchant_missing")
    await with_terms(shop)
    assert (await shop.refused("POST", "/v1/payouts", {}))[:2] == (409, "payout_exceeds_available")
    part = {"amount": {"amount": "0.001", "currency": "USD"}}
    assert await shop.refused("POST", "/v1/payouts", part) == (
        422, "payout_has_parts_of_a_cent", ["/amount/amount"],
    )  # fmt: skip


async def test_the_balance_says_when_more_comes(shop: Shop) -> None:
    await move(shop, Account.MERCHANT_PENDING, 100)
    services = shop.world.services
    yesterday = services.clock.now_us() // 86_400_000_000 - 1
    common = {"merchant_id": shop.merchant, "mode": "test", "first_sequence": 1, "last_sequence": 1, "updated_us": 0}

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.insert("earning", **common, day=yesterday, units=100 * 10**9, reserve_units=0, status="pending",
                       due_us=1_800_000_000_000_000, reserve_due_us=0)  # fmt: skip
        changes.insert("earning", **common, day=yesterday - 1, units=10**9, reserve_units=5 * 10**8,
                       status="available", due_us=0, reserve_due_us=1_800_000_000_000_000)  # fmt: skip
        return {}

    await services.writer.submit(Unit(shop.merchant, "test", None, (), decide))
    balance = await shop.get("/v1/balance")
    assert (balance["pending"], balance["available"]) == ("100.00", "0.00")
    [coming] = balance["next_available"]
    assert (coming["amount"], coming["at"]) == ("100.00", "2027-01-15T08:00:00.000Z")
    assert [release["amount"] for release in balance["next_reserve"]] == ["0.50"]


async def test_a_batch_is_built_approved_fetched_and_answered(shop: Shop) -> None:
    await with_terms(shop)
    await move(shop, Account.MERCHANT_AVAILABLE, 100)
    asked = await shop.post("/v1/payouts", {})
    await shop.post(f"/v1/payouts/{asked['id']}/approve", key=ADMIN)
    headers = {"Idempotency-Key": "batch-1"}
    batch = await shop.post("/v1/payout_batches", {"mode": "test"}, key=ADMIN, headers=headers)
    assert await shop.post("/v1/payout_batches", {"mode": "test"}, key=ADMIN, headers=headers) == batch
    path = f"/v1/payout_batches/{batch['id']}"
    assert batch["id"].startswith("pob_")
    assert (await shop.refused("POST", f"{path}/approve", key=ADMIN))[:2] == (
        403, "payout_batch_needs_a_second_person",
    )  # fmt: skip
    await shop.world.services.payout_batches.approve(batch["id"], "operator:ann")
    reply = await shop.call("GET", f"{path}/file", key=ADMIN)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    digest = base64.b64encode(hashlib.sha256(reply.raw).digest()).decode()
    assert reply.headers["Content-Digest"] == f"sha-256=:{digest}:"
    assert hashlib.sha256(reply.raw).hexdigest() == batch["content_hash"]
    assert (await shop.call("GET", f"{path}/file", key=ADMIN)).raw == reply.raw
    lines = [{"payout": asked["id"], "result": "paid", "words": "FT1", "amount": {"amount": "1", "currency": "EUR"}}]
    assert (await shop.refused("POST", f"{path}/answer", {"lines": lines}, key=ADMIN))[:2] == (
        422, "currency_not_possible",
    )  # fmt: skip
    lines[0]["amount"] = {"amount": "100", "currency": "USD"}
    answer = await shop.post(f"{path}/answer", {"lines": lines}, key=ADMIN)
    assert (answer["results"], answer["open"]) == ([{"payout": asked["id"], "done": True, "status": "paid"}], 0)
    shown = await shop.get(path, key=ADMIN)
    assert [line["bank_reference"] for line in shown["payouts"]] == ["FT1"]
    assert (await shop.get("/v1/payout_batches?mode=test&status=approved", key=ADMIN))["data"][0]["id"] == batch["id"]
    assert (await shop.get("/v1/payout_batches?mode=live", key=ADMIN))["data"] == []
    assert (await shop.get(f"/v1/payouts/{asked['id']}"))["batch"] == batch["id"]


async def test_a_merchant_has_nothing_to_do_with_batches(shop: Shop) -> None:
    for method, path in (("GET", ""), ("GET", "/pob_1"), ("GET", "/pob_1/file"), ("POST", ""),
                         ("POST", "/pob_1/approve"), ("POST", "/pob_1/cancel"), ("POST", "/pob_1/answer")):  # fmt: skip
        assert (await shop.refused(method, f"/v1/payout_batches{path}", {} if method == "POST" else None))[:2] == (
            403, "scope_missing",
        )  # fmt: skip
