"""From a real EVM node (anvil) to the books: forks of every depth, two transfers in one transaction, USDT's habits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from adapters.base import BlockHeader, BlockScan, ChainHead, ChainToken, FinalityRule, FinalityTier, RangeScan
from adapters.evm.adapter import EvmRail
from orchestrator.clock import SystemClock
from orchestrator.database import tables
from orchestrator.payments.chain_balances import ChainBalances
from rates.money import WALLET_USD, Money
from tests.adapters.chains.test_chain_real_node import RealChain, call_data, real_chain
from tests.integration.payments.chain_scene import ACCOUNT, METHOD, ChainScene, ScriptedChain, opened_chain
from tests.integration.payments.scene import SetClock

pytestmark = pytest.mark.anvil
PRINCIPAL = 20 * 10**9
FINAL_AFTER = 8
"""anvil with epochs of 4 slots: finalized = head - 8."""


@dataclass
class RailChain(ScriptedChain):
    """A real rail in the place of the script."""

    rail: EvmRail | None = None

    @property
    def real(self) -> EvmRail:
        assert self.rail is not None
        return self.rail

    def derive_address(self, index: int) -> bytes:
        return self.real.derive_address(index)

    async def check(self) -> None:
        await self.real.check()

    async def head(self) -> ChainHead:
        return await self.real.head()

    async def header(self, number: int) -> BlockHeader | None:
        return await self.real.header(number)

    async def scan_block(self, number: int, is_ours: Callable[[bytes], bool]) -> BlockScan | None:
        return await self.real.scan_block(number, is_ours)

    async def scan_range(self, first: int, last: int, is_ours: Callable[[bytes], bool]) -> RangeScan:
        return await self.real.scan_range(first, last, is_ours)

    async def balances(self, token: ChainToken, addresses: Sequence[bytes]) -> list[int]:
        return await self.real.balances(token, addresses)


EARLY = FinalityRule(
    2, tiers=(FinalityTier(Money(100 * 10**9, WALLET_USD), 2),), customer_max=Money(10**12, WALLET_USD),
    chain_max=Money(10**12, WALLET_USD), merchant_unsecured=Money(10**12, WALLET_USD),
)  # fmt: skip


@asynccontextmanager
async def following(url: str, anvil_url: str, *rpc_urls: str) -> AsyncIterator[tuple[ChainScene, RealChain]]:
    """``rpc_urls``: the nodes that are asked; else the real one."""
    async with real_chain(anvil_url) as real:
        rail = real.rail(rpc_urls=rpc_urls or (anvil_url,))
        (token,) = rail.tokens
        assert token.method == METHOD
        account = replace(rail.account, account=ACCOUNT)
        clock = SetClock(SystemClock().now_us())  # blocks carry the node's time
        chain = RailChain(clock=clock, account=account, chain=rail.chain, tokens=rail.tokens, finality=EARLY, rail=rail)
        async with opened_chain(url, chain) as scene:
            yield scene, real


@pytest.fixture
async def scene_and_node(sqlite_url: str, anvil_url: str) -> AsyncIterator[tuple[ChainScene, RealChain]]:
    async with following(sqlite_url, anvil_url) as both:
        yield both


async def mine(real: RealChain, count: int) -> None:
    await real.node.call("anvil_mine", hex(count))


@pytest.fixture
async def both_databases(migrated_database_url: str, anvil_url: str) -> AsyncIterator[tuple[ChainScene, RealChain]]:
    async with following(migrated_database_url, anvil_url) as both:
        yield both


@pytest.mark.parametrize("depth", [1, 3, 12])
async def test_a_reorganization_takes_the_credit_back_and_the_same_payment_again_is_credited_once(
    both_databases: tuple[ChainScene, RealChain], depth: int
) -> None:
    scene, real = both_databases
    address, attempt = await scene.awaiting()
    await mine(real, 16)  # deeper than the fork: the token stays deployed
    receipt = await real.transfer(address, attempt["units"])
    raw = await real.node.call("eth_getTransactionByHash", receipt["transactionHash"])
    await mine(real, depth - 1) if depth > 1 else None
    await scene.look()
    expected = {1: "detected", 3: "provisional", 12: "credited"}[depth]
    assert await scene.deposit_states() == [(attempt["units"], expected)]
    await real.node.call("anvil_reorg", depth, [])  # anvil drops what the blocks held
    await mine(real, 2)
    await scene.look()
    assert await scene.deposit_states() == [(attempt["units"], "orphaned")]
    assert await scene.credited() == 0
    for code in ("wallet:provisional", "chain:final", "chain:unconfirmed", "fx:position"):
        assert sum(row["balance"] for row in await scene.all(tables.Account, code=code)) == 0, code
    assert (await scene.payment(attempt))["status"] == "awaiting_payment"
    await scene.assert_books()
    again = await real.send(raw["to"], raw["input"])
    assert again["blockNumber"] != receipt["blockNumber"]
    await mine(real, FINAL_AFTER + 2)
    await scene.look()
    assert await scene.credited() == PRINCIPAL
    assert (await scene.payment(attempt))["status"] == "credited"
    states = sorted(state for _, state in await scene.deposit_states())
    # anvil gives the transaction its old nonce, and with it its old hash, where the fork was deep enough.
    assert states in (["credited"], ["credited", "orphaned"])
    await scene.assert_sound()


async def test_two_transfers_of_one_real_transaction_are_two_credits(
    both_databases: tuple[ChainScene, RealChain],
) -> None:
    scene, real = both_databases
    address, attempt = await scene.awaiting()
    half = attempt["units"] // 2
    batch = await real.deploy("Batch")
    await real.transfer(bytes.fromhex(batch[2:]), attempt["units"])
    call = call_data("payTwice(address,address,uint256,uint256)", real.token, address, half, attempt["units"] - half)
    await real.send(batch, call)
    await mine(real, FINAL_AFTER + 2)
    await scene.look()
    deposits = await scene.all(tables.Deposit)
    assert len({row["tx_hash"] for row in deposits}) == 1
    assert sorted(row["ordinal"] for row in deposits) == [0, 2]
    assert {row["status"] for row in deposits} == {"credited"}
    assert (await scene.payment(attempt))["status"] == "credited"
    await scene.assert_sound()


async def test_a_day_of_missed_blocks_is_caught_up_by_ranges(scene_and_node: tuple[ChainScene, RealChain]) -> None:
    scene, real = scene_and_node
    address, attempt = await scene.awaiting()
    await mine(real, 700)
    await real.transfer(address, attempt["units"])
    await mine(real, 700)
    taken = await scene.look()
    assert taken > 1400
    assert await scene.credited() == PRINCIPAL
    headers = await scene.all(tables.ChainHeader)
    assert len(headers) < 100, "empty final blocks of a range leave no rows"
    await scene.assert_sound()


async def test_a_blacklisting_of_our_address_is_told(scene_and_node: tuple[ChainScene, RealChain]) -> None:
    scene, real = scene_and_node
    address, _ = await scene.awaiting()
    await real.send(real.token, call_data("addBlackList(address)", "0x" + address.hex()))
    await scene.look()
    reasons = {row["reason"] for row in await scene.all(tables.Review)}
    assert reasons == {"token_address_blacklisted"}


async def test_funds_that_were_destroyed_without_a_transfer_are_found_by_their_balance(
    scene_and_node: tuple[ChainScene, RealChain],
) -> None:
    scene, real = scene_and_node
    address, attempt = await scene.awaiting()
    await real.transfer(address, attempt["units"])
    await mine(real, FINAL_AFTER + 2)
    await scene.look()
    looks = ChainBalances(scene.chain, scene.chain, scene.writer, scene.reads)
    assert await looks.run_once() == []
    shown = "0x" + address.hex()
    await real.send(real.token, call_data("addBlackList(address)", shown))
    await real.send(real.token, call_data("destroyBlackFunds(address)", shown))
    await scene.look()
    assert await looks.run_once() == []
    (lost,) = await looks.run_once()
    assert (lost.found, lost.known) == (0, attempt["units"])
    reasons = sorted(row["reason"] for row in await scene.all(tables.Review))
    assert reasons == ["address_balance_differs", "token_address_blacklisted", "token_funds_destroyed"]


async def test_an_address_of_ours_that_was_blacklisted_still_receives_and_somebody_is_told(
    scene_and_node: tuple[ChainScene, RealChain],
) -> None:
    scene, real = scene_and_node
    address, attempt = await scene.awaiting()
    await real.send(real.token, call_data("addBlackList(address)", "0x" + address.hex()))
    await real.transfer(address, attempt["units"])
    await mine(real, FINAL_AFTER + 2)
    await scene.look()
    assert await scene.deposit_states() == [(attempt["units"], "credited")]
    assert [row["reason"] for row in await scene.all(tables.Review)] == ["token_address_blacklisted"]
    await scene.assert_sound()
