"""What a TRON node does wrong, fault by fault: nothing is lost, nothing is sent twice, nothing is believed without proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.database import tables
from tests.adapters.chains.test_chain_real_node import call_data
from tests.integration.tron.scene import EXPIRED_S, TREASURY, TRX, TronScene, tron_world
from tests.support.tron_node import tron_node

pytestmark = pytest.mark.anvil
READS = ["eth_getLogs", "eth_getBlockByNumber", "eth_getTransactionReceipt", "eth_getBlockReceipts", "eth_blockNumber"]


async def swept_once(scene: TronScene, units: int) -> None:
    assert await scene.tokens(TREASURY) == units
    rows = await scene.all(tables.ChainTransaction, purpose="sweep")
    assert [row["status"] for row in rows].count("final") == 1
    await scene.assert_sound()


async def mined_and_not_yet_closed(scene: TronScene) -> None:
    for _ in range(12):
        await scene.rounds(1)
        if [row["status"] for row in await scene.all(tables.ChainTransaction)] == ["final", "sent"]:
            return
    raise AssertionError("the sweep's own transaction was not sent")


# --- the scanner ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["http200", "empty", "lite", "429", "403"])
async def test_no_fault_of_a_node_is_read_as_no_deposit(
    sqlite_url: str, tmp_path: Path, anvil_url: str, fault: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        session, address, units = await scene.asked()
        paid_in = int((await scene.real.transfer(address, units))["blockNumber"], 16)
        await scene.finalize()
        for method in READS:
            scene.node.fail(fault, times=1000, on=method)
            await scene.look()
            assert await scene.all(tables.Deposit) or await scene.cursor() < paid_in, method
        scene.node.heal()
        await scene.look()
        assert await scene.status(session) == "credited"
        assert len(await scene.all(tables.Deposit)) == 1
        await scene.assert_sound()


async def test_an_empty_answer_for_logs_is_held_against_the_receipts(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        session, address, units = await scene.asked()
        await scene.real.transfer(address, units)
        scene.node.fail("no_logs", times=1)
        await scene.look(rounds=1)
        assert len(await scene.all(tables.Deposit)) == 1, "TRON's bloom is zero: only the receipts tell"
        await scene.finalize()
        await scene.look()
        assert await scene.status(session) == "credited"


async def test_a_node_that_lags_shows_the_deposit_later_and_calls_nothing_final_early(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        session, address, units = await scene.asked()
        await scene.real.transfer(address, units)
        await scene.node.mine(8)  # the newest block that is final now is the deposit's
        scene.node.chain.lag = 8
        await scene.look()
        assert [row["status"] for row in await scene.all(tables.Deposit)] == ["detected"]
        scene.node.chain.lag = 0
        await scene.look()
        assert await scene.status(session) == "credited"
        await scene.assert_sound()


async def test_while_one_node_is_throttled_another_serves(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with (
        tron_node(anvil_url) as other,
        tron_world(sqlite_url, tmp_path, anvil_url, other_urls=[f"{other.url}/jsonrpc"]) as scene,
    ):
        session, address, units = await scene.asked()
        await scene.real.transfer(address, units)
        await scene.finalize()
        scene.node.fail("http200", times=1000)
        await scene.look()
        assert await scene.status(session) == "credited"


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_payment_that_is_mined_again_after_a_fork_keeps_its_id_and_is_credited_once(
    migrated_database_url: str, tmp_path: Path, anvil_url: str, depth: int
) -> None:
    async with tron_world(migrated_database_url, tmp_path, anvil_url) as scene:
        session, address, units = await scene.asked()
        await scene.node.mine(16)
        txid = await scene.buyer_sends(address, units)
        await scene.node.mine(depth - 1) if depth > 1 else None
        await scene.look()
        before = await scene.all(tables.Deposit)
        assert [(row["tx_hash"], row["status"]) for row in before] == [(txid, "detected")]
        await scene.node.reorg(depth)
        await scene.finalize()
        await scene.look()
        after = await scene.all(tables.Deposit)
        assert [(row["tx_hash"], row["status"]) for row in after] == [(txid, "credited")]
        assert after[0]["block_hash"] != before[0]["block_hash"]
        assert await scene.status(session) == "credited"
        await scene.assert_sound()


async def test_a_payment_that_a_fork_dropped_is_not_credited(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(migrated_database_url, tmp_path, anvil_url) as scene:
        session, address, units = await scene.asked()
        await scene.node.mine(16)
        await scene.buyer_sends(address, units)
        await scene.look()
        await scene.node.reorg(2, requeue=False)
        await scene.finalize()
        await scene.look()
        assert [row["status"] for row in await scene.all(tables.Deposit)] == ["orphaned"]
        assert await scene.status(session) == "awaiting_payment"
        await scene.assert_sound()


async def test_a_payment_without_enough_energy_is_none(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        session, address, units = await scene.asked()
        await scene.buyer_sends(address, 1)
        scene.node.fail("out_of_energy")
        txid = await scene.buyer_sends(address, units)
        info = await scene.post("wallet/gettransactioninfobyid", value=txid[2:])
        assert (info["result"], info["receipt"]["result"]) == ("FAILED", "OUT_OF_ENERGY")
        await scene.finalize()
        await scene.look()
        assert await scene.status(session) == "awaiting_payment"
        assert [row["units"] for row in await scene.all(tables.Deposit)] == [1]


# --- sending ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["http200", "empty", "lite", "429", "403"])
async def test_a_fault_of_the_node_delays_a_sweep_and_doubles_nothing(
    sqlite_url: str, tmp_path: Path, anvil_url: str, fault: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        _, _, units = await scene.paid()
        await scene.services.sweeps.build()
        for call in ("broadcasthex", "gettransactioninfobyid", "getnowblock", "triggerconstantcontract", "getaccount"):
            scene.node.fail(fault, times=2, on=call)
            await scene.rounds(2)
            scene.node.heal()
        await scene.rounds(8)
        await swept_once(scene, units)
        assert len(await scene.all(tables.ChainTransaction)) == 2


async def test_bytes_that_a_node_forgot_are_sent_again_as_they_are(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        _, _, units = await scene.paid()
        await scene.services.sweeps.build()
        scene.node.fail("swallow", times=3)
        await scene.rounds(10)
        rows = await scene.all(tables.ChainTransaction)
        assert [(row["purpose"], row["generation"]) for row in rows] == [("fuel", 0), ("sweep", 0)]
        assert set(scene.node.broadcasts) == {row["tx_hash"] for row in rows}
        assert len(scene.node.broadcasts) > 4
        await swept_once(scene, units)


async def test_a_node_that_says_duplicate_and_has_nothing_is_sent_the_same_bytes_until_it_has(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        _, _, units = await scene.paid()
        await scene.services.sweeps.build()
        scene.node.fail("dup", times=4)
        await scene.rounds(3)
        (row,) = await scene.all(tables.ChainTransaction)
        assert row["status"] == "sent"
        assert row["note"].startswith("known")
        await scene.rounds(10)
        assert set(scene.node.broadcasts) == {row["tx_hash"] for row in await scene.all(tables.ChainTransaction)}
        await swept_once(scene, units)


async def test_out_of_energy_fails_the_sweep_books_what_was_burnt_and_asks_a_person(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        _, address, units = await scene.paid()
        await scene.services.sweeps.build()
        scene.node.fail("out_of_energy")
        await scene.rounds(8)
        (sweep,) = await scene.all(tables.Sweep)
        rows = await scene.all(tables.ChainTransaction)
        assert (sweep["status"], rows[1]["status"], rows[1]["note"]) == ("failed", "failed", "reverted")
        assert int(rows[1]["fee"]) > 3 * TRX // 10
        assert await scene.balances("fees:rail_cost", "TRX/6") == sum(int(row["fee"]) for row in rows)
        assert [row["reason"] for row in await scene.all(tables.Review)] == ["chain_transaction_failed"]
        assert await scene.tokens(address) == units
        await scene.assert_sound()


async def test_a_sweep_that_a_fork_took_away_ends_once(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with tron_world(migrated_database_url, tmp_path, anvil_url) as scene:
        _, _, units = await scene.paid()
        await scene.services.sweeps.build()
        for _ in range(6):
            await scene.services.sweeps.run_once()
            await scene.node.reorg(2, requeue=False)
        await scene.rounds(10)
        assert set(scene.node.broadcasts) == {row["tx_hash"] for row in await scene.all(tables.ChainTransaction)}
        await swept_once(scene, units)


@pytest.mark.parametrize("fault", ["empty", "http200", "lite"])
async def test_a_node_that_shows_nothing_of_a_transaction_does_not_prove_that_it_expired(
    sqlite_url: str, tmp_path: Path, anvil_url: str, fault: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        _, _, units = await scene.paid()
        await scene.services.sweeps.build()
        await mined_and_not_yet_closed(scene)
        assert await scene.tokens(TREASURY) == units
        await scene.node.pass_by(EXPIRED_S)
        scene.node.fail(fault, times=1000, on="gettransactioninfobyid")
        await scene.rounds(3)
        assert len(await scene.all(tables.ChainTransaction)) == 2, "a second one would pay twice"
        scene.node.heal()
        await scene.rounds(2)
        await swept_once(scene, units)


async def test_one_node_that_lags_does_not_make_another_nodes_clock_speak_for_it(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with (
        tron_node(anvil_url) as behind,
        tron_world(sqlite_url, tmp_path, anvil_url, other_urls=[f"{behind.url}/jsonrpc"]) as scene,
    ):
        _, _, units = await scene.paid()
        await scene.services.sweeps.build()
        behind.chain.lag = 10_000
        await mined_and_not_yet_closed(scene)
        assert await scene.tokens(TREASURY) == units
        await scene.node.pass_by(EXPIRED_S)
        scene.node.fail("429", times=1000, on="gettransactioninfobyid")  # its clock is told, its receipts are not
        await scene.rounds(3)
        assert len(await scene.all(tables.ChainTransaction)) == 2
        scene.node.heal()
        await scene.rounds(2)
        await swept_once(scene, units)


@pytest.mark.parametrize("act", ["setPaused(bool)", "addBlackList(address)"])
async def test_a_token_that_would_revert_is_not_swept_though_the_node_says_result_true(
    sqlite_url: str, tmp_path: Path, anvil_url: str, act: str
) -> None:
    async with tron_world(sqlite_url, tmp_path, anvil_url) as scene:
        _, address, units = await scene.paid()
        argument = True if act.startswith("setPaused") else "0x" + address.hex()
        await scene.real.send(scene.real.token, call_data(act, argument))
        assert await scene.services.sweeps.build() == []
        assert await scene.all(tables.ChainTransaction) == []
        assert await scene.tokens(address) == units
