"""The scanner against a real EVM node (anvil) and a token with USDT's habits: what our simulator might flatter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from adapters.base import BlockScan
from adapters.evm.adapter import EvmRail
from adapters.kit.chain.block import read_block
from adapters.kit.chain.bloom import bits_of_all
from adapters.kit.chain.empty_answers import bloom_items, logs_of_receipts
from adapters.kit.chain.rpc import NodeRpc
from tests.adapters.chains.bench import account

pytestmark = pytest.mark.anvil

CONTRACTS = json.loads((Path(__file__).parent / "contracts" / "TetherLike.json").read_text())["contracts"]
STRANGER = "0x" + "5e" * 20


def call_data(signature: str, *arguments: Any) -> str:
    types = signature.partition("(")[2].rstrip(")")
    encoded = encode(types.split(",") if types else [], arguments)
    return "0x" + (keccak(text=signature)[:4] + encoded).hex()


@dataclass
class RealChain:
    node: NodeRpc
    http: aiohttp.ClientSession
    url: str
    owner: str
    token: str = ""

    async def send(self, to: str | None, data: str, sender: str | None = None) -> dict[str, Any]:
        """Send a transaction and return its receipt."""
        call = {"from": sender or self.owner, "data": data, "gas": "0x200000", **({"to": to} if to else {})}
        tx_hash = await self.node.call("eth_sendTransaction", call)
        for _ in range(2000):  # anvil mines at once, but answers before it did
            receipt: dict[str, Any] | None = await self.node.call("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                assert receipt["status"] == "0x1"
                return receipt
            await asyncio.sleep(0.005)
        raise AssertionError(f"{tx_hash} was not mined")

    async def deploy(self, name: str) -> str:
        return str((await self.send(None, CONTRACTS[name]["bytecode"]))["contractAddress"])

    async def transfer(self, to: bytes, value: int) -> dict[str, Any]:
        return await self.send(self.token, call_data("transfer(address,uint256)", to, value))

    def rail(self, **changes: Any) -> EvmRail:
        tokens = {"USDT": {"contract": self.token, "decimals": 6, "method": "usdt_evm"}}
        return EvmRail(account("evm", self.url, chain_id=31337, **{"tokens": tokens, **changes}), self.http)

    async def scan(self, ours: bytes) -> BlockScan:
        rail = self.rail()
        scanned = await rail.scan_block((await rail.head()).latest, {ours}.__contains__)
        assert scanned is not None
        return scanned


@asynccontextmanager
async def real_chain(url: str) -> AsyncIterator[RealChain]:
    async with aiohttp.ClientSession() as http:
        node = NodeRpc(url, http, timeout_seconds=30)
        made = RealChain(node, http, url, (await node.call("eth_accounts"))[0])
        made.token = await made.deploy("TetherLike")
        await made.send(made.token, call_data("mint(uint256)", 10**12))
        yield made


@pytest.fixture
async def real(anvil_url: str) -> AsyncIterator[RealChain]:
    async with real_chain(anvil_url) as made:
        yield made


async def test_a_real_node_is_checked_scanned_and_reorganised(real: RealChain) -> None:
    rail = real.rail()
    await rail.check()
    ours = rail.derive_address(0)
    receipt = await real.transfer(ours, 20_000_000)
    scanned = await real.scan(ours)
    (transfer,) = scanned.transfers
    assert (transfer.tx_hash, transfer.receipt_ordinal) == (receipt["transactionHash"], 0)
    assert (transfer.amount.units, transfer.recipient, transfer.sender.hex()) == (20_000_000, ours, real.owner[2:])
    assert scanned.header.hash == receipt["blockHash"]
    parent = await rail.header(scanned.header.number - 1)
    assert parent is not None
    assert parent.hash == scanned.header.parent_hash

    await real.node.call("anvil_mine", "0x1")
    child_before = await rail.header(scanned.header.number + 1)
    await real.node.call("anvil_reorg", 1, [])
    child_after = await rail.header(scanned.header.number + 1)
    assert child_before is not None
    assert child_after is not None
    assert child_after.hash != child_before.hash
    assert child_after.parent_hash == scanned.header.hash

    await real.node.call("anvil_reorg", 2, [])
    again = await rail.scan_block(scanned.header.number, {ours}.__contains__)
    child_again = await rail.header(scanned.header.number + 1)
    assert again is not None
    assert child_again is not None
    assert again.transfers == ()
    assert again.header.hash != scanned.header.hash
    assert child_again.parent_hash == again.header.hash != child_after.parent_hash


async def test_two_transfers_of_one_real_transaction_have_their_places_in_the_receipt(real: RealChain) -> None:
    ours = real.rail().derive_address(1)
    batch = await real.deploy("Batch")
    await real.transfer(bytes.fromhex(batch[2:]), 30)
    await real.send(batch, call_data("payTwice(address,address,uint256,uint256)", real.token, ours, 10, 20))
    transfers = (await real.scan(ours)).transfers
    assert [(t.receipt_ordinal, t.raw_value) for t in transfers] == [(0, 10), (2, 20)]


async def test_with_the_fee_switch_on_what_arrived_is_what_counts(real: RealChain) -> None:
    ours = real.rail().derive_address(2)
    await real.send(real.token, call_data("setFee(uint256)", 10))
    await real.transfer(ours, 1_000_000)
    (transfer,) = (await real.scan(ours)).transfers
    assert (transfer.receipt_ordinal, transfer.raw_value) == (1, 999_000)


async def test_a_strangers_zero_value_transfer_is_dropped(real: RealChain) -> None:
    ours = real.rail().derive_address(3)
    data = call_data("transferFrom(address,address,uint256)", STRANGER, ours, 0)
    receipt = await real.send(real.token, data)
    assert len(receipt["logs"]) == 1
    assert (await real.scan(ours)).transfers == ()


async def test_the_same_payment_from_a_lookalike_contract_is_ignored(real: RealChain) -> None:
    ours = real.rail().derive_address(4)
    lookalike = await real.deploy("TetherLike")
    await real.send(lookalike, call_data("mint(uint256)", 5))
    await real.send(lookalike, call_data("transfer(address,uint256)", ours, 5))
    assert (await real.scan(ours)).transfers == ()


async def test_the_bloom_of_a_real_block_is_the_one_that_we_compute(real: RealChain) -> None:
    receipt = await real.transfer(b"\x01" * 20, 1)
    number = int(receipt["blockNumber"], 16)
    block = read_block(await real.node.call("eth_getBlockByNumber", hex(number), False), number, has_bloom=True)
    assert block is not None
    assert block.bloom
    (log,) = await logs_of_receipts(real.node, block)
    assert bits_of_all(bloom_items(log)) == block.bloom


async def test_finality_trails_the_head(real: RealChain) -> None:
    await real.node.call("anvil_mine", "0x14")
    head = await real.rail().head()
    assert 0 < head.finalized < head.latest
