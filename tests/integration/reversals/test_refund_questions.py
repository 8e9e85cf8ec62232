"""A refund of which nothing is known: it is sent again while the rail keeps our key, then a person is asked, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from adapters.base import OutcomeUnknown, RailError, RailUnavailable
from adapters.operations import RefundEvent, RefundOrder, RefundState
from orchestrator.database import tables
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict
from orchestrator.ledger.check import check
from orchestrator.payments.allotment import Allotment
from orchestrator.payments.deposit_desk import DepositDesk
from orchestrator.payments.refund_book import RefundWanted
from orchestrator.payments.refund_watch import RefundWatch
from orchestrator.payments.refunds import Refunds
from orchestrator.payments.review_actions import Action, actions_of
from orchestrator.payments.reviews import Decision, Reviews
from orchestrator.settings import DisputePolicy, RefundPolicy
from tests.integration.payments.scene import ACCOUNT, MERCHANT, MODE, RAIL, FakeRail, Scene, opened_scene
from tests.support.money_back_life import USD, refund_event

HOUR = 3600
KEPT_S = 24 * HOUR
"""How long this rail keeps a key; it is trusted for an hour less."""


class Rail(FakeRail):
    """Never answers a refund at first; ``acts``: it carries it out all the same."""

    acts: bool = False
    shows: RefundState | None = None
    calls: list[str]
    carried_out: list[str]
    goes_wrong: type[RailError] | None = OutcomeUnknown

    async def refund_payment(self, order: RefundOrder) -> RefundEvent:
        self.calls.append(order.refund_id)
        if self.acts:
            self.carried_out.append(order.refund_id)
        if self.goes_wrong is not None:
            raise self.goes_wrong("no answer")
        return refund_event(order.refund_id, order.money_id, RefundState.PENDING, order.amount, "in", order.created_at)

    async def fetch_refund(self, order: RefundOrder) -> RefundEvent | None:
        if self.shows is None:
            return None
        return refund_event(order.refund_id, order.money_id, self.shows, order.amount, "now", order.created_at)


@dataclass
class Desk:
    scene: Scene
    rail: Rail
    refunds: Refunds
    paid: Row = field(default_factory=dict)

    async def refund(self) -> Row:
        session = await self.scene.session()
        await self.scene.captured((await self.scene.select(session))["attempt"], "m1")
        payment = await self.scene.payment(session)
        assert payment is not None
        self.paid = payment
        return await self.refunds.request(
            RefundWanted("ref_1", MERCHANT, MODE, payment["id"], 5 * USD, "asked", "source", forced=False, by="key:k")
        )

    async def rows(self, model: Any, **where: Any) -> list[Row]:
        from sqlalchemy import select

        table = tables.table_of(model)
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        return await self.scene.reads.all(query.order_by(*table.primary_key.columns))

    async def questions(self) -> list[tuple[str, str]]:
        return [(row["reason"], row["status"]) for row in await self.rows(tables.Review)]

    async def watch(self, hours: float) -> None:
        """Let time pass in quarters of an hour, with two processes that look each time."""
        for _ in range(int(hours * 4)):
            self.scene.clock.pass_by(seconds=HOUR // 4)
            await asyncio.gather(RefundWatch(self.refunds).run_once(), RefundWatch(self.refunds).run_once())

    async def sound(self) -> None:
        report = await check(self.scene.reads)
        assert report.ok, report.findings


@asynccontextmanager
async def desk(url: str) -> AsyncIterator[Desk]:
    async with opened_scene(url) as scene:
        rail = Rail(scene.rail.account)
        rail.resend_window_seconds, rail.calls, rail.carried_out = KEPT_S, [], []
        chain: Any = None
        rails = {(RAIL, ACCOUNT): rail}
        yield Desk(
            scene, rail, Refunds(scene.writer, scene.reads, rails, scene.clock, RefundPolicy(), chain, DisputePolicy())
        )


async def test_a_person_is_asked_once_and_at_once_when_a_refund_can_no_longer_be_sent_again(
    migrated_database_url: str,
) -> None:
    async with desk(migrated_database_url) as here:
        assert (await here.refund())["status"] == "sent"
        await here.watch(22.75)
        before = len(here.rail.calls)
        assert before > 5, "it was sent again under its key all day"
        await here.watch(0.5)
        (old, new) = await here.rows(tables.Review)
        assert (old["reason"], old["status"]) == ("refund_unknown_too_long", "resolved"), "one question at a time"
        assert (new["reason"], new["status"], new["subject"]) == ("refund_cannot_be_sent_again", "open", "ref_1")
        evidence = orjson.loads(new["evidence"])
        assert evidence["rail_said"] == "nothing under our id"
        assert "second refund" in evidence["why"]
        assert {"amount", "rail", "account", "asked_at", "key_trusted_until", "checks"} <= evidence.keys()
        calls = len(here.rail.calls)
        await here.watch(72)
        assert len(here.rail.calls) == calls, "not sent again"
        assert len(await here.questions()) == 2, "asked exactly once"
        await here.sound()


async def test_it_is_asked_at_once_after_a_day_without_us_and_not_a_second_time_at_the_twentieth_check(
    migrated_database_url: str,
) -> None:
    async with desk(migrated_database_url) as here:
        await here.refund()
        here.scene.clock.pass_by(days=2)  # nobody was there to look
        await here.watch(0.25)
        assert await here.questions() == [("refund_cannot_be_sent_again", "open")]
        assert len(here.rail.calls) == 1
        await here.watch(40)
        (row,) = await here.rows(tables.Refund)
        assert row["checks"] > 20
        assert await here.questions() == [("refund_cannot_be_sent_again", "open")]


async def test_the_question_is_not_asked_again_after_a_person_has_seen_it(sqlite_url: str) -> None:
    async with desk(sqlite_url) as here:
        await here.refund()
        here.scene.clock.pass_by(days=2)
        await here.watch(0.25)
        (review,) = await here.rows(tables.Review)
        await _reviews(here).resolve(review["id"], Decision(Action.ACCEPT, "I am looking", "operator:ann"))
        await here.watch(30)
        assert await here.questions() == [("refund_cannot_be_sent_again", "resolved")]


@pytest.mark.parametrize("shows", [RefundState.PENDING, RefundState.SUCCEEDED, RefundState.FAILED])
async def test_the_question_is_withdrawn_when_the_refund_is_found(
    migrated_database_url: str, shows: RefundState
) -> None:
    async with desk(migrated_database_url) as here:
        await here.refund()
        here.scene.clock.pass_by(days=2)
        await here.watch(0.25)
        here.rail.shows = shows
        await here.watch(2)
        (row,) = await here.rows(tables.Refund)
        assert row["status"] == shows.value
        lost = await here.rows(tables.Review, reason="refund_cannot_be_sent_again")
        assert [(one["status"], one["action"]) for one in lost] == [("resolved", "")]
        await here.sound()
        if shows is RefundState.PENDING:  # it is known now, and does not end: that is another question
            await here.watch(30)
            assert await here.questions() == [("refund_cannot_be_sent_again", "resolved"),
                                              ("refund_pending_too_long", "open")]  # fmt: skip
            here.rail.shows = RefundState.SUCCEEDED
            await here.watch(2)
            assert {status for _, status in await here.questions()} == {"resolved"}


async def test_a_rail_that_is_not_reached_while_a_lost_call_is_repeated_does_not_make_it_a_first_call(
    migrated_database_url: str,
) -> None:
    """The first call acted and its answer was lost. That a second one did not arrive says nothing of the first."""
    async with desk(migrated_database_url) as here:
        here.rail.acts = True
        await here.refund()
        here.rail.acts, here.rail.goes_wrong = False, RailUnavailable
        await here.watch(24)
        (row,) = await here.rows(tables.Refund)
        assert row["status"] == "sent"
        here.rail.acts, here.rail.goes_wrong = True, None  # there again, and it knows our key no longer
        await here.watch(48)
        assert here.rail.carried_out == ["ref_1"], "the payer got it once"
        assert ("refund_cannot_be_sent_again", "open") in await here.questions()


async def test_a_refund_that_a_person_did_not_find_at_the_rail_gives_its_credit_back_once(
    migrated_database_url: str,
) -> None:
    async with desk(migrated_database_url) as here:
        await here.refund()
        here.scene.clock.pass_by(days=2)
        await here.watch(0.25)
        (review,) = await here.rows(tables.Review)
        assert actions_of(review) == (Action.NOT_REFUNDED, Action.ACCEPT)
        decision = Decision(Action.NOT_REFUNDED, "no such reference in the dashboard", "operator:ann")
        await asyncio.gather(*(_reviews(here).resolve(review["id"], decision) for _ in range(20)))
        (row,) = await here.rows(tables.Refund)
        assert (row["status"], row["failure"]) == ("failed", "not at the rail: no such reference in the dashboard")
        (resolved,) = await here.rows(tables.Review)
        assert (resolved["action"], resolved["resolved_by"]) == ("not_refunded", "operator:ann")
        (lot,) = await here.rows(tables.Lot)
        assert (lot["remaining_units"], lot["frozen_units"]) == (20 * USD, 0)
        await here.sound()


async def test_a_refund_that_was_found_meanwhile_is_not_called_off(sqlite_url: str) -> None:
    async with desk(sqlite_url) as here:
        row = await here.refund()
        here.scene.clock.pass_by(days=2)
        await here.watch(0.25)
        (review,) = await here.rows(tables.Review)
        reviews = _reviews(here)
        unit = await reviews._unit(review, Decision(Action.NOT_REFUNDED, "not there", "operator:ann"))
        here.rail.shows = RefundState.SUCCEEDED
        await here.refunds.ask(row)
        with pytest.raises(Conflict, match="review_is_resolved"):
            await here.scene.writer.submit(unit)
        assert (await here.rows(tables.Refund))[0]["status"] == "succeeded"
        await here.sound()


def _reviews(here: Desk) -> Reviews:
    scene = here.scene
    allotment = Allotment(
        scene.writer, scene.reads, DepositDesk(scene.writer, scene.reads, scene.pricer, scene.clock), {}
    )
    return Reviews(scene.writer, scene.reads, scene.pricer, scene.clock, allotment, here.refunds)
