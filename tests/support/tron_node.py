"""A TRON node that is a real EVM node inside: java-tron's ``/jsonrpc`` and the part of its HTTP API that we call, over anvil.

Contracts really run. What was signed is read and checked (protobuf, signature, TAPOS, expiry, double), then called on anvil
in the owner's name. Coins are the façade's own: anvil's only pay for its gas.

    async with tron_node(anvil_url) as node:
        node.fail("http200", times=3, on="gettransactioninfobyid")     # or "" for every call

Faults: ``http200`` (rate limit with HTTP 200), ``empty`` (``{}``), ``lite`` (bare text), ``429``, ``403``; ``no_logs`` (a good
answer to eth_getLogs without any log); of broadcasts:
``dup`` (says it knows it, and does not), ``swallow`` (says yes, and forgets it), ``out_of_energy``. ``node.chain.lag``,
``node.reorg(depth)``.

Sources: https://tronprotocol.github.io/documentation-en/api/http/ , https://tronprotocol.github.io/documentation-en/api/json-rpc/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from eth_utils.crypto import keccak

from tests.adapters.loopback import address, listen, serving
from tests.support.tron_bytes import NotProtobuf, SignedTransaction, pack, parse
from tests.support.tron_chain import Refused, TronChain

RATE_LIMIT = {"Error": "class java.lang.IllegalAccessException : lack of computing resources"}
LITE = "this API is closed because this node is a lite fullnode"
PRICES = {
    "getTransactionFee": 1000, "getEnergyFee": 100, "getCreateAccountFee": 100_000,
    "getCreateNewAccountFeeInSystemContract": 1_000_000,
}  # fmt: skip
BANDWIDTH_SUN = 345_000
ACTIVATION_SUN = 1_100_000
STARVED_GAS = 30_000
"""Enough to begin a transfer of tokens, not to end it."""
GAS_MAX = 500_000
GAS_COINS = hex(10**19)
FAULTS = {"http200", "empty", "lite", "429", "403", "no_logs", "dup", "swallow", "out_of_energy"}


@dataclass
class Executed:
    sent: SignedTransaction
    anvil_hash: str
    starved: bool


@dataclass
class TronNode:
    chain: TronChain
    url: str
    funded: dict[bytes, int] = field(default_factory=dict)
    broadcasts: list[str] = field(default_factory=list)
    """Every id that was sent to this node, in order, with 0x."""
    requests: list[str] = field(default_factory=list)
    _executed: dict[str, Executed] = field(default_factory=dict)
    _faults: dict[str, tuple[int, str]] = field(default_factory=dict)

    # --- what a test does -----------------------------------------------------------------------------------------

    def fail(self, fault: str, times: int = 1, on: str = "") -> None:
        assert fault in FAULTS, fault
        self._faults[fault] = (times, on)

    def heal(self) -> None:
        self._faults.clear()
        self.chain.lag = 0

    def fund(self, holder: bytes, sun: int) -> None:
        self.funded[holder] = self.funded.get(holder, 0) + sun

    async def mine(self, count: int = 1) -> None:
        await self.chain.anvil("anvil_mine", hex(count))

    async def pass_by(self, seconds: int) -> None:
        await self.chain.anvil("evm_increaseTime", hex(seconds))
        await self.mine(12)

    async def reorg(self, depth: int, *, requeue: bool = True) -> None:
        """Replace the newest blocks. What they held is executed again, as a node's pool has it, or gone."""
        await self.chain.anvil("anvil_reorg", depth, [])
        for executed in list(self._executed.values()):
            if await self.chain.anvil("eth_getTransactionReceipt", executed.anvil_hash) is None:
                del self._executed[executed.sent.txid], self.chain.txids[executed.anvil_hash]
                if requeue:
                    await self._execute(executed.sent)

    def takes(self, fault: str, name: str = "") -> bool:
        times, on = self._faults.get(fault, (0, ""))
        if not times or on not in name:
            return False
        self._faults[fault] = (times - 1, on)
        return True

    # --- coins ----------------------------------------------------------------------------------------------------

    async def sun(self, holder: bytes) -> int:
        total = self.funded.get(holder, 0)
        for executed in self._executed.values():
            sent = executed.sent
            if holder in {sent.owner, sent.to} and (receipt := await self.chain.receipt("0x" + sent.txid)):
                moved = sent.amount if receipt["status"] == "0x1" else 0
                total += (moved if sent.to == holder else 0) - (moved if sent.owner == holder else 0)
                total -= await self._fee(sent, receipt) if sent.owner == holder else 0
        return total

    async def _is_active(self, holder: bytes, before: str = "") -> bool:
        if holder in self.funded:
            return True
        earlier = list(self._executed)
        earlier = earlier[: earlier.index(before)] if before in earlier else earlier
        coins = (self._executed[txid].sent for txid in earlier if self._executed[txid].sent.amount)
        return any([one.to == holder and await self.chain.receipt("0x" + one.txid) is not None for one in coins])

    async def _fee(self, sent: SignedTransaction, receipt: dict[str, Any]) -> int:
        if sent.kind == "TransferContract":
            return BANDWIDTH_SUN + (0 if await self._is_active(sent.to, sent.txid) else ACTIVATION_SUN)
        return BANDWIDTH_SUN + int(receipt["gasUsed"], 16) * PRICES["getEnergyFee"]

    # --- /wallet and /walletsolidity ------------------------------------------------------------------------------

    def calls(self) -> dict[str, Callable[[dict[str, Any], int], Awaitable[Any]]]:
        """By the last part of the path; each gets the body and the highest block that its room shows."""
        return {
            "getnowblock": self._now_block,
            "getblockbynum": lambda body, top: self._block(int(body.get("num", 0)), top),
            "getaccount": self._account,
            "getaccountresource": self._resource,
            "getchainparameters": self._parameters,
            "triggerconstantcontract": self._constant,
            "gettransactioninfobyid": self._info,
            "broadcasthex": self._broadcast_hex,
            "broadcasttransaction": self._broadcast_json,
        }

    async def _now_block(self, _: dict[str, Any], top: int) -> Any:
        return await self._block(top, top)

    async def _block(self, number: int, top: int) -> Any:
        block = await self.chain.block(number) if number <= top else None
        if block is None:
            return {}
        header = {
            "number": number, "txTrieRoot": block["transactionsRoot"][2:], "witness_address": "41" + block["miner"][2:],
            "parentHash": block["parentHash"][2:], "version": 34, "timestamp": int(block["timestamp"], 16) * 1000,
        }  # fmt: skip
        return {"blockID": block["hash"][2:], "block_header": {"raw_data": header, "witness_signature": "00" * 65}}

    async def _account(self, body: dict[str, Any], _: int) -> Any:
        holder = _address(body["address"])
        if not await self._is_active(holder):
            return {}
        balance = await self.sun(holder)
        return {"address": body["address"], "create_time": 1_777_000_000_000} | (
            {"balance": balance} if balance else {}
        )

    async def _resource(self, body: dict[str, Any], _: int) -> Any:
        if not await self._is_active(_address(body["address"])):
            return {}
        return {"freeNetLimit": 600, "TotalNetLimit": 43_200_000_000, "TotalEnergyLimit": 180_000_000_000}

    async def _parameters(self, _: dict[str, Any], __: int) -> Any:
        return {"chainParameter": [{"key": key, "value": value} for key, value in PRICES.items()]}

    async def _constant(self, body: dict[str, Any], top: int) -> Any:
        to = "0x" + _address(body["contract_address"]).hex()
        if await self.chain.anvil("eth_getCode", to, "latest") == "0x":
            message = b"Smart contract is not exist.".hex()
            return {"result": {"code": "CONTRACT_VALIDATE_ERROR", "message": message}}
        data = body.get("data") or keccak(text=body["function_selector"])[:4].hex() + body.get("parameter", "")
        call = {"from": "0x" + _address(body["owner_address"]).hex(), "to": to, "data": "0x" + data.removeprefix("0x")}
        try:
            result = await self.chain.anvil("eth_call", call, hex(top))
            await self.chain.anvil("anvil_setBalance", call["from"], GAS_COINS)
            energy = int(await self.chain.anvil("eth_estimateGas", call), 16)
        except Refused as refused:
            shown = {"result": True, "message": b"REVERT opcode executed".hex()}
            reason = str(refused.data or "0x")[2:]
            return {
                "result": shown,
                "energy_used": 2000,
                "constant_result": [reason],
                "transaction": {"ret": [{"ret": "FAILED"}]},
            }
        return {
            "result": {"result": True},
            "energy_used": energy,
            "constant_result": [result[2:]],
            "transaction": {"ret": [{}]},
        }

    async def _info(self, body: dict[str, Any], top: int) -> Any:
        txid = str(body["value"])
        receipt = await self.chain.receipt("0x" + txid)
        if receipt is None or int(receipt["blockNumber"], 16) > top:
            return {}
        executed = self._executed.get(txid)
        block = await self.chain.block(int(receipt["blockNumber"], 16))
        assert block is not None, "a receipt has its block"
        ok = receipt["status"] == "0x1"
        shown: dict[str, Any] = {
            "id": txid, "blockNumber": int(receipt["blockNumber"], 16), "blockTimeStamp": int(block["timestamp"], 16) * 1000,
            "contractResult": [""], "receipt": {"net_fee": BANDWIDTH_SUN},
        }  # fmt: skip
        if executed is not None:
            shown["fee"] = await self._fee(executed.sent, receipt)
        if executed is None or executed.sent.kind == "TriggerSmartContract":
            word = "SUCCESS" if ok else "OUT_OF_ENERGY" if executed is not None and executed.starved else "REVERT"
            shown["receipt"] |= {"energy_usage_total": int(receipt["gasUsed"], 16), "result": word}
            shown["contract_address"] = "41" + str(receipt["to"])[2:]
            shown["log"] = [
                {"address": log["address"][2:], "topics": [one[2:] for one in log["topics"]], "data": log["data"][2:]}
                for log in receipt["logs"]
            ]
            if not ok:
                text = b"Not enough energy" if word == "OUT_OF_ENERGY" else b"REVERT opcode executed"
                shown |= {"result": "FAILED", "resMessage": text.hex()}
        return shown

    async def _broadcast_hex(self, body: dict[str, Any], _: int) -> Any:
        return await self._broadcast(bytes.fromhex(body["transaction"]))

    async def _broadcast_json(self, body: dict[str, Any], _: int) -> Any:
        answer = await self._broadcast(pack(body))
        if "message" in answer and not body.get("visible"):  # broadcasthex answers text, this one hex
            answer["message"] = answer["message"].encode().hex()
        return answer

    async def _broadcast(self, raw: bytes) -> dict[str, Any]:
        try:
            sent = parse(raw)
        except NotProtobuf as error:
            return {"Error": f"class com.google.protobuf.InvalidProtocolBufferException : {error}"}
        self.broadcasts.append("0x" + sent.txid)
        code, message = await self._against(sent)
        if code:
            return {"result": False, "code": code, "message": message, "txid": sent.txid}
        if not self.takes("swallow"):
            await self._execute(sent)
        return {"result": True, "code": "SUCCESS", "message": "", "txid": sent.txid}

    async def _against(self, sent: SignedTransaction) -> tuple[str, str]:
        """Return code and message of what a node has against it, in a node's order; two empty texts: nothing."""
        if self.takes("dup") or await self.chain.receipt("0x" + sent.txid) is not None:
            return "DUP_TRANSACTION_ERROR", "Dup transaction."
        if sent.signers != (sent.owner,):
            return "SIGERROR", "validateSignature error"
        head = await self.chain.head()
        number = head - (head - int.from_bytes(sent.ref_block_bytes, "big")) % 65_536
        block = await self.chain.block(number)
        if block is None or bytes.fromhex(block["hash"][2:])[8:16] != sent.ref_block_hash:
            return "TAPOS_ERROR", "Tapos failed"
        newest = await self.chain.block(head)
        assert newest is not None, "the head is there"
        if sent.expiration_ms <= int(newest["timestamp"], 16) * 1000:
            return "TRANSACTION_EXPIRATION_ERROR", "Transaction expired"
        held = await self.sun(sent.owner)
        if held < BANDWIDTH_SUN + sent.amount + (
            0 if await self._is_active(sent.to) or not sent.amount else ACTIVATION_SUN
        ):
            return "CONTRACT_VALIDATE_ERROR", "Contract validate error : balance is not sufficient."
        return "", ""

    async def _execute(self, sent: SignedTransaction) -> None:
        call = {"from": "0x" + sent.owner.hex(), "to": "0x" + sent.to.hex(), "data": "0x" + sent.data.hex()}
        await self.chain.anvil("anvil_setBalance", call["from"], GAS_COINS)
        await self.chain.anvil("anvil_impersonateAccount", call["from"])
        starved = False
        gas = GAS_MAX
        if sent.kind == "TriggerSmartContract":
            paid_for = min(sent.fee_limit, await self.sun(sent.owner) - BANDWIDTH_SUN) // PRICES["getEnergyFee"]
            gas = STARVED_GAS if self.takes("out_of_energy") else min(GAS_MAX, max(STARVED_GAS, paid_for))
            try:
                starved = gas < int(await self.chain.anvil("eth_estimateGas", call), 16)
            except Refused:
                starved = False  # it reverts with any energy
        anvil_hash = await self.chain.anvil("eth_sendTransaction", {**call, "gas": hex(gas)})
        self.chain.txids[anvil_hash] = "0x" + sent.txid
        self._executed[sent.txid] = Executed(sent, anvil_hash, starved)

    # --- HTTP -----------------------------------------------------------------------------------------------------

    def _spoilt(self, name: str) -> web.Response | None:
        if self.takes("http200", name):
            return web.json_response(RATE_LIMIT)
        if self.takes("empty", name):
            return web.json_response({})
        if self.takes("lite", name):
            return web.Response(text=LITE)
        for status in (429, 403):
            if self.takes(str(status), name):
                return web.Response(status=status, text="")
        return None

    async def jsonrpc(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        calls = body if isinstance(body, list) else [body]
        for call in calls:
            self.requests.append(call["method"])
            if (spoilt := self._spoilt(call["method"])) is not None:
                return spoilt
        answers = [await self._one(call) for call in calls]
        return web.json_response(answers if isinstance(body, list) else answers[0])

    async def _one(self, call: dict[str, Any]) -> dict[str, Any]:
        head = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            if call["method"] == "eth_getBalance":
                return {**head, "result": hex(await self.sun(bytes.fromhex(call["params"][0][2:])))}
            if call["method"] == "eth_getLogs" and self.takes("no_logs"):
                return {**head, "result": []}
            return {**head, "result": await self.chain.answer(call["method"], call["params"])}
        except Refused as refused:
            return {**head, "error": {"code": refused.code, "message": refused.message, "data": refused.data or "{}"}}

    async def wallet(self, request: web.Request) -> web.StreamResponse:
        room, name = request.match_info["room"], request.match_info["name"]
        self.requests.append(f"{room}/{name}")
        if (spoilt := self._spoilt(f"{room}/{name}")) is not None:
            return spoilt
        call = self.calls().get(name)
        if call is None or (room == "walletsolidity" and name.startswith("broadcast")):
            return web.json_response({"Error": "this API is unavailable due to config"}, status=404)
        top = await (self.chain.solid() if room == "walletsolidity" else self.chain.head())
        return web.json_response(await call(orjson.loads(await request.read() or b"{}"), top))


def _address(text: str) -> bytes:
    raw = bytes.fromhex(text)
    assert len(raw) == 21, "hex with 41 in front, where visible is not true"
    assert raw[:1] == b"\x41"
    return raw[1:]


@asynccontextmanager
async def tron_node(anvil_url: str) -> AsyncIterator[TronNode]:
    bound = listen()
    app = web.Application()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        node = TronNode(TronChain(anvil_url, http), address(bound))
        app.router.add_post("/jsonrpc", node.jsonrpc)
        app.router.add_post("/{room:wallet|walletsolidity}/{name}", node.wallet)
        async with serving(app, bound):
            yield node
