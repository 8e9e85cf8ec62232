"""Wallets, holds and credit behind the real API and a real database, with a clock to move on.

async with opened_bank(url) as bank:
    wallet = await bank.wallet(paid=500)          # dollars in cents
    hold = await bank.post("/v1/holds", {"wallet": wallet, "amount": usd("1.00")})
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from sqlalchemy import select

from orchestrator.access import Access
from orchestrator.api import holds as holds_api
from orchestrator.api import leases as leases_api
from orchestrator.api import wallet_credits as credits_api
from orchestrator.api import wallets as wallets_api
from orchestrator.api.app import build_app
from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer, backend_for
from orchestrator.ledger.check import check
from orchestrator.ledger.expiry import CreditExpiry
from orchestrator.ledger.hold_desk import Holds
from orchestrator.ledger.purse import Charged, Purse, purse_locks
from orchestrator.ledger.runway import RunwayWatch
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.wallets import ensure_wallet
from tests.integration.api.house import ADMIN_TOKEN, Reply, SetClock, TestSecrets
from tests.integration.database.units import top_up

CALL_TIMEOUT = aiohttp.ClientTimeout(total=60)
CENT = 10_000_000
MODE = "test"


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


@dataclass
class BankServices:
    writer: Writer
    reads: Reads
    clock: SetClock
    access: Access
    holds: Holds
    credit_expiry: CreditExpiry
    runway: RunwayWatch
    rails: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    secrets: TestSecrets = field(default_factory=TestSecrets)


@dataclass
class Bank:
    base: str
    services: BankServices
    http: aiohttp.ClientSession
    merchant: str = ""
    key: str = ""
    _numbers: count[int] = field(default_factory=count)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, idempotency_key: str | None = None
    ) -> Reply:
        sent = {"Authorization": f"Bearer {self.key if token is None else token}", "Content-Type": "application/json"}
        if idempotency_key is not None:
            sent["Idempotency-Key"] = idempotency_key
        data = None if body is None else orjson.dumps(body)
        async with self.http.request(method, self.base + path, data=data, headers=sent) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """Return what a POST answers; it must be fine."""
        reply = await self.call("POST", path, body, **more)
        assert reply.status in {200, 201}, reply.raw
        return reply.json

    async def get(self, path: str) -> Any:
        reply = await self.call("GET", path)
        assert reply.status == 200, reply.raw
        return reply.json

    async def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Return status and code of a refusal."""
        reply = await self.call(method, path, body, **more)
        assert reply.status >= 400, reply.raw
        return reply.status, reply.json["code"]

    async def wallet(self, *, paid: int = 0, **settings: Any) -> str:
        """Make a wallet with paid credit (cents) and settings (as PATCH takes them)."""
        ref = CustomerRef(self.merchant, MODE, f"customer {next(self._numbers)}", "BR")
        wallet = await ensure_wallet(self.services.writer, ref)
        if paid:
            await self.pay(wallet, paid)
        if settings:
            await self.set(wallet, **settings)
        return wallet

    async def pay(self, wallet: str, cents: int) -> None:
        """Credit paid money, as a rail's capture does."""
        name = f"money {next(self._numbers)}"
        await self.services.writer.submit(top_up(name, cents, wallet=wallet, merchant=self.merchant))

    async def set(self, wallet: str, **settings: Any) -> Any:
        reply = await self.call("PATCH", f"/v1/wallets/{wallet}", settings)
        assert reply.status == 200, reply.raw
        return reply.json

    async def grant(self, wallet: str, amount: str, *, lives_s: int | None = None, **more: Any) -> Any:
        expires_us = None if lives_s is None else self.services.clock.now_us() + lives_s * 1_000_000
        body = {"amount": usd(amount), "kind": "promotional", "reason": "welcome", **more}
        if expires_us is not None:
            body["expires_at"] = rfc3339(expires_us)
        return await self.post(f"/v1/wallets/{wallet}/credits", body)

    async def hold(self, wallet: str, amount: str, **more: Any) -> Any:
        return await self.post("/v1/holds", {"wallet": wallet, "amount": usd(amount), **more})

    async def capture(self, hold: Any, amount: str) -> Any:
        return await self.post(f"/v1/holds/{hold['id']}/capture", {"amount": usd(amount)})

    async def charge(self, wallet: str, units: int, *, must: bool = False, writer: Writer | None = None) -> Charged:
        """Charge USD/9 units as metering does: one unit, one purse, a merged entry. Raises its refusal."""
        kept: list[Charged] = []

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            purse = Purse.open(view, self.merchant, MODE, wallet)
            kept.append(purse.charge(units, must=must))
            purse.write(changes, kind="usage_of_tests", fact="of the flush", merge=True)
            return {}

        locks = purse_locks(self.merchant, MODE, wallet)
        await (writer or self.services.writer).submit(Unit(self.merchant, MODE, None, locks, decide))
        return kept[-1]

    async def balance(self, wallet: str) -> dict[str, str]:
        shown: dict[str, str] = (await self.get(f"/v1/wallets/{wallet}"))["balance"]
        return shown

    async def account(self, code: str, subject: str = "") -> int:
        """Return a balance in USD/9, debit positive."""
        found = (row for row in await self.rows("account") if (row["code"], row["subject"]) == (code, subject))
        return sum(row["balance"] for row in found if row["asset"] == "USD/9")

    async def rows(self, table: str) -> list[Row]:
        found = METADATA.tables[table]
        return await self.services.reads.all(select(found).order_by(*found.primary_key.columns))

    async def events(self, type_: str) -> list[Any]:
        return [orjson.loads(row["body"]) for row in await self.rows("event") if row["type"] == type_]

    async def kinds(self, wallet: str) -> list[str]:
        """Return the kinds of a wallet's entries, oldest first, each once per entry."""
        answer = await self.get(f"/v1/wallets/{wallet}/entries?limit=100")
        seen = {line["id"].partition(".")[0]: line["kind"] for line in answer["data"]}
        return list(reversed(seen.values()))

    def later(self, seconds: float) -> None:
        self.services.clock.ahead_us += int(seconds * 1_000_000)

    async def assert_sound(self) -> None:
        report = await check(self.services.reads)
        assert report.ok, report.findings


@asynccontextmanager
async def opened_bank(url: str) -> AsyncIterator[Bank]:
    clock = SetClock()
    writer, reads = Writer(backend_for(url), clock), Reads(url)
    services = BankServices(
        writer, reads, clock, Access(writer, reads), Holds(writer, reads, clock), CreditExpiry(writer, reads, clock),
        RunwayWatch(writer, reads, clock),
    )  # fmt: skip
    await writer.open()
    resources = (wallets_api.ENDPOINTS, credits_api.ENDPOINTS, holds_api.ENDPOINTS, leases_api.ENDPOINTS)
    runner = web.AppRunner(build_app(services, None, resources), shutdown_timeout=1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(timeout=CALL_TIMEOUT) as http:
            bank = Bank(f"http://127.0.0.1:{runner.addresses[0][1]}", services, http)
            bank.merchant = (await services.access.create_merchant("Acme"))["id"]
            new = await services.access.create_key(bank.merchant, MODE, ("read", "write"))
            assert new.secret is not None
            bank.key = new.secret
            yield bank
    finally:
        await runner.cleanup()
        await writer.close()
        await reads.close()


__all__ = ["ADMIN_TOKEN", "CENT", "MODE", "Bank", "opened_bank", "usd"]
