"""Auto top-ups over Stripe's simulator: charged once where a balance fell, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.bootstrap import opened
from orchestrator.clock import from_us
from orchestrator.database import tables
from orchestrator.workers.auto_topup import AutoTopupWorker
from tests.faults.payment_process import configured
from tests.integration.payments.standing_scene import NANO, Later, Standing, events, rows, set_customer, set_status, usd
from tests.support.world import MERCHANT, MODE, world

HOUR_US = 3600 * 10**6


@pytest.fixture
async def standing(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Standing]:
    """A customer who saved a card with a payment of 20 dollars, and a standing order."""
    clock = Later()
    async with world(migrated_database_url, tmp_path, loops=False, clock=clock) as here:
        scene = Standing(here, clock)
        await scene.save()
        await scene.order()
        yield scene


async def test_a_checkout_saves_the_card_and_says_so(standing: Standing) -> None:
    [mandate] = await standing.services.mandates.of_wallet(MERCHANT, standing.wallet_id)
    assert (mandate["status"], mandate["label"], mandate["method"]) == ("active", "Visa 4242", "card")
    [told] = await events(standing.services, "mandate.saved")
    assert told["id"] == mandate["id"]
    assert "pm_" not in str(told), "what charges the card is nobody's business"
    assert (await standing.row())["mandate_id"] == mandate["id"]


async def test_nothing_is_saved_where_nobody_asked_or_nobody_paid(standing: Standing) -> None:
    before = len(await rows(standing.services, tables.Mandate))
    await standing.pay(await standing.here.session("DE", reference="other"))
    session = await standing.here.session("DE", reference="third", save_method=True)
    await standing.here.select(session)
    await standing.services.checkout.expire(MERCHANT, MODE, session["id"])
    payment = await standing.here.payment(session)
    assert payment is not None
    await standing.services.expiry.closing.close_expired(MERCHANT, payment["id"])
    assert await standing.services.mandates.run_once() == 1
    found = await rows(standing.services, tables.Mandate)
    assert [row["status"] for row in found[before:]] == ["unused"]


async def test_a_full_wallet_is_left_alone(standing: Standing) -> None:
    await standing.spend("15.00")  # five dollars are left, which is not below five
    await standing.work()
    assert await standing.intents() == []


async def test_fifty_charges_that_cross_the_threshold_at_once_make_one_top_up(standing: Standing) -> None:
    await asyncio.gather(
        *(standing.spend("0.35") for _ in range(50)),
        *(standing.work() for _ in range(5)),
    )
    await asyncio.gather(*(standing.work() for _ in range(5)))
    await standing.services.inbox.run_once()
    [intent] = await standing.intents()
    assert intent["status"] == "succeeded"
    assert await standing.balance() == 20 * NANO - 50 * 350_000_000 + 25 * NANO
    row = await standing.row()
    assert (row["session_id"], row["declines"], row["day_units"]) == (None, 0, 25 * NANO)
    await standing.sound()


async def test_two_processes_that_see_one_low_wallet_charge_it_once(postgres_url: str, tmp_path: Path) -> None:
    clock = Later()
    async with world(postgres_url, tmp_path, loops=False, clock=clock) as here:
        standing = Standing(here, clock)
        await standing.save()
        await standing.order()
        settings, document = configured(postgres_url, tmp_path, here.public_url)
        async with opened(settings, document, sandbox_url=here.sandbox_url, clock=clock) as other:
            for _ in range(3):
                await standing.drain()
                await asyncio.gather(*(one.auto_topups.run_once() for one in (here.services, other) for _ in range(4)))
        assert len(await standing.intents()) == 3
        assert await standing.balance() == 27 * NANO
        await standing.sound()


async def test_the_charge_is_a_payment_like_every_other_with_its_fees(standing: Standing) -> None:
    await standing.drain()
    await standing.work()
    await standing.work()
    [intent] = await standing.intents()
    attempt = next(
        row for row in await rows(standing.services, tables.Attempt) if row["rail_reference"] == intent["id"]
    )
    [session] = await rows(standing.services, tables.CheckoutSession, id=attempt["session_id"])
    [payment] = await rows(standing.services, tables.Payment, id=attempt["payment_id"])
    assert (session["status"], payment["status"], payment["credited_units"]) == ("complete", "credited", 25 * NANO)
    assert intent["amount"] == intent["amount_received"] == attempt["units"], "principal, fees and spread"
    usd_paid = attempt["units"] * NANO // 100
    assert usd_paid != 25 * NANO
    [decision] = await rows(standing.services, tables.Decision, id=session["decision_id"])
    assert decision["ruleset_hash"]
    [customer] = await rows(standing.services, tables.Customer)
    assert customer["velocity_count"] == 2, "counted like what the customer pays himself"
    await standing.sound()


async def test_webhooks_that_come_twice_credit_once(standing: Standing) -> None:
    await standing.control(duplicate_webhooks=3)
    await standing.drain()
    await standing.work()
    for _ in range(10):
        await standing.services.inbox.run_once()
        await asyncio.sleep(0.05)
    assert await standing.balance() == 27 * NANO
    await standing.sound()


async def test_a_decline_backs_off_doubling_and_the_next_try_is_at_the_right_time(standing: Standing) -> None:
    await standing.control(decline="insufficient_funds")
    await standing.drain()
    for declines, hours in ((1, 1), (2, 2), (3, 4)):
        await standing.work()
        row = await standing.row()
        assert (row["declines"], row["session_id"], row["day_units"], row["enabled"]) == (declines, None, 0, 1)
        wait_us = row["next_try_us"] - standing.clock.now_us()
        assert hours * HOUR_US - 20 * 10**6 < wait_us <= hours * HOUR_US
        await standing.pass_by(hours=hours, seconds=-60)
        await standing.work()
        assert len(await standing.intents()) == declines, "not before its time"
        await standing.pass_by(seconds=70)
    failed = await events(standing.services, "auto_topup.failed")
    assert [(event["reason"], event["declines"]) for event in failed] == [("insufficient_funds", n) for n in (1, 2, 3)]
    await standing.control(decline="")
    await standing.work()
    await standing.work()
    assert await standing.balance() == 27 * NANO
    assert (await standing.row())["declines"] == 0
    await standing.sound()


async def test_five_declines_in_a_row_switch_it_off_and_setting_it_again_begins_anew(standing: Standing) -> None:
    await standing.control(decline="insufficient_funds")
    await standing.drain()
    for _ in range(8):
        await standing.work()
        await standing.pass_by(hours=25)
    row = await standing.row()
    assert (row["enabled"], row["declines"], len(await standing.intents())) == (0, 5, 5)
    [stopped] = await events(standing.services, "auto_topup.stopped")
    assert (stopped["reason"], stopped["declines"]) == ("insufficient_funds", 5)
    await standing.control(decline="")
    row = await standing.order()
    assert (row["enabled"], row["declines"]) == (1, 0)
    await standing.work()
    assert await standing.balance() == 27 * NANO


async def test_a_hard_decline_is_never_tried_again(standing: Standing) -> None:
    await standing.control(decline="stolen_card")
    await standing.drain()
    for _ in range(3):
        await standing.work()
        await standing.pass_by(hours=25)
    assert len(await standing.intents()) == 1
    [stopped] = await events(standing.services, "auto_topup.stopped")
    assert stopped["reason"] == "stolen_card"


async def test_no_more_than_the_daily_maximum_and_again_on_the_next_day(standing: Standing) -> None:
    await standing.order(daily_max=usd("40"))
    await standing.drain()
    await standing.work()
    await standing.work()
    await standing.drain()
    for _ in range(3):
        await standing.work()
    assert len(await standing.intents()) == 1
    [failed] = await events(standing.services, "auto_topup.failed")
    assert failed["reason"] == "daily_max"
    row = await standing.row()
    midnight = from_us(row["next_try_us"])
    assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0)
    assert timedelta(0) < midnight - standing.clock.now() <= timedelta(days=1)
    await standing.pass_by(seconds=(midnight - standing.clock.now()).total_seconds() + 1)
    await standing.work()
    assert len(await standing.intents()) == 2
    assert (await standing.row())["day_units"] == 25 * NANO


async def test_a_lost_answer_is_never_followed_by_a_second_charge_and_is_credited_once(standing: Standing) -> None:
    await standing.control(drop_answer=1, hold_webhooks=True)
    await standing.drain()
    await standing.work()
    assert (await rows(standing.services, tables.Payment))[-1]["status"] == "unknown"
    session_id = (await standing.row())["session_id"]
    assert session_id is not None
    for _ in range(3):
        await standing.pass_by(minutes=20)
        await standing.work()
    assert len(await standing.intents()) == 1
    assert (await standing.row())["session_id"] == session_id
    assert await standing.balance() == 2 * NANO
    await standing.services.watch.run_once()
    assert await standing.balance() == 27 * NANO
    await standing.pass_by(seconds=20)
    await standing.control(hold_webhooks=False)
    for _ in range(5):
        await standing.work()
        await standing.services.inbox.run_once()
        await asyncio.sleep(0.05)
    assert len(await standing.intents()) == 1
    assert (await standing.row())["session_id"] is None
    assert await standing.balance() == 27 * NANO
    await standing.sound()


async def test_a_lost_answer_of_a_refusal_is_found_and_backs_off(standing: Standing) -> None:
    await standing.control(drop_answer=1, hold_webhooks=True, decline="insufficient_funds")
    await standing.drain()
    await standing.work()
    await standing.pass_by(minutes=1)
    await standing.services.watch.run_once()
    await standing.work()
    row = await standing.row()
    assert (row["session_id"], row["declines"]) == (None, 1)
    assert len(await standing.intents()) == 1


async def test_a_rail_that_takes_nothing_is_tried_again_soon_and_counts_for_nothing(standing: Standing) -> None:
    await standing.control(rate_limited=3)
    await standing.drain()
    await standing.work()
    row = await standing.row()
    assert (row["session_id"], row["declines"], row["day_units"]) == (None, 0, 0)
    assert await standing.intents() == []
    await standing.pass_by(minutes=6)
    await standing.work()
    assert await standing.balance() == 27 * NANO


async def test_a_frozen_wallet_is_not_charged_until_it_is_free_again(standing: Standing) -> None:
    await standing.drain()
    await set_status(standing.services, standing.wallet_id, "frozen")
    await standing.work()
    assert await standing.intents() == []
    await set_status(standing.services, standing.wallet_id, "active")
    await standing.work()
    assert len(await standing.intents()) == 1


async def test_what_is_switched_off_is_not_charged(standing: Standing) -> None:
    await standing.drain()
    await standing.order(enabled=False)
    await standing.work()
    assert await standing.intents() == []


async def test_a_customer_past_the_days_limits_is_charged_tomorrow(standing: Standing) -> None:
    attempts_max = standing.services.checkout.screening.daily_count_max
    await set_customer(standing.services, velocity_count=attempts_max)
    await standing.drain()
    await standing.work()
    [failed] = await events(standing.services, "auto_topup.failed")
    assert failed["reason"] == "velocity_count"
    row = await standing.row()
    assert (row["enabled"], row["session_id"], row["declines"], row["day_units"]) == (1, None, 0, 0)
    midnight = from_us(row["next_try_us"])
    assert (midnight.hour, midnight.minute) == (0, 0)
    assert await standing.intents() == []
    await standing.pass_by(seconds=(midnight - standing.clock.now()).total_seconds() + 1)
    await standing.work()
    assert await standing.balance() == 27 * NANO


async def test_the_worker_notices_by_itself(standing: Standing) -> None:
    services, stop = standing.services, asyncio.Event()
    worker = AutoTopupWorker(services.writer, services.auto_topups, services.mandates)
    running = asyncio.create_task(worker.run(stop))
    try:
        await standing.drain()
        for _ in range(100):
            if await standing.balance() == 27 * NANO:
                break
            await asyncio.sleep(0.05)
        assert await standing.balance() == 27 * NANO
    finally:
        stop.set()
        await running
