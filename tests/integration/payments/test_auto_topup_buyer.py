"""What people do between two looks at a standing order: the bank asks for the buyer, somebody switches it off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator.database import tables
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.errors import Conflict, NotFound
from orchestrator.ids import new_id
from orchestrator.payments.auto_topup_look import Look, Refusal, Seen, backoff_us
from orchestrator.payments.mandates import StandingCharge
from orchestrator.payments.offers import offers_of
from tests.integration.payments.standing_scene import ASKS_ALWAYS, NANO, Later, Standing, events, rows, set_status, usd
from tests.support.world import MERCHANT, MODE, world


@pytest.fixture
async def standing(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Standing]:
    """A customer whose bank asks at every payment, a standing order, and two dollars left."""
    clock = Later()
    async with world(migrated_database_url, tmp_path, loops=False, clock=clock) as here:
        scene = Standing(here, clock)
        await scene.save(ASKS_ALWAYS)
        await scene.order()
        await scene.drain()
        yield scene


async def claimed(standing: Standing) -> Seen:
    """Claim a charge and die: nothing but the order's row says that one is in flight."""
    row = await standing.row()
    services = standing.services
    seen = Seen(MERCHANT, MODE, standing.wallet_id, row["session_id"], row["mandate_id"])
    look = Look(seen, new_id("cs"), services.auto_topups.page_url, lambda _attempt: False)
    answer = (await services.writer.submit(look.unit())).answer
    assert answer["act"] == "charge"
    row = await standing.row()
    return Seen(MERCHANT, MODE, standing.wallet_id, row["session_id"], row["mandate_id"])


async def test_the_bank_asks_for_the_customer_who_comes_back_by_the_link_and_pays_once(standing: Standing) -> None:
    await standing.work()
    [asked] = await events(standing.services, "auto_topup.action_required")
    session_id = asked["checkout_session"]
    [session] = await rows(standing.services, tables.CheckoutSession, id=session_id)
    assert asked["url"] == standing.here.page_url(session)
    assert (asked["reason"], asked["declines"]) == ("authentication_required", 1)
    assert session["status"] == "open"
    row = await standing.row()
    assert (row["session_id"], row["waits_for_buyer"]) == (session_id, 1)
    for _ in range(4):  # for hours nobody comes: no second charge, and the merchant is told once
        await standing.pass_by(hours=2)
        await standing.work()
    assert len(await standing.intents()) == 1
    assert len(await events(standing.services, "auto_topup.action_required")) == 1
    await standing.pay(session, ASKS_ALWAYS)
    await standing.pass_by(seconds=20)
    await standing.work()
    row = await standing.row()
    assert (row["session_id"], row["waits_for_buyer"], row["declines"]) == (None, 0, 0)
    await standing.work()
    assert await standing.balance() == 27 * NANO
    assert len(await standing.intents()) == 1
    await standing.sound()


async def test_a_customer_on_the_page_keeps_the_worker_away(standing: Standing) -> None:
    await standing.work()
    [asked] = await events(standing.services, "auto_topup.action_required")
    [session] = await rows(standing.services, tables.CheckoutSession, id=asked["checkout_session"])
    await standing.here.select(session)
    for _ in range(3):
        await standing.pass_by(hours=1)
        await standing.work()
    assert len(await standing.intents()) == 1
    assert (await standing.row())["session_id"] == session["id"]


async def test_nobody_comes_so_it_is_tried_again_when_the_page_is_over(standing: Standing) -> None:
    await standing.work()
    await standing.pass_by(hours=25)
    await standing.services.expiry.run_once()
    await standing.work()
    row = await standing.row()
    assert (row["session_id"], row["waits_for_buyer"], row["declines"], row["day_units"]) == (None, 0, 1, 0)
    await standing.pass_by(hours=1, seconds=10)
    await standing.work()
    assert len(await standing.intents()) == 2
    asked = await events(standing.services, "auto_topup.action_required")
    assert [event["declines"] for event in asked] == [1, 2]
    assert asked[0]["url"] != asked[1]["url"]


