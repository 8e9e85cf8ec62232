"""Whatever a rail says, in whatever order and however often: no unit is lost, doubled or invented.

A rail that lies, repeats itself and is late, beside a small model: the first word about a piece of money counts, money
that fits what was asked for is credited, any other is held for a person, and every word may come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import (
    CancelOutcome,
    OutcomeUnknown,
    PaymentDeclined,
    PaymentOrder,
    PaymentStarted,
    RailEvent,
    RailEventKind,
    RailUnavailable,
    Redirect,
)
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict
from orchestrator.payments.confirmation import NotOurs
from rates.money import Asset, Money
from tests.integration.payments.scene import BRL, HARD, SOFT, Scene, opened_scene

USD_PRINCIPAL = 20 * 10**9
EUR = Asset("EUR", 2)
K = RailEventKind
EXAMPLES = 120 if settings.default is not None and settings.default.max_examples > 100 else 10
"""Each is a story over a real database; ``make soak`` lives through many more."""

steps = st.one_of(
    st.tuples(
        st.just("select"), st.integers(0, 2), st.sampled_from(["ok", "unknown", "down", "soft", "hard", "paid_first"])
    ),
    st.tuples(st.just("say"), st.integers(0, 3), st.sampled_from(["action", "pending", "canceled", "expired"])),
    st.tuples(st.just("decline"), st.integers(0, 3), st.sampled_from(["soft", "hard", "soft open"])),
    st.tuples(
        st.just("capture"), st.integers(0, 3), st.integers(0, 2), st.sampled_from(["right", "right", "less", "more", "euro"])
    ),
    st.tuples(st.just("capture"), st.integers(0, 3), st.integers(0, 2), st.just("late")),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("stranger"), st.integers(0, 3)),
)  # fmt: skip


@dataclass
class Told:
    """What the model remembers of one session."""

    session: Row
    said: list[RailEvent] = field(default_factory=list)
    money: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """Money id: whether it fits, and whether it was in time."""


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(story=st.lists(steps, min_size=1, max_size=14))
def test_money_is_credited_or_held_for_a_person_whatever_a_rail_says(
    migrated_database_url: str, story: list[tuple[Any, ...]]
) -> None:
    asyncio.run(_live(migrated_database_url, story))


async def _live(url: str, story: list[tuple[Any, ...]]) -> None:
    async with opened_scene(url) as scene:
        scene.rail.cancels = CancelOutcome.CANCELED
        told = Told(await scene.session())
        for step in (("select", 0, "ok"), *story):
            await _take(scene, told, step)
            await scene.assert_sound(told.session)
            await _agrees(scene, told)


async def _take(scene: Scene, told: Told, step: tuple[Any, ...]) -> None:
    attempts = await scene.attempts(told.session)
    match step:
        case ("select", int(number), str(how)):
            scene.rail.answer = _answer(scene, told, how)
            try:
                await scene.select(told.session, number)
            except Conflict:
                return
        case ("say", int(number), str(word)):
            kinds = {"action": K.ACTION_REQUIRED, "pending": K.PENDING, "canceled": K.CANCELED, "expired": K.EXPIRED}
            await _say(scene, told, scene.event(_pick(attempts, number), kinds[word]))
        case ("decline", int(number), str(how)):
            decline = HARD if how == "hard" else SOFT
            event = scene.event(_pick(attempts, number), K.DECLINED, decline=decline, still_open="open" in how)
            await _say(scene, told, event)
        case ("capture", int(number), int(piece), str(how)):
            attempt = attempts[number % len(attempts)]
            money_id = f"{told.session['id']}-money-{piece}"
            when = scene.clock.now() + timedelta(hours=2 if how == "late" else 0)
            event = scene.capture(attempt["id"], money_id, _amount(attempt, how), occurred_at=when)
            told.money.setdefault(money_id, (how in {"right", "late"}, how != "late"))
            await _say(scene, told, event)
        case ("again", int(number)):
            if told.said:
                event = told.said[number % len(told.said)]
                assert (await scene.confirmation.apply(event)).duplicate
        case ("expire",):
            payment = await scene.payment(told.session)
            assert payment is not None
            await scene.checkout.expire(payment["merchant_id"], "test", told.session["id"])
        case ("stranger", int(number)):
            event = scene.capture(_pick(attempts, number), "money of another account", Money(1, BRL), account="other")
            try:
                await scene.confirmation.apply(event)
            except NotOurs:
                return
            raise AssertionError("another account's word was believed")


def _pick(attempts: list[Row], number: int) -> str:
    return str(attempts[number % len(attempts)]["id"])


def _amount(attempt: Mapping[str, Any], how: str) -> Money:
    units: int = attempt["units"]
    match how:
        case "less":
            return Money(units - 1, BRL)
        case "more":
            return Money(units * 3, BRL)
        case "euro":
            return Money(units, EUR)
        case _:
            return Money(units, BRL)


def _answer(scene: Scene, told: Told, how: str) -> Any:
    async def answer(order: PaymentOrder) -> PaymentStarted:
        match how:
            case "unknown":
                raise OutcomeUnknown("no answer")
            case "down":
                raise RailUnavailable("not now")
            case "soft" | "hard":
                raise PaymentDeclined(SOFT if how == "soft" else HARD)
            case "paid_first":  # the webhook is faster than the answer
                money_id = f"{order.attempt_id}-fast"
                told.money[money_id] = (True, True)
                await _say(scene, told, scene.capture(order.attempt_id, money_id, order.amount))
        return PaymentStarted(f"ref_{order.attempt_id}", Redirect("https://rail.example/pay"))

    return answer


async def _say(scene: Scene, told: Told, event: RailEvent) -> None:
    told.said.append(event)
    applied = await scene.confirmation.apply(event)
    assert not applied.duplicate


async def _agrees(scene: Scene, told: Told) -> None:
    payment = await scene.payment(told.session)
    assert payment is not None
    captures = {row["money_id"]: row for row in await scene.captures(payment["id"])}
    assert set(captures) == set(told.money), "every piece of money is there, once"
    for money_id, (fits, in_time) in told.money.items():
        row = captures[money_id]
        assert row["status"] == ("credited" if fits else "review")
        if fits and in_time:
            assert row["credited_units"] == USD_PRINCIPAL
        elif fits:  # at the rate of arrival, which is the same rate here: but for the spread on the fixed fee
            assert abs(row["credited_units"] - USD_PRINCIPAL) < USD_PRINCIPAL // 1000
    attempts = await scene.attempts(told.session)
    paid = {row["attempt_id"] for row in captures.values()}
    assert {row["id"] for row in attempts if row["status"] == "succeeded"} == paid
    if any(fits for fits, _ in told.money.values()):
        assert payment["status"] == "credited"
    elif told.money:
        assert payment["status"] in {"review", "late_paid", "canceled", "expired"}
