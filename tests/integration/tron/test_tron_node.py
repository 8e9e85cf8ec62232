"""USDT on TRON from a buyer's payment to the treasury, on a node that speaks java-tron's API over a real EVM node."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.kit.chain.addresses import show_tron
from orchestrator.database import tables
from orchestrator.ledger.check import check
from orchestrator.sweeps.refunds import RefundWanted
from rates.money import Asset, Money
from tests.integration.tron.scene import EXPIRED_S, NETWORK, OPERATING, TREASURY, TRX, TronScene, tron_world
from tests.support.world import MERCHANT, MODE

pytestmark = pytest.mark.anvil
CUSTOMER = b"\x99" * 20


async def test_a_deposit_is_scanned_credited_and_swept_to_the_treasury(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(migrated_database_url, tmp_path, anvil_url) as scene:
        session, address, units = await scene.paid()
        assert await scene.status(session) == "credited"
        await scene.assert_sound()
        assert len(await scene.services.sweeps.build()) == 1
        await scene.rounds(8)
        assert await scene.tokens(TREASURY) == units
        assert await scene.tokens(address) == 0
        rows = await scene.all(tables.ChainTransaction)
        assert [(row["purpose"], row["status"]) for row in rows] == [("fuel", "final"), ("sweep", "final")]
        fees = sum(int(row["fee"]) for row in rows)
        assert await scene.balances("fees:rail_cost", "TRX/6") == fees > 0
        assert 1000 * TRX - await scene.node.sun(OPERATING) == fees + await scene.node.sun(address)
        await scene.assert_sound()


async def begun_refund(scene: TronScene, usdt: int = 30) -> RefundWanted:
    """A refund to an address that its customer proved, paid by the house's own tokens."""
    session, _, _ = await scene.paid("customer")
    await scene.real.transfer(OPERATING, 100 * 10**6)
    payment = await scene.world.payment(session)
    assert payment is not None
    refunds = scene.services.chain_refunds
    object.__setattr__(refunds, "cool_off_h", 0)
    wallet = payment["wallet_id"]
    await refunds.confirm_address(
        MERCHANT, MODE, wallet, network=NETWORK, address=show_tron(CUSTOMER), proof={"by": "signature"}
    )
    contract = bytes.fromhex(scene.real.token[2:])
    amount = Money(usdt * 10**6, Asset("USDT", 6))
    wanted = RefundWanted("ref_1", MERCHANT, MODE, wallet, NETWORK, contract, amount)
    for _ in range(2):
        assert (await refunds.begin(wanted))["status"] == "moving"
    return wanted


async def test_a_refund_ends_on_the_chain_once(migrated_database_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with tron_world(migrated_database_url, tmp_path, anvil_url) as scene:
        wanted = await begun_refund(scene)
        await scene.rounds(6)
        assert (await scene.services.chain_refunds.begin(wanted))["status"] == "done"
        assert await scene.tokens(CUSTOMER) == 30_000_000
        assert len(await scene.all(tables.ChainTransaction)) == 1
        report = await check(scene.services.reads)
        assert report.ok, report.findings


@pytest.mark.parametrize("fault", ["empty", "http200"])
async def test_a_refund_that_a_node_hides_after_its_expiry_is_not_paid_twice(
    sqlite_url: str, tmp_path: Path, anvil_url: str, fault: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        wanted = await begun_refund(scene)
        await scene.rounds(2)
        assert await scene.tokens(CUSTOMER) == 30_000_000
        await scene.node.pass_by(EXPIRED_S)
        scene.node.fail(fault, times=1000, on="gettransactioninfobyid")
        for _ in range(3):
            await scene.rounds(1)
            await scene.services.chain_refunds.run_once()
        assert len(await scene.all(tables.ChainTransaction)) == 1
        scene.node.heal()
        await scene.rounds(6)
        assert (await scene.services.chain_refunds.begin(wanted))["status"] == "done"
        assert await scene.tokens(CUSTOMER) == 30_000_000


async def test_a_refund_that_no_node_took_is_paid_by_another_transaction_after_its_expiry(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        wanted = await begun_refund(scene)
        scene.node.fail("swallow", times=1000)
        await scene.rounds(4)
        await scene.node.pass_by(EXPIRED_S)
        await scene.rounds(1)
        assert [row["status"] for row in await scene.all(tables.ChainTransaction)] == ["expired"]
        scene.node.heal()
        assert await scene.services.chain_refunds.run_once() == 1
        await scene.rounds(1)
        assert [row["status"] for row in await scene.all(tables.ChainTransaction)] == ["expired", "built"], (
            "by its clock, not yet"
        )
        assert (await scene.services.chain_refunds.begin(wanted))["status"] == "moving"
        assert await scene.tokens(CUSTOMER) == 0
