"""x402 with a facilitator elsewhere, the simulated one of the sandbox: what it says is not what counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.topups import Answered
from orchestrator.payments.wallets import ensure_wallet
from rates.money import WALLET_USD, Money
from tests.integration.sweeps.agent import Agent
from tests.support.world import MERCHANT, MODE, World, world

FAST = {"rails": {"x402": {"accounts": {"ethereum": {"options": {"timeout_seconds": 2}}}}}}


@dataclass
class Shop:
    here: World
    agent: Agent
    topup: Row

    async def pay(self, message: Any = None) -> Answered:
        return await self.here.services.topups.pay(self.topup["id"], message)

    async def signed(self, **changes: Any) -> dict[str, Any]:
        answered = await self.pay()
        return self.agent.sign(answered.offers[0].shown, **changes)

    async def control(self, **wanted: Any) -> Any:
        return await self.here.control("x402", "ethereum", wanted)

    async def attempt(self) -> Row:
        (row,) = await self.here.services.topups.attempts(self.topup)
        return row

    async def deposits(self) -> list[Row]:
        return await self.here.services.reads.all(select(table_of(tables.Deposit)))

    async def until_seen(self) -> None:
        """Let the chain go on until the scanner has found and the watch has linked the payment."""
        for _ in range(100):
            await self.here.work_once()
            await self.here.services.topup_watch.run_once()
            if (await self.attempt())["status"] != "settling" and await self.deposits():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not seen: {await self.attempt()}")


@asynccontextmanager
async def shop(url: str, folder: Path) -> AsyncIterator[Shop]:
    async with world(url, folder, overrides=FAST, loops=False) as here:
        wallet = await ensure_wallet(here.services.writer, CustomerRef(MERCHANT, MODE, "agent", "DE"))
        topup = await here.services.topups.create("top_1", MERCHANT, MODE, wallet, Money.parse("7", WALLET_USD))
        yield Shop(here, Agent(here.http), topup)


async def test_a_settled_authorisation_is_found_by_the_scanner(migrated_database_url: str, tmp_path: Path) -> None:
    async with shop(migrated_database_url, tmp_path) as here:
        answered = await here.pay(await here.signed())
        assert answered.state == "settled"
        await here.until_seen()
        (deposit,) = await here.deposits()
        assert deposit["tx_hash"] == (await here.attempt())["tx_hash"]
        assert (await here.pay()).state == "settled"


async def test_an_unclear_answer_is_never_asked_again_and_the_deposit_decides(sqlite_url: str, tmp_path: Path) -> None:
    async with shop(sqlite_url, tmp_path) as here:
        message = await here.signed()
        await here.control(pending=1)
        assert (await here.pay(message)).state == "processing"
        for again in (None, message, here.agent.sign((await here.pay()).offers[0].shown)):
            assert (await here.pay(again)).state == "processing"
        assert len((await here.control())["settled"]) == 1
        await here.until_seen()
        assert (await here.pay(message)).state == "settled"
        assert len(await here.deposits()) == 1


async def test_a_lost_answer_is_unknown_not_failed(sqlite_url: str, tmp_path: Path) -> None:
    async with shop(sqlite_url, tmp_path) as here:
        await here.control(drop_answer=1)
        assert (await here.pay(await here.signed())).state == "processing"
        await here.until_seen()
        assert (await here.attempt())["status"] == "settled"


async def test_a_facilitator_in_trouble_is_unknown_too(sqlite_url: str, tmp_path: Path) -> None:
    async with shop(sqlite_url, tmp_path) as here:
        await here.control(down=1)
        assert (await here.pay(await here.signed())).state == "processing"
        assert (await here.attempt())["status"] == "settling"


async def test_a_clear_refusal_asks_the_agent_again_and_a_word_nobody_knows_does_not(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with shop(sqlite_url, tmp_path) as here:
        await here.control(refuse="insufficient_funds")
        refused = await here.pay(await here.signed())
        assert (refused.state, refused.error) == ("required", "insufficient_funds")
        await here.control(refuse="the_moon_is_full")
        assert (await here.pay(await here.signed())).state == "processing"
