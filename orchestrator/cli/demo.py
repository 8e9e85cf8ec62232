"""The main job, scripted: buyers of several countries top up over every rail of the sandbox, through the HTTP API only."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from sqlalchemy import select
from standardwebhooks import Webhook

from orchestrator.cli.agent import AgentPaid, pay_by_x402
from orchestrator.cli.buyers import BUYERS, Buyer, Played, Shop
from orchestrator.cli.console import Failure, print_table
from orchestrator.cli.reversing import Reversed, reverse
from orchestrator.cli.service import Service
from orchestrator.cli.spenders import Spent, spend
from orchestrator.database.reads import Reads
from orchestrator.database.tables import JournalEntry, table_of
from orchestrator.ledger.check import Report as BooksReport
from orchestrator.ledger.check import check

WEBHOOKS_WAIT_S = 10.0


@dataclass(slots=True)
class DemoReport:
    payments: list[Played]
    spent: Spent
    agent: AgentPaid
    reversed: Reversed
    books: BooksReport
    topups: int
    """Journal entries that credit for good: one for each payment."""
    webhooks_delivered: int
    credited_events: int
    seconds: float

    @property
    def ok(self) -> bool:
        credited_once = self.credited_events == len(self.payments) + self.reversed.topups + 1 == self.topups
        parts = (self.books.ok, credited_once, self.spent.right, self.agent.ok, self.reversed.ok)
        return all(parts) and all(played.ok for played in self.payments)

    def to_json(self) -> dict[str, Any]:
        return {
            "payments": [played.to_json() for played in self.payments],
            "usage": self.spent.to_json(),
            "x402": self.agent.to_json(),
            "reversals": self.reversed.to_json(),
            "books": {
                "balanced": self.books.balanced,
                "rebuilt_equals_materialised": self.books.rebuilt_equals_materialised,
                "findings": self.books.findings,
            },
            "webhooks_delivered": self.webhooks_delivered,
            "seconds": round(self.seconds, 1),
            "ok": self.ok,
        }

    def print(self) -> None:
        columns = ("country", "story", "rail", "method", "quoted", "credited", "seconds", "state")
        print_table(columns, [played.row() for played in self.payments])
        spent = self.spent
        print(f"\nusage: {spent.events} events of {spent.wallets} wallets charged once, {spent.duplicates} sent again; "
              f"with holds {spent.charged} USD; {'exact to the nano-dollar' if spent.right else 'WRONG'}")  # fmt: skip
        self.agent.print()
        self.reversed.print()
        books = "balance, and rebuilt equal materialised" if self.books.ok else f"DO NOT BALANCE: {self.books.findings}"
        print(f"books: {self.books.entries} entries, {self.books.postings} postings; they {books}")
        print(f"webhooks delivered to the reseller and verified: {self.webhooks_delivered}")
        print(f"{'ok' if self.ok else 'NOT OK'} after {self.seconds:.1f} s")


@dataclass(slots=True)
class Reseller:
    """The reseller's own server: takes signed events."""

    secret: str = ""
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    forged: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event = Webhook(self.secret).verify(body.decode(), dict(request.headers))
        except Exception:  # noqa: BLE001  # whatever does not verify is counted and refused
            self.forged += 1
            return web.Response(status=401)
        self.seen[event["id"]] = event
        self.news.set()
        return web.Response(status=204)

    def credited(self) -> int:
        return sum(event["type"] == "wallet.credited" for event in self.seen.values())


def free_ports() -> int:
    """Return a port that is free, as is the one after it."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise Failure("no two free ports beside each other were found on 127.0.0.1")


async def play(config: Path, keep: Path | None) -> DemoReport:
    """Run the service on free ports with a database of its own, play every buyer, check the books."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crossrail-demo-") as folder:
        room = keep or Path(folder)
        room.mkdir(parents=True, exist_ok=True)
        port = free_ports()
        service = await asyncio.to_thread(
            Service.prepare,
            config,
            port,
            database=f"sqlite+aiosqlite:///{room}/demo-{port}.db",
            state_dir=str(room),
            public_url=f"http://127.0.0.1:{port}",
        )
        async with AsyncExitStack() as stack:
            services, supervisor = await service.start(stack)
            stop = asyncio.Event()
            working = asyncio.create_task(supervisor.run(stop), name="workers")
            try:
                async with reseller() as (shop_server, url), aiohttp.ClientSession() as http:
                    admin = services.secrets.admin_token
                    shop = await Shop.open(http, services.settings.service.public_url, admin, service.sandbox_url)
                    shop_server.secret = await shop.subscribe(url)
                    played = await play_buyers(shop, BUYERS)
                    await _wait_for_events(shop_server, len(played))
                    spent = await spend(shop, [shop.customer_of(one.buyer) for one in played if one.ok])
                    agent = await pay_by_x402(shop, await wallet_of(shop, played[0]))
                    back = await reverse(shop, admin, services.reads, played)
                    await _wait_for_events(shop_server, len(played) + back.topups + 1)
                    topups = await _topups(services.reads)
                    books = await check(services.reads)
            finally:
                stop.set()
                await working
        seconds = time.monotonic() - started
        return DemoReport(
            played, spent, agent, back, books, topups, len(shop_server.seen), shop_server.credited(), seconds
        )


@asynccontextmanager
async def reseller() -> AsyncIterator[tuple[Reseller, str]]:
    """Run the reseller's server on loopback."""
    server = Reseller()
    app = web.Application()
    app.router.add_post("/crossrail", server.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield server, f"http://127.0.0.1:{port}/crossrail"
    finally:
        await runner.cleanup()


async def wallet_of(shop: Shop, played: Played) -> str:
    wallet: str = (await shop.call("GET", f"/v1/payments/{played.payment}"))["wallet"]
    return wallet


async def play_buyers(shop: Shop, buyers: tuple[Buyer, ...]) -> list[Played]:
    """Play those who do not disturb each other together, then those who need a fault of a rail one by one."""
    together = [buyer for buyer in buyers if buyer.fault is None and not buyer.reorg_blocks]
    alone = [buyer for buyer in buyers if buyer not in together]
    played = list(await asyncio.gather(*(shop.play(buyer) for buyer in together)))
    played += [await shop.play(buyer) for buyer in alone]
    return played


async def _topups(reads: Reads) -> int:
    journal = table_of(JournalEntry)
    rows = await reads.all(select(journal.c.id).where(journal.c.kind.startswith("topup")))
    return len(rows)


async def _wait_for_events(server: Reseller, credited: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(WEBHOOKS_WAIT_S):
            while server.credited() < credited:
                server.news.clear()
                await server.news.wait()
