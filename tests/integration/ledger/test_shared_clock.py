"""Processes whose clocks differ agree on what is expired: the database's time decides."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestrator.clock import SystemClock
from orchestrator.database.shared_clock import SharedClock, shared_clock


async def test_the_clock_of_a_database_is_its_servers(migrated_database_url: str) -> None:
    async with shared_clock(migrated_database_url) as clock:  # the server runs on this very machine
        assert abs(clock.now_us() - SystemClock().now_us()) < 500_000
        before = clock.now_us()
        await asyncio.sleep(0.05)
        assert 40_000 < clock.now_us() - before < 2_000_000


async def test_a_process_takes_over_the_servers_time_and_believes_the_fastest_answer() -> None:
    ahead_us = 3_600_000_000
    waits = iter([0.05, 0.0, 0.05, 0.02, 0.03])

    async def server() -> int:
        said = time.monotonic_ns() // 1000 + ahead_us
        await asyncio.sleep(next(waits))
        return said

    clock = SharedClock(server)
    await clock.measure()
    assert clock.now_us() - time.monotonic_ns() // 1000 == pytest.approx(ahead_us, abs=10_000)
