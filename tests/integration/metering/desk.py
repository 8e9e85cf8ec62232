"""Metering over a real database and a real socket: wallets with money in them, prices, a clock to move on.

async with opened_desk(url) as desk:
    wallet = await desk.wallet(cents=500)
    reply = await desk.use([desk.event(wallet, input=1000)])
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from sqlalchemy import select

from orchestrator.access import Access
from orchestrator.api import prices as prices_api
from orchestrator.api import statements as statements_api
from orchestrator.api import usage as usage_api
from orchestrator.api.app import build_app
from orchestrator.clock import from_us
from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Backend, Writer, backend_for
from orchestrator.ids import new_id
from orchestrator.ledger.check import check
from orchestrator.metering.price_book import NewVersion, PriceBook, Version
from orchestrator.metering.price_content import Content, model_prices
from orchestrator.metering.rerating import Reratings
from orchestrator.metering.usage import Metering
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.wallets import ensure_wallet
from tests.integration.api.house import ADMIN_TOKEN, Reply, SetClock, TestSecrets
from tests.integration.database.units import top_up

CALL_TIMEOUT = aiohttp.ClientTimeout(total=60)
PRICES = {"gpt": {"input": "0.00000015", "output": "0.0000006"}, "odd": {"input": "0.0000000000333", "request": "0.01"}}
CENT = 10_000_000
MODE = "test"


@dataclass
class DeskServices:
    writer: Writer
    reads: Reads
    clock: SetClock
    access: Access
    prices: PriceBook
    metering: Metering
    reratings: Reratings
    secrets: TestSecrets = field(default_factory=TestSecrets)


@dataclass
class Desk:
    base: str
    services: DeskServices
    http: aiohttp.ClientSession
    merchant: str = ""
    key: str = ""
    _numbers: count[int] = field(default_factory=count)

    async def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, raw: bytes | None = None,
                   **headers: str) -> Reply:  # fmt: skip
        data = raw if raw is not None else (None if body is None else orjson.dumps(body))
        sent = {"Authorization": f"Bearer {token or self.key}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.base + path, data=data, headers=sent) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def admin(self, method: str, path: str, body: Any = None) -> Reply:
        return await self.call(method, path, body, token=ADMIN_TOKEN)

    async def use(self, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        reply = await self.call("POST", "/v1/usage", {"events": events})
        assert reply.status == 200, reply.raw
        answer: dict[str, Any] = reply.json
        return answer

    def event(self, wallet: str, model: str = "gpt", *, id_: str | None = None, **tokens: int) -> dict[str, Any]:
        return {"id": id_ or new_id("use"), "wallet": wallet, "model": model, "tokens": tokens or {"input": 1000}}

    async def wallet(self, cents: int = 0, *, overdraft: str = "hard") -> str:
        number = next(self._numbers)
        wallet = await ensure_wallet(self.services.writer, CustomerRef(self.merchant, MODE, f"customer {number}", "BR"))
        if cents:
            await self.services.writer.submit(top_up(f"money {number}", cents, wallet=wallet, merchant=self.merchant))
        if overdraft != "hard":
            await self.set_wallet(wallet, overdraft=overdraft)
        return wallet

    async def set_wallet(self, wallet: str, **columns: Any) -> None:
        lock = row_lock("wallet", self.merchant, wallet)

        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.update("wallet", (self.merchant, wallet), **columns)
            return {}

        await self.services.writer.submit(Unit(self.merchant, MODE, None, (lock,), decide))

    async def price(
        self, prices: Mapping[str, Mapping[str, str]] = PRICES, *, markup_bps: int = 0, **more: Any
    ) -> Version:
        content = Content({model: model_prices(one) for model, one in prices.items()}, markup_bps)
        wanted = NewVersion(content, more.get("base"), more.get("effective_us"), "tests")
        version, _ = await self.services.prices.put(self.merchant, MODE, wanted)
        return version

    async def rows(self, table: str) -> list[Row]:
        found = METADATA.tables[table]
        return await self.services.reads.all(select(found).order_by(*found.primary_key.columns))

    async def one_wallet(self, wallet: str) -> Row:
        return next(row for row in await self.rows("wallet") if row["id"] == wallet)

    async def paid(self, wallet: str) -> int:
        """What the wallet's paid part holds, USD/9."""
        accounts = await self.rows("account")
        return -sum(
            int(row["balance"]) for row in accounts if row["subject"] == wallet and row["code"] == "wallet:paid"
        )

    async def charged(self, wallet: str) -> int:
        """What the journal's usage entries took from a wallet, USD/9."""
        usage = {row["sequence"] for row in await self.rows("journal_entry") if row["kind"] == "usage"}
        lines = await self.rows("posting")
        return sum(int(row["units"]) for row in lines if row["sequence"] in usage and row["subject"] == wallet)

    async def assert_sound(self) -> None:
        """The books hold, and every wallet's events add up to its journal and its roll-ups, to the last remainder."""
        report = await check(self.services.reads)
        assert report.ok, report.findings
        events, rollups = await self.rows("usage_event"), await self.rows("usage_rollup")
        for wallet in {row["wallet_id"] for row in events if row["status"] == "accepted"}:
            units = sum(row["units"] for row in events if row["wallet_id"] == wallet)
            assert await self.charged(wallet) == units
            assert sum(row["units"] for row in rollups if row["wallet_id"] == wallet) == units
        accepted = [row for row in events if row["status"] == "accepted"]
        assert sum(row["events"] for row in rollups) == len(accepted)
        posted = {row["fact"] for row in await self.rows("journal_entry") if row["kind"] == "usage"}
        assert {row["flush_id"] for row in accepted if row["units"]} == posted


@asynccontextmanager
async def opened_desk(
    url: str, *, backend: Backend | None = None, at_us: int | None = None, wrap: Callable[[Desk], None] | None = None
) -> AsyncIterator[Desk]:
    clock = SetClock()
    if at_us is not None:
        clock.ahead_us = at_us - clock.now_us()
    writer, reads = Writer(backend or backend_for(url), clock), Reads(url)
    prices = PriceBook(writer, reads, clock, lead_s=0)
    services = DeskServices(writer, reads, clock, Access(writer, reads), prices, Metering(writer, prices, clock),
                            Reratings(writer, reads, prices))  # fmt: skip
    endpoints = (usage_api.ENDPOINTS, prices_api.ENDPOINTS, statements_api.ENDPOINTS)
    runner = web.AppRunner(build_app(services, None, endpoints), shutdown_timeout=1, access_log=None)
    await writer.open()
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(timeout=CALL_TIMEOUT) as http:
            desk = Desk(f"http://127.0.0.1:{runner.addresses[0][1]}", services, http)
            desk.merchant = (await services.access.create_merchant("Acme"))["id"]
            new = await services.access.create_key(desk.merchant, MODE)
            assert new.secret is not None
            desk.key = new.secret
            if wrap is not None:
                wrap(desk)
            yield desk
    finally:
        await runner.cleanup()
        await writer.close()
        await reads.close()
        await asyncio.sleep(0)


def now_text(desk: Desk, ahead_s: int = 0) -> str:
    return from_us(desk.services.clock.now_us() + ahead_s * 1_000_000).isoformat()
