"""The TRON façade itself: the documented shapes and refusals of java-tron, so that what runs over it means something.

Source: https://tronprotocol.github.io/documentation-en/api/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.sending import CallKind, ChainCall
from orchestrator.signer.keys import PrivateNode
from tests.adapters.chains.test_chain_real_node import RealChain, real_chain
from tests.integration.tron.scene import BUYER, TRX, broadcastable
from tests.support.signing import node
from tests.support.tron_node import TronNode, tron_node

pytestmark = pytest.mark.anvil
THEM = b"\x99" * 20
STRANGER = node("tron").child(5).child(1)


@dataclass
class Facade:
    node: TronNode
    real: RealChain

    async def post(self, path: str, **body: Any) -> Any:
        async with self.real.http.post(f"{self.node.url}/{path}", json=body) as answer:
            assert answer.status == 200
            return await answer.json()

    async def rpc(self, method: str, *params: Any) -> Any:
        return await self.post("jsonrpc", jsonrpc="2.0", id=7, method=method, params=params)

    async def signed(
        self, units: int = 5, key: PrivateNode = BUYER, block: Mapping[str, Any] | None = None, coins: int = 0
    ) -> bytes:
        contract = None if coins else bytes.fromhex(self.real.token[2:])
        call = ChainCall(CallKind.COIN if coins else CallKind.TOKEN, BUYER.address, THEM, coins or units, contract)
        return broadcastable(call, key, block or await self.post("wallet/getnowblock"))

    async def broadcast(self, signed: bytes) -> Any:
        return await self.post("wallet/broadcasthex", transaction=signed.hex())


@pytest.fixture
async def facade(anvil_url: str) -> AsyncIterator[Facade]:
    async with real_chain(anvil_url) as real, tron_node(anvil_url) as made:
        made.fund(BUYER.address, 100 * TRX)
        await real.transfer(BUYER.address, 1000)
        await made.mine(12)
        yield Facade(made, real)


async def test_a_block_has_the_same_hash_by_both_interfaces_and_begins_with_its_height(facade: Facade) -> None:
    block = (await facade.rpc("eth_getBlockByNumber", "latest", False))["result"]
    now = await facade.post("wallet/getnowblock")
    assert "0x" + now["blockID"] == block["hash"]
    assert int(now["blockID"][:16], 16) == now["block_header"]["raw_data"]["number"] == int(block["number"], 16)
    assert "0x" + now["block_header"]["raw_data"]["parentHash"] == block["parentHash"]
    assert set(block["logsBloom"][2:]) == {"0"}
    assert (await facade.rpc("eth_getBlockByHash", block["hash"], False))["result"] == block
    again = await facade.post("wallet/getblockbynum", num=int(block["number"], 16))
    assert again == now
    assert await facade.post("wallet/getblockbynum", num=10_000) == {}
    solid = await facade.post("walletsolidity/getnowblock")
    assert solid["block_header"]["raw_data"]["number"] == int(block["number"], 16) - 8
    final = (await facade.rpc("eth_getBlockByNumber", "finalized", False))["result"]
    assert final["hash"] == "0x" + solid["blockID"]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_getBlockByNumber", ["safe", False], -32602),
        ("eth_getBlockByNumber", ["pending", False], -32602),
        ("eth_getLogs", [{"blockHash": "0x" + "12" * 32}], -32602),
        ("eth_getLogs", [{"fromBlock": "0x2", "toBlock": "0x1"}], -32602),
        ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "0x1389"}], -32602),
        ("eth_getCode", ["0x" + "12" * 20, "0x1"], -32602),
        ("eth_call", [{"to": "0x" + "12" * 20, "data": "0x"}, "latest"], -32600),
        ("eth_sendRawTransaction", ["0x00"], -32601),
        ("anvil_mine", ["0x1"], -32601),
    ],
)
async def test_what_java_tron_refuses_is_refused(facade: Facade, method: str, params: list[Any], code: int) -> None:
    assert (await facade.rpc(method, *params))["error"]["code"] == code


async def test_a_revert_is_an_error_by_one_interface_and_a_result_that_failed_by_the_other(facade: Facade) -> None:
    data = "a9059cbb" + THEM.hex().rjust(64, "0") + f"{10**9:064x}"
    call = {"from": "0x" + BUYER.address.hex(), "to": facade.real.token, "data": "0x" + data}
    assert (await facade.rpc("eth_call", call, "latest"))["error"]["code"] == -32000
    body = {"owner_address": "41" + BUYER.address.hex(), "contract_address": "41" + facade.real.token[2:]}
    answer = await facade.post("wallet/triggerconstantcontract", **body, data=data)
    assert answer["result"]["result"] is True
    assert answer["transaction"]["ret"][0]["ret"] == "FAILED"
    missing = await facade.post("wallet/triggerconstantcontract", **{**body, "contract_address": "41" + "12" * 20})
    assert missing["result"]["code"] == "CONTRACT_VALIDATE_ERROR"


async def test_a_broadcast_runs_the_contract_and_is_known_by_its_txid_everywhere(facade: Facade) -> None:
    taken = await facade.broadcast(await facade.signed())
    assert (taken["result"], taken["code"]) == (True, "SUCCESS")
    txid = taken["txid"]
    info = await facade.post("wallet/gettransactioninfobyid", value=txid)
    assert info["receipt"]["result"] == "SUCCESS"
    assert info["log"][0]["address"] == facade.real.token[2:], "20 bytes, without 41"
    assert await facade.post("walletsolidity/gettransactioninfobyid", value=txid) == {}
    receipt = (await facade.rpc("eth_getTransactionReceipt", "0x" + txid))["result"]
    block = (await facade.rpc("eth_getBlockByNumber", receipt["blockNumber"], False))["result"]
    assert block["transactions"] == ["0x" + txid]
    (log,) = (await facade.rpc("eth_getLogs", {"blockHash": block["hash"]}))["result"]
    assert (log["transactionHash"], log["blockHash"]) == ("0x" + txid, block["hash"])
    assert (await facade.rpc("eth_getBlockReceipts", block["number"]))["result"] == [receipt]
    account = await facade.post("wallet/getaccount", address="41" + BUYER.address.hex())
    assert account["balance"] == 100 * TRX - info["fee"]
    assert await facade.post("wallet/getaccount", address="41" + THEM.hex()) == {}
    await facade.node.mine(12)
    assert await facade.post("walletsolidity/gettransactioninfobyid", value=txid) == info


async def test_coins_move_and_the_first_ones_pay_for_the_account(facade: Facade) -> None:
    first = await facade.broadcast(await facade.signed(coins=5 * TRX))
    assert first["result"] is True
    info = await facade.post("wallet/gettransactioninfobyid", value=first["txid"])
    assert info["fee"] == 345_000 + 1_100_000
    assert "result" not in info["receipt"]
    assert (await facade.post("wallet/getaccount", address="41" + THEM.hex()))["balance"] == 5 * TRX
    poor = await facade.broadcast(await facade.signed(coins=99 * TRX))
    assert poor["code"] == "CONTRACT_VALIDATE_ERROR"


async def test_what_does_not_fit_is_refused_with_the_documented_code(facade: Facade) -> None:
    old = await facade.post("wallet/getnowblock")
    signed = await facade.signed()
    assert (await facade.broadcast(await facade.signed(key=STRANGER)))["code"] == "SIGERROR"
    assert (await facade.broadcast(signed))["result"] is True
    assert (await facade.broadcast(signed))["code"] == "DUP_TRANSACTION_ERROR"
    elsewhere = {**old, "blockID": old["blockID"][:16] + "12" * 24}
    assert (await facade.broadcast(await facade.signed(block=elsewhere)))["code"] == "TAPOS_ERROR"
    late = await facade.signed(units=6, block=old)
    await facade.node.pass_by(3601)
    assert (await facade.broadcast(late))["code"] == "TRANSACTION_EXPIRATION_ERROR"
    assert "Error" in await facade.broadcast(b"\x0a\xff")


async def test_the_json_form_of_a_broadcast_is_the_same_transaction(facade: Facade) -> None:
    now = await facade.post("wallet/getnowblock")
    header = now["block_header"]["raw_data"]
    signed = await facade.signed(block=now)
    contract = {
        "type": "TriggerSmartContract",
        "parameter": {
            "type_url": "type.googleapis.com/protocol.TriggerSmartContract",
            "value": {
                "owner_address": "41" + BUYER.address.hex(), "contract_address": "41" + facade.real.token[2:],
                "data": "a9059cbb" + THEM.hex().rjust(64, "0") + f"{5:064x}",
            },
        },
    }  # fmt: skip
    raw_data = {
        "contract": [contract], "ref_block_bytes": now["blockID"][12:16], "ref_block_hash": now["blockID"][16:32],
        "expiration": header["timestamp"] + 3_600_000, "timestamp": header["timestamp"], "fee_limit": 50 * TRX,
    }  # fmt: skip
    body = {"raw_data": raw_data, "signature": [signed[-65:].hex()]}
    answer = await facade.post("wallet/broadcasttransaction", **body)
    assert answer["result"] is True
    assert (await facade.broadcast(signed))["txid"] == answer["txid"]
    again = await facade.post("wallet/broadcasttransaction", **body)
    assert bytes.fromhex(again["message"]).decode() == "Dup transaction."
