"""Refunds over the vendors' wire formats: what goes back, from whose credit, once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters import operations
from adapters.base import Mode
from adapters.operations import RefundEvent, RefundState
from orchestrator.database import tables
from orchestrator.errors import Conflict, Refusal
from orchestrator.ledger.holds import HoldTerms
from rates.money import Asset, Money
from tests.integration.reversals.scene import USD, reversing, usd
from tests.support.world import MERCHANT, MODE


async def test_a_part_and_then_the_rest_goes_back_to_the_card_and_the_books_are_exact(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        first = await scene.until_refund(await scene.refund(paid, "5.00"), "succeeded")
        payment = await scene.payment(paid)
        assert (payment["status"], payment["refunded_units"], payment["refunding_units"]) == (
            "partially_refunded",
            5 * USD,
            0,
        )
        await scene.assert_sound()
        last = await scene.until_refund(await scene.refund(paid), "succeeded")
        assert last["units"] == 15 * USD
        payment = await scene.payment(paid)
        assert (payment["status"], payment["refunded_units"]) == ("refunded", 20 * USD)
        (capture,) = await scene.rows(tables.Capture, id=paid.capture["id"])
        assert capture["refunded_units"] == first["local_units"] + last["local_units"] <= capture["units"]
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        assert await scene.balance("wallet:refunding", paid.wallet) == 0
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == capture["units"] - capture["refunded_units"]
        # What stays is the rail's fee alone: the position is short of it by less than a cent.
        fee = -await scene.balance("fees:rail_recharged", "")
        assert fee > 0
        assert await scene.balance("fees:platform", "") == 0
        assert await scene.balance("fx:spread", "") == 0
        await scene.assert_sound()
        with pytest.raises(Conflict, match="payment_not_refundable"):
            await scene.refund(paid, "1.00")


async def test_only_unspent_credit_goes_back_unless_an_operator_forces_more(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("BR", "20.00")
        await scene.spend(paid.wallet, "15.00")
        with pytest.raises(Conflict, match=r"credit_was_used: 5\.00 USD"):
            await scene.refund(paid, "6.00")
        all_that_can = await scene.until_refund(await scene.refund(paid), "succeeded")
        assert all_that_can["units"] == 5 * USD
        forced = await scene.until_refund(await scene.refund(paid, "10.00", forced=True), "succeeded")
        assert forced["units"] == 10 * USD
        assert await scene.balance("merchant:receivable", "") == 10 * USD  # nothing had matured: the merchant owes it
        await scene.assert_sound()


async def test_a_hundred_refunds_at_once_give_back_no_more_than_was_paid(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        answers = await asyncio.gather(*(scene.refund(paid, "3.00") for _ in range(100)), return_exceptions=True)
        made = [one for one in answers if not isinstance(one, BaseException)]
        assert len(made) == 6
        assert all(isinstance(one, Refusal) for one in answers if isinstance(one, BaseException))
        for row in made:
            await scene.until_refund(row, "succeeded")
        assert (await scene.payment(paid))["refunded_units"] == 18 * USD
        await scene.assert_sound()


async def test_the_same_refund_asked_a_hundred_times_is_one(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        wanted = scene.wanted(paid, "4.00")
        await asyncio.gather(*(scene.services.refunds.request(wanted) for _ in range(100)))
        assert len(await scene.rows(tables.Refund)) == 1
        row = await scene.services.refunds.find(wanted.id, MERCHANT, MODE)
        await scene.until_refund(row, "succeeded")
        assert (await scene.payment(paid))["refunded_units"] == 4 * USD
        await scene.assert_sound()


async def test_a_lost_answer_is_asked_for_and_nothing_is_sent_twice(migrated_database_url: str, tmp_path: Path) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        scene.here.switched_off.add("inbox")  # the webhook must not help
        await scene.here.control("stripe", "main", {"drop_answer": 1})
        row = await scene.refund(paid, "5.00")
        await scene.until_refund(row, "succeeded")
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == paid.capture["units"] - row["local_units"]
        await scene.assert_sound()


async def test_a_rail_that_is_down_keeps_the_refund_and_carries_it_out_later(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("BR", "20.00")
        await scene.here.control("adyen", "main", {"down": 2})
        row = await scene.refund(paid, "5.00")
        assert row["status"] in {"created", "sent"}
        assert await scene.balance("wallet:refunding", paid.wallet) == -5 * USD
        await scene.until_refund(row, "succeeded")
        await scene.assert_sound()


async def test_a_refund_that_the_bank_sends_back_is_credit_again(migrated_database_url: str, tmp_path: Path) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00", card="4000000000005126")
        row = await scene.until_refund(await scene.refund(paid, "20.00"), "succeeded")
        await scene.here.post(f"{scene.here.sandbox_url}/stripe/main/_bank/refunds", {})
        failed = await scene.until_refund(row, "failed")
        assert "expired_or_canceled_card" in failed["failure"]
        assert await scene.balance("wallet:paid", paid.wallet) == -20 * USD
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == paid.capture["units"]
        assert (await scene.payment(paid))["status"] == "credited"
        assert [row["reason"] for row in await scene.rows(tables.Review)] == ["refund_returned"]
        await scene.assert_sound()


async def test_used_credit_can_be_given_back_into_the_wallet_at_the_merchant_s_cost(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        await scene.spend(paid.wallet, "7.50")
        with pytest.raises(Conflict, match=r"credit_not_used: 7\.50"):
            await scene.refund(paid, "8.00", destination="wallet")
        row = await scene.refund(paid, "2.50", destination="wallet")
        assert row["status"] == "succeeded"
        assert await scene.balance("wallet:paid", paid.wallet) == -usd("15.00")
        assert await scene.balance("merchant:receivable", "") == usd("2.50")
        await scene.assert_sound()
        with pytest.raises(Conflict, match=r"credit_not_used: 5\.00"):
            await scene.refund(paid, "5.01", destination="wallet")


async def test_what_a_hold_has_set_aside_is_not_refunded(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        lots = await scene.rows(tables.Lot, wallet_id=paid.wallet)
        assert lots[0]["remaining_units"] == 20 * USD
        await scene.services.holds.make(HoldTerms(MERCHANT, MODE, "hold_1", paid.wallet, "hold", 12 * USD, 60_000_000))
        with pytest.raises(Conflict, match=r"credit_was_used: 8\.00"):
            await scene.refund(paid, "9.00")
        await scene.until_refund(await scene.refund(paid), "succeeded")
        await scene.assert_sound()


@pytest.mark.parametrize("reached", [False, True], ids=["before the call", "after the call"])
async def test_a_process_that_died_around_the_call_leaves_one_refund(
    migrated_database_url: str, tmp_path: Path, reached: bool
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        scene.here.switched_off |= {"inbox", "refunds"}
        refunds, wanted = scene.services.refunds, scene.wanted(paid, "5.00")
        await scene.here.control("stripe", "main", {"down": 1})  # Stripe's 503 does not say whether it acted
        row = await refunds.request(wanted)
        assert row["status"] == "sent"  # committed before the call: all that a process leaves that dies there
        if reached:  # the rail did it, and we died before its answer was stored
            adapter = scene.services.rails["stripe", "main"]
            assert isinstance(adapter, operations.Refunds)
            await adapter.refund_payment(await refunds.order(row))
        scene.here.switched_off.discard("refunds")
        ended = await scene.until_refund(row, "succeeded")
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == paid.capture["units"] - ended["local_units"]
        report = await scene.services.reconciliation.run("stripe", "main")
        assert report.ok, report.to_json()  # the rail's own lines: one payment, one refund
        assert report.lines == 2
        await scene.assert_sound()


async def test_a_refund_made_in_the_vendor_s_dashboard_is_booked_as_a_fact(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        await scene.spend(paid.wallet, "19.00")
        local = Money(paid.capture["units"] // 2, Asset.parse(paid.capture["asset"]))
        said = RefundEvent("stripe", "main", Mode.TEST, "re_x:succeeded", RefundState.SUCCEEDED, None, "re_x",
                           paid.money_id, local, datetime.now(UTC))  # fmt: skip
        await asyncio.gather(*(scene.services.refunds.apply(said) for _ in range(20)))
        (row,) = await scene.rows(tables.Refund)
        assert (row["origin"], row["status"], row["local_units"]) == ("rail", "succeeded", local.units)
        assert await scene.balance("wallet:paid", paid.wallet) == 0  # the rest of it
        assert await scene.balance("merchant:receivable", "") == row["units"] - 1 * USD
        assert [one["reason"] for one in await scene.rows(tables.Review)] == ["refund_made_at_rail"]
        await scene.assert_sound()
