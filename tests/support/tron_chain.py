"""What a real EVM node (anvil) holds, as java-tron would name it: heights in block hashes, txIDs, a lag. No HTTP of TRON.

- A block's hash is its height (8 bytes) and the last 24 bytes of anvil's hash: java-tron's begin with the height.
- A transaction that came by broadcast has its txID; one that was sent to anvil directly keeps anvil's hash.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

NO_BLOOM = "0x" + "00" * 256


class Refused(Exception):
    """A JSON-RPC error object."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


@dataclass
class TronChain:
    anvil_url: str
    http: aiohttp.ClientSession
    lag: int = 0
    """So many blocks of anvil are not shown."""
    txids: dict[str, str] = field(default_factory=dict)
    """By anvil's hash, 0x and all."""
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    async def anvil(self, method: str, *params: Any) -> Any:
        """Raises Refused."""
        call = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        async with self.http.post(self.anvil_url, json=call) as answer:
            body = await answer.json()
        if "error" in body:
            error = body["error"]
            raise Refused(error["code"], error["message"], error.get("data"))
        return body["result"]

    async def answer(self, method: str, params: list[Any]) -> Any:
        """Answer one method of /jsonrpc. Raises Refused."""
        methods: dict[str, Callable[..., Awaitable[Any]]] = {
            "eth_chainId": lambda: self.anvil("eth_chainId"),
            "net_version": lambda: self.anvil("eth_chainId"),
            "eth_blockNumber": self._block_number,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": lambda given, _: self.by_hash(given),
            "eth_getLogs": self.logs,
            "eth_getTransactionReceipt": self.receipt,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_call": self._call,
            "eth_getCode": lambda place, tag: self._state("eth_getCode", place, tag=tag),
            "eth_getStorageAt": lambda place, slot, tag: self._state("eth_getStorageAt", place, slot, tag=tag),
        }
        if method not in methods:
            raise Refused(-32601, f"the method {method} does not exist/is not available")
        return await methods[method](*params)

    async def _block_number(self) -> str:
        return hex(await self.head())

    async def _block_by_number(self, tag: str, _: bool) -> Any:
        return await self.block(await self.height(tag))

    async def _block_receipts(self, given: str) -> Any:
        return await self.receipts(int(given[2:18], 16) if len(given) == 66 else await self.height(given))

    async def _state(self, method: str, *params: Any, tag: str) -> Any:
        if tag != "latest":
            raise Refused(-32602, f"TAG [{tag}] not supported")
        return await self.anvil(method, *params, tag)

    async def _call(self, call: dict[str, Any], tag: str) -> Any:
        if await self._state("eth_getCode", call["to"], tag=tag) == "0x":
            raise Refused(-32600, "Smart contract is not exist.")
        try:
            return await self.anvil("eth_call", call, tag)
        except Refused as refused:
            raise Refused(-32000, "REVERT opcode executed", refused.data) from None

    async def head(self) -> int:
        return max(0, int(await self.anvil("eth_blockNumber"), 16) - self.lag)

    async def solid(self) -> int:
        return max(0, int((await self.anvil("eth_getBlockByNumber", "finalized", False))["number"], 16) - self.lag)

    async def height(self, tag: str) -> int:
        """Raises Refused."""
        match tag:
            case "latest":
                return await self.head()
            case "finalized":
                return await self.solid()
            case "earliest":
                return 0
            case "pending" | "safe":
                raise Refused(-32602, f"TAG {tag} not supported")
        try:
            return int(tag, 16)
        except ValueError:
            raise Refused(-32602, "invalid block number") from None

    async def block(self, number: int) -> dict[str, Any] | None:
        """Return the header as /jsonrpc shows it."""
        raw = await self.anvil("eth_getBlockByNumber", hex(number), False) if 0 <= number <= await self.head() else None
        if raw is None:
            return None
        parent = block_hash(number - 1, raw["parentHash"]) if number else "0x" + "00" * 32
        return {
            **{name: raw[name] for name in ("number", "timestamp", "miner", "transactionsRoot", "size")},
            "hash": block_hash(number, raw["hash"]), "parentHash": parent, "logsBloom": NO_BLOOM, "uncles": [],
            "transactions": [self.txids.get(one, one) for one in raw["transactions"]],
            "stateRoot": "0x", "gasLimit": "0x0", "gasUsed": "0x0", "baseFeePerGas": "0x0", "extraData": "0x",
            "difficulty": "0x0", "totalDifficulty": "0x0", "nonce": "0x" + "00" * 8,
            **dict.fromkeys(("sha3Uncles", "receiptsRoot", "mixHash"), "0x" + "00" * 32),
        }  # fmt: skip

    async def by_hash(self, given: str) -> dict[str, Any] | None:
        found = await self.block(int(given[2:18], 16))
        return found if found is not None and found["hash"] == given else None

    async def logs(self, wanted: dict[str, Any]) -> list[Any]:
        """Raises Refused."""
        asked = {name: wanted[name] for name in ("address", "topics") if name in wanted}
        if "blockHash" in wanted:
            if "fromBlock" in wanted or "toBlock" in wanted:
                raise Refused(-32602, "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
            block = await self.by_hash(wanted["blockHash"])
            if block is None:
                raise Refused(-32602, "invalid blockHash")
            first = last = int(block["number"], 16)
        else:
            first, last = [await self.height(wanted.get(name, "latest")) for name in ("fromBlock", "toBlock")]
            if first > last:
                raise Refused(-32602, "please verify: fromBlock <= toBlock")
            if last - first + 1 > 5000:
                raise Refused(-32602, "exceed max block range: 5000")
        last = min(last, await self.head())
        if last < first:
            return []
        found = await self.anvil("eth_getLogs", {**asked, "fromBlock": hex(first), "toBlock": hex(last)})
        if len(found) > 10_000:
            raise Refused(-32005, "query returned more than 10000 results")
        return [self._named(log) for log in found]

    async def receipt(self, txid: str) -> dict[str, Any] | None:
        """Return the receipt of a transaction that a shown block holds. ``txid`` with 0x."""
        theirs = next((anvil for anvil, ours in self.txids.items() if ours == txid), txid)
        raw = await self.anvil("eth_getTransactionReceipt", theirs)
        if raw is None or int(raw["blockNumber"], 16) > await self.head():
            return None
        return self._receipt(raw)

    async def receipts(self, number: int) -> list[Any] | None:
        if number == 0 or number > await self.head():
            return None
        found = await self.anvil("eth_getBlockReceipts", hex(number))
        return None if found is None else [self._receipt(raw) for raw in found]

    def _receipt(self, raw: dict[str, Any]) -> dict[str, Any]:
        names = (
            "transactionIndex",
            "blockNumber",
            "from",
            "to",
            "cumulativeGasUsed",
            "gasUsed",
            "contractAddress",
            "status",
        )
        logs = [self._named(log) for log in raw["logs"]]
        more = {"logs": logs, "logsBloom": NO_BLOOM, "type": "0x0", "effectiveGasPrice": "0x64"}
        return {name: raw[name] for name in names} | self._named(raw, only=("transactionHash", "blockHash")) | more

    def _named(self, raw: dict[str, Any], only: tuple[str, ...] = ()) -> dict[str, Any]:
        named = {
            **raw,
            "transactionHash": self.txids.get(raw["transactionHash"], raw["transactionHash"]),
            "blockHash": block_hash(int(raw["blockNumber"], 16), raw["blockHash"]),
        }
        return {name: named[name] for name in only or named}


def block_hash(number: int, of_anvil: str) -> str:
    return f"0x{number:016x}{of_anvil[18:]}"
