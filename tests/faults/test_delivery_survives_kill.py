"""kill -9 of the delivering process, wherever it happens to be: every event arrives, each under its one id."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from tests.integration.events.house import House, Receiver, opened, receiving, sequences
from tests.support.processes import running

ROOT = Path(__file__).parents[2]
EVENTS = 250


def command(url: str) -> list[str]:
    return [sys.executable, "-m", "tests.faults.delivery_process", url]


async def prepared(house: House, shop: Receiver) -> list[str]:
    await house.endpoint(shop.url("hook"))
    await house.happen(EVENTS)
    return [row["id"] for row in await house.rows("event")]


async def test_a_delivering_process_may_be_killed_at_any_moment(migrated_database_url: str) -> None:
    url = migrated_database_url
    async with receiving() as shop:
        async with opened(url) as house:
            ids = await prepared(house, shop)
        for seen in (1, 30, 80):  # killed early, and twice in full flight
            async with running(command(url), folder=ROOT) as process:
                await shop.until_count("hook", seen, timeout_s=20)
                await process.kill()
        before = len(shop.got)
        async with running(command(url), folder=ROOT):
            await shop.until(lambda: len(set(sequences(shop.got))) == EVENTS, timeout_s=20)
        async with opened(url) as house, house.delivering():
            rows = await house.until_no_delivery_waits(timeout_s=20)
    assert 80 <= before < EVENTS, "it was killed in the middle"
    assert {row["status"] for row in rows} == {"delivered"}
    assert len(rows) == EVENTS
    times = Counter(one.headers["webhook-id"] for one in shop.got)
    assert sorted(times) == sorted(ids)
    assert {(one.headers["webhook-id"], one.event["sequence"]) for one in shop.got} == set(
        zip(ids, range(1, EVENTS + 1), strict=True)
    )
    # Only what was under way when it was killed can have come twice: 8 requests at a time, 4 processes.
    assert sum(times.values()) - EVENTS <= 4 * 8
