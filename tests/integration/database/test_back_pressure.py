"""A writer that is asked for too much says so over HTTP, and what it took is there once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from orchestrator.database import writer as writer_module
from orchestrator.metering import together
from tests.integration.metering.desk import Desk, opened_desk

CALLERS = 80
QUEUE = 20


async def _until_taken(desk: Desk, event: dict[str, Any], seen: Counter[int]) -> str:
    """Do as the answer says: wait for Retry-After, send the same again."""
    while True:
        reply = await desk.call("POST", "/v1/usage", {"events": [event]})
        seen[reply.status] += 1
        if reply.status == 200:
            return str(reply.json["results"][0]["status"])
        assert (reply.status, reply.json["code"], reply.json["retryable"]) == (429, "writer_queue_full", True)
        assert reply.headers["Retry-After"] == "1"
        await asyncio.sleep(0.1)  # the test is in a hurry


async def test_a_full_queue_is_429_with_retry_after_and_nothing_is_lost_or_doubled(
    migrated_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_desk(migrated_database_url) as desk:
        await desk.price()
        wallet = await desk.wallet(cents=500)
        monkeypatch.setattr(writer_module, "QUEUE_UNITS_MAX", QUEUE)
        monkeypatch.setattr(writer_module, "FLUSH_UNITS_MAX", 2)
        monkeypatch.setattr(together, "ALONE_EVENTS", 0)  # each request is a unit: shared, they would all fit
        seen: Counter[int] = Counter()
        events = [desk.event(wallet) for _ in range(CALLERS)]
        said = await asyncio.gather(*(_until_taken(desk, event, seen) for event in events))
        assert said == ["accepted"] * CALLERS, "a refusal wrote nothing"
        assert seen[429] > 0
        assert {row["event_id"] for row in await desk.rows("usage_event")} == {event["id"] for event in events}
        assert await desk.charged(wallet) == CALLERS * 150_000
        await desk.assert_sound()
