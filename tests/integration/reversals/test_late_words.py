"""What the simulation found: words that come late, early or never, and a refund and a dispute that cross each other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from adapters.base import Mode
from adapters.operations import RefundEvent, Refunds, RefundState
from orchestrator.database import tables
from orchestrator.database.unit import Row
from rates.money import Asset, Money
from tests.integration.reversals.scene import CARD, USD, Paid, Scene, reversing
from tests.integration.reversals.test_disputes import said, tell

FAILS_LATER = "4000000000005126"


def word(paid: Paid, refund: Row, state: str, *, minutes: int = 0, money: int = 0) -> RefundEvent:
    """What Stripe's adapter makes of a refund's webhook."""
    units = money or refund["local_units"]
    return RefundEvent(
        rail="stripe", account="main", mode=Mode.TEST, event_id=f"{refund['id']}:{state}", state=RefundState(state),
        refund_id=refund["id"], rail_reference=f"re_{refund['id']}", money_id=paid.money_id,
        amount=Money(units, Asset.parse(paid.capture["asset"])),
        occurred_at=datetime.now(UTC) + timedelta(minutes=minutes), reason="account closed",
    )  # fmt: skip


async def under_way(scene: Scene, paid: Paid, amount: str) -> Row:
    """A refund whose answer was lost; what the rail says of it is the test's to say."""
    scene.here.switched_off.update({"inbox", "refunds", "disputes"})
    await scene.here.control("stripe", "main", {"drop_answer": 1})
    row = await scene.refund(paid, amount)
    assert row["status"] == "sent"
    return row


@pytest.mark.parametrize("lost_before", [False, True])
async def test_a_dispute_takes_over_what_a_refund_was_to_give_back_and_did_not(
    migrated_database_url: str, tmp_path: Path, lost_before: bool
) -> None:
    """The payer's bank took it all; the payer must not have the credit of the failed refund as well."""
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        first = [
            said(paid, "du_1", "needs_answer", "withdrawn"),
            *([said(paid, "du_1", "lost")] if lost_before else []),
        ]
        row = await tell(scene, *first)
        assert row["above_units"] == refund["local_units"]
        await scene.assert_sound()
        await scene.services.refunds.apply(word(paid, refund, "failed"))
        assert await scene.services.disputes.run_once() == 1
        if not lost_before:
            assert await scene.balance("wallet:frozen", paid.wallet) == -20 * USD
            await scene.assert_sound()
            await tell(scene, said(paid, "du_1", "lost"))
        row = (await scene.rows(tables.Dispute))[0]
        assert (row["above_units"], row["withdrawn_units"]) == (0, paid.capture["units"])
        assert row["clawed_units"] > 20 * USD  # and the rail's fee
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        assert await scene.balance("wallet:frozen", paid.wallet) == 0
        assert await scene.balance("merchant:receivable", "", "EUR/2") == 0
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == 0
        await scene.assert_sound()


