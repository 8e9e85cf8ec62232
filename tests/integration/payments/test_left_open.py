"""A page at a rail that stayed open after its session was over is closed by the poller, and money is still taken."""

from __future__ import annotations

import pytest

from adapters.base import PaymentReference, RailEventKind, RailUnavailable
from tests.integration.payments.scene import Scene, opened_scene


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


async def _expired_with_an_open_page(scene: Scene) -> tuple[dict[str, object], str]:
    """A session that expired while nobody reached the rail: its page is still open there."""
    session = await scene.session()
    attempt = (await scene.select(session))["attempt"]
    scene.clock.pass_by(minutes=31)
    await scene.checkout.expire(session["merchant_id"], session["mode"], session["id"])
    return session, attempt


async def test_the_poller_closes_what_was_left_open_and_reads_the_rails_word(url: str) -> None:
    async with opened_scene(url) as scene:
        session, attempt = await _expired_with_an_open_page(scene)
        assert scene.rail.canceled == []
        scene.clock.pass_by(minutes=1)
        await scene.watch.run_once()
        assert scene.rail.canceled == [attempt]
        scene.rail.says = [scene.event(attempt, RailEventKind.EXPIRED)]
        scene.clock.pass_by(hours=2)
        await scene.watch.run_once()
        assert scene.rail.canceled == [attempt]
        row = await scene.attempt(attempt)
        assert (row["status"], row["open_at_rail"]) == ("expired", 0)
        await scene.assert_sound(session)


async def test_money_that_was_faster_than_the_closing_is_credited_and_the_page_left_alone(url: str) -> None:
    async with opened_scene(url) as scene:
        session, attempt = await _expired_with_an_open_page(scene)
        scene.rail.says = [scene.capture(attempt, "money_1", scene.rail.created[0].amount)]
        scene.clock.pass_by(minutes=2)
        await scene.watch.run_once()
        assert scene.rail.canceled == []
        payment = await scene.payment(session)
        assert payment is not None
        assert payment["status"] == "credited"
        assert payment["credited_units"] > 0
        await scene.assert_sound(session)


async def test_a_rail_that_cannot_close_now_is_asked_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def refuses(reference: PaymentReference) -> None:
        asked.append(reference.attempt_id)
        raise RailUnavailable("down")

    async with opened_scene(url) as scene:
        session, attempt = await _expired_with_an_open_page(scene)
        monkeypatch.setattr(scene.rail, "cancel_payment", refuses)
        for hours in (1, 2):
            scene.clock.pass_by(hours=hours)
            await scene.watch.run_once()
        assert asked == [attempt, attempt]
        assert (await scene.attempt(attempt))["open_at_rail"] == 1
        await scene.assert_sound(session)


async def test_a_page_is_not_closed_while_its_session_is_open(url: str) -> None:
    async with opened_scene(url) as scene:
        session = await scene.session()
        await scene.select(session)
        scene.clock.pass_by(minutes=5)
        assert await scene.watch.run_once() == 1
        assert scene.rail.canceled == []
        await scene.assert_sound(session)
