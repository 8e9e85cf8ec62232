"""Sweeps over a real EVM node and a token with USDT's habits."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from orchestrator.database import tables
from orchestrator.errors import Conflict
from orchestrator.routing.costs import FeeTables
from orchestrator.routing.ranking import Knowledge
from orchestrator.sweeps.costs import transfer_costs
from orchestrator.workers.rail_events import learn
from tests.adapters.chains.test_chain_real_node import call_data
from tests.integration.sweeps.scene import OPERATING, TREASURY, chain_scene

pytestmark = pytest.mark.anvil


async def test_tokens_go_from_two_customers_to_the_treasury(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(migrated_database_url, tmp_path, anvil_url) as scene:
        first, second = await scene.deposit("a", "20"), await scene.deposit("b", "30")
        await scene.assert_sound()
        planned = await scene.services.sweeps.plan()
        assert [(one.lying.address, one.worth, one.fuel_raw > 0) for _, one in planned] == [
            (second, True, True), (first, True, True),
        ]  # fmt: skip
        assert len(await scene.services.sweeps.build()) == 2
        assert await scene.services.sweeps.build() == []
        await scene.finish()
        assert await scene.tokens(TREASURY) == 50_000_000
        assert {row["status"] for row in await scene.all(tables.Sweep)} == {"done"}
        assert [row["nonce"] for row in await scene.all(tables.ChainTransaction, purpose="fuel")] == [0, 1]
        await scene.assert_sound()
        assert await scene.services.sweeps.plan() == []
        await scene.deposit("a", "7")  # coins are left there from the first time
        await scene.services.sweeps.build()
        await scene.finish()
        assert await scene.tokens(TREASURY) == 57_000_000
        assert [row["nonce"] for row in await scene.all(tables.ChainTransaction, purpose="sweep")] == [0, 0, 1]
        await scene.assert_sound()


async def test_ranking_learns_from_the_node_what_a_deposit_costs_now(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url) as scene:
        network, services = scene.network, scene.services
        assert await transfer_costs([network], services.rails) == {}  # nothing was swept yet: the fee table stands
        await scene.real.transfer(TREASURY, 5_000_000)
        costs = await transfer_costs([network], services.rails)
        assert costs.keys() == {("evm", "bsc", "usdt_bsc")}
        # Between a bare transfer of coins (21,000 gas) and half a million gas, at what the node asks for gas now.
        gas_price = int(await scene.real.node.call("eth_gasPrice"), 16)
        least, most = (network.coin_value(gas * gas_price).units for gas in (21_000 // 4, 500_000 * 4))
        assert all(least < units < most for units in costs.values())
        services.routing.knowledge = Knowledge(FeeTables.of({}))
        await learn(services)
        assert services.routing.knowledge.chain_fees.keys() == costs.keys()
        assert services.routing.knowledge.volatility_bps["EUR"] > 0


async def test_every_coin_is_in_the_books(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url) as scene:
        before = await scene.coins(OPERATING)
        address = await scene.deposit("a", "20")
        await scene.services.sweeps.build()
        await scene.finish()
        gone = before - await scene.coins(OPERATING)
        fees = sum(int(row["fee"]) for row in await scene.all(tables.ChainTransaction))
        assert gone == fees + await scene.coins(address)
        # Each of the two fees is rounded up to a gwei.
        assert 0 <= await scene.balances("fees:rail_cost", "ETH/9") * 10**9 - fees < 2 * 10**9
        assert 0 <= -await scene.balances("chain:treasury", "ETH/9") * 10**9 - gone < 10**9


async def test_what_is_not_worth_its_cost_stays(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url) as scene:
        address = await scene.deposit("a", "1")
        await scene.real.node.call("anvil_setNextBlockBaseFeePerGas", hex(1000 * 10**9))
        await scene.real.node.call("anvil_mine", "0x1")
        (only,) = [one for _, one in await scene.services.sweeps.plan()]
        assert (only.worth, only.why) == (False, "not 5 times its cost")
        assert await scene.services.sweeps.build() == []
        assert await scene.tokens(address) == 1_000_000


async def test_with_the_fee_switch_on_the_books_say_what_arrived(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url) as scene:
        await scene.deposit("a", "20")
        await scene.real.send(scene.real.token, call_data("setFee(uint256)", 10))
        await scene.services.sweeps.build()
        await scene.finish()
        assert await scene.tokens(TREASURY) == 19_980_000
        assert await scene.balances("fees:rail_cost") == 20_000
        await scene.assert_sound()


async def test_above_the_limit_it_waits_for_two_people(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    from orchestrator.signer.approval import sign_approval
    from orchestrator.signer.judge import read
    from orchestrator.signer.policy import Policy
    from tests.integration.sweeps.scene import CHAIN
    from tests.support.signing import APPROVERS

    async with chain_scene(sqlite_url, tmp_path, anvil_url, limits={"sweep_approval_above": "15"}) as scene:
        await scene.deposit("a", "20")
        await scene.services.sweeps.build()
        for _ in range(6):
            await scene.services.sweeps.run_once()
            await scene.finalize()
        (row,) = await scene.all(tables.ChainTransaction, purpose="sweep")
        assert row["status"] == "built"
        assert "0 of 2 people" in row["note"]
        reading = read(
            CHAIN, Policy.read(scene.files.policy).chains[CHAIN], bytes(row["unsigned"]), bytes(row["sender"])
        )
        machine = scene.services.sweeps.machine
        for secret in APPROVERS.values():
            assert await scene.tokens(TREASURY) == 0
            await machine.approve(row["id"], sign_approval(reading.approval, secret).hex())
            await scene.services.sweeps.run_once()
        await scene.finish()
        assert await scene.tokens(TREASURY) == 20_000_000
        with pytest.raises(Conflict):
            await machine.approve(row["id"], "00")


async def test_a_transaction_that_was_never_signed_can_be_given_up_and_its_nonce_serves_the_next(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url, limits={"sweep_day_max": "25"}) as scene:
        await scene.deposit("a", "30")
        await scene.services.sweeps.build()
        for _ in range(6):
            await scene.services.sweeps.run_once()
            await scene.finalize()
        (row,) = await scene.all(tables.ChainTransaction, purpose="sweep")
        assert "limit_of_the_day_reached" in row["note"]
        machine = scene.services.sweeps.machine
        assert (await machine.void(row["id"]))["status"] == "void"
        (sweep,) = await scene.all(tables.Sweep)
        assert sweep["status"] == "failed"
        (_, again), *_ = await scene.services.sweeps.plan()
        assert again.lying.units == 30_000_000
        (counter,) = [one for one in await scene.all(tables.ChainNonce) if bytes(one["sender"]) != OPERATING]
        assert (counter["next_nonce"], orjson.loads(counter["freed"])) == (1, [0])
        await scene.services.sweeps.build()
        rows = await scene.all(tables.ChainTransaction, purpose="sweep")
        assert [(one["nonce"], one["status"]) for one in rows] == [(0, "void"), (0, "built")]


async def test_a_token_that_reverts_is_not_swept_and_nothing_is_stored(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url) as scene:
        address = await scene.deposit("a", "20")
        # Somebody with the key was faster: the chain has less than the books say.
        await scene.real.node.call("anvil_impersonateAccount", "0x" + address.hex())
        await scene.real.node.call("anvil_setBalance", "0x" + address.hex(), hex(10**18))
        data = call_data("transfer(address,uint256)", b"\x66" * 20, 1)
        await scene.real.send(scene.real.token, data, sender="0x" + address.hex())
        (only,) = [one for _, one in await scene.services.sweeps.plan()]
        assert not only.worth
        assert "reconcile first" in only.why
        assert await scene.services.sweeps.build() == []


async def test_a_nonce_that_somebody_else_used_stops_the_sweep_and_calls_a_person(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url) as scene:
        address = await scene.deposit("a", "20")
        await scene.services.sweeps.build()
        while not await scene.all(tables.ChainTransaction, purpose="sweep", status="built"):
            await scene.services.sweeps.machine.run_once()
            await scene.finalize()
            await scene.services.sweeps._go_on((await scene.all(tables.Sweep))[0])
        await scene.real.node.call("anvil_impersonateAccount", "0x" + address.hex())
        await scene.real.node.call("anvil_setBalance", "0x" + address.hex(), hex(10**18))
        data = call_data("transfer(address,uint256)", b"\x66" * 20, 0)
        await scene.real.send(scene.real.token, data, sender="0x" + address.hex())
        for _ in range(6):
            await scene.services.sweeps.run_once()
            await scene.finalize()
        (row,) = await scene.all(tables.ChainTransaction, purpose="sweep")
        assert (row["status"], row["note"]) == ("failed", "another transaction has its nonce")
        assert [one["reason"] for one in await scene.all(tables.Review)] == ["chain_nonce_used_elsewhere"]
        assert await scene.tokens(TREASURY) == 0
