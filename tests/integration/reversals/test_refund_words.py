"""A refund is what the rail said of it last, by the rail's own clock: in any order, twice, and at once."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.operations import RefundEvent
from orchestrator.database import tables
from orchestrator.database.unit import Row
from orchestrator.payments.refund_words import FAILED, Word
from tests.integration.reversals.scene import USD, Paid, Scene, reversing
from tests.integration.reversals.test_late_words import under_way, word

STATES = ("succeeded", "failed", "succeeded", "failed")


def words(paid: Paid, refund: Row, number: int) -> list[RefundEvent]:
    """What the rail says, a minute after one another."""
    return [word(paid, refund, state, minutes=minute) for minute, state in enumerate(STATES[:number])]


async def stands(scene: Scene, paid: Paid, refund: Row) -> str:
    """Hold the books against what the rail said last; return the refund's status."""
    (row,) = await scene.rows(tables.Refund)
    through = row["status"] == "succeeded"
    gone = refund["local_units"] if through else 0
    assert await scene.balance("clearing", "stripe/main", "EUR/2") == paid.capture["units"] - gone
    assert await scene.balance("wallet:refunding", paid.wallet) == 0
    (capture,) = await scene.rows(tables.Capture, id=paid.capture["id"])
    assert (capture["refunding_units"], capture["refunded_units"]) == (0, gone)
    payment = await scene.payment(paid)
    assert payment["refunded_units"] == (refund["units"] if through else 0)
    assert payment["status"] == ("partially_refunded" if through else "credited")
    await scene.assert_sound()
    return str(row["status"])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
async def test_through_then_failed_then_through_is_through_in_whatever_order_we_hear_of_it(
    migrated_database_url: str, tmp_path: Path, order: tuple[int, ...]
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        said = words(paid, refund, 3)
        for place in (*order, *order):  # all of it twice
            await scene.services.refunds.apply(said[place])
        assert await stands(scene, paid, refund) == "succeeded"
        assert await scene.balance("wallet:paid", paid.wallet) == -5 * USD
        asked = [row["reason"] for row in await scene.rows(tables.Review)]
        turned = order.index(1) < order.index(2)  # the failure was heard, and then that it was through
        assert ("refund_through_after_all" in asked) == turned


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
async def test_four_words_of_a_refund_end_with_the_last_one_s(
    sqlite_url: str, tmp_path: Path, order: tuple[int, ...]
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        said = words(paid, refund, 4)
        for place in order:
            await scene.services.refunds.apply(said[place])
        assert await stands(scene, paid, refund) == "failed"
        assert await scene.balance("wallet:paid", paid.wallet) == -20 * USD


async def test_all_words_at_once_and_many_times_leave_what_the_last_one_says(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        said = words(paid, refund, 3) * 15
        await asyncio.gather(*(scene.services.refunds.apply(one) for one in said))
        assert await stands(scene, paid, refund) == "succeeded"


async def test_credit_that_was_spent_after_a_refund_had_failed_is_the_merchant_s_when_it_was_through_after_all(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        first, came_back, again = words(paid, refund, 3)
        await scene.services.refunds.apply(first)
        await scene.services.refunds.apply(came_back)
        await scene.spend(paid.wallet, "18.00")
        await scene.services.refunds.apply(again)
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        assert await scene.balance("merchant:receivable", "") == 13 * USD
        assert await stands(scene, paid, refund) == "succeeded"
        # and comes back a second time: the merchant has it again, the customer what was left
        await scene.services.refunds.apply(word(paid, refund, "failed", minutes=3))
        assert await stands(scene, paid, refund) == "failed"
        assert await scene.balance("wallet:paid", paid.wallet) == -2 * USD
        assert await scene.balance("merchant:receivable", "") == 0


async def test_a_word_of_the_same_second_that_it_failed_is_the_later_one(sqlite_url: str, tmp_path: Path) -> None:
    """Both rails' times are whole seconds, and nothing is through after it failed in the same one."""
    for order in ((0, 1), (1, 0)):
        folder = tmp_path / str(order[0])
        folder.mkdir()
        async with reversing(sqlite_url, folder) as scene:
            paid = await scene.paid("DE", "20.00", who=f"buyer {order}")
            refund = await under_way(scene, paid, "15.00")
            through = word(paid, refund, "succeeded")
            both = [through, replace(word(paid, refund, "failed"), occurred_at=through.occurred_at)]
            for place in order:
                await scene.services.refunds.apply(both[place])
            (row,) = await scene.rows(tables.Refund, id=refund["id"])
            assert row["status"] == "failed"
            await scene.assert_sound()


async def test_a_refusal_of_our_own_call_takes_nothing_back_of_what_is_through(sqlite_url: str, tmp_path: Path) -> None:
    """A repeated call was refused ("refunded already") while the webhook came."""
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        await scene.services.refunds.apply(word(paid, refund, "succeeded"))
        await scene.services.refunds.ended(refund, Word(FAILED, why="refused: it was refunded already"))
        assert await stands(scene, paid, refund) == "succeeded"


def made_there(paid: Paid, state: str, *, minutes: int, money: int) -> RefundEvent:
    """A word about a refund that somebody made in the vendor's dashboard; Adyen's carries a reference that is not ours."""
    refund = {"id": "dashboard", "local_units": money}
    return replace(word(paid, refund, state, minutes=minutes), refund_id="order-77", rail_reference="re_dashboard")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
async def test_the_same_holds_of_a_refund_that_was_made_in_the_vendor_s_dashboard(
    sqlite_url: str, tmp_path: Path, order: tuple[int, ...]
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        money = paid.capture["units"] // 2
        said = [made_there(paid, state, minutes=at, money=money) for at, state in enumerate(STATES[:3])]
        for number, place in enumerate((*order, *order)):
            await scene.services.refunds.apply(said[place])
            if number == 1 and set(order[:2]) == {0, 1}:  # through and failed, whichever came first: nothing is gone
                assert await scene.balance("clearing", "stripe/main", "EUR/2") == paid.capture["units"]
                assert await scene.balance("wallet:paid", paid.wallet) == -20 * USD
        (row,) = await scene.rows(tables.Refund)
        assert (row["origin"], row["status"], row["local_units"]) == ("rail", "succeeded", money)
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == paid.capture["units"] - money
        await scene.assert_sound()


async def test_what_a_rail_sent_above_what_was_left_is_owed_until_it_comes_back(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        whole = paid.capture["units"]
        await scene.services.refunds.apply(word(paid, refund, "succeeded"))
        await scene.services.refunds.apply(made_there(paid, "succeeded", minutes=1, money=whole))
        assert await scene.balance("merchant:receivable", "", "EUR/2") == refund["local_units"]
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == -refund["local_units"]
        await scene.services.refunds.apply(made_there(paid, "failed", minutes=2, money=whole))
        assert await scene.balance("merchant:receivable", "", "EUR/2") == 0
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == whole - refund["local_units"]
        await scene.assert_sound()