async def test_a_win_gives_back_what_was_withdrawn_above_what_was_left_too(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        await tell(scene, said(paid, "du_1", "needs_answer", "withdrawn"), said(paid, "du_1", "won", "returned"))
        assert await scene.balance("merchant:receivable", "", "EUR/2") == 0
        await scene.services.refunds.apply(word(paid, refund, "succeeded"))
        left = paid.capture["units"] - refund["local_units"]
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == left
        await scene.assert_sound()


async def test_money_that_came_back_before_we_heard_that_it_was_gone_is_not_gone(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        scene.here.switched_off.add("disputes")
        paid = await scene.paid("DE", "20.00")
        row = await tell(
            scene,
            said(paid, "du_1", "won", "returned"),
            said(paid, "du_1", "needs_answer", "withdrawn"),
            said(paid, "du_1", "needs_answer"),
        )
        assert (row["state"], row["withdrawn_units"], row["withdrawals"], row["returns"]) == ("won", 0, 1, 1)
        assert await scene.balance("wallet:paid", paid.wallet) == -20 * USD
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == paid.capture["units"]
        assert (await scene.payment(paid))["status"] == "credited"
        await scene.assert_sound()


async def test_an_older_word_that_a_refund_was_through_is_no_second_refund(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        refund = await under_way(scene, paid, "15.00")
        await scene.services.refunds.apply(word(paid, refund, "failed", minutes=5))
        await scene.services.refunds.apply(word(paid, refund, "succeeded"))
        (row,) = await scene.rows(tables.Refund)
        assert (row["status"], row["rail_reference"]) == ("failed", f"re_{refund['id']}")
        assert await scene.balance("wallet:paid", paid.wallet) == -20 * USD
        await scene.assert_sound()


async def test_a_rail_s_report_of_a_refund_that_came_back_has_the_rail_asked(sqlite_url: str, tmp_path: Path) -> None:
    """Its only webhook was lost, and a refund that is through is not polled: the credit came back to nobody."""
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00", card=FAILS_LATER)
        scene.here.switched_off.update({"inbox", "refunds"})
        refund = await scene.refund(paid, "20.00")
        through = replace(word(paid, refund, "succeeded"), rail_reference=refund["rail_reference"])
        await scene.services.refunds.apply(through)
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        rail = scene.services.rails["stripe", "main"]
        assert isinstance(rail, Refunds)
        await rail.fetch_refund(await scene.services.refunds.order(refund))  # there, it fails now

        async def reported() -> Row | None:
            await scene.services.reconciliation.run("stripe", "main")
            row = await scene.services.refunds.find(refund["id"])
            return row if row["status"] == "failed" else None

        await scene.until(reported)
        assert await scene.balance("wallet:paid", paid.wallet) == -20 * USD
        report = await scene.services.reconciliation.run("stripe", "main")
        assert report.ok, report.to_json()
        await scene.assert_sound()


async def test_a_dispute_that_is_told_before_its_money_is_known_waits_for_it(sqlite_url: str, tmp_path: Path) -> None:
    """A rail that has no list of its disputes tells of one once."""
    async with reversing(sqlite_url, tmp_path) as scene:
        scene.here.switched_off.update({"inbox", "watch", "disputes"})
        session = await scene.here.session("DE", "20.00", reference="early")
        await scene.here.pay_at_rail(await scene.here.select(session), CARD)
        money = str((await scene.until(lambda: _webhook(scene, b"payment_intent.succeeded")))["about"]["id"])
        await scene.here.post(f"{scene.here.sandbox_url}/stripe/main/_bank/disputes", {"payment_intent": money})
        early = await scene.until(lambda: _webhook(scene, b"funds_withdrawn"))
        replayed = await scene.services.inbox.replay(early["id"])
        assert replayed["state"] == "received", "it is tried again, and not put aside"
        scene.here.switched_off.discard("inbox")  # the word of the money is among what waits

        async def disputed() -> Row | None:
            rows = await scene.rows(tables.Dispute)
            return rows[0] if rows and rows[0]["withdrawn_units"] else None

        assert (await scene.until(disputed))["withdrawn_units"] > 0
        await scene.assert_sound()


async def _webhook(scene: Scene, name: bytes) -> Row | None:
    for row in await scene.rows(tables.RawWebhook):
        if name in row["body"]:
            return {"id": row["id"], "about": orjson.loads(row["body"])["data"]["object"]}
    return None


async def test_a_lost_word_of_withdrawn_funds_is_found_in_the_list(sqlite_url: str, tmp_path: Path) -> None:
    """Stripe's list names the balance transactions of a dispute: that money moved does not hang on one webhook."""
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        scene.here.switched_off.update({"inbox", "disputes"})
        await scene.here.post(f"{scene.here.sandbox_url}/stripe/main/_bank/disputes", {"payment_intent": paid.money_id})
        assert await scene.services.disputes.poll() == 2
        (row,) = await scene.rows(tables.Dispute)
        assert row["withdrawn_units"] == paid.capture["units"]
        scene.here.switched_off.discard("inbox")  # and the webhook, when it comes after all, changes nothing
        await scene.here.work_once()
        reasons = {review["reason"] for review in await scene.rows(tables.Review)}
        assert reasons == {"dispute_opened"}
        await scene.assert_sound()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_money_taken_given_back_and_taken_again_is_gone_in_whatever_order_we_hear_of_it(
    sqlite_url: str, tmp_path: Path, order: tuple[int, ...]
) -> None:
    """Adyen: CHARGEBACK, CHARGEBACK_REVERSED, SECOND_CHARGEBACK."""
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        scene.here.switched_off.add("disputes")
        words = [
            said(paid, "du_1", "needs_answer", "withdrawn"),
            said(paid, "du_1", "under_review", "returned"),
            said(paid, "du_1", "lost", "withdrawn", number=2),
        ]
        row = await tell(scene, *(words[place] for place in order))
        assert (row["state"], row["withdrawals"], row["returns"]) == ("lost", 2, 1)
        assert row["withdrawn_units"] == paid.capture["units"]
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == 0
        assert (await scene.payment(paid))["status"] == "clawed_back"
        assert not [review for review in await scene.rows(tables.Review) if review["status"] == "open"]
        await scene.assert_sound()


async def test_a_dispute_that_was_answered_or_decided_is_not_reopened_by_a_late_word(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        answered = await tell(scene, said(paid, "du_1", "under_review"), said(paid, "du_1", "needs_answer"))
        assert answered["state"] == "under_review"
        minute = timedelta(minutes=1)
        won = said(paid, "du_1", "won")
        older = said(paid, "du_1", "lost")
        decided = await tell(scene, won, replace(older, occurred_at=won.occurred_at - minute))
        assert decided["state"] == "won"
        overturned = await tell(scene, replace(older, event_id="du_1:lost:later", occurred_at=won.occurred_at + minute))
        assert overturned["state"] == "lost"
        await scene.assert_sound()
