"""A real database, a clock to set, and one merchant who earns: the ground for what is proven here.

async with opened_books(url) as books:
    await books.earn(10 * USD)
    await books.next_day()
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import asyncpg
from sqlalchemy import select

from orchestrator.clock import DAY_US, from_us, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer, backend_for
from orchestrator.ledger.chart import Account
from orchestrator.ledger.check import check
from orchestrator.ledger.earnings import Earnings
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.ledger.merchant_side import side_locks, side_of
from orchestrator.ledger.payout_batches import PayoutBatches
from orchestrator.ledger.payout_recipes import MerchantSide
from orchestrator.ledger.payouts import Payouts, PayoutWanted
from orchestrator.settings import RiskTier
from rates.money import WALLET_USD, Money

MERCHANT, MODE = "mer_1", "test"
HERE = f"merchant_id = '{MERCHANT}' AND mode = '{MODE}'"
USD = 10**9
"""A dollar in USD/9."""
TIERS: Mapping[str, RiskTier] = {
    "standard": RiskTier(delay_days=2, reserve_bps=1000, reserve_days=5),
    "trusted": RiskTier(delay_days=0, reserve_bps=0, reserve_days=0),
}
BANK = {"name": "Acme GmbH", "iban": "DE02120300000000202051"}
QUERY_S_MAX = 20


@dataclass
class DayClock:
    at_us: int = to_us(datetime.fromisoformat("2026-11-23T12:00:00+00:00"))

    def now(self) -> datetime:
        return from_us(self.at_us)

    def now_us(self) -> int:
        return self.at_us

    def days(self, number: int) -> None:
        """Move to five minutes past midnight, so many days on."""
        self.at_us = (self.at_us // DAY_US + number) * DAY_US + 300_000_000


@dataclass
class Books:
    url: str
    writer: Writer
    reads: Reads
    clock: DayClock
    earnings: Earnings
    payouts: Payouts
    batches: PayoutBatches
    _facts: count[int] = field(default_factory=count)
    _ids: count[int] = field(default_factory=lambda: count(1))

    async def move(
        self, units: int, to: Account, *, from_: Account = Account.ROUNDING, merchant: str = MERCHANT
    ) -> None:
        """Credit one account of a merchant from another; below zero: the other way round."""
        money = Money(abs(units), WALLET_USD)
        sides = (debit(from_, money), credit(to, money)) if units > 0 else (debit(to, money), credit(from_, money))

        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.post(entry("usage", f"fact_{next(self._facts)}", *sides))
            return {}

        await self.writer.submit(Unit(merchant, MODE, None, (), decide))

    async def earn(self, units: int, merchant: str = MERCHANT) -> None:
        await self.move(units, Account.MERCHANT_PENDING, merchant=merchant)

    async def days(self, number: int = 1) -> int:
        """Let days pass, each with a round of the worker; return how many steps it took."""
        steps = 0
        for _ in range(number):
            self.clock.days(1)
            steps += await self.earnings.run_once()
        return steps

    async def side(self, merchant: str = MERCHANT) -> MerchantSide:
        found: list[MerchantSide] = []

        def decide(view: View, _changes: Changes) -> Mapping[str, Any]:
            found.append(side_of(view, merchant, MODE))
            return {}

        await self.writer.submit(Unit(merchant, MODE, None, side_locks(merchant, MODE), decide))
        return found[-1]

    async def merchant(self, tier: str = "standard", merchant: str = MERCHANT) -> None:
        """Make the merchant, on terms that let it be paid."""

        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.insert("merchant", id=merchant, name="Acme", created_us=self.clock.now_us())
            return {}

        await self.writer.submit(Unit(merchant, "live", None, (row_lock("merchant", merchant),), decide))
        await self.payouts.set_terms(merchant, tier=tier, destination=BANK, by="admin_token")
        await self.payouts.confirm_destination(merchant, BANK, "operator:zoe")

    async def ask(
        self, units: int | None = None, by: str = "key:key_1", id_: str | None = None, merchant: str = MERCHANT
    ) -> Mapping[str, Any]:
        id_ = id_ or f"po_{next(self._ids)}"
        return await self.payouts.request(PayoutWanted(id_, merchant, MODE, units, by))

    async def rows(self, table: str) -> list[Row]:
        found = METADATA.tables[table]
        return await self.reads.all(select(found).order_by(*found.primary_key.columns))

    async def assert_sound(self) -> None:
        report = await check(self.reads)
        assert report.ok, report.findings

    async def tamper(self, *statements: str) -> None:
        """Run raw SQL as the database's owner, every trigger out of the way. ``{here}`` names the merchant's book."""
        statements = tuple(one.replace("{here}", HERE) for one in statements)
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.partition(":///")[2])) as connection:
                found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
                for statement in (*(f"DROP TRIGGER {name}" for (name,) in found), *statements):
                    connection.execute(statement)
                connection.commit()
            return
        owner = await asyncpg.connect(self.url.replace("+asyncpg", "", 1), timeout=QUERY_S_MAX)
        try:
            await owner.execute("SET session_replication_role = replica")  # a superuser's way round triggers
            for statement in statements:
                await owner.execute(statement, timeout=QUERY_S_MAX)
        finally:
            await owner.close()


@asynccontextmanager
async def opened_books(url: str) -> AsyncIterator[Books]:
    clock = DayClock()
    writer, reads = Writer(backend_for(url), clock), Reads(url)
    await writer.open()
    payouts = Payouts(writer, reads, TIERS)
    earnings, batches = Earnings(writer, reads, clock, TIERS), PayoutBatches(writer, reads, payouts)
    try:
        yield Books(url, writer, reads, clock, earnings, payouts, batches)
    finally:
        await writer.close()
        await reads.close()
