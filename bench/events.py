"""Events delivered a second to one healthy endpoint, while another of the same merchant hangs.

A backlog of events waits for both when the worker starts; counted are those that the healthy endpoint (a process of its
own) has taken. Every attempt is signed, sent over a socket and logged in the database. The goal is 1,000 a second.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from bench.result import Result
from bench.serving import process
from orchestrator.cli.collector import spare_the_collector
from orchestrator.cli.demo import free_ports
from orchestrator.clock import SystemClock
from orchestrator.database.migrate import upgrade
from orchestrator.database.reads import Reads
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.database.writer import Writer, backend_for
from orchestrator.events.catalog import EventType, emit
from orchestrator.events.delivery import DeliveryPolicy
from orchestrator.events.endpoints import create_endpoint
from orchestrator.events.targets import TargetPolicy
from orchestrator.workers.delivery import DeliveryWorker
from tests.support.postgres import start_postgres

EVENTS = 5_000
AT_ONCE = 500
GOAL = 1000.0
LONGEST_S = 120
MERCHANT = "mer_bench"


def run() -> list[Result]:
    """Measure both databases."""
    server = start_postgres()
    try:
        with tempfile.TemporaryDirectory() as folder:
            urls = {"sqlite": f"sqlite+aiosqlite:///{folder}/bench.db", "postgres": server.url(server.create())}
            return [_measure(name, url) for name, url in urls.items()]
    finally:
        server.stop()


def _measure(name: str, database: str) -> Result:
    upgrade(database)
    port = free_ports()
    with process([sys.executable, "-m", "bench.load.event_receiver", str(port)], {}, "up"):
        rate = asyncio.run(_deliver(database, f"http://127.0.0.1:{port}"))
    return Result(f"events_{name}", "events/s", rate, goal=GOAL)


async def _deliver(database: str, shop: str) -> float:
    clock = SystemClock()
    writer, reads = Writer(backend_for(database), clock), Reads(database)
    await writer.open()
    try:
        for path in ("hang", "hook"):
            unit = create_endpoint(merchant_id=MERCHANT, mode="test", url=f"{shop}/{path}", event_types=("*",))
            await writer.submit(unit)
        for start in range(0, EVENTS, AT_ONCE):
            await asyncio.gather(*(writer.submit(_event(start + number)) for number in range(AT_ONCE)))
        policy = DeliveryPolicy(stop_grace_s=0.1)
        worker = DeliveryWorker(writer, reads, clock, policy=policy, targets=TargetPolicy(allow_private=True))
        stop = asyncio.Event()
        spare_the_collector()  # as the service does when it is up
        async with asyncio.TaskGroup() as group:
            began = time.perf_counter()
            group.create_task(worker.run(stop))
            try:
                await _until_taken(shop)
                return EVENTS / (time.perf_counter() - began)
            finally:
                stop.set()
    finally:
        await writer.close()
        await reads.close()


def _event(number: int) -> Unit:
    def decide(_: View, changes: Changes) -> Mapping[str, Any]:
        body = {"wallet": f"wal_{number}", "amount": {"amount": "20.00", "currency": "USD"}}
        emit(changes, EventType.WALLET_CREDITED, f"wal_{number}", body)
        return {}

    return Unit(MERCHANT, "test", None, (), decide)


async def _until_taken(shop: str) -> None:
    async with asyncio.timeout(LONGEST_S), aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        taken = 0
        while taken < EVENTS:
            await asyncio.sleep(0.1)
            async with http.get(f"{shop}/taken") as answer:
                taken = await answer.json()
