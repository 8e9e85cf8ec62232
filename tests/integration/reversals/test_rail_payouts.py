"""What rails pay into our bank: each merchant's part once, by the right lines, also when lines come late or it comes back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.operations import LineKind
from orchestrator.database import tables
from orchestrator.reconciliation import rail_payouts
from tests.integration.reversals.scene import reversing
from tests.integration.reversals.test_reconciliation import line_of, pay_out, reconciled, report_after


async def test_a_payout_of_the_rail_moves_each_merchant_s_part_into_the_bank(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        await scene.paid("DE", "20.00")
        await scene.paid("DE", "30.00")
        held = (await reconciled(scene)).standings[0].rail
        payout = line_of("", -held, line_id="txn_po", kind=LineKind.PAYOUT, money_id=None)
        report = await report_after(scene, [payout, payout])
        assert report.ok, report.to_json()
        assert await scene.balance("bank", "", "EUR/2") == held
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == 0
        await scene.assert_sound()
        other = line_of("", -7, line_id="txn_po2", kind=LineKind.PAYOUT, money_id=None)
        assert [one["type"] for one in (await report_after(scene, [other])).breaks] == ["amount"]


async def test_a_payout_that_is_read_again_is_not_made_of_a_late_line_that_happens_to_fit(
    migrated_database_url: str, tmp_path: Path
) -> None:
    """A page is read again after a crash before its cursor; by then another book's line of that amount has come."""
    async with reversing(migrated_database_url, tmp_path) as scene:
        await scene.paid("DE", "20.00")
        held = (await reconciled(scene)).standings[0].rail
        payout = line_of("", -held, line_id="txn_po", kind=LineKind.PAYOUT, money_id=None)
        assert (await report_after(scene, [payout])).ok
        late = line_of("", held, line_id="txn_late", kind=LineKind.FEE, word="stripe_fee", money_id=None,
                       occurred_at=payout.occurred_at - timedelta(seconds=1))  # fmt: skip
        report = await report_after(scene, [late, payout])
        assert await scene.balance("bank", "", "EUR/2") == held
        assert report.ok, report.to_json()
        await scene.assert_sound()


async def test_death_between_what_a_payout_is_made_of_and_its_bookings_books_it_once_by_the_same_lines(
    migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        await scene.paid("DE", "20.00")
        held = (await reconciled(scene)).standings[0].rail
        payout = line_of("", -held, line_id="txn_po", kind=LineKind.PAYOUT, money_id=None)
        late = line_of("", held, line_id="txn_late", kind=LineKind.FEE, word="stripe_fee", money_id=None,
                       occurred_at=payout.occurred_at - timedelta(days=1))  # fmt: skip
        for name in ("_pays", "close_reviews"):  # before the merchants' parts, and after them
            with monkeypatch.context() as dying:
                dying.setattr(rail_payouts, name, _dies)
                with pytest.raises(SystemError):
                    await report_after(scene, [payout])
        report = await report_after(scene, [late, payout])
        assert report.ok, report.to_json()
        assert await scene.balance("bank", "", "EUR/2") == held
        await asyncio.gather(*(report_after(scene, [payout]) for _ in range(20)))
        assert await scene.balance("bank", "", "EUR/2") == held
        await scene.assert_sound()


def _dies(*_: object) -> None:
    raise SystemError("the process is gone")


async def test_stripe_s_payouts_are_booked_by_the_lines_that_it_names_also_after_one_came_back(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        await scene.paid("DE", "20.00")
        unready = await pay_out(scene, ready=False)
        report = await reconciled(scene)
        assert (report.ok, report.waiting) == (True, 1), "Stripe does not say yet what it is made of"
        assert await scene.balance("bank", "", "EUR/2") == 0
        await scene.paid("DE", "30.00")
        second = await pay_out(scene)
        report = await reconciled(scene)
        assert (report.ok, report.waiting) == (True, 0)
        assert await scene.balance("bank", "", "EUR/2") == unready["amount"] + second["amount"]
        await pay_out(scene, fail=unready["id"])
        report = await reconciled(scene)
        assert report.ok, report.to_json()
        assert await scene.balance("bank", "", "EUR/2") == second["amount"]
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == unready["amount"]
        await scene.paid("DE", "40.00")
        third = await pay_out(scene)
        assert third["amount"] > unready["amount"]
        for _ in range(2):
            report = await reconciled(scene)
            assert report.ok, report.to_json()
        assert await scene.balance("bank", "", "EUR/2") == second["amount"] + third["amount"]
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == 0
        await scene.paid("DE", "20.00")
        by_hand = await pay_out(scene, automatic=False)
        assert (await reconciled(scene)).ok
        assert await scene.balance("bank", "", "EUR/2") == second["amount"] + third["amount"] + by_hand["amount"]
        await scene.assert_sound()


async def test_a_payout_of_which_the_rail_does_not_say_what_it_is_made_of_is_asked_about_after_days(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        await scene.paid("DE", "20.00")
        await pay_out(scene, ready=False)
        assert (await reconciled(scene)).waiting == 1
        (line,) = await scene.rows(tables.SettlementLine, kind="payout")
        payouts = scene.services.reconciliation.payouts
        for days, state in ((2, "waiting"), (4, "open"), (4, "open")):
            old = {**line, "recorded_us": line["recorded_us"] - days * 86_400 * 1_000_000}
            assert await payouts.take(old) == state
        assert len(await scene.rows(tables.Review, reason="reconciliation_break", status="open")) == 1
        await scene.paid("DE", "20.00")
        await pay_out(scene)  # the next look at Stripe's side finds the first one ready
        assert (await reconciled(scene)).ok
        assert await scene.rows(tables.Review, reason="reconciliation_break", status="open") == []


async def test_a_payout_that_comes_before_the_word_of_its_money_waits_and_asks_nobody(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        await scene.paid("DE", "20.00")
        scene.here.switched_off |= {"inbox", "watch"}
        session = await scene.here.session("DE", "20.00", reference="slow")
        await scene.here.pay_at_rail(await scene.here.select(session), {"card": "4242424242424242"})
        payouts = [await pay_out(scene, automatic=False)]
        report = await reconciled(scene)
        assert (report.ok, report.waiting) == (True, 2), "the payment, and the payout that has it"
        assert await scene.rows(tables.Review, reason="reconciliation_break") == []
        scene.here.switched_off.clear()
        await scene.here.until(session, "credited")
        await asyncio.sleep(1.1)  # Stripe counts seconds, and names nothing by its order
        await scene.paid("DE", "20.00")  # as much as the first line: it would fit if the payout before were forgotten
        payouts.append(await pay_out(scene, automatic=False))
        report = await reconciled(scene)
        assert (report.ok, report.waiting) == (True, 0)
        assert await scene.balance("bank", "", "EUR/2") == sum(one["amount"] for one in payouts)
        await scene.assert_sound()


async def test_a_payout_less_a_fee_of_ours_leaves_nothing_unexplained(sqlite_url: str, tmp_path: Path) -> None:
    """What the platform owes the rail is a part of the payout too, below zero."""
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        units = paid.capture["units"]
        payment = line_of(paid.money_id, units)
        fee = line_of("", -50, line_id="txn_fee", kind=LineKind.FEE, word="stripe_fee", money_id=None)
        payout = line_of("", 50 - units, line_id="txn_payout", kind=LineKind.PAYOUT, word="payout", money_id=None)
        report = await report_after(scene, [payment, fee, payout])
        assert report.ok, report.to_json()
        (standing,) = report.standings
        assert (standing.books, standing.rail) == (0, 0)
        await scene.assert_sound()
