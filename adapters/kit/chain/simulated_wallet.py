"""The ``/wallet/*`` and ``/walletsolidity/*`` calls of a simulated java-tron node: accounts, prices, sending.

POST {base}/_wallet     one or more of, in any order; answers every id that was broadcast to this node
    {"fund": {"to": "<41 and 40 hex digits>", "sun": n}}   coins from nowhere; tokens come by ``pay`` as ever
    {"out_of_energy": n}         so many token transfers are mined and fail, their energy burnt
    {"swallow_broadcasts": n}    so many broadcasts are answered as taken and never mined

Sources: https://tronprotocol.github.io/documentation-en/api/http/,
https://github.com/tronprotocol/java-tron (Wallet.broadcastTransaction, its codes)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from aiohttp import web

from adapters.kit.chain import tron_transaction
from adapters.kit.chain.evm_transaction import NotATransaction
from adapters.kit.chain.simulated_chain import TRANSFER, Block, Log, SimulatedChain, Transaction, transfer_log
from adapters.sending import CallKind, ChainCall

ENERGY_HOT: Final = 64_285
ENERGY_COLD: Final = 130_285
"""A recipient that never held the token."""
PRICES: Final = {
    "getTransactionFee": 1000, "getEnergyFee": 100, "getCreateAccountFee": 100_000,
    "getCreateNewAccountFeeInSystemContract": 1_000_000,
}  # fmt: skip
BANDWIDTH: Final = 345
REF_BLOCKS: Final = 65_536


class WalletApi:
    """One node's HTTP API, over the chain that its JSON-RPC shows too."""

    def __init__(self, chain: SimulatedChain, finality_blocks: int, now: Callable[[], datetime]) -> None:
        self.chain = chain
        self.sun: dict[bytes, int] = {}
        self.out_of_energy = 0
        self.swallow_broadcasts = 0
        self.broadcasts: list[str] = []
        """Every id that was sent to this node, in order."""
        self._seen: set[str] = set()
        self._fees: dict[str, tuple[int, str]] = {}
        self._finality_blocks = finality_blocks
        self._now = now

    def routes(self, app: web.Application, guard: Callable[[Any], Any]) -> None:
        """Serve below ``/wallet`` and ``/walletsolidity``; ``guard`` adds the node's own faults."""
        calls: dict[str, Callable[[dict[str, Any]], Any]] = {
            "wallet/getnowblock": lambda _: self._block(self.chain.head),
            "walletsolidity/getnowblock": lambda _: self._block(self._solid),
            "wallet/getaccount": self._account,
            "wallet/getaccountresource": lambda _: {"freeNetLimit": 600},
            "wallet/getchainparameters": lambda _: {
                "chainParameter": [{"key": key, "value": value} for key, value in PRICES.items()]
            },
            "wallet/triggerconstantcontract": self._constant,
            "walletsolidity/triggerconstantcontract": lambda body: self._constant(body, self._solid),
            "wallet/broadcasthex": lambda body: self._broadcast(bytes.fromhex(body["transaction"])),
            "wallet/gettransactioninfobyid": lambda body: self._info(body, self.chain.head),
            "walletsolidity/gettransactioninfobyid": lambda body: self._info(body, self._solid),
        }

        def handler(call: Callable[[dict[str, Any]], Any]) -> Any:
            async def answer(request: web.Request) -> web.StreamResponse:
                body = orjson.loads(await request.read() or b"{}")
                return web.Response(body=orjson.dumps(call(body)), content_type="application/json")

            return answer

        async def control(request: web.Request) -> web.Response:
            return web.json_response(self._act(await request.json()))

        app.router.add_post("/_wallet", control)
        for path, call in calls.items():
            app.router.add_post(f"/{path}", guard(handler(call)))

    def _act(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        self.out_of_energy = int(wanted.get("out_of_energy", self.out_of_energy))
        self.swallow_broadcasts = int(wanted.get("swallow_broadcasts", self.swallow_broadcasts))
        if "fund" in wanted:
            holder = _address(wanted["fund"]["to"])
            self.sun[holder] = self.sun.get(holder, 0) + int(wanted["fund"]["sun"])
        return {"broadcasts": self.broadcasts}

    @property
    def _solid(self) -> int:
        return max(0, self.chain.head - self._finality_blocks)

    def _block(self, number: int) -> dict[str, Any]:
        block = self.chain.block(number)
        assert block is not None, "the head and what is below it are there"
        raw = {"number": number, "timestamp": block.timestamp * 1000, "parentHash": block.parent_hash[2:]}
        return {"blockID": block.hash[2:], "block_header": {"raw_data": raw}}

    def _account(self, body: Mapping[str, Any]) -> dict[str, Any]:
        balance = self.sun.get(_address(body["address"]))
        return {} if balance is None else {"address": body["address"], "balance": balance}

    def tokens(self, contract: bytes, holder: bytes, height: int | None = None) -> int:
        """Return what an address holds, by every Transfer so far, or up to a block."""
        total = 0
        for block in self.chain.blocks_with_transactions(0, self.chain.head if height is None else height):
            for transaction in block.transactions:
                for log in transaction.logs if transaction.ok else ():
                    if log.address == contract and log.topics[0] == TRANSFER:
                        value = int.from_bytes(log.data, "big")
                        total += value * ((log.topics[2][12:] == holder) - (log.topics[1][12:] == holder))
        return total

    def _constant(self, body: Mapping[str, Any], height: int | None = None) -> dict[str, Any]:
        owner, contract = _address(body["owner_address"]), _address(body["contract_address"])
        if body.get("function_selector") == "balanceOf(address)":
            held = self.tokens(contract, bytes.fromhex(body["parameter"])[12:], height)
            return {"result": {"result": True}, "energy_used": 900, "constant_result": [f"{held:064x}"]}
        data = bytes.fromhex(body["data"])
        recipient, value = data[16:36], int.from_bytes(data[36:68], "big")
        if self.tokens(contract, owner) < value:
            return {"result": {"result": True}, "energy_used": 500, "transaction": {"ret": [{"ret": "FAILED"}]}}
        energy = ENERGY_HOT if self.tokens(contract, recipient) else ENERGY_COLD
        return {"result": {"result": True}, "energy_used": energy, "constant_result": ["0" * 64]}

    # --- sending ----------------------------------------------------------------------------------------------------

    def _broadcast(self, signed: bytes) -> dict[str, Any]:
        try:
            found, signer = tron_transaction.read_signed(signed)
        except NotATransaction as error:
            return _refusal("OTHER_ERROR", str(error))
        txid = tron_transaction.transaction_id(signed)
        self.broadcasts.append(txid)
        call = found.call
        now_ms = self._now().timestamp() * 1000
        refusals = (
            (signer != call.sender, "SIGERROR", "Validate signature error"),
            (txid in self._seen, "DUP_TRANSACTION_ERROR", "Dup transaction."),
            (found.expiration_ms <= now_ms, "TRANSACTION_EXPIRATION_ERROR", "Transaction expired"),
            (not self._knows(found.ref_block_bytes, found.ref_block_hash), "TAPOS_ERROR", "Tapos check error."),
        )
        for is_so, code, text in refusals:
            if is_so:
                return _refusal(code, text)
        problem = self._spend(txid, call, found.fee_limit)
        return _refusal("CONTRACT_VALIDATE_ERROR", problem) if problem else {"result": True, "txid": txid[2:]}

    def _spend(self, txid: str, call: ChainCall, fee_limit: int) -> str:
        """Queue it for the next block; return what is against it."""
        held = self.sun.get(call.sender, 0)
        logs: tuple[Log, ...] = ()
        bandwidth = BANDWIDTH * PRICES["getTransactionFee"]
        if call.kind is CallKind.COIN:
            fee, ok = bandwidth, True
            if call.recipient not in self.sun:
                fee += PRICES["getCreateAccountFee"] + PRICES["getCreateNewAccountFeeInSystemContract"]
            if held < call.raw_value + fee:
                return "Contract validate error : balance is not sufficient."
        else:
            assert call.contract is not None, "a token has its contract"
            burnt = ENERGY_COLD * PRICES["getEnergyFee"]
            if held < bandwidth:
                return "Contract validate error : account does not exist or has no coins."
            starved = self.out_of_energy > 0 or held < burnt + bandwidth or fee_limit < burnt
            self.out_of_energy = max(0, self.out_of_energy - 1)
            fee, ok = min(held, (min(burnt, fee_limit) if starved else burnt) + bandwidth), not starved
            if not starved:
                logs = (transfer_log(call.contract, call.sender, call.recipient, call.raw_value),)
        if self.swallow_broadcasts:
            self.swallow_broadcasts -= 1
            return ""
        self._seen.add(txid)
        self.sun[call.sender] = held - fee - (call.raw_value if call.kind is CallKind.COIN else 0)
        if call.kind is CallKind.COIN:
            self.sun[call.recipient] = self.sun.get(call.recipient, 0) + call.raw_value
        self._fees[txid] = (fee, "" if call.kind is CallKind.COIN else "SUCCESS" if ok else "OUT_OF_ENERGY")
        self.chain.pending.append(Transaction(txid, call.sender, call.contract or call.recipient, logs, ok))
        return ""

    def _knows(self, ref_bytes: bytes, ref_hash: bytes) -> bool:
        head = self.chain.head
        number = head - (head - int.from_bytes(ref_bytes, "big")) % REF_BLOCKS
        block: Block | None = self.chain.block(number)
        return block is not None and bytes.fromhex(block.hash[2:])[8:16] == ref_hash

    def _info(self, body: Mapping[str, Any], up_to: int) -> dict[str, Any]:
        txid = "0x" + str(body["value"])
        found = self.chain.find(txid)
        if found is None or found[0].number > up_to or txid not in self._fees:
            return {}
        block, place = found
        transaction, (fee, word) = block.transactions[place], self._fees[txid]
        shown: dict[str, Any] = {
            "id": txid[2:], "fee": fee, "blockNumber": block.number, "blockTimeStamp": block.timestamp * 1000,
            "receipt": {"net_fee": BANDWIDTH * PRICES["getTransactionFee"]} | ({"result": word} if word else {}),
        }  # fmt: skip
        if word:
            shown["contract_address"] = "41" + transaction.to.hex()
            shown["log"] = [
                {"address": log.address.hex(), "topics": [topic.hex() for topic in log.topics], "data": log.data.hex()}
                for log in transaction.logs
            ]
        if not transaction.ok:
            shown |= {"result": "FAILED", "resMessage": b"Not enough energy".hex()}
        return shown


def _refusal(code: str, text: str) -> dict[str, Any]:
    return {"code": code, "message": text.encode().hex(), "txid": ""}


def _address(text: str) -> bytes:
    return bytes.fromhex(text)[-20:]
