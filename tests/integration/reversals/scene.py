"""A whole Crossrail with payments that were credited, and what goes back of them.

async with reversing(url, tmp_path) as scene:
    paid = await scene.paid("DE")
    refund = await scene.refund(paid, "5.00")
    await scene.assert_sound()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.ids import new_id
from orchestrator.ledger.check import check
from orchestrator.metering.usage_input import read_event
from orchestrator.payments.refund_book import RefundWanted
from orchestrator.services import Services
from rates.money import WALLET_USD, Money
from tests.support.world import MERCHANT, MODE, World, world

USD = 10**9
CARD = {"card": "4242424242424242"}
SECONDS_MAX = 15.0


def usd(text: str) -> int:
    return Money.parse(text, WALLET_USD).units


@dataclass(frozen=True, slots=True)
class Paid:
    """One credited payment."""

    id: str
    wallet: str
    capture: Row

    @property
    def money_id(self) -> str:
        return str(self.capture["money_id"])


@dataclass
class Scene:
    here: World

    @property
    def services(self) -> Services:
        return self.here.services

    async def paid(
        self, country: str = "DE", amount: str = "20.00", *, card: str = "4242424242424242", who: str = ""
    ) -> Paid:
        session = await self.here.session(country, amount, reference=who or new_id("buyer"))
        chosen = await self.here.select(session)
        await self.here.pay_at_rail(chosen, {"card": card} if country == "DE" else None)
        payment = await self.until_payment(session["id"], {"credited", "disputed", "clawed_back"})
        (capture,) = await self.rows(tables.Capture, payment_id=payment["id"])
        return Paid(payment["id"], payment["wallet_id"], capture)

    async def until_payment(self, session_id: str, statuses: set[str]) -> Row:
        async def there() -> Row | None:
            rows = await self.rows(tables.Payment, session_id=session_id)
            return rows[0] if rows and rows[0]["status"] in statuses else None

        return await self.until(there)

    async def payment(self, paid: Paid) -> Row:
        (row,) = await self.rows(tables.Payment, id=paid.id)
        return row

    def wanted(self, paid: Paid, amount: str | None = None, **more: Any) -> RefundWanted:
        fields = {"reason": "asked by the customer", "destination": "source", "forced": False, "by": "key:test", **more}
        return RefundWanted(new_id("ref"), MERCHANT, MODE, paid.id, None if amount is None else usd(amount), **fields)

    async def refund(self, paid: Paid, amount: str | None = None, **more: Any) -> Row:
        return await self.services.refunds.request(self.wanted(paid, amount, **more))

    async def until_refund(self, refund: Row, status: str) -> Row:
        async def there() -> Row | None:
            row = await self.services.refunds.find(refund["id"])
            return row if row["status"] == status else None

        return await self.until(there)

    async def spend(self, wallet: str, amount: str) -> None:
        event = read_event({"id": new_id("use"), "wallet": wallet, "amount": amount, "model": "m"})
        await self.services.metering.record(MERCHANT, MODE, [event])

    async def dispute(self, paid: Paid) -> Row:
        """The cardholder's bank takes the money back."""
        await self.here.post(f"{self.here.sandbox_url}/stripe/main/_bank/disputes", {"payment_intent": paid.money_id})

        async def there() -> Row | None:
            rows = await self.rows(tables.Dispute, payment_id=paid.id)
            return rows[0] if rows and rows[0]["withdrawn_units"] else None

        return await self.until(there)

    async def until_dispute(self, dispute: Row, true: Callable[[Row], bool]) -> Row:
        async def there() -> Row | None:
            row = await self.services.disputes.find(dispute["id"])
            return row if true(row) else None

        return await self.until(there)

    async def balance(self, code: str, subject: str, asset: str = "USD/9") -> int:
        rows = await self.rows(tables.Account, code=code, subject=subject, asset=asset)
        return sum(int(row["balance"]) for row in rows)

    async def rows(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        return await self.services.reads.all(query.order_by(*table.primary_key.columns))

    async def until(self, true: Callable[[], Awaitable[Row | None]], seconds: float = SECONDS_MAX) -> Row:
        for _ in range(int(seconds / 0.03)):
            found = await true()
            if found is not None:
                return found
            await asyncio.sleep(0.03)
        raise AssertionError(f"not within {seconds} s")

    async def assert_sound(self) -> None:
        report = await check(self.services.reads)
        assert report.ok, report.findings


@asynccontextmanager
async def reversing(url: str, folder: Path, overrides: Mapping[str, Any] | None = None) -> AsyncIterator[Scene]:
    async with world(url, folder, overrides=overrides) as here:
        yield Scene(here)
