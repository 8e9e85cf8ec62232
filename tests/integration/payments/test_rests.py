"""A rail that says how long it wants to be left alone (429 with Retry-After)."""

from __future__ import annotations

from time import monotonic

from adapters.base import PaymentOrder, PaymentStarted, RailUnavailable
from orchestrator.payments.offers import offers_of
from tests.integration.payments.scene import opened_scene, redirected


async def test_a_rail_that_asks_for_a_long_rest_is_passed_over_at_once(migrated_database_url: str) -> None:
    async with opened_scene(migrated_database_url) as scene:
        session = await scene.session()
        calls = 0

        async def busy(_order: PaymentOrder) -> PaymentStarted:
            nonlocal calls
            calls += 1
            raise RailUnavailable("too many requests", retry_after_seconds=30)

        scene.rail.answer = busy
        chosen = await scene.select(session)
        assert calls == 1
        assert chosen["suggested_offer"] == offers_of(session)[1].id


async def test_a_rail_that_asks_for_a_short_rest_is_given_it_and_asked_again(migrated_database_url: str) -> None:
    async with opened_scene(migrated_database_url) as scene:
        session = await scene.session()
        calls: list[float] = []

        async def busy_once(order: PaymentOrder) -> PaymentStarted:
            calls.append(monotonic())
            if len(calls) == 1:
                raise RailUnavailable("too many requests", retry_after_seconds=1.2)
            return await redirected(order)

        scene.rail.answer = busy_once
        chosen = await scene.select(session)
        assert chosen["next_action"]["type"] == "redirect"
        assert calls[1] - calls[0] >= 1.2
