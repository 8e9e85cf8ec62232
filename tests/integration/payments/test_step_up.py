"""A bank that wants to see the buyer: 3-D Secure is a step, and asked for once where the bank declines without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from adapters.base import Decline, RailEventKind, Severity
from orchestrator.api.payments import _attempt
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.check import check
from orchestrator.payments.offers import offers_of
from orchestrator.payments.wire_json import event_from_json, event_to_json, steps_up
from tests.integration.payments.scene import HARD, SOFT, Scene, opened_scene
from tests.support.world import World, world

ASKS = Decline(Severity.SOFT, "authentication_required", "Confirm.", authenticate=True, step_up=True)
FAILED_3DS = Decline(Severity.SOFT, "payment_intent_authentication_failure", "Confirm.", authenticate=True)


async def _attempts(here: World, session: Row) -> list[Row]:
    table = table_of(tables.Attempt)
    query = select(table).where(table.c.session_id == session["id"]).order_by(table.c.id)
    return await here.services.reads.all(query)


async def _suggested(here: World, session: Row) -> str | None:
    table = table_of(tables.CheckoutSession)
    row = await here.services.reads.one(select(table).where(table.c.id == session["id"]))
    assert row is not None
    suggested: str | None = row["suggested_offer"]
    return suggested


async def _until(here: World, true: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(200):
        if found := await true():
            return found
        await here.work_once()
    raise AssertionError("it did not come")


async def test_a_bank_that_asks_for_the_buyer_is_shown_him_once_and_then_takes_the_same_card(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with world(migrated_database_url, tmp_path, loops=False) as here:
        await here.control("stripe", "main", {"decline": "authentication_required"})
        session = await here.session("DE")
        first = await here.select(session)
        assert (await here.pay_at_rail(first, {"card": "4242424242424242"}))["code"] == "authentication_required"
        suggested = await _until(here, lambda: _suggested(here, session))
        assert suggested == offers_of(session)[0].id, "the same offer, and not the next one"

        again = await here.select(session)
        assert again["attempt"] != first["attempt"]
        late = await here.pay_at_rail(first, {"card": "4242424242424242"})
        assert late["status"] == "expired", "the first page takes nothing any more"
        shown = await here.pay_at_rail(again, {"card": "4242424242424242"})
        assert shown["status"] == "requires_action", "the bank asks, on the rail's page"
        await here.work_once()
        assert (await here.until(session, "awaiting_payment", seconds=1))["credited_units"] == 0
        assert (await here.pay_at_rail(again, {"authenticate": True}))["status"] == "succeeded"
        await _until(here, lambda: _credited(here, session))
        attempts = await _attempts(here, session)
        assert [(one["status"], steps_up(one["order_json"])) for one in attempts] == [
            ("declined_soft", False),
            ("succeeded", True),
        ]
        assert [_attempt(one)["step_up"] for one in attempts] == [False, True]
        report = await check(here.services.reads)
        assert report.ok, report.findings


async def _credited(here: World, session: Row) -> bool:
    payment = await here.payment(session)
    return payment is not None and payment["status"] == "credited"


async def test_three_d_secure_is_a_step_and_no_failure(sqlite_url: str, tmp_path: Path) -> None:
    async with world(sqlite_url, tmp_path, loops=False) as here:
        session = await here.session("DE")
        chosen = await here.select(session)
        assert (await here.pay_at_rail(chosen, {"card": "4000002500003155"}))["status"] == "requires_action"
        await here.work_once()
        (attempt,) = await _attempts(here, session)
        assert (attempt["status"], attempt["decline"]) == ("requires_action", None)
        await here.pay_at_rail(chosen, {"authenticate": True})
        await _until(here, lambda: _credited(here, session))
        assert len(await _attempts(here, session)) == 1


async def test_a_buyer_who_was_asked_and_did_not_confirm_is_not_asked_the_same_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with world(sqlite_url, tmp_path, loops=False) as here:
        session = await here.session("DE")
        chosen = await here.select(session)
        await here.pay_at_rail(chosen, {"card": "4000002500003155"})
        await here.pay_at_rail(chosen, {"authenticate": False})
        assert await _until(here, lambda: _suggested(here, session)) == offers_of(session)[1].id


async def _declined(scene: Scene, session: Row, attempt: str, decline: Decline) -> str | None:
    event = scene.event(attempt, RailEventKind.DECLINED, decline=decline, still_open=True)
    await scene.confirmation.apply(event_from_json(orjson.loads(orjson.dumps(event_to_json(event)))))
    suggested: str | None = (await scene.session_now(session))["suggested_offer"]
    return suggested


async def test_it_is_asked_once_per_payment_whatever_the_buyer_chooses_then(migrated_database_url: str) -> None:
    async with opened_scene(migrated_database_url) as scene:
        session = await scene.session()
        card, bank, voucher = (offer.id for offer in offers_of(session))
        first = await scene.select(session, 0)
        assert await _declined(scene, session, first["attempt"], ASKS) == card
        second = await scene.select(session, 0)
        assert [order.step_up for order in scene.rail.created] == [False, True]
        assert await _declined(scene, session, second["attempt"], ASKS) == bank, "the bank has seen him"
        third = await scene.select(session, 0)  # he insists: the bank is shown him again, but we suggest it no more
        assert scene.rail.created[-1].step_up
        assert await _declined(scene, session, third["attempt"], ASKS) == bank
        fourth = await scene.select(session, 1)
        assert not scene.rail.created[-1].step_up
        assert await _declined(scene, session, fourth["attempt"], ASKS) == voucher
        await scene.assert_sound(session)


@pytest.mark.parametrize(
    ("decline", "same"), [(ASKS, True), (SOFT, False), (HARD, False), (FAILED_3DS, False), (replace(ASKS, step_up=False), False)]
)  # fmt: skip
async def test_only_a_bank_that_asks_for_the_buyer_has_the_same_offer_suggested(
    sqlite_url: str, decline: Decline, same: bool
) -> None:
    async with opened_scene(sqlite_url) as scene:
        session = await scene.session()
        chosen = await scene.select(session, 0)
        suggested = await _declined(scene, session, chosen["attempt"], decline)
        assert (suggested == offers_of(session)[0].id) is same


async def test_a_step_up_that_was_lost_in_the_answer_is_sent_again_with_the_same_words(sqlite_url: str) -> None:
    """The order is stored as it was sent: the same key must mean the same request."""
    async with opened_scene(sqlite_url) as scene:
        session = await scene.session()
        first = await scene.select(session, 0)
        await _declined(scene, session, first["attempt"], ASKS)
        second = await scene.select(session, 0)
        again = await scene.select(session, 0)
        assert again["attempt"] == second["attempt"]
        assert len(scene.rail.created) == 2
        assert steps_up((await scene.attempt(second["attempt"]))["order_json"])
