"""From pending to available and reserve, on both databases."""

from __future__ import annotations

import asyncio

from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.ledger.chart import Account
from orchestrator.ledger.check import check
from orchestrator.ledger.earnings import RETURNED, Earnings
from orchestrator.ledger.payout_recipes import MerchantSide
from tests.integration.ledger_proof.books import MERCHANT, MODE, TIERS, USD, Books


async def test_a_day_matures_after_its_delay_and_gives_its_reserve_back(books: Books) -> None:
    await books.earn(60 * USD)
    await books.earn(40 * USD)
    assert await books.days(1) == 1
    assert await books.side() == MerchantSide(100 * USD, 0, 0, 0)
    [row] = await books.rows("earning")
    assert (row["units"], row["status"], row["first_sequence"], row["last_sequence"]) == (100 * USD, "pending", 1, 2)
    assert await books.days(1) == 0
    assert await books.days(1) == 1
    assert await books.side() == MerchantSide(0, 90 * USD, 10 * USD, 0)
    assert await books.days(4) == 0
    assert await books.days(2) == 1
    assert await books.side() == MerchantSide(0, 100 * USD, 0, 0)
    assert await books.days(20) == 0
    await books.assert_sound()


async def test_today_is_not_closed_and_what_came_late_counts_for_the_next_day(books: Books) -> None:
    await books.earn(1 * USD)
    assert await books.earnings.run_once() == 0
    yesterday_us = books.clock.at_us
    await books.days(1)
    books.clock.at_us, now_us = yesterday_us, books.clock.at_us  # another process, whose clock is behind
    await books.earn(2 * USD)
    books.clock.at_us = now_us
    await books.earn(4 * USD)
    await books.days(1)
    assert [row["units"] for row in await books.rows("earning")] == [1 * USD, 6 * USD]
    await books.assert_sound()


async def test_a_correction_after_the_day_was_closed_takes_from_what_matures(books: Books) -> None:
    await books.earn(10 * USD)
    await books.days(1)
    await books.earn(-8 * USD)
    await books.days(2)
    assert await books.side() == MerchantSide(0, 1_800_000_000, 200_000_000, 0)
    await books.earn(20 * USD)
    await books.days(4)
    side = await books.side()
    assert (side.pending, side.available + side.reserve) == (0, 22 * USD)
    await books.assert_sound()


async def test_money_that_comes_back_into_pending_is_not_stuck_there(books: Books) -> None:
    await books.earn(10 * USD)
    await books.days(2)
    await books.earn(-8 * USD)
    await books.days(1)  # the first day matures: two are there
    await books.earn(8 * USD)
    await books.days(1)
    await books.earn(1 * USD)
    await books.days(5)
    side = await books.side()
    assert (side.pending, side.available + side.reserve, side.receivable) == (0, 11 * USD, 0)


async def test_an_overdrawn_pending_is_taken_from_available_then_owed_then_repaid_first(books: Books) -> None:
    await books.earn(10 * USD)
    await books.days(3)
    assert (await books.side()).available == 9 * USD
    await books.earn(-15 * USD)
    assert (await books.side()).payable == 0
    await books.days(3)
    assert await books.side() == MerchantSide(0, 0, 1 * USD, 6 * USD)
    await books.earn(16 * USD)
    await books.days(3)
    side = await books.side()
    assert (side.receivable, side.pending) == (0, 0)
    assert side.available + side.reserve == 11 * USD
    await books.assert_sound()


async def test_a_clawback_from_the_reserve_is_not_released(books: Books) -> None:
    await books.earn(100 * USD)
    await books.days(3)
    await books.move(-7 * USD, Account.MERCHANT_RESERVE)
    await books.days(6)
    assert await books.side() == MerchantSide(0, 93 * USD, 0, 0)
    await books.move(7 * USD, Account.MERCHANT_RESERVE)  # the dispute was won after all
    await books.earn(10 * USD)
    await books.days(9)
    assert await books.side() == MerchantSide(0, 110 * USD, 0, 0)


async def test_three_workers_at_once_count_every_unit_once(books: Books) -> None:
    others = [Earnings(books.writer, books.reads, books.clock, TIERS) for _ in range(3)]
    for units in (5, -2, 11, 3):
        await books.earn(units * USD)
        books.clock.days(1)
        await asyncio.gather(*(other.run_once() for other in others))
    for _ in range(12):
        books.clock.days(1)
        await asyncio.gather(*(other.run_once() for other in others))
    assert await books.side() == MerchantSide(0, 17 * USD, 0, 0)
    assert [row["status"] for row in await books.rows("earning")] == ["released"] * 4
    await books.assert_sound()


async def test_days_that_nobody_was_there_to_close_are_closed_one_by_one(books: Books) -> None:
    for units in (1, 2, 3):
        await books.earn(units * USD)
        books.clock.days(1)
    await books.earn(4 * USD)
    assert await books.earnings.run_once() == 3 + 1  # three days, of which the first is due
    assert [row["units"] for row in await books.rows("earning")] == [1 * USD, 2 * USD, 3 * USD]


