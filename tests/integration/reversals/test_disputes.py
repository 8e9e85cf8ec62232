"""Disputes over Stripe's and Adyen's wire formats: frozen, lost, won, and won after lost, to the last unit."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.base import Mode
from adapters.operations import DisputeEvent, DisputeState, Evidence, Funds
from orchestrator.database import tables
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict
from orchestrator.ids import new_id
from orchestrator.ledger.holds import HoldTerms
from rates.money import Asset, Money
from tests.integration.reversals.scene import USD, Paid, Scene, reversing, usd
from tests.support.world import MERCHANT, MODE


def said(
    paid: Paid, dispute: str, state: str, funds: str = "unchanged", *, part: int = 1, number: int = 1
) -> DisputeEvent:
    """What Stripe's adapter makes of a webhook."""
    amount = Money(paid.capture["units"] // part, Asset.parse(paid.capture["asset"]))
    return DisputeEvent(
        rail="stripe", account="main", mode=Mode.TEST, event_id=f"{dispute}:{state}:{funds}:{number}", dispute_id=dispute,
        state=DisputeState(state), inquiry=False, funds=Funds(funds), money_id=paid.money_id, attempt_id=None,
        amount=amount, reason="fraudulent", answer_by=datetime(2030, 1, 1, tzinfo=UTC), occurred_at=datetime.now(UTC),
    )  # fmt: skip


async def tell(scene: Scene, *events: DisputeEvent) -> Row:
    for event in events:
        await scene.services.disputes.apply(event)
    (row,) = await scene.rows(tables.Dispute, rail_dispute_id=events[0].dispute_id)
    return row


async def types(scene: Scene) -> list[str]:
    return [row["type"] for row in await scene.rows(tables.Event) if row["type"].startswith(("dispute", "wallet.neg"))]


async def test_a_dispute_freezes_what_is_left_and_a_win_gives_it_back(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        await scene.spend(paid.wallet, "5.00")
        dispute = await scene.dispute(paid)
        assert await scene.balance("wallet:frozen", paid.wallet) == -15 * USD
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        assert await scene.balance("dispute:receivable", "", "EUR/2") == paid.capture["units"]
        assert (await scene.payment(paid))["status"] == "disputed"
        with pytest.raises(Conflict, match="payment_is_disputed"):
            await scene.refund(paid, "1.00", forced=True)
        await scene.assert_sound()
        await scene.services.disputes.submit(dispute, Evidence("winning_evidence"))
        won = await scene.until_dispute(dispute, lambda row: row["state"] == "won" and not row["withdrawn_units"])
        assert won["answered"] == "submitted"
        assert await scene.balance("wallet:paid", paid.wallet) == -15 * USD
        assert await scene.balance("dispute:receivable", "", "EUR/2") == 0
        assert (await scene.payment(paid))["status"] == "credited"
        assert [review["status"] for review in await scene.rows(tables.Review)] == ["resolved"]
        await scene.assert_sound()


async def test_a_dispute_lost_after_the_credit_was_spent_is_borne_in_the_order_of_the_rules(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00", who="spender")
        await scene.spend(paid.wallet, "18.00")
        other = await scene.paid("BR", "3.00", who="other-buyer")
        dispute = await scene.dispute(paid)
        await scene.services.disputes.accept(dispute)
        lost = await scene.until_dispute(dispute, lambda row: row["clawed_units"] > 0)
        bearers = [(row["source"], row["units"]) for row in await scene.rows(tables.DisputeAllocation)]
        assert sum(units for _, units in bearers) == lost["clawed_units"]
        by_source = dict(bearers)
        assert by_source["lot"] == 2 * USD  # what was left of it
        assert by_source["receivable"] > 18 * USD  # what was spent, and the rail's fee: nothing had matured
        assert "available" not in by_source
        debt = await scene.balance("wallet:debt", paid.wallet)
        assert debt == by_source["receivable"]
        assert await scene.balance("wallet:paid", other.wallet) == -3 * USD  # nobody else pays
        assert (await scene.payment(paid))["status"] == "clawed_back"
        told = list(dict.fromkeys(await types(scene)))
        assert told == ["dispute.opened", "dispute.updated", "wallet.negative", "dispute.lost"]
        await scene.assert_sound()
        again = await scene.paid("DE", "50.00", who="spender")  # the next top-up pays the debt first
        assert again.wallet == paid.wallet
        assert await scene.balance("wallet:debt", paid.wallet) == 0
        assert await scene.balance("wallet:paid", paid.wallet) == -(50 * USD - debt)
        assert await scene.balance("merchant:receivable", "") == 0
        await scene.assert_sound()


async def test_a_dispute_that_is_won_after_it_was_lost_gives_back_exactly_what_was_taken(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        scene.here.switched_off.add("disputes")
        paid = await scene.paid("DE", "20.00", who="spender")
        await scene.spend(paid.wallet, "12.00")
        parts = [("wallet:paid", paid.wallet), ("wallet:debt", paid.wallet), ("merchant:receivable", ""),
                 ("fees:platform", ""), ("fx:spread", ""), ("merchant:unfunded", "")]  # fmt: skip
        before = [await scene.balance(*part) for part in parts]
        clearing = await scene.balance("clearing", "stripe/main", "EUR/2")
        await tell(scene, said(paid, "du_1", "needs_answer"), said(paid, "du_1", "needs_answer", "withdrawn"),
                   said(paid, "du_1", "lost"))  # fmt: skip
        await scene.assert_sound()
        row = await tell(scene, said(paid, "du_1", "won", "returned"))
        assert (row["state"], row["clawed_units"], row["withdrawn_units"]) == ("won", 0, 0)
        assert [await scene.balance(*part) for part in parts] == before
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == clearing
        assert await scene.balance("fx:position", "", "EUR/2") == -paid.capture["units"]
        await scene.assert_sound()


async def test_debt_that_was_repaid_before_the_win_comes_back_to_the_customer(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        scene.here.switched_off.add("disputes")
        paid = await scene.paid("DE", "20.00", who="spender")
        await scene.spend(paid.wallet, "20.00")
        await tell(scene, said(paid, "du_1", "needs_answer", "withdrawn"), said(paid, "du_1", "lost"))
        debt = await scene.balance("wallet:debt", paid.wallet)
        await scene.paid("DE", "50.00", who="spender")
        await tell(scene, said(paid, "du_1", "won", "returned"))
        assert await scene.balance("wallet:paid", paid.wallet) == -50 * USD
        assert debt > 20 * USD
        await scene.assert_sound()


ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_whatever_order_the_words_of_a_lost_dispute_come_in_the_books_are_the_same(
    sqlite_url: str, tmp_path: Path, order: tuple[int, ...]
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        scene.here.switched_off.add("disputes")
        paid = await scene.paid("DE", "20.00")
        await scene.spend(paid.wallet, "3.00")
        words = (said(paid, "du_1", "needs_answer"), said(paid, "du_1", "needs_answer", "withdrawn"),
                 said(paid, "du_1", "lost"))  # fmt: skip
        row = await tell(scene, *(words[number] for number in order), *words)
        assert (row["state"], row["withdrawals"]) == ("lost", 1)
        assert row["clawed_units"] > 17 * USD
        assert await scene.balance("wallet:frozen", paid.wallet) == 0
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        assert await scene.balance("dispute:receivable", "", "EUR/2") == 0
        await scene.assert_sound()


async def test_a_hundred_copies_of_a_withdrawal_are_one(migrated_database_url: str, tmp_path: Path) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        event = said(paid, "du_1", "needs_answer", "withdrawn")
        await asyncio.gather(*(scene.services.disputes.apply(event) for _ in range(100)))
        (row,) = await scene.rows(tables.Dispute)
        assert (row["withdrawals"], row["withdrawn_units"]) == (1, paid.capture["units"])
        await scene.assert_sound()


async def test_refund_and_dispute_at_once_never_give_back_more_than_was_paid(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        event = said(paid, "du_1", "needs_answer", "withdrawn")
        await asyncio.gather(
            scene.refund(paid, "15.00"), scene.services.disputes.apply(event), scene.refund(paid, "5.00"),
            return_exceptions=True,
        )  # fmt: skip
        (capture,) = await scene.rows(tables.Capture, id=paid.capture["id"])
        gone = capture["refunding_units"] + capture["refunded_units"] + capture["withdrawn_units"]
        assert gone <= capture["units"]
        await scene.assert_sound()


async def test_a_withdrawal_above_what_is_left_is_the_merchant_s_to_settle_and_a_person_s_to_look_at(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        await scene.until_refund(await scene.refund(paid, "15.00"), "succeeded")
        row = await tell(scene, said(paid, "du_1", "needs_answer", "withdrawn"))
        assert 0 < row["withdrawn_units"] < paid.capture["units"]
        over = paid.capture["units"] - row["withdrawn_units"]
        assert await scene.balance("merchant:receivable", "", "EUR/2") == over
        assert {review["reason"] for review in await scene.rows(tables.Review)} == {
            "dispute_above_captured", "dispute_opened",
        }  # fmt: skip
        await scene.assert_sound()


async def test_what_a_hold_had_is_frozen_when_it_is_released(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        scene.here.switched_off.add("disputes")
        paid = await scene.paid("DE", "20.00")
        await scene.services.holds.make(HoldTerms(MERCHANT, MODE, "hold_1", paid.wallet, "hold", 12 * USD, 60_000_000))
        await tell(scene, said(paid, "du_1", "needs_answer", "withdrawn"))
        assert await scene.balance("wallet:frozen", paid.wallet) == -8 * USD
        await scene.services.holds.void(MERCHANT, MODE, "hold_1", "hold")
        await scene.services.disputes.run_once()
        assert await scene.balance("wallet:frozen", paid.wallet) == -20 * USD
        await scene.assert_sound()


async def test_a_bank_s_question_freezes_nothing_and_moves_no_money(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00", card="4000000000001976")

        async def asked() -> Row | None:
            rows = await scene.rows(tables.Dispute)
            return rows[0] if rows else None

        row = await scene.until(asked)
        assert row["inquiry"] == 1
        assert await scene.balance("wallet:paid", paid.wallet) == -20 * USD
        assert (await scene.payment(paid))["status"] == "credited"
        await scene.assert_sound()


async def test_a_card_that_is_disputed_at_once_ends_the_same(migrated_database_url: str, tmp_path: Path) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00", card="4000000000000259")

        async def frozen() -> Row | None:
            rows = await scene.rows(tables.Dispute)
            return rows[0] if rows and rows[0]["withdrawn_units"] and rows[0]["frozen"] != "[]" else None

        await scene.until(frozen)
        assert await scene.balance("wallet:frozen", paid.wallet) == -20 * USD
        await scene.assert_sound()


async def test_a_partial_second_stage_and_a_lost_webhook_are_found_by_asking(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        scene.here.switched_off.add("inbox")
        await scene.here.post(f"{scene.here.sandbox_url}/stripe/main/_bank/disputes", {"payment_intent": paid.money_id})
        assert await scene.services.disputes.poll() == 2  # it began, and its funds went
        assert await scene.services.disputes.poll() == 0
        (row,) = await scene.rows(tables.Dispute)
        assert (row["state"], row["inquiry"]) == ("needs_answer", 0)
        assert await scene.balance("wallet:frozen", paid.wallet) == -20 * USD
        await scene.assert_sound()


async def test_a_part_that_is_lost_takes_a_part(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        scene.here.switched_off.add("disputes")
        paid = await scene.paid("DE", "20.00")
        half = said(paid, "du_1", "needs_answer", "withdrawn", part=2)
        row = await tell(scene, half, replace(said(paid, "du_1", "lost", part=2), event_id=new_id("evt")))
        assert usd("10.00") - 10**8 <= row["clawed_units"] <= usd("11.00")
        assert (await scene.payment(paid))["status"] == "clawed_back"
        await scene.assert_sound()
