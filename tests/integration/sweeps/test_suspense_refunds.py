"""Deposits in suspense that go back, on a real EVM node: to the confirmed address only, once, and then they are nobody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.database import tables
from orchestrator.database.unit import Changes, Entry, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict
from orchestrator.ledger.check import check
from orchestrator.payments.allotment import Allotment, Decided
from orchestrator.payments.suspense_refunds import out_of_suspense
from orchestrator.sweeps.plan import lying_on
from rates.money import Asset, Money
from tests.adapters.chains.test_chain_real_node import call_data
from tests.faults.boundaries import Fuse, burning
from tests.integration.payments.chain_scene import CONFIRMATIONS, TOKENS, opened_chain, pay
from tests.integration.sweeps.scene import OPERATING, ChainScene, chain_scene
from tests.integration.sweeps.test_chain_refunds import CUSTOMER, confirm

UNITS = 100_000
"""As much as the fee of receiving it: nothing would be left to credit."""
FUNDS = 1000 * 10**6
"""Of the operating wallet; nobody booked where they came from."""
BY = Decided("ops", "too little: send it back")


def desk(scene: ChainScene) -> Allotment:
    services = scene.services
    return Allotment(services.writer, services.reads, services.deposits.desk, services.rails)


@asynccontextmanager
async def suspended(url: str, folder: Path, anvil_url: str) -> AsyncIterator[tuple[ChainScene, Row]]:
    """A deposit in suspense, decided to be sent back."""
    async with chain_scene(url, folder, anvil_url) as scene:
        await scene.real.transfer(OPERATING, FUNDS)
        object.__setattr__(scene.services.chain_refunds, "cool_off_h", 0)
        yield scene, await planned(scene, "a")


async def planned(scene: ChainScene, customer: str) -> Row:
    wallet = await scene.wallet(customer)
    await scene.real.transfer(await scene.address(wallet), UNITS)
    await scene.finalize()
    await scene.watch()
    (deposit,) = await scene.all(tables.Deposit, wallet_id=wallet["id"])
    assert deposit["status"] == "unallocated"
    shown = await desk(scene).settle_without_credit(deposit["id"], BY, "refund_planned")
    assert shown["status"] == "refund_planned"
    return deposit


async def status_of(scene: ChainScene, deposit: Row) -> str:
    (row,) = await scene.all(tables.Deposit, id=deposit["id"])
    return str(row["status"])


async def assert_books(scene: ChainScene, suspense: int) -> None:
    report = await check(scene.services.reads)
    assert report.ok, report.findings
    assert -await scene.balances("suspense") == suspense
    assert await scene.balances("fx:position") == 0
    assert await scene.balances("chain:treasury") + FUNDS == await scene.tokens(OPERATING)
    addresses = [bytes(row["address"]) for row in await scene.all(tables.DepositAddress, family="evm")]
    assert await scene.balances("chain:final") == sum([await scene.tokens(one) for one in addresses])


@pytest.mark.anvil
async def test_a_deposit_in_suspense_goes_back_once_its_customer_has_confirmed_an_address(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with suspended(migrated_database_url, tmp_path, anvil_url) as (scene, deposit):
        refunds = scene.services.suspense_refunds
        assert await refunds.run_once() == 0, "nobody said where to"
        await assert_books(scene, UNITS)
        await confirm(scene, deposit["wallet_id"])
        assert [await refunds.run_once() for _ in range(2)] == [1, 0]
        assert await status_of(scene, deposit) == "refunding"
        for status in ("ignored", "refund_planned"):
            with pytest.raises(Conflict, match="refunding"):
                await desk(scene).settle_without_credit(deposit["id"], BY, status)
        with pytest.raises(Conflict):
            await desk(scene).credit(deposit["id"], BY)
        await scene.finish()
        assert [await refunds.run_once() for _ in range(2)] == [1, 0]
        assert await status_of(scene, deposit) == "refunded"
        assert await scene.tokens(CUSTOMER) == UNITS
        assert len(await scene.all(tables.ChainTransaction)) == 1
        (told,) = await scene.all(tables.Event, type="deposit.refunded")
        assert told["object_id"] == deposit["id"]
        assert [row["id"] for row in await desk(scene).inbox("refunded")] == [deposit["id"]]
        (lying,) = await lying_on(scene.services.reads, scene.network)
        assert lying.units == UNITS, "what lies there is the house's now"
        await assert_books(scene, 0)


@pytest.mark.anvil
async def test_a_transfer_that_fails_puts_the_deposit_before_a_person_who_may_send_it_again(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with suspended(migrated_database_url, tmp_path, anvil_url) as (scene, deposit):
        refunds = scene.services.suspense_refunds
        await confirm(scene, deposit["wallet_id"])
        assert await refunds.run_once() == 1
        await scene.real.send(scene.real.token, call_data("setPaused(bool)", True))
        await scene.finish()
        await scene.real.send(scene.real.token, call_data("setPaused(bool)", False))
        assert [await refunds.run_once() for _ in range(2)] == [1, 0], "nothing is sent again by itself"
        assert await status_of(scene, deposit) == "unallocated"
        reasons = {row["reason"] for row in await scene.all(tables.Review, status="open")}
        assert reasons == {"below_minimum", "chain_transaction_failed"}
        await assert_books(scene, UNITS)
        await desk(scene).settle_without_credit(deposit["id"], BY, "refund_planned")
        await refunds.run_once()
        await scene.finish()
        await refunds.run_once()
        assert await status_of(scene, deposit) == "refunded"
        assert await scene.tokens(CUSTOMER) == UNITS
        await assert_books(scene, 0)


@pytest.mark.anvil
async def test_a_plan_of_the_time_when_nothing_was_sent_by_it_waits_until_it_is_decided_again(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with suspended(sqlite_url, tmp_path, anvil_url) as (scene, deposit):
        await confirm(scene, deposit["wallet_id"])
        await _write(scene.services.writer, deposit, refunding_units=0)
        assert await scene.services.suspense_refunds.run_once() == 0
        await desk(scene).settle_without_credit(deposit["id"], BY, "refund_planned")
        assert await scene.services.suspense_refunds.run_once() == 1


class Died(Exception):
    """The process: all that it knew is forgotten, for all it knew was rows."""


def die() -> None:
    raise Died


@pytest.mark.anvil
async def test_death_at_any_statement_sends_each_deposit_back_once(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(migrated_database_url, tmp_path, anvil_url) as scene:
        await scene.real.transfer(OPERATING, FUNDS)
        object.__setattr__(scene.services.chain_refunds, "cool_off_h", 0)
        refunds, sent, deaths = scene.services.suspense_refunds, 0, 0
        while True:
            deposit = await planned(scene, f"customer {sent}")
            await confirm(scene, deposit["wallet_id"])
            sent += 1
            try:
                with burning(Fuse(sent, die)):
                    await through(scene)
            except Died:
                deaths += 1
                await through(scene)
            else:
                break
        assert deaths > 5, "so many statements it has, and more"
        assert await scene.tokens(CUSTOMER) == sent * UNITS
        assert {row["status"] for row in await scene.all(tables.Deposit)} == {"refunded"}
        assert len(await scene.all(tables.ChainTransaction)) == sent
        assert await refunds.run_once() == 0
        await assert_books(scene, 0)


async def through(scene: ChainScene) -> None:
    await scene.services.suspense_refunds.run_once()
    await scene.finish()
    await scene.services.suspense_refunds.run_once()


@pytest.mark.parametrize("status", ["refunding", "refunded"])
async def test_what_went_back_and_falls_away_is_told_and_never_credited_when_it_is_mined_again(
    migrated_database_url: str, status: str
) -> None:
    async with opened_chain(migrated_database_url) as scene:
        chain = scene.chain
        address, _ = await scene.awaiting()
        paid = pay(address, 10_000_000, token=TOKENS[1], name="sent back")
        chain.mine(paid)
        chain.mine(count=CONFIRMATIONS)
        await scene.look()
        (deposit,) = await scene.all(tables.Deposit)
        total = Money(deposit["units"], Asset.parse(deposit["asset"]))
        left = out_of_suspense(f"{deposit['id']}_1", deposit, total) if status == "refunded" else None
        await _write(scene.writer, deposit, left, status=status)  # as if it had been sent
        chain.drop(CONFIRMATIONS + 1)
        chain.mine(count=CONFIRMATIONS + 2)
        await scene.look()
        reasons = sorted(row["reason"] for row in await scene.all(tables.Review))
        assert reasons == ["no_rate", "refunded_deposit_orphaned"]
        chain.mine(paid)
        chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert [row["status"] for row in await scene.all(tables.Deposit)] == [status]
        assert await scene.credited() == 0


async def _write(writer: Writer, deposit: Row, entry: Entry | None = None, **columns: Any) -> None:
    def decide(_: View, changes: Changes) -> dict[str, Any]:
        if entry is not None:
            changes.post(entry)
        changes.update("deposit", (deposit["merchant_id"], deposit["id"]), **columns)
        return {}

    lock = row_lock("deposit", deposit["merchant_id"], deposit["id"])
    await writer.submit(Unit(deposit["merchant_id"], deposit["mode"], None, (lock,), decide))