async def test_a_tier_is_the_merchants_own_and_a_removed_one_is_the_strictest(books: Books) -> None:
    await books.merchant("trusted")
    await books.earn(10 * USD)
    await books.earn(10 * USD, "mer_2")
    await books.days(1)
    assert (await books.side()).available == 10 * USD
    assert (await books.side("mer_2")).available == 0
    await books.earn(10 * USD)
    renamed = Earnings(books.writer, books.reads, books.clock, {"standard": TIERS["standard"]})
    books.clock.days(1)
    await renamed.run_once()
    assert (await books.side()).pending == 10 * USD


async def test_the_check_finds_earnings_that_do_not_fit_the_books(books: Books) -> None:
    await books.merchant()
    await books.earn(10 * USD)
    await books.days(3)
    await books.earn(5 * USD)
    await books.days(1)
    await books.earn(3 * USD)
    await books.ask(2 * USD)
    await books.assert_sound()
    await books.tamper("UPDATE earning SET units = units + 1 WHERE {here} AND status = 'pending'")
    await books.tamper("UPDATE payout SET units = units - 1 WHERE {here}")
    await books.tamper("UPDATE earning SET first_sequence = first_sequence - 1 WHERE {here} AND status = 'pending'")
    findings = (await check(books.reads)).findings
    assert any("8000000000 is pending, its days and what came since make 8000000001" in one for one in findings)
    assert any("open payouts differ from payout:transit by -1" in one for one in findings)
    assert any("not after the day before it" in one for one in findings)


async def _took(books: Books, id_: str, rail: str = "stripe") -> None:
    """A rail took money for the merchant now."""

    def decide(view: View, changes: Changes) -> dict[str, str]:
        changes.insert(
            "capture", merchant_id=MERCHANT, id=id_, mode=MODE, payment_id=f"pay_{id_}", attempt_id=f"att_{id_}", rail=rail,
            account="main", money_id=f"pi_{id_}", asset="EUR/2", units=100, status="credited", credited_units=1,
            captured_us=view.now_us, created_us=view.now_us, lines=None,
        )  # fmt: skip
        return {}

    await books.writer.submit(Unit(MERCHANT, MODE, None, (), decide))


async def _reported(books: Books, id_: str, payout: str) -> None:
    """The rail's report has it; ``payout``: as part of what it paid out."""

    def decide(view: View, changes: Changes) -> dict[str, str]:
        key = ("stripe", "main", MODE, f"txn_{id_}")
        if view.one("settlement_match", *key) is not None:
            changes.update("settlement_match", key, payout=payout)
            return {}
        changes.insert(
            "settlement_match", rail="stripe", account="main", mode=MODE, line_id=f"txn_{id_}", kind="payment",
            state="matched", broken="", object_id=id_, merchant_id=MERCHANT, payout=payout, updated_us=view.now_us,
        )  # fmt: skip
        return {}

    lock = row_lock("settlement_match", "stripe", "main", MODE, f"txn_{id_}")
    await books.writer.submit(Unit("platform", MODE, None, (lock,), decide))


async def test_earnings_wait_until_the_rail_has_paid_out_what_it_took(books: Books) -> None:
    """Money rule 20: what a rail may still claw back before it pays us is not the merchant's to take."""
    waiting = Earnings(books.writer, books.reads, books.clock, TIERS, {("stripe", "main")})
    books.earnings = waiting
    await _took(books, "cap_1")
    await _took(books, "cap_unreported", rail="adyen")  # an account that reports nothing: the delay alone
    await books.earn(100 * USD)
    await books.days(5)
    assert await books.side() == MerchantSide(100 * USD, 0, 0, 0)
    await _reported(books, "cap_1", payout="")
    await books.days(1)
    assert await books.side() == MerchantSide(100 * USD, 0, 0, 0), "reported is not paid out"
    await _reported(books, "cap_1", payout=f"{RETURNED}txn_9")
    await books.days(1)
    assert await books.side() == MerchantSide(100 * USD, 0, 0, 0), "the bank sent it back"
    await _took(books, "cap_2")  # a later day's money keeps no earlier day waiting
    await _reported(books, "cap_1", payout="po_1")
    books.clock.days(1)
    assert await waiting.run_once() == 1
    assert await books.side() == MerchantSide(0, 90 * USD, 10 * USD, 0)
    await books.earn(50 * USD)
    await books.days(5)
    assert (await books.side()).pending == 50 * USD, "the day that it was taken on waits in its turn"
    await _reported(books, "cap_2", payout="po_2")
    await books.days(1)
    assert (await books.side()).pending == 0


async def test_several_processes_wait_for_the_same_payout(books: Books) -> None:
    others = [Earnings(books.writer, books.reads, books.clock, TIERS, {("stripe", "main")}) for _ in range(3)]
    await _took(books, "cap_1")
    await books.earn(100 * USD)
    books.clock.days(4)
    await asyncio.gather(*(one.run_once() for one in others))
    assert (await books.side()).pending == 100 * USD
    await _reported(books, "cap_1", payout="po_1")
    books.clock.days(1)
    await asyncio.gather(*(one.run_once() for one in others))
    assert await books.side() == MerchantSide(0, 90 * USD, 10 * USD, 0)
