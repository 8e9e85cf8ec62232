"""The review queue: every decision is booked once, keeps who and why, and no unit is invented or lost by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select

from adapters.base import RailEventKind as K
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.ledger.check import check
from orchestrator.payments.allotment import Allotment
from orchestrator.payments.deposit_desk import DepositDesk
from orchestrator.payments.refunds import Refunds
from orchestrator.payments.review_actions import Action, actions_of
from orchestrator.payments.reviews import Decision, Reviews
from orchestrator.settings import DisputePolicy, RefundPolicy
from rates.money import Asset, Money
from tests.integration.payments.scene import BRL, Scene, opened_scene


@asynccontextmanager
async def _queue(url: str) -> AsyncIterator[tuple[Scene, Reviews]]:
    async with opened_scene(url) as scene:
        desk = DepositDesk(scene.writer, scene.reads, scene.pricer, scene.clock)
        allotment = Allotment(scene.writer, scene.reads, desk, {})
        chain: Any = None  # nothing here goes back over a chain
        refunds = Refunds(scene.writer, scene.reads, {}, scene.clock, RefundPolicy(), chain, DisputePolicy())
        yield scene, Reviews(scene.writer, scene.reads, scene.pricer, scene.clock, allotment, refunds)


async def _mismatch(scene: Scene, amount: Money, money_id: str = "pi_1") -> tuple[Row, Row]:
    """Return a session whose payment brought another amount, and its review."""
    session = await scene.session()
    attempt = (await scene.select(session))["attempt"]
    await scene.captured(attempt, money_id, amount)
    return session, (await scene.reviews())[-1]


async def _rows(scene: Scene, model: Any, **wanted: Any) -> list[Row]:
    table = table_of(model)
    query = select(table).where(*(table.c[name] == value for name, value in wanted.items()))
    return await scene.reads.all(query)


async def _suspense(scene: Scene) -> int:
    return -sum(int(row["balance"]) for row in await _rows(scene, tables.Account, code="suspense"))


def _credit(by: str = "operator:ann", wallet: str | None = None) -> Decision:
    return Decision(Action.CREDIT, "the customer agreed", by, wallet)


async def test_money_in_suspense_is_credited_at_the_rate_of_arrival(migrated_database_url: str) -> None:
    async with _queue(migrated_database_url) as (scene, reviews):
        session, review = await _mismatch(scene, Money(5_000, BRL))
        report = await check(scene.reads)
        assert [(one.review, one.state, one.amount, one.currency) for one in report.suspense] == [
            (review["id"], "open", "50.00", "BRL")
        ]
        resolved = await reviews.resolve(review["id"], _credit())
        assert (resolved["status"], resolved["action"], resolved["resolved_by"], resolved["note"]) == (
            "resolved", "credit", "operator:ann", "the customer agreed",
        )  # fmt: skip
        payment = await scene.payment(session)
        assert payment is not None
        assert payment["status"] == "credited"
        assert 8 * 10**9 < payment["credited_units"] < 5_000 * 10**7 / 5.4321
        [lot] = await _rows(scene, tables.Lot)
        assert (lot["units"], lot["wallet_id"], lot["source"]) == (
            payment["credited_units"], session["wallet_id"], review["subject"],
        )  # fmt: skip
        [capture] = await scene.captures(payment["id"])
        assert (capture["status"], capture["credited_units"]) == ("credited", payment["credited_units"])
        assert (await scene.session_now(session))["status"] == "complete"
        assert await _suspense(scene) == 0
        report = await check(scene.reads)
        assert report.ok, report.findings
        assert report.suspense == []
        types = [row["type"] for row in await _rows(scene, tables.Event)]
        assert {"review.resolved", "wallet.credited", "checkout.session.completed"} <= set(types)


async def test_many_people_who_decide_at_once_credit_it_once(migrated_database_url: str) -> None:
    async with _queue(migrated_database_url) as (scene, reviews):
        _, review = await _mismatch(scene, Money(5_000, BRL))
        refunded = Decision(Action.REFUNDED_OUTSIDE, "seen in the rail's dashboard", "operator:bob")
        asked = [_credit(f"operator:{number}") for number in range(8)] + [refunded] * 4
        results = await asyncio.gather(
            *(reviews.resolve(review["id"], one) for one in asked), return_exceptions=True
        )  # fmt: skip
        assert {type(result) for result in results} <= {dict, Conflict}
        assert len({result["action"] for result in results if isinstance(result, dict)}) == 1
        assert len(await _rows(scene, tables.Lot)) <= 1
        assert await _suspense(scene) == 0
        report = await check(scene.reads)
        assert report.ok, report.findings


async def test_what_the_rail_sent_back_leaves_the_books_on_both_sides(migrated_database_url: str) -> None:
    async with _queue(migrated_database_url) as (scene, reviews):
        session, review = await _mismatch(scene, Money(10_000, Asset("EUR", 2)))
        again = [
            await reviews.resolve(review["id"], Decision(Action.REFUNDED_OUTSIDE, "refunded by hand", "operator:ann"))
            for _ in range(2)
        ]
        assert again[0] == again[1]
        with pytest.raises(Conflict, match="review_is_resolved"):
            await reviews.resolve(review["id"], _credit())
        for code in ("suspense", "clearing"):
            assert sum(row["balance"] for row in await _rows(scene, tables.Account, code=code)) == 0
        assert ((await scene.payment(session)) or {})["credited_units"] == 0
        report = await check(scene.reads)
        assert report.ok, report.findings


async def test_ignored_money_stays_in_suspense_is_reported_and_can_be_credited_later(
    migrated_database_url: str,
) -> None:
    async with _queue(migrated_database_url) as (scene, reviews):
        _, review = await _mismatch(scene, Money(5_000, BRL))
        await reviews.resolve(review["id"], Decision(Action.IGNORE, "too old to ask", "operator:ann"))
        report = await check(scene.reads)
        assert report.ok, report.findings
        assert [(one.state, one.amount) for one in report.suspense] == [("kept", "50.00")]
        assert await _suspense(scene) == 5_000
        resolved = await reviews.resolve(review["id"], _credit("operator:bob"))
        assert (resolved["action"], resolved["resolved_by"]) == ("credit", "operator:bob")
        assert await _suspense(scene) == 0
        assert (await check(scene.reads)).suspense == []


async def test_it_can_be_credited_to_another_wallet_of_the_merchant_only(migrated_database_url: str) -> None:
    async with _queue(migrated_database_url) as (scene, reviews):
        other = await scene.session(customer="somebody else")
        _, review = await _mismatch(scene, Money(5_000, BRL))
        with pytest.raises(NotFound, match="wallet_not_found"):
            await reviews.resolve(review["id"], _credit(wallet="wal_nobody"))
        await reviews.resolve(review["id"], _credit(wallet=other["wallet_id"]))
        assert [lot["wallet_id"] for lot in await _rows(scene, tables.Lot)] == [other["wallet_id"]]
        report = await check(scene.reads)
        assert report.ok, report.findings


@pytest.mark.parametrize(("amount", "code"), [(Money(1, BRL), "below_minimum"), (Money(2**62, BRL), "too_large"),
                                              (Money(10_000, Asset("XTS", 2)), "no_rate")])  # fmt: skip
async def test_what_has_no_price_is_not_credited_and_stays_open(sqlite_url: str, amount: Money, code: str) -> None:
    async with _queue(sqlite_url) as (scene, reviews):
        _, review = await _mismatch(scene, amount)
        with pytest.raises(Conflict, match=code):
            await reviews.resolve(review["id"], _credit())
        assert (await reviews.find(review["id"]))["status"] == "open"
        assert await _suspense(scene) == amount.units


async def test_an_item_has_only_the_actions_that_make_sense_for_it(sqlite_url: str) -> None:
    async with _queue(sqlite_url) as (scene, reviews):
        session = await scene.session()
        attempt = (await scene.select(session))["attempt"]
        await scene.captured(attempt, "pi_1", Money(0, BRL))
        [review] = await scene.reviews()
        assert actions_of(review) == (Action.CHECK_AGAIN, Action.ACCEPT)
        for action in (Action.CREDIT, Action.REFUNDED_OUTSIDE, Action.IGNORE, Action.PLAN_REFUND):
            with pytest.raises(Invalid, match="action_not_possible"):
                await reviews.resolve(review["id"], Decision(action, "no such thing", "operator:ann"))
        await reviews.resolve(review["id"], Decision(Action.CHECK_AGAIN, "ask it", "operator:ann"))
        assert (await scene.attempt(attempt))["next_check_us"] <= scene.clock.now_us()
        assert actions_of(await reviews.find(review["id"])) == ()
        with pytest.raises(NotFound):
            await reviews.resolve("rev_none", _credit())


async def test_an_attempt_that_is_closed_is_accepted_not_asked_again(sqlite_url: str) -> None:
    async with _queue(sqlite_url) as (scene, reviews):
        session = await scene.session()
        attempt = (await scene.select(session))["attempt"]
        await scene.captured(attempt, "pi_1", Money(0, BRL))
        await scene.confirmation.apply(scene.event(attempt, K.EXPIRED))
        [review] = await scene.reviews()
        with pytest.raises(Conflict, match="attempt_is_closed"):
            await reviews.resolve(review["id"], Decision(Action.CHECK_AGAIN, "ask it", "operator:ann"))
        done = await reviews.resolve(review["id"], Decision(Action.ACCEPT, "nothing came", "operator:ann"))
        assert done["status"] == "resolved"


async def test_suspense_that_no_review_explains_is_a_finding(sqlite_url: str) -> None:
    async with _queue(sqlite_url) as (scene, _):
        _, review = await _mismatch(scene, Money(5_000, BRL))
        unit = _forgotten(review)
        await scene.writer.submit(unit)
        report = await check(scene.reads)
        assert not report.ok
        assert any("no review says why" in finding for finding in report.findings)


def _forgotten(review: Row) -> Any:
    from orchestrator.database.unit import Changes, Unit, View, row_lock

    key = (review["merchant_id"], review["id"])

    def decide(_: View, changes: Changes) -> dict[str, Any]:
        changes.update("review", key, status="resolved")
        return {}

    return Unit(review["merchant_id"], review["mode"], None, (row_lock("review", *key),), decide)
