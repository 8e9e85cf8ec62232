"""Free credit, its expiry, overdraft, freeze and alerts, over HTTP."""

from __future__ import annotations

import pytest

from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.ledger.refusals import InsufficientBalance, WalletFrozen
from tests.integration.ledger.bank import ADMIN_TOKEN, CENT, Bank, usd

DAY_S = 86_400


async def test_free_credit_is_spent_before_paid_credit_and_never_becomes_the_merchants(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    lot = await bank.grant(wallet, "2.00", kind="compensation", reason="an outage", priority=3)
    assert (lot["kind"], lot["remaining"], lot["priority"], lot["expires_at"]) == ("compensation", usd("2.00"), 3, None)
    assert await bank.balance(wallet) == {
        "available": "7.00", "held": "0.00", "provisional": "0.00", "promotional": "2.00", "debt": "0.00",
    }  # fmt: skip
    charged = await bank.charge(wallet, 300 * CENT)
    assert (charged.promotional, charged.paid) == (200 * CENT, 100 * CENT)
    assert await bank.account("merchant:pending") == -100 * CENT
    assert await bank.account("promo:funding") == 0
    assert [event.get("reason") for event in await bank.events("wallet.credited")] == [None, "an outage"]
    lots = (await bank.get(f"/v1/wallets/{wallet}/credits"))["data"]
    assert [(one["kind"], one["remaining"]["amount"]) for one in lots] == [("compensation", "0.00"), ("paid", "4.00")]
    await bank.assert_sound()


async def test_a_grant_that_is_asked_for_again_under_its_key_is_one_grant(bank: Bank) -> None:
    wallet = await bank.wallet()
    body = {"amount": usd("1.00"), "kind": "promotional", "reason": "welcome"}
    path = f"/v1/wallets/{wallet}/credits"
    assert await bank.post(path, body, idempotency_key="k") == await bank.post(path, body, idempotency_key="k")
    assert (await bank.balance(wallet))["promotional"] == "1.00"


async def test_what_is_left_of_a_grant_can_be_taken_back(bank: Bank) -> None:
    wallet = await bank.wallet(paid=100)
    lot = await bank.grant(wallet, "2.00")
    await bank.charge(wallet, 50 * CENT)
    await bank.hold(wallet, "0.25")
    path = f"/v1/wallets/{wallet}/credits/{lot['id']}/revoke"
    assert (await bank.post(path, {"reason": "by mistake"}))["remaining"] == usd("0.25")
    assert await bank.refused("POST", path, {"reason": "again"}) == (409, "credit_is_used")
    assert [event["amount"] for event in await bank.events("wallet.revoked_credit")] == [usd("1.25")]
    assert (await bank.balance(wallet))["available"] == "1.00"
    paid = (await bank.get(f"/v1/wallets/{wallet}/credits"))["data"][1]
    path = f"/v1/wallets/{wallet}/credits/{paid['id']}/revoke"
    assert await bank.refused("POST", path, {"reason": "x"}) == (409, "credit_is_paid")
    other = await bank.wallet()
    path = f"/v1/wallets/{other}/credits/{lot['id']}/revoke"
    assert await bank.refused("POST", path, {"reason": "x"}) == (404, "credit_not_found")
    await bank.assert_sound()


async def test_free_credit_expires_by_an_entry_and_is_not_spent_before_that(bank: Bank) -> None:
    wallet = await bank.wallet()
    await bank.grant(wallet, "1.00", lives_s=60)
    await bank.grant(wallet, "2.00")
    await bank.charge(wallet, 30 * CENT)
    assert await bank.services.credit_expiry.expire_due() == 0
    bank.later(61)
    with pytest.raises(InsufficientBalance):
        await bank.charge(wallet, 201 * CENT)
    assert await bank.services.credit_expiry.expire_due() == 1
    assert await bank.services.credit_expiry.expire_due() == 0
    (told,) = await bank.events("wallet.expired_credit")
    assert (told["amount"], told["available"], told["kind"]) == (usd("0.70"), usd("2.00"), "promotional")
    assert (await bank.balance(wallet))["available"] == "2.00"
    assert await bank.account("promo:funding") == 200 * CENT
    assert await bank.account("breakage") == 0
    await bank.assert_sound()


async def test_paid_credit_with_an_expiry_becomes_breakage(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    (lot,) = await bank.rows("lot")
    expires_us = bank.services.clock.now_us() + 1_000_000

    def decide(_view: View, changes: Changes) -> dict[str, str]:
        changes.update("lot", (bank.merchant, lot["id"]), expires_us=expires_us)
        return {}

    lock = row_lock("lot", bank.merchant, lot["id"])
    await bank.services.writer.submit(Unit(bank.merchant, "test", None, (lock,), decide))
    await bank.charge(wallet, 100 * CENT)
    bank.later(2)
    assert await bank.services.credit_expiry.expire_due() == 1
    assert await bank.account("breakage") == -400 * CENT
    assert (await bank.balance(wallet))["available"] == "0.00"
    await bank.assert_sound()


async def test_a_frozen_wallet_pays_nothing_takes_credit_and_captures_of_open_holds(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    hold = await bank.hold(wallet, "2.00")
    assert (await bank.set(wallet, status="frozen"))["status"] == "frozen"
    with pytest.raises(WalletFrozen, match="wallet_frozen"):
        await bank.charge(wallet, 1)
    assert await bank.refused("POST", "/v1/holds", {"wallet": wallet, "amount": usd("0.01")}) == (409, "wallet_frozen")
    await bank.pay(wallet, 100)
    await bank.grant(wallet, "1.00")
    assert (await bank.capture(hold, "2.00"))["charged_to"]["paid"] == "2.00"
    await bank.set(wallet, status="active")
    assert (await bank.charge(wallet, 500 * CENT)).units == 500 * CENT
    await bank.assert_sound()


async def test_debt_is_repaid_first_with_a_line_of_its_own(bank: Bank) -> None:
    wallet = await bank.wallet(paid=100, overdraft="debt")
    await bank.charge(wallet, 400 * CENT)
    assert (await bank.balance(wallet))["debt"] == "3.00"
    await bank.grant(wallet, "1.00")
    assert (await bank.balance(wallet))["debt"] == "3.00"
    await bank.pay(wallet, 500)
    balance = await bank.balance(wallet)
    assert (balance["debt"], balance["available"]) == ("0.00", "3.00")
    lines = (await bank.get(f"/v1/wallets/{wallet}/entries"))["data"]
    repaid = [line for line in lines if line["kind"] == "topup" and line["part"] == "debt"]
    assert [line["amount"] for line in repaid] == [usd("-3.00")]
    assert [event["debt_repaid"] for event in await bank.events("wallet.credited") if "debt_repaid" in event] == [
        usd("0.00"), usd("3.00"),
    ]  # fmt: skip
    await bank.assert_sound()


async def test_put_sets_everything_and_patch_only_what_is_given(bank: Bank) -> None:
    wallet = await bank.wallet(paid=100)
    path = f"/v1/wallets/{wallet}"
    given = {"overdraft": "grace", "overdraft_limit": usd("2.50"), "low_balance": usd("5.00"), "runway_days": 3}
    shown = (await bank.call("PUT", path, given)).json
    assert {name: shown[name] for name in given} == given
    shown = await bank.set(wallet, low_balance=usd("1.00"))
    assert (shown["overdraft"], shown["low_balance"], shown["runway_days"]) == ("grace", usd("1.00"), 3)
    shown = await bank.set(wallet, low_balance=None)
    assert (shown["low_balance"], shown["runway_days"]) == (None, 3)
    shown = (await bank.call("PUT", path, {})).json
    assert (shown["overdraft"], shown["overdraft_limit"], shown["runway_days"]) == ("hard", usd("0.00"), None)
    assert await bank.refused("PATCH", path, {"overdraft": "endless"}) == (422, "invalid_request")
    assert await bank.refused("PATCH", path, {"low_balance": {"amount": "1", "currency": "EUR"}}) == (
        422, "currency_not_possible",
    )  # fmt: skip
    assert await bank.refused("PATCH", "/v1/wallets/wal_none", {}) == (404, "wallet_not_found")


async def test_the_merchant_is_told_once_when_a_wallet_runs_low_and_again_after_a_credit(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500, low_balance=usd("2.00"))
    for units in (300 * CENT, 50 * CENT, 50 * CENT):
        await bank.charge(wallet, units)
    (told,) = await bank.events("wallet.debited_low")
    assert (told["reason"], told["available"], told["threshold"]) == ("threshold", usd("1.50"), usd("2.00"))
    await bank.pay(wallet, 500)
    await bank.charge(wallet, 500 * CENT)
    assert len(await bank.events("wallet.debited_low")) == 2


async def test_the_merchant_is_told_when_a_wallet_will_not_last_as_long_as_it_wants(bank: Bank) -> None:
    wallet = await bank.wallet(paid=1000, runway_days=7)
    idle = await bank.wallet(paid=1, runway_days=365)
    watch = bank.services.runway
    await bank.capture(await bank.hold(wallet, "4.00"), "4.00")
    assert await watch.spent(bank.merchant, "test", wallet) == 400 * CENT
    assert await watch.run_once() == 0
    await bank.capture(await bank.hold(wallet, "2.00"), "2.00")
    assert await watch.run_once() == 1
    assert await watch.run_once() == 0
    (told,) = await bank.events("wallet.debited_low")
    assert (told["wallet"], told["reason"], told["days_left"]) == (wallet, "runway", 4)
    assert told["wallet"] != idle
    bank.later(8 * DAY_S)
    assert await watch.spent(bank.merchant, "test", wallet) == 0
    assert await watch.run_once() == 0
    await bank.capture(await bank.hold(wallet, "3.00"), "3.00")
    assert await watch.run_once() == 1


async def test_the_platform_gives_credit_for_a_merchant_that_it_names(small_bank: Bank) -> None:
    bank = small_bank
    wallet = await bank.wallet()
    path = f"/v1/wallets/{wallet}/credits"
    body = {"amount": usd("1.00"), "kind": "compensation", "reason": "sorry"}
    assert await bank.refused("POST", path, body, token=ADMIN_TOKEN) == (422, "merchant_and_mode_needed")
    lot = await bank.post(path, {**body, "merchant": bank.merchant, "mode": "test"}, token=ADMIN_TOKEN)
    assert lot["wallet"] == wallet
    other = (await bank.services.access.create_merchant("Other"))["id"]
    assert await bank.refused("POST", path, {**body, "merchant": other}) == (403, "other_merchant")
    assert await bank.refused("POST", path, {**body, "merchant": other, "mode": "test"}, token=ADMIN_TOKEN) == (
        404, "wallet_not_found",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"amount": usd("0.00"), "kind": "promotional", "reason": "x"}, (422, "amount_is_zero")),
        ({"amount": usd("1.00"), "kind": "paid", "reason": "x"}, (422, "invalid_request")),
        ({"amount": usd("1.00"), "kind": "promotional", "reason": ""}, (422, "invalid_request")),
        ({"amount": usd("1.00"), "kind": "promotional", "reason": "x", "expires_at": "2020-01-01T00:00:00Z"},
         (422, "expires_at_is_past")),
    ],
)  # fmt: skip
async def test_a_grant_that_cannot_be_is_refused(small_bank: Bank, body: object, refusal: tuple[int, str]) -> None:
    wallet = await small_bank.wallet()
    assert await small_bank.refused("POST", f"/v1/wallets/{wallet}/credits", body) == refusal
    assert await small_bank.rows("journal_entry") == []
