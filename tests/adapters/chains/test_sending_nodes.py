"""What became of a transaction, by several nodes: found at any of them; not there only where all of them say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.base import RailError
from adapters.kit.chain.evm_sender import EvmSender
from adapters.kit.chain.rpc import NodeRpc
from adapters.kit.chain.tron_sender import TronSender
from adapters.sending import SendsOnChain
from tests.adapters.loopback import address, closed_port, listen, serving

TX = "0x" + "12" * 32
BLOCK = "0x" + "34" * 32
RECEIPT = {
    "transactionHash": TX, "blockHash": BLOCK, "blockNumber": "0x5", "gasUsed": "0x5208", "effectiveGasPrice": "0x1",
    "status": "0x1", "logs": [],
}  # fmt: skip
FINAL = {"number": "0x9", "hash": BLOCK, "timestamp": "0x6a000000"}
INFO = {"id": TX[2:], "blockNumber": 5, "fee": 7, "receipt": {}}
NOTHING: dict[str, Any] = {}


def node(receipt: Any, info: Any) -> web.Application:
    """A node of both families, with one answer for every transaction."""

    async def rpc(request: web.Request) -> web.Response:
        call = await request.json()
        results = {"eth_chainId": "0x1", "eth_getTransactionReceipt": receipt, "eth_getBlockByNumber": FINAL}
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": results[call["method"]]})

    async def wallet(_: web.Request) -> web.Response:
        return web.json_response(info)

    app = web.Application()
    app.router.add_post("/jsonrpc", rpc)
    app.router.add_post("/{room}/gettransactioninfobyid", wallet)
    return app


@asynccontextmanager
async def sender(family: str, *nodes: web.Application | None) -> AsyncIterator[SendsOnChain]:
    """None: nobody listens there."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        urls = []
        for app in nodes:
            if app is None:
                urls.append(closed_port())
                continue
            bound = listen()
            urls.append(address(bound))
            await stack.enter_async_context(serving(app, bound))
        if family == "tron":
            yield TronSender([f"{url}/jsonrpc" for url in urls], http, 2.0)
        else:
            yield EvmSender(1, [NodeRpc(f"{url}/jsonrpc", http, 2.0) for url in urls])


HAS, HAS_NOT = (RECEIPT, INFO), (None, NOTHING)
FAMILIES = pytest.mark.parametrize("family", ["evm", "tron"])


@FAMILIES
async def test_a_transaction_that_one_node_lacks_is_found_at_another(family: str) -> None:
    async with sender(family, node(*HAS_NOT), node(*HAS)) as sending:
        for proven in (False, True):
            found = await sending.receipt(TX, proven=proven)
            assert found is not None
            assert (found.block_number, found.succeeded, found.final) == (5, True, True)


@FAMILIES
async def test_while_one_node_is_silent_nothing_is_proven_to_be_absent(family: str) -> None:
    async with sender(family, node(*HAS_NOT), None) as sending:
        assert await sending.receipt(TX) is None
        with pytest.raises(RailError):
            await sending.receipt(TX, proven=True)
    async with sender(family, None, node(*HAS)) as sending:
        assert await sending.receipt(TX, proven=True) is not None
    async with sender(family, None, None) as sending:
        with pytest.raises(RailError):
            await sending.receipt(TX)


@FAMILIES
async def test_what_every_node_lacks_is_absent(family: str) -> None:
    async with sender(family, node(*HAS_NOT), node(*HAS_NOT)) as sending:
        assert await sending.receipt(TX, proven=True) is None


async def test_a_tron_node_that_says_one_thing_here_and_another_there_proves_nothing() -> None:
    async with sender("tron", node(RECEIPT, NOTHING)) as sending:
        assert await sending.receipt(TX) is None
        with pytest.raises(RailError, match="hides it"):
            await sending.receipt(TX, proven=True)
