"""Two processes on one PostgreSQL under load: the owner sleeps, then is killed; nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from sqlalchemy import select

from orchestrator.database.ownership import group_of
from orchestrator.database.tables import JournalEntry, Lot, UsageEvent, WriterLease, table_of
from orchestrator.ids import new_id
from orchestrator.ledger.check import check
from tests.faults.owner_process import GROUPS, seeded
from tests.integration.database.chain import sealed_entries
from tests.integration.database.units import CENT, opened_reads
from tests.support.ports import free_port
from tests.support.processes import Process, running

ROOT = Path(__file__).parents[2]
LEASE_S = 1.5
PRICE_UNITS = 1000
CALL_TIMEOUT = aiohttp.ClientTimeout(total=2)


@dataclass
class Load:
    """Callers that send each event to one process or the other until one of them says what became of it."""

    addresses: list[str]
    key: str
    wallet: str
    statuses: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)
    stopped: bool = False

    async def run(self, callers: int) -> None:
        async with aiohttp.ClientSession(timeout=CALL_TIMEOUT) as http, asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._caller(http, number))

    @asynccontextmanager
    async def running(self, callers: int) -> AsyncIterator[None]:
        """Keep the callers busy; at the end each of them still asks until it is told what became of its last event."""
        task = asyncio.create_task(self.run(callers))
        try:
            yield
        except BaseException:
            task.cancel()
            raise
        finally:
            self.stopped = True
            with suppress(asyncio.CancelledError):
                await task

    async def _caller(self, http: aiohttp.ClientSession, turn: int) -> None:
        while not self.stopped:
            event_id = new_id("evu")
            while not await self._sent(http, self.addresses[turn % len(self.addresses)], event_id):
                turn += 1  # and it stays with the one that answered
                await asyncio.sleep(0.05)

    async def _sent(self, http: aiohttp.ClientSession, address: str, event_id: str) -> bool:
        event = {"id": event_id, "wallet": self.wallet, "amount": "0.000001"}
        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            async with http.post(f"{address}/v1/usage", json={"events": [event]}, headers=headers) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError):
            self.statuses["no answer"] += 1
            return False
        if response.status != 200:
            self.statuses[str(answer.get("code"))] += 1
            return False
        status = answer["results"][0]["status"]
        assert status in {"accepted", "duplicate"}, answer
        self.statuses[status] += 1
        self.done.append(event_id)
        return True

    async def until(self, more: int) -> None:
        target = len(self.done) + more
        deadline = time.monotonic() + 30
        while len(self.done) < target:
            assert time.monotonic() < deadline, self.statuses
            await asyncio.sleep(0.05)


async def _owners(url: str) -> dict[str, int]:
    """Return how many groups each address has, by the database's rows."""
    lease = table_of(WriterLease)
    async with opened_reads(url) as reads:
        rows = await reads.all(select(lease).where(lease.c.group_id >= 0))
    return Counter(row["address"] for row in rows)


async def _shared(url: str) -> None:
    async with asyncio.timeout(20):
        while sorted((await _owners(url)).values()) != [GROUPS // 2] * 2:
            await asyncio.sleep(0.1)


async def test_the_owner_sleeps_and_is_killed_under_load_and_every_event_is_charged_once(postgres_url: str) -> None:
    merchant, key, wallet = await seeded(postgres_url)
    ports = [free_port(), free_port()]
    commands = [[sys.executable, "-m", "tests.faults.owner_process", postgres_url, str(p), str(LEASE_S)] for p in ports]
    async with running(commands[0], folder=ROOT) as one, running(commands[1], folder=ROOT) as two:
        await asyncio.gather(one.wait_for_line("listens"), two.wait_for_line("listens"))
        await _shared(postgres_url)
        load = Load([f"http://127.0.0.1:{port}" for port in ports], key, wallet)
        async with load.running(12):
            await _pause_and_kill(postgres_url, merchant, load, {ports[0]: one, ports[1]: two})
    await _assert_once(postgres_url, load)


async def _pause_and_kill(url: str, merchant: str, load: Load, processes: dict[int, Process]) -> None:
    await load.until(200)
    owning = await _owns(url, merchant)
    owner = processes.pop(owning)
    ((_, other),) = processes.items()
    assert owner.child.pid is not None
    os.kill(owner.child.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(LEASE_S * 2)
        await load.until(100)
        assert await _owns(url, merchant) != owning, "the other one took over"
    finally:
        os.kill(owner.child.pid, signal.SIGCONT)
    await load.until(100)
    await other.kill()
    await load.until(100)
    assert load.statuses["no answer"], "callers waited for a process that slept, and lost one that was killed"


async def _owns(url: str, merchant: str) -> int:
    lease = table_of(WriterLease)
    async with opened_reads(url) as reads:
        row = await reads.one(select(lease.c.address).where(lease.c.group_id == group_of(merchant, GROUPS)))
    assert row is not None
    return int(row["address"].rsplit(":", 1)[1])


async def _assert_once(url: str, load: Load) -> None:
    async with opened_reads(url) as reads:
        report = await check(reads)
        assert report.ok, report.findings
        assert await sealed_entries(reads) == report.entries
        event, entry = table_of(UsageEvent), table_of(JournalEntry)
        rows = await reads.all(select(event))
        flushes = {row["fact"] for row in await reads.all(select(entry.c.fact).where(entry.c.kind == "usage"))}
    assert {row["event_id"] for row in rows} >= set(load.done)
    assert len(load.done) == len(set(load.done))
    assert {row["status"] for row in rows} == {"accepted"}
    assert {row["units"] for row in rows} == {PRICE_UNITS}
    assert {row["flush_id"] for row in rows} == flushes
    assert await _left(url) == 10_000 * CENT - PRICE_UNITS * len(rows)
    assert len(rows) == len(load.done), "every caller asked until it was told"


async def _left(url: str) -> int:
    async with opened_reads(url) as reads:
        return sum(row["remaining_units"] for row in await reads.all(select(table_of(Lot))))
