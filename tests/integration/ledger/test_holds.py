"""Holds and spend leases over HTTP: nothing is spent twice, nothing that was used is dropped."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from orchestrator.ledger.hold_desk import Holds
from tests.integration.ledger.bank import CENT, Bank, usd

NO_HOLD = "hold_" + "0" * 32


async def test_a_hold_is_captured_with_what_the_call_cost_and_the_rest_comes_back(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    hold = await bank.hold(wallet, "2.00", reference="call 7")
    assert (hold["status"], hold["reference"], hold["captured"]) == ("open", "call 7", None)
    assert await bank.balance(wallet) == {
        "available": "3.00", "held": "2.00", "provisional": "0.00", "promotional": "0.00", "debt": "0.00",
    }  # fmt: skip
    done = await bank.capture(hold, "0.123456789")
    assert (done["status"], done["captured"]) == ("captured", usd("0.123456789"))
    assert done["charged_to"] == {"paid": "0.123456789", "promotional": "0.00", "provisional": "0.00", "debt": "0.00"}
    assert (await bank.balance(wallet))["available"] == "4.876543211"
    assert await bank.account("merchant:pending") == -123_456_789
    assert (await bank.get(f"/v1/holds/{hold['id']}"))["status"] == "captured"
    await bank.assert_sound()


async def test_capturing_again_answers_the_first_answer_and_another_amount_is_a_conflict(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    hold = await bank.hold(wallet, "2.00")
    first = await bank.capture(hold, "1.50")
    assert await bank.capture(hold, "1.50") == first
    path = f"/v1/holds/{hold['id']}"
    assert await bank.refused("POST", f"{path}/capture", {"amount": usd("1.51")}) == (409, "hold_already_captured")
    assert await bank.refused("POST", f"{path}/void") == (409, "hold_already_captured")
    assert (await bank.balance(wallet))["available"] == "3.50"
    await bank.assert_sound()


async def test_ten_captures_at_once_charge_once(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    hold = await bank.hold(wallet, "2.00")
    answers = await asyncio.gather(*(bank.capture(hold, "1.00") for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert (await bank.balance(wallet))["available"] == "4.00"


async def test_a_voided_hold_gives_everything_back_and_cannot_be_captured(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    hold = await bank.hold(wallet, "2.00")
    path = f"/v1/holds/{hold['id']}"
    assert (await bank.post(f"{path}/void"))["status"] == "voided"
    assert (await bank.post(f"{path}/void"))["status"] == "voided"
    assert await bank.refused("POST", f"{path}/capture", {"amount": usd("1.00")}) == (409, "hold_voided")
    assert (await bank.balance(wallet))["available"] == "5.00"
    assert await bank.kinds(wallet) == ["topup", "hold", "hold_void"]
    await bank.assert_sound()


async def test_a_hold_above_the_balance_is_refused_and_says_what_can_be_spent(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    await bank.hold(wallet, "3.00")
    reply = await bank.call("POST", "/v1/holds", {"wallet": wallet, "amount": usd("2.01")})
    assert (reply.status, reply.json["code"], reply.json["retryable"]) == (402, "insufficient_balance", False)
    assert reply.json["spendable"] == usd("2.00")
    assert len(await bank.rows("hold")) == 1


async def test_usage_beyond_the_hold_takes_other_credit_then_becomes_debt(bank: Bank) -> None:
    wallet = await bank.wallet(paid=300)
    await bank.grant(wallet, "1.00")
    hold = await bank.hold(wallet, "2.00")
    done = await bank.capture(hold, "7.00")
    assert done["charged_to"] == {"paid": "3.00", "promotional": "1.00", "provisional": "0.00", "debt": "3.00"}
    assert await bank.balance(wallet) == {
        "available": "0.00", "held": "0.00", "provisional": "0.00", "promotional": "0.00", "debt": "3.00",
    }  # fmt: skip
    assert await bank.account("merchant:unfunded") == -300 * CENT
    assert [event["debt"] for event in await bank.events("wallet.negative")] == [usd("3.00")]
    await bank.pay(wallet, 500)
    assert (await bank.balance(wallet))["available"] == "2.00"
    assert await bank.account("merchant:unfunded") == 0
    assert await bank.account("merchant:pending") == -600 * CENT
    await bank.assert_sound()


@pytest.mark.parametrize("booked", [True, False])
async def test_a_capture_after_expiry_is_a_plain_debit_whether_or_not_the_expiry_was_booked(
    bank: Bank, booked: bool
) -> None:
    wallet = await bank.wallet(paid=300)
    hold = await bank.hold(wallet, "2.00", expires_in=60)
    bank.later(61)
    if booked:
        assert await bank.services.holds.expire_due() == 1
        assert (await bank.get(f"/v1/holds/{hold['id']}"))["status"] == "expired"
        assert (await bank.post(f"/v1/holds/{hold['id']}/void"))["status"] == "expired"
    await bank.hold(wallet, "2.50") if booked else None
    done = await bank.capture(hold, "2.00")
    debt = "1.50" if booked else "0.00"
    assert (done["status"], done["charged_to"]["debt"]) == ("captured", debt)
    assert await bank.services.holds.expire_due() == 0
    await bank.assert_sound()


async def test_only_holds_whose_time_is_over_expire(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    short = [await bank.hold(wallet, "1.00", expires_in=10) for _ in range(3)]
    long = await bank.hold(wallet, "1.00", expires_in=1000)
    assert await bank.services.holds.expire_due() == 0
    bank.later(11)
    assert await bank.services.holds.expire_due() == 3
    states = Counter([(await bank.get(f"/v1/holds/{hold['id']}"))["status"] for hold in (*short, long)])
    assert states == {"expired": 3, "open": 1}
    assert (await bank.balance(wallet))["held"] == "1.00"
    await bank.assert_sound()


async def test_a_hold_can_be_ended_by_a_process_that_did_not_make_it(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    hold = await bank.hold(wallet, "1.00")
    other = Holds(bank.services.writer, bank.services.reads, bank.services.clock)
    done = await other.capture(bank.merchant, "test", hold["id"], "hold", 40 * CENT)
    assert done["captured"] == usd("0.40")
    assert (await bank.capture(hold, "0.40")) == done


async def test_a_hold_that_is_asked_for_again_under_its_key_is_one_hold(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    body = {"wallet": wallet, "amount": usd("1.00")}
    first = await bank.post("/v1/holds", body, idempotency_key="k1")
    assert await bank.post("/v1/holds", body, idempotency_key="k1") == first
    assert len(await bank.rows("hold")) == 1


async def test_a_hold_within_a_grace_overdraft_keeps_its_room(bank: Bank) -> None:
    wallet = await bank.wallet(paid=100, overdraft="grace", overdraft_limit=usd("2.00"))
    hold = await bank.hold(wallet, "2.50")
    assert await bank.refused("POST", "/v1/holds", {"wallet": wallet, "amount": usd("0.51")}) == (
        402, "insufficient_balance",
    )  # fmt: skip
    other = await bank.hold(wallet, "0.50")
    await bank.post(f"/v1/holds/{other['id']}/void")
    assert (await bank.capture(hold, "2.50"))["charged_to"]["debt"] == "1.50"
    await bank.assert_sound()


async def test_free_credit_that_expires_while_a_hold_has_it_leaves_after_the_hold(bank: Bank) -> None:
    wallet = await bank.wallet(paid=100)
    await bank.grant(wallet, "1.00", lives_s=60)
    hold = await bank.hold(wallet, "0.75", expires_in=600)
    bank.later(61)
    assert await bank.services.credit_expiry.expire_due() == 1
    assert (await bank.balance(wallet)) == {
        "available": "1.00", "held": "0.75", "provisional": "0.00", "promotional": "0.00", "debt": "0.00",
    }  # fmt: skip
    assert (await bank.capture(hold, "0.50"))["charged_to"]["promotional"] == "0.50"
    assert await bank.services.credit_expiry.expire_due() == 1
    told = [event["amount"] for event in await bank.events("wallet.expired_credit")]
    assert told == [usd("0.25"), usd("0.25")]
    assert await bank.account("promo:funding") == 0
    assert await bank.account("breakage") == 0
    await bank.assert_sound()


async def test_a_lease_is_settled_in_one_batch_and_returns_the_rest(bank: Bank) -> None:
    wallet = await bank.wallet(paid=500)
    lease = await bank.post("/v1/leases", {"wallet": wallet, "amount": usd("3.00"), "expires_in": 30})
    assert lease["id"].startswith("lea_")
    calls = [usd("0.25"), usd("0.000000001"), usd("1.10")]
    done = await bank.post(f"/v1/leases/{lease['id']}/settle", {"amounts": calls})
    assert done["captured"] == usd("1.350000001")
    assert await bank.post(f"/v1/leases/{lease['id']}/settle", {"amount": usd("1.350000001")}) == done
    assert (await bank.balance(wallet))["available"] == "3.649999999"
    assert (await bank.get(f"/v1/leases/{lease['id']}"))["status"] == "captured"
    assert await bank.kinds(wallet) == ["topup", "lease", "lease_capture"]
    await bank.assert_sound()


async def test_a_lease_that_is_settled_late_and_beyond_its_amount_loses_nothing(bank: Bank) -> None:
    wallet = await bank.wallet(paid=200)
    lease = await bank.post("/v1/leases", {"wallet": wallet, "amount": usd("1.00"), "expires_in": 1})
    bank.later(2)
    await bank.services.holds.expire_due()
    done = await bank.post(f"/v1/leases/{lease['id']}/settle", {"amount": usd("2.50")})
    assert done["charged_to"] == {"paid": "2.00", "promotional": "0.00", "provisional": "0.00", "debt": "0.50"}
    await bank.assert_sound()


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("/v1/holds", {"wallet": "wal_none", "amount": usd("1.00")}, (404, "wallet_not_found")),
        ("/v1/holds", {"wallet": "WALLET", "amount": usd("0.00")}, (422, "amount_is_zero")),
        ("/v1/holds", {"wallet": "WALLET", "amount": {"amount": "1.00", "currency": "EUR"}}, (422, "currency_not_possible")),
        ("/v1/holds", {"wallet": "WALLET", "amount": usd("1.00"), "expires_in": 0}, (422, "invalid_request")),
        ("/v1/holds", {"wallet": "WALLET", "amount": usd("0.0000000001")}, (422, "amount_invalid")),
        (f"/v1/holds/{NO_HOLD}/capture", {"amount": usd("1.00")}, (404, "hold_not_found")),
        (f"/v1/holds/{NO_HOLD}/void", None, (404, "hold_not_found")),
        ("/v1/leases/LEASE/settle", {}, (422, "invalid_request")),
        ("/v1/leases/LEASE/settle", {"amount": usd("1.00"), "amounts": []}, (422, "invalid_request")),
        ("/v1/holds/LEASE/capture", {"amount": usd("1.00")}, (404, "hold_not_found")),
        ("/v1/holds/LEASE/void", None, (404, "hold_not_found")),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_and_changes_nothing(
    small_bank: Bank, path: str, body: object, refusal: tuple[int, str]
) -> None:
    bank = small_bank
    wallet = await bank.wallet(paid=500)
    lease = await bank.post("/v1/leases", {"wallet": wallet, "amount": usd("1.00")})
    if isinstance(body, dict) and body.get("wallet") == "WALLET":
        body = {**body, "wallet": wallet}
    entries = len(await bank.rows("journal_entry"))
    assert await bank.refused("POST", path.replace("LEASE", lease["id"]), body) == refusal
    assert len(await bank.rows("journal_entry")) == entries


async def test_another_merchants_hold_does_not_exist(small_bank: Bank) -> None:
    bank = small_bank
    hold = await bank.hold(await bank.wallet(paid=500), "1.00")
    other = (await bank.services.access.create_merchant("Other"))["id"]
    key = (await bank.services.access.create_key(other, "test", ("read", "write"))).secret
    live = (await bank.services.access.create_key(bank.merchant, "live", ("read", "write"))).secret
    for token in (key, live):
        path = f"/v1/holds/{hold['id']}"
        assert await bank.refused("POST", f"{path}/capture", {"amount": usd("1.00")}, token=token) == (
            404, "hold_not_found",
        )  # fmt: skip
        assert await bank.refused("GET", path, token=token) == (404, "hold_not_found")
    assert (await bank.get(f"/v1/holds/{hold['id']}"))["status"] == "open"
