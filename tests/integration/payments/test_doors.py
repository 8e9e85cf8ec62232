"""The one door: whoever says what, how often and when, each piece of money has one place."""

from __future__ import annotations

import asyncio

import pytest

from adapters.base import (
    CancelOutcome,
    Decline,
    Mode,
    OutcomeUnknown,
    PaymentDeclined,
    PaymentOrder,
    PaymentStarted,
    RailEventKind,
    RailMisconfigured,
    RailUnavailable,
    Redirect,
)
from orchestrator.errors import Conflict, NotFound
from orchestrator.payments.confirmation import NotOurs
from orchestrator.payments.offers import offers_of
from rates.money import Asset, Money
from tests.integration.payments.scene import BRL, HARD, SOFT, Scene, opened_scene, redirected

PRINCIPAL = 20 * 10**9
K = RailEventKind


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


async def _credited(scene: Scene, session: dict[str, object]) -> int:
    payment = await scene.payment(session)
    assert payment is not None
    await scene.assert_sound(session)
    return int(payment["credited_units"])


async def test_the_same_statement_a_hundred_times_at_once_credits_once(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        attempt = await scene.attempt((await scene.select(session))["attempt"])
        event = scene.capture(attempt["id"], "pi_1", Money(attempt["units"], BRL))
        applied = await asyncio.gather(*(scene.confirmation.apply(event) for _ in range(100)))
        assert sum(not one.duplicate for one in applied) == 1
        assert await _credited(scene, session) == PRINCIPAL


async def test_a_hundred_different_statements_about_one_piece_of_money_credit_once(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        attempt = await scene.attempt((await scene.select(session))["attempt"])
        await asyncio.gather(*(scene.captured(attempt["id"], "pi_1") for _ in range(100)))
        assert await _credited(scene, session) == PRINCIPAL


async def test_two_processes_that_hear_of_one_piece_of_money_credit_once(postgres_url: str) -> None:
    async with opened_scene(postgres_url) as one, opened_scene(postgres_url) as two:
        session = await one.session()
        attempt = (await one.select(session))["attempt"]
        await asyncio.gather(*(scene.captured(attempt, f"pi_{n}") for n in range(10) for scene in (one, two)))
        assert await _credited(one, session) == PRINCIPAL * 10, "ten pieces of money, each once"


async def test_money_that_is_heard_of_before_the_rail_answered_is_credited(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()

        async def paid_before_it_answers(order: PaymentOrder) -> PaymentStarted:
            await scene.captured(order.attempt_id, "pi_1")
            return await redirected(order)

        scene.rail.answer = paid_before_it_answers
        chosen = await scene.select(session)
        assert chosen["status"] == "credited"
        assert chosen["next_action"] == {"type": "none"}, "nobody is sent to pay again"
        assert await _credited(scene, session) == PRINCIPAL


async def test_money_is_credited_though_the_answer_of_the_call_was_lost(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()

        async def lost(order: PaymentOrder) -> PaymentStarted:
            raise OutcomeUnknown(order.attempt_id)

        scene.rail.answer = lost
        chosen = await scene.select(session)
        assert chosen["status"] == "unknown"
        with pytest.raises(Conflict, match="payment_unknown"):
            await scene.select(session, 1)
        scene.rail.says = [scene.capture(chosen["attempt"], "pi_1", scene.rail.created[0].amount)]
        scene.clock.pass_by(minutes=2)
        await scene.watch.run_once()
        assert await _credited(scene, session) == PRINCIPAL
        assert len(scene.rail.created) == 1, "what was found was not sent again"


async def test_an_order_whose_answer_was_lost_is_sent_again_under_its_own_key_and_never_elsewhere(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()

        async def lost(order: PaymentOrder) -> PaymentStarted:
            raise OutcomeUnknown(order.attempt_id)

        async def down(order: PaymentOrder) -> PaymentStarted:
            raise RailUnavailable(order.attempt_id)

        scene.rail.answer = lost
        chosen = await scene.select(session)
        scene.rail.answer = down  # that the second call did not reach the rail says nothing about the first
        scene.clock.pass_by(minutes=2)
        await scene.watch.run_once()
        assert (await scene.attempt(chosen["attempt"]))["status"] == "outcome_unknown"
        scene.rail.answer = redirected
        scene.clock.pass_by(minutes=2)
        await scene.watch.run_once()
        assert (await scene.attempt(chosen["attempt"]))["status"] == "requires_action"
        first, *others = scene.rail.created
        assert all(order == first for order in others)
        again = await scene.select(session)
        assert again["next_action"]["type"] == "redirect", "the buyer can go on"
        await scene.captured(chosen["attempt"], "pi_1")
        assert await _credited(scene, session) == PRINCIPAL


async def test_beyond_the_rails_memory_nothing_is_sent_again_and_a_person_is_asked(url: str) -> None:
    async with opened_scene(url) as scene:
        scene.rail.resend_window_seconds = 60
        session = await scene.session()

        async def lost(order: PaymentOrder) -> PaymentStarted:
            raise OutcomeUnknown(order.attempt_id)

        scene.rail.answer = lost
        chosen = await scene.select(session)
        for _ in range(25):
            scene.clock.pass_by(hours=2)
            await scene.watch.run_once()
        assert len(scene.rail.created) == 1
        assert len(scene.rail.asked) >= 20
        assert [row["reason"] for row in await scene.reviews()] == ["outcome_unknown_too_long"]
        assert (await scene.payment(session) or {})["status"] == "unknown"
        await scene.captured(chosen["attempt"], "pi_1")
        assert await _credited(scene, session) > 0


@pytest.mark.parametrize("error", [RailUnavailable("down"), RailMisconfigured("wrong key")])
async def test_a_rail_that_was_not_reached_leads_to_the_next_offer(url: str, error: Exception) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()

        async def refuses(_order: PaymentOrder) -> PaymentStarted:
            raise error

        scene.rail.answer = refuses
        chosen = await scene.select(session)
        assert chosen["status"] == "failed"
        assert chosen["suggested_offer"] == offers_of(session)[1].id
        assert (await scene.attempt(chosen["attempt"]))["status"] == "not_sent"
        assert (await scene.attempt(chosen["attempt"]))["open_at_rail"] == 0
        scene.rail.answer = redirected
        second = await scene.select(session, 1)
        assert scene.rail.canceled == [], "there is nothing to take back"
        await scene.captured(second["attempt"], "pi_1")
        assert await _credited(scene, session) == PRINCIPAL


async def test_a_soft_decline_suggests_the_next_offer_and_a_hard_one_stops(url: str) -> None:
    async with opened_scene(url) as scene:
        for decline, suggested in ((SOFT, True), (HARD, False)):
            session = await scene.session()

            async def no(_order: PaymentOrder, decline: Decline = decline) -> PaymentStarted:
                raise PaymentDeclined(decline)

            scene.rail.answer = no
            chosen = await scene.select(session)
            assert chosen["status"] == "failed"
            assert chosen["decline"]["message"] == decline.message
            assert ("suggested_offer" in chosen) == suggested
            scene.rail.answer = redirected


async def test_before_another_rail_is_asked_the_open_page_of_the_first_is_closed_there(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        first = await scene.select(session)
        declined = scene.event(first["attempt"], K.DECLINED, decline=SOFT, still_open=True)
        await scene.confirmation.apply(declined)
        second = await scene.select(session, 1)
        assert scene.rail.canceled == [first["attempt"]]
        assert (await scene.attempt(first["attempt"]))["open_at_rail"] == 0
        await scene.captured(second["attempt"], "pi_2")
        assert await _credited(scene, session) == PRINCIPAL


async def test_a_payment_that_was_made_at_the_last_moment_stops_the_second_one(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        first = await scene.select(session)
        scene.rail.cancels = CancelOutcome.TOO_LATE
        scene.rail.says = [scene.capture(first["attempt"], "pi_1", scene.rail.created[0].amount)]
        with pytest.raises(Conflict, match="payment_made"):
            await scene.select(session, 1)
        assert len(scene.rail.created) == 1
        assert await _credited(scene, session) == PRINCIPAL


async def test_what_cannot_be_taken_back_is_watched_on_and_its_late_success_is_credited_too(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        first = await scene.select(session)
        scene.rail.cancels = CancelOutcome.CANNOT
        second = await scene.select(session, 1)
        assert (await scene.attempt(first["attempt"]))["status"] == "superseded"
        await scene.captured(second["attempt"], "pi_2")
        await scene.captured(first["attempt"], "pi_1")
        assert await _credited(scene, session) == PRINCIPAL * 2
        assert len(await scene.captures((await scene.payment(session) or {})["id"])) == 2


async def test_a_decline_after_the_capture_takes_nothing_back(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        attempt = (await scene.select(session))["attempt"]
        await scene.captured(attempt, "pi_1")
        for kind in (K.DECLINED, K.CANCELED, K.EXPIRED, K.PENDING):
            await scene.confirmation.apply(scene.event(attempt, kind, decline=HARD if kind is K.DECLINED else None))
        assert (await scene.payment(session) or {})["status"] == "credited"
        assert await _credited(scene, session) == PRINCIPAL


async def test_money_that_is_not_what_was_asked_for_is_held_for_a_person(url: str) -> None:
    wrong = [
        (Money(1, BRL), "amount_mismatch"),
        (Money(10**12, BRL), "amount_mismatch"),
        (Money(2**62, BRL), "amount_mismatch"),
        (Money(10_000, Asset("EUR", 2)), "currency_mismatch"),
        (Money(10_000, Asset("XTS", 2)), "currency_mismatch"),
    ]
    async with opened_scene(url) as scene:
        for number, (amount, reason) in enumerate(wrong):
            session = await scene.session()
            attempt = (await scene.select(session))["attempt"]
            applied = await scene.captured(attempt, f"pi_{number}", amount)
            assert applied.answer["result"] == "review"
            assert await _credited(scene, session) == 0
            payment = await scene.payment(session)
            assert payment is not None
            assert payment["status"] == "review"
            assert [row["reason"] for row in await scene.reviews() if row["payment_id"] == payment["id"]] == [reason]


async def test_a_capture_of_nothing_claims_nothing_and_what_comes_after_it_counts(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        attempt = (await scene.select(session))["attempt"]
        for units in (0, -5):
            assert (await scene.captured(attempt, "pi_1", Money(units, BRL))).answer["result"] == "nothing"
        assert [row["reason"] for row in await scene.reviews()] == ["captured_nothing"] * 2
        assert await _credited(scene, session) == 0
        await scene.captured(attempt, "pi_1")
        assert await _credited(scene, session) == PRINCIPAL


async def test_money_after_expiry_is_credited_at_the_rate_of_arrival(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        attempt = (await scene.select(session))["attempt"]
        scene.clock.pass_by(hours=1)
        await scene.checkout.expire("mer_1", "test", session["id"])
        with pytest.raises(Conflict, match="session_expired"):
            await scene.select(session, 1)
        await scene.captured(attempt, "pi_1")
        credited = await _credited(scene, session)
        assert abs(credited - PRINCIPAL) < PRINCIPAL // 1000
        assert (await scene.payment(session) or {})["status"] == "credited"


async def test_an_event_of_another_account_mode_or_rail_touches_nothing(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        attempt = await scene.attempt((await scene.select(session))["attempt"])
        for wrong in ({"account": "other"}, {"rail": "adyen"}, {"mode": Mode.LIVE}):
            event = scene.capture(attempt["id"], "pi_1", Money(attempt["units"], BRL), **wrong)
            with pytest.raises(NotOurs):
                await scene.confirmation.apply(event)
        for nobody in (None, "att_00000000000000000000000000000000"):
            event = scene.event(nobody, K.CAPTURED, money_id="pi_1", amount=Money(1, BRL), rail_reference=None)
            with pytest.raises(NotOurs):
                await scene.confirmation.apply(event)
        assert await scene.attempt(attempt["id"]) == attempt
        assert await _credited(scene, session) == 0


async def test_captured_money_without_an_id_of_its_own_is_refused_loudly(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        attempt = (await scene.select(session))["attempt"]
        with pytest.raises(ValueError, match="without an id of its own"):
            await scene.confirmation.apply(scene.event(attempt, K.CAPTURED, amount=Money(1, BRL)))
        assert await _credited(scene, session) == 0


# --- selecting -------------------------------------------------------------------------------------------------------


async def test_an_offer_that_is_chosen_twenty_times_at_once_is_one_attempt_and_one_call(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        chosen = await asyncio.gather(*(scene.select(session) for _ in range(20)))
        assert len({one["attempt"] for one in chosen}) == 1
        assert len(scene.rail.created) == 1


async def test_two_offers_that_are_chosen_at_once_are_never_both_open(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()

        async def slow(order: PaymentOrder) -> PaymentStarted:
            await asyncio.sleep(0.05)
            return PaymentStarted(f"ref_{order.attempt_id}", Redirect("https://rail.example/pay"))

        scene.rail.answer = slow
        await asyncio.gather(*(scene.select(session, n % 3) for n in range(9)), return_exceptions=True)
        attempts = await scene.attempts(session)
        assert sum(row["status"] in {"sent", "requires_action"} for row in attempts) == 1
        closed = {row["id"] for row in attempts if row["status"] == "canceled"}
        assert closed == set(scene.rail.canceled)
        await scene.assert_sound(session)


async def test_a_session_in_which_money_came_takes_no_second_payment(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        await scene.captured((await scene.select(session))["attempt"], "pi_1")
        with pytest.raises(Conflict, match="session_complete"):
            await scene.select(session, 1)
        with pytest.raises(NotFound):
            await scene.selection.select("mer_2", "test", session["id"], offers_of(session)[0].id)
        with pytest.raises(NotFound):
            await scene.selection.select("mer_1", "live", session["id"], offers_of(session)[0].id)
        with pytest.raises(NotFound):
            await scene.selection.select("mer_1", "test", session["id"], "off_of_another_session")


async def test_attempts_and_amounts_of_one_customer_and_day_have_a_limit(url: str) -> None:
    async with opened_scene(url) as scene:
        for _ in range(5):
            await scene.select(await scene.session(usd=10_000, customer="rich"))
        with pytest.raises(Conflict, match="velocity_amount"):
            await scene.select(await scene.session(usd=10_000, customer="rich"))
        for _ in range(50):
            await scene.select(await scene.session(usd=1, customer="busy"))
        with pytest.raises(Conflict, match="velocity_count"):
            await scene.select(await scene.session(usd=1, customer="busy"))
        scene.clock.pass_by(hours=24)
        await scene.select(await scene.session(usd=1, customer="busy"))


async def test_a_call_that_was_cut_off_leaves_an_attempt_that_the_poller_finishes(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()

        reached = asyncio.Event()

        async def hangs(order: PaymentOrder) -> PaymentStarted:
            reached.set()
            await asyncio.Event().wait()
            raise AssertionError(order)

        scene.rail.answer = hangs
        selecting = asyncio.create_task(scene.select(session))
        await reached.wait()
        selecting.cancel()  # the process is killed while the rail works
        with pytest.raises(asyncio.CancelledError):
            await selecting
        (attempt,) = await scene.attempts(session)
        assert attempt["status"] == "sent"
        with pytest.raises(Conflict, match=r"payment_in_doubt|payment_unknown"):
            await scene.select(session, 1)
        scene.rail.answer = redirected
        scene.rail.says = [scene.capture(attempt["id"], "pi_1", Money(attempt["units"], BRL))]
        scene.clock.pass_by(minutes=1)
        await scene.watch.run_once()
        assert await _credited(scene, session) == PRINCIPAL
        assert len(scene.rail.created) == 1
