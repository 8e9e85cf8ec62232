"""Sweeps on a rollup that takes a fee for its data beside gas (Base, Optimism), or as more gas (Arbitrum)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.base import RailError
from adapters.kit.chain import evm_transaction
from adapters.kit.chain.evm_sender import COIN_GAS, DATA_FEE_ORACLE, NONCE_LARGE, EvmSender
from adapters.kit.chain.rpc import NodeRpc
from adapters.sending import CallKind, ChainCall, FeeQuote
from orchestrator.database import tables
from orchestrator.sweeps.sweeps import affordable
from orchestrator.sweeps.transaction import NotNow
from tests.adapters.loopback import address, listen, serving
from tests.integration.sweeps.scene import OPERATING, TREASURY, ChainScene, chain_scene

pytestmark = pytest.mark.anvil
WEI_PER_BYTE = 10**13
ORACLE_CODE = "0x602435" + "6509184e72a000" + "02" + "60005260206000f3"
"""Returns the length of the bytes that it is asked about times 10**13."""
UNITS = 20_000_000
CANNOT_PAY = "insufficient funds for gas * price + value + data fee"


@dataclass
class Rollup:
    """A door before anvil: it takes a transaction only from who can pay for its data as well, as such chains do."""

    node_url: str
    http: aiohttp.ClientSession
    coin_gas: int = COIN_GAS
    no_code: str | None = None
    """How it writes that nothing is at an address."""
    refused: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        call = await request.json()
        if isinstance(call, dict):
            refusal = await self._refusal(call["method"], call["params"])
            if refusal is not None:
                self.refused.append(refusal)
                error = {"code": -32000, "message": refusal}
                return web.json_response({"jsonrpc": "2.0", "id": call["id"], "error": error})
        async with self.http.post(self.node_url, json=call) as answer:
            body = await answer.json()
        if isinstance(call, dict) and call["method"] == "eth_estimateGas" and call["params"][0]["data"] == "0x":
            body["result"] = hex(self.coin_gas)
        if self.no_code is not None and call["method"] == "eth_getCode":
            body["result"] = self.no_code
        return web.json_response(body)

    async def _refusal(self, method: str, params: list[Any]) -> str | None:
        if method != "eth_sendRawTransaction":
            return None
        transaction, signer = evm_transaction.read_signed(bytes.fromhex(params[0][2:]))
        if not transaction.data and transaction.gas < self.coin_gas:
            return "intrinsic gas too low"
        data_fee = len(transaction.unsigned()) * WEI_PER_BYTE if self.coin_gas == COIN_GAS else 0
        needed = transaction.gas * transaction.fee + transaction.value + data_fee
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": ["0x" + signer.hex(), "latest"]}
        async with self.http.post(self.node_url, json=call) as answer:
            has = int((await answer.json())["result"], 16)
        return None if has >= needed else CANNOT_PAY


@asynccontextmanager
async def rolled_up(
    url: str, folder: Path, anvil_url: str, coin_gas: int = COIN_GAS
) -> AsyncIterator[tuple[ChainScene, Rollup]]:
    async with aiohttp.ClientSession() as http:
        door, bound = Rollup(anvil_url, http, coin_gas), listen()
        app = web.Application()
        app.router.add_post("/", door.handle)
        async with serving(app, bound), chain_scene(url, folder, address(bound) + "/") as scene:
            if coin_gas == COIN_GAS:
                await scene.real.node.call("anvil_setCode", DATA_FEE_ORACLE, ORACLE_CODE)
            yield scene, door


async def test_an_address_is_fueled_for_the_fee_of_its_data_too(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with rolled_up(migrated_database_url, tmp_path, anvil_url) as (scene, door):
        await scene.deposit("a", "20")
        await scene.services.sweeps.build()
        await scene.finish()
        assert await scene.tokens(TREASURY) == UNITS
        assert [row["status"] for row in await scene.all(tables.Sweep)] == ["done"]
        assert door.refused == []
        await scene.assert_sound()


async def test_coins_go_with_the_gas_that_the_chain_wants_for_them(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with rolled_up(migrated_database_url, tmp_path, anvil_url, coin_gas=90_000) as (scene, door):
        await scene.deposit("a", "20")
        await scene.services.sweeps.build()
        await scene.finish()
        assert await scene.tokens(TREASURY) == UNITS
        assert door.refused == []
        await scene.assert_sound()


async def test_the_fee_of_the_data_is_asked_for_the_very_bytes_and_counted_twice_for_the_worst(anvil_url: str) -> None:
    async with aiohttp.ClientSession() as http:
        node = NodeRpc(anvil_url, http)
        call = ChainCall(CallKind.COIN, OPERATING, TREASURY, 10**15)
        plain = await EvmSender(31337, [node]).quote(call)
        assert (plain.beside, plain.gas) == (0, COIN_GAS)
        await node.call("anvil_setCode", DATA_FEE_ORACLE, ORACLE_CODE)
        sender = EvmSender(31337, [node])
        quote = await sender.quote(call)
        raw = (await sender.prepare(call, quote)).unsigned(NONCE_LARGE).raw
        assert quote.beside == len(raw) * WEI_PER_BYTE
        assert quote.expected == plain.expected + quote.beside
        assert quote.maximum == plain.maximum + 2 * quote.beside
        await node.call("anvil_setCode", DATA_FEE_ORACLE, "0x00")
        with pytest.raises(RailError):
            await sender.quote(call)


async def test_a_node_that_writes_no_code_in_another_way_has_no_fee_for_data(anvil_url: str) -> None:
    async with aiohttp.ClientSession() as http:
        door, bound = Rollup(anvil_url, http, no_code="0x0"), listen()
        app = web.Application()
        app.router.add_post("/", door.handle)
        async with serving(app, bound):
            sender = EvmSender(31337, [NodeRpc(address(bound) + "/", http)])
            quote = await sender.quote(ChainCall(CallKind.COIN, OPERATING, TREASURY, 10**15))
            assert quote.beside == 0


def test_what_is_left_for_gas_is_what_the_data_leaves() -> None:
    quote = FeeQuote(expected=2_000, maximum=5_000, gas=100, price=30, tip=20, beside=1_000)
    fitted = affordable(quote, 3_300)
    assert (fitted.price, fitted.tip) == (20, 20)
    assert fitted.price * quote.gas + quote.beside < 3_300
    with pytest.raises(NotNow):
        affordable(quote, 2_599)