async def test_a_lost_answer_that_was_a_demand_for_the_customer_asks_him_too(standing: Standing) -> None:
    await standing.control(drop_answer=1, hold_webhooks=True)
    await standing.work()
    assert await events(standing.services, "auto_topup.action_required") == []
    await standing.pass_by(minutes=1)
    await standing.services.watch.run_once()
    await standing.work()
    [asked] = await events(standing.services, "auto_topup.action_required")
    assert asked["url"]
    assert len(await standing.intents()) == 1


async def test_switched_off_after_the_claim_nothing_is_charged_and_switched_on_it_is_decided_again(
    standing: Standing,
) -> None:
    seen = await claimed(standing)
    await standing.order(enabled=False)
    await standing.pass_by(minutes=5)
    await standing.work()
    assert await standing.intents() == []
    await standing.order()
    session = await standing.here.session("DE", "30.00", reference="c")
    await standing.pay(session)
    await standing.work()  # the balance is high again: the claimed charge is let go
    row = await standing.row()
    assert (row["session_id"], row["day_units"], row["flight_units"]) == (None, 0, 0)
    assert await standing.intents() == []
    assert seen.session_id is not None


async def test_a_claim_whose_amount_was_changed_is_let_go_and_made_anew(standing: Standing) -> None:
    seen = await claimed(standing)
    await standing.order(amount=usd("30"))
    await standing.pass_by(minutes=5)
    await standing.work()
    assert (await standing.row())["day_units"] == 0
    await standing.work()
    row = await standing.row()
    assert (row["flight_units"], row["day_units"]) == (30 * NANO, 30 * NANO)
    assert row["session_id"] != seen.session_id


@pytest.mark.parametrize("meanwhile", ["off", "revoked", "frozen", "another"])
async def test_what_changes_between_the_session_and_the_charge_stops_the_charge(
    standing: Standing, meanwhile: str
) -> None:
    seen = await claimed(standing)
    services = standing.services
    session = await standing.here.session("DE", "25.00", reference="c", session_id=seen.session_id)
    assert seen.session_id is not None
    assert seen.mandate_id is not None
    session_id, mandate_id = seen.session_id, seen.mandate_id
    match meanwhile:
        case "off":
            await standing.order(enabled=False)
        case "revoked":
            await services.mandates.revoke(MERCHANT, MODE, standing.wallet_id, mandate_id)
        case "frozen":
            await set_status(services, standing.wallet_id, "frozen")
        case _:
            session_id = new_id("cs")
    [mandate] = await rows(services, tables.Mandate, id=mandate_id)
    charge = StandingCharge(MERCHANT, standing.wallet_id, session_id, mandate_id, orjson.loads(mandate["reference"]))
    offer = offers_of(session)[0].id
    with pytest.raises(Conflict):
        await services.selection.select(MERCHANT, MODE, session["id"], offer, standing=charge)
    assert await rows(services, tables.Attempt, session_id=session["id"]) == []
    assert await standing.intents() == []


async def test_one_session_charges_a_saved_card_once_whatever_came_of_it(standing: Standing) -> None:
    seen = await claimed(standing)
    services = standing.services
    session = await standing.here.session("DE", "25.00", reference="c", session_id=seen.session_id)
    assert seen.mandate_id is not None
    [mandate] = await rows(services, tables.Mandate, id=seen.mandate_id)
    reference = orjson.loads(mandate["reference"])
    charge = StandingCharge(MERCHANT, standing.wallet_id, session["id"], seen.mandate_id, reference)
    for _ in range(3):
        chosen = await services.selection.select(
            MERCHANT, MODE, session["id"], offers_of(session)[0].id, standing=charge
        )
        assert chosen["decline"]["code"] == "authentication_required"
    assert len(await standing.intents()) == 1


