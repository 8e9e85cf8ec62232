"""One of several processes on one PostgreSQL: the API of usage and holds, a writer and its leases.

Usage: ``-m tests.faults.owner_process URL PORT LEASE_SECONDS``. It prints ``listens`` when it takes requests.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from orchestrator.access import Access
from orchestrator.api import holds as holds_api
from orchestrator.api import usage as usage_api
from orchestrator.api.app import build_app
from orchestrator.clock import Clock, SystemClock
from orchestrator.database.ownership import Ownership
from orchestrator.database.postgres_backend import PostgresBackend
from orchestrator.database.reads import Reads
from orchestrator.database.writer import Writer
from orchestrator.ledger.hold_desk import Holds
from orchestrator.metering.price_book import PriceBook
from orchestrator.metering.usage import Metering
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.wallets import ensure_wallet
from tests.integration.api.house import TestSecrets
from tests.integration.database.units import opened_reads, opened_writer, top_up

GROUPS = 8


@dataclass
class OwnerServices:
    writer: Writer
    reads: Reads
    clock: Clock
    access: Access
    holds: Holds
    metering: Metering
    rails: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    secrets: TestSecrets = field(default_factory=TestSecrets)


async def seeded(url: str) -> tuple[str, str, str]:
    """Make a merchant with a key and one customer's wallet of a hundred dollars; return the three."""
    async with opened_writer(url) as writer, opened_reads(url) as reads:
        access = Access(writer, reads)
        merchant = (await access.create_merchant("shop"))["id"]
        made = await access.create_key(merchant, "test")
        wallet = await ensure_wallet(writer, CustomerRef(merchant, "test", "c", "BR"))
        await writer.submit(top_up("money", 10_000, wallet=wallet, merchant=merchant))
    assert made.secret is not None
    return merchant, made.secret, wallet


@asynccontextmanager
async def serving(url: str, port: int, lease_s: float) -> AsyncIterator[tuple[OwnerServices, Ownership]]:
    """Serve on a port; the leases are renewed beside it."""
    clock, reads = SystemClock(), Reads(url)
    ownership = Ownership(url, f"process {port}", f"http://127.0.0.1:{port}", groups=GROUPS, lease_s=lease_s)
    writer = Writer(PostgresBackend(url.replace("+asyncpg", ""), pause_s_max=lease_s), clock, ownership)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(reads.close)
        await ownership.open()
        stack.push_async_callback(ownership.close)
        await writer.open()
        stack.push_async_callback(writer.close)
        metering = Metering(writer, PriceBook(writer, reads, clock, lead_s=0), clock)
        services = OwnerServices(writer, reads, clock, Access(writer, reads), Holds(writer, reads, clock), metering)
        runner = web.AppRunner(
            build_app(services, {}, (usage_api.ENDPOINTS, holds_api.ENDPOINTS), ownership), access_log=None
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield services, ownership


async def main(url: str, port: int, lease_s: float) -> None:
    async with serving(url, port, lease_s):
        sys.stdout.write("listens\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
