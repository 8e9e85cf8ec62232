"""Requests that share a unit: each has its own answer, and one that cannot be taken costs nobody else his."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.database.unit import Changes, View
from orchestrator.metering.charging import Rated, UsageBatch
from tests.integration.metering.desk import Desk, opened_desk

MANY = 64


async def _units(desk: Desk) -> int:
    """Flushes that charged something: each has one entry for the one wallet."""
    return len([row for row in await desk.rows("journal_entry") if row["kind"] == "usage"])


async def test_many_callers_share_few_flushes_and_each_gets_his_own_results(migrated_database_url: str) -> None:
    async with opened_desk(migrated_database_url) as desk:
        await desk.price()
        wallets = [await desk.wallet(cents=100) for _ in range(2)]
        bodies = [[desk.event(wallets[n % 2], input=n + 1), {"id": f"bad {n}"}] for n in range(MANY)]
        answers = await asyncio.gather(*(desk.use(body) for body in bodies))
        for number, answer in enumerate(answers):
            assert [one["status"] for one in answer["results"]] == ["accepted", "rejected"]
            assert answer["results"][0]["id"] == bodies[number][0]["id"]
            assert list(answer["wallets"]) == [wallets[number % 2]], "the wallets that this caller named, no others"
        assert await _units(desk) < MANY
        await desk.assert_sound()


async def test_the_same_event_from_many_callers_is_charged_once_inside_one_unit(migrated_database_url: str) -> None:
    async with opened_desk(migrated_database_url) as desk:
        await desk.price()
        wallet = await desk.wallet(cents=100)
        event = desk.event(wallet, input=1000)
        other = {**event, "tokens": {"input": 1}}
        answers = await asyncio.gather(*(desk.use([event]) for _ in range(20)), *(desk.use([other]) for _ in range(20)))
        said = [answer["results"][0] for answer in answers]
        assert [one["status"] for one in said].count("accepted") == 1
        winner = next(number for number, one in enumerate(said) if one["status"] == "accepted")
        for number, one in enumerate(said):
            if number != winner:
                same = (number < 20) == (winner < 20)
                assert (one["status"], one.get("reason")) == (
                    ("duplicate", None) if same else ("rejected", "id_reused")
                )
        await desk.assert_sound()


async def test_a_shared_unit_that_fails_is_taken_apart(
    migrated_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = UsageBatch.decide

    def poisoned(self: UsageBatch, view: View, changes: Changes) -> dict[str, Any]:
        if any(_is_poison(rated) for rated in self.events):
            raise RuntimeError("an event that nobody foresaw")
        return decide(self, view, changes)

    monkeypatch.setattr(UsageBatch, "decide", poisoned)
    async with opened_desk(migrated_database_url) as desk:
        await desk.price()
        wallet = await desk.wallet(cents=100)
        good = [desk.event(wallet, input=1000) for _ in range(20)]
        poison = desk.event(wallet, input=666)
        calls = [desk.call("POST", "/v1/usage", {"events": [event]}) for event in (*good[:10], poison, *good[10:])]
        replies = await asyncio.gather(*calls)
        assert [reply.status for reply in replies] == [200] * 10 + [500] + [200] * 10
        stored = {row["event_id"] for row in await desk.rows("usage_event")}
        assert stored == {event["id"] for event in good}
        await desk.assert_sound()


def _is_poison(rated: Rated) -> bool:
    return rated.event.tokens.get("input") == 666