@pytest.mark.parametrize(
    ("how", "declines", "told", "seconds"),
    [(Refusal.COUNTS, 1, 1, 3600), (Refusal.SOON, 0, 0, 300), (Refusal.TOMORROW, 0, 1, None)],
)
async def test_what_no_rail_heard_of_is_given_back_and_goes_on_as_its_refusal_says(
    standing: Standing, how: Refusal, declines: int, told: int, seconds: int | None
) -> None:
    seen = await claimed(standing)
    held = Seen(
        MERCHANT, MODE, standing.wallet_id, seen.session_id, seen.mandate_id, (await standing.row())["next_try_us"]
    )
    services = standing.services
    look = Look(held, new_id("cs"), services.auto_topups.page_url, lambda _attempt: False, ("customer_blocked", how))
    for _ in range(2):  # the second finds nothing in flight
        await services.writer.submit(look.unit())
    row = await standing.row()
    assert (row["session_id"], row["declines"], row["day_units"], row["enabled"]) == (None, declines, 0, 1)
    assert len(await events(services, "auto_topup.failed")) == told
    if seconds is None:
        assert row["next_try_us"] % (24 * 3600 * 10**6) == 0
    else:
        assert -20 * 10**6 < row["next_try_us"] - standing.clock.now_us() - seconds * 10**6 <= 0


async def test_an_order_whose_method_is_not_routed_now_waits_without_counting(standing: Standing) -> None:
    mandate_id = (await standing.row())["mandate_id"]
    key = (MERCHANT, mandate_id)

    def decide(_view: View, changes: Changes) -> dict[str, Any]:
        changes.update("mandate", key, account="closed")
        return {}

    await standing.services.writer.submit(Unit(MERCHANT, MODE, None, (row_lock("mandate", *key),), decide))
    await standing.work()
    row = await standing.row()
    assert (row["session_id"], row["declines"], row["day_units"]) == (None, 0, 0)
    assert row["next_try_us"] > standing.clock.now_us()
    assert await standing.intents() == []
    with pytest.raises(Conflict) as caught:
        await standing.order()
    assert caught.value.code == "mandate_not_chargeable"


async def test_a_rail_that_does_not_answer_is_asked_later_what_was_saved(standing: Standing) -> None:
    session = await standing.here.session("DE", "20.00", reference="late", save_method=True)
    await standing.pay(session)
    mandates = standing.services.mandates
    await standing.control(down=1)
    assert await mandates.run_once() == 1
    assert await mandates.of_wallet(MERCHANT, session["wallet_id"]) == []
    assert await mandates.run_once() == 0, "not at once"
    await standing.pass_by(seconds=11)
    assert await mandates.run_once() == 1
    [saved] = await mandates.of_wallet(MERCHANT, session["wallet_id"])
    assert saved["label"] == "Visa 4242"


def test_the_backoff_doubles_from_an_hour_to_a_day() -> None:
    assert [backoff_us(declines) // (3600 * 10**6) for declines in (1, 2, 3, 4, 5, 6, 99)] == [1, 2, 4, 8, 16, 24, 24]


async def test_a_revoked_mandate_switches_the_order_off_and_stays_revoked(standing: Standing) -> None:
    mandate_id = (await standing.row())["mandate_id"]
    services, wallet = standing.services, standing.wallet_id
    for _ in range(2):
        row = await services.mandates.revoke(MERCHANT, MODE, wallet, mandate_id)
        assert row["status"] == "revoked"
    assert (await standing.row())["enabled"] == 0
    [stopped] = await events(services, "auto_topup.stopped")
    assert stopped["reason"] == "mandate_revoked"
    with pytest.raises(Conflict) as caught:
        await standing.order()
    assert caught.value.code == "no_mandate"
    for merchant, mode, of_wallet, which in (
        ("mer_2", MODE, wallet, mandate_id),
        (MERCHANT, "live", wallet, mandate_id),
        (MERCHANT, MODE, new_id("wal"), mandate_id),
        (MERCHANT, MODE, wallet, new_id("man")),
    ):
        with pytest.raises(NotFound):
            await services.mandates.revoke(merchant, mode, of_wallet, which)
