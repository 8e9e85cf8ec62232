"""A chain node of prepared answers, as fast as Python can hand bytes out, so that what is measured is who asks.

``python -m bench.load.node PORT BLOCKS LOGS_PER_BLOCK BIG_LOGS OURS``: BLOCKS blocks of LOGS_PER_BLOCK transfers each and
one more block of BIG_LOGS transfers, OURS of them to the addresses ``ours(0)``, ``ours(1)`` ... Each log has its own
transaction. Every 200th block pays ``ours(0)`` once.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from adapters.kit.chain.bloom import bits_of
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC

CHAIN_ID = 31337
CONTRACT = bytes.fromhex("dac17f958d2ee523a2206206994597c13d831ec7")
STARTED_S = 1_790_000_000
FINAL_BELOW_HEAD = 1


def ours(number: int) -> bytes:
    """Return one of our addresses."""
    return hashlib.sha256(f"ours {number}".encode()).digest()[:20]


def _hash(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Node:
    blocks: int
    logs_per_block: int
    big_logs: int
    ours_in_big: int
    headers: list[bytes] = field(default_factory=list, init=False)
    logs: list[bytes] = field(default_factory=list, init=False)
    receipts: dict[str, bytes] = field(default_factory=dict, init=False)
    _numbers: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        bloom = bits_of(CONTRACT) | bits_of(bytes.fromhex(TRANSFER_TOPIC[2:]))
        stranger = hashlib.sha256(b"stranger").digest()[:20]
        for number in range(self.blocks + 1):
            big = number == self.blocks
            count = self.big_logs if big else self.logs_per_block
            block_hash = _hash(f"block {number}")
            self._numbers[block_hash] = number
            shown: list[bytes] = []
            for place in range(count):
                mine = place % (self.big_logs // self.ours_in_big) == 0 if big else place == 0 and number % 200 == 100
                to = ours(place // (self.big_logs // self.ours_in_big) if big else 0) if mine else stranger
                tx = _hash(f"tx {number} {place}")
                log = orjson.dumps(
                    {
                        "address": "0x" + CONTRACT.hex(),
                        "topics": [
                            TRANSFER_TOPIC,
                            "0x" + stranger.rjust(32, b"\0").hex(),
                            "0x" + to.rjust(32, b"\0").hex(),
                        ],
                        "data": f"0x{20_000_000:064x}",
                        "blockHash": block_hash,
                        "blockNumber": hex(number),
                        "transactionHash": tx,
                        "transactionIndex": hex(place),
                        "logIndex": hex(place),
                        "removed": False,
                    }
                )
                shown.append(log)
                if mine:
                    head = {"transactionHash": tx, "blockHash": block_hash, "blockNumber": hex(number), "status": "0x1"}
                    self.receipts[tx] = orjson.dumps({**head, "logs": [orjson.Fragment(log)]})
            self.logs.append(b",".join(shown))
            self.headers.append(
                orjson.dumps(
                    {
                        "number": hex(number),
                        "hash": block_hash,
                        "parentHash": _hash(f"block {number - 1}"),
                        "timestamp": hex(STARTED_S + number),
                        "logsBloom": f"0x{bloom:0512x}",
                        "transactions": [],
                    }
                )
            )

    def answer(self, method: str, params: list[Any]) -> bytes:
        if method == "eth_getBlockByNumber":
            number = self.blocks - FINAL_BELOW_HEAD if params[0] == "finalized" else int(params[0], 16)
            return self.headers[number] if number < len(self.headers) else b"null"
        if method == "eth_getLogs":
            wanted = params[0]
            if "blockHash" in wanted:
                number = self._numbers[wanted["blockHash"]]
                return b"[" + self.logs[number] + b"]"
            first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
            return b"[" + b",".join(self.logs[first : last + 1]) + b"]"
        if method == "eth_getTransactionReceipt":
            return self.receipts[params[0]]
        if method == "eth_blockNumber":
            return orjson.dumps(hex(self.blocks))
        if method == "eth_chainId":
            return orjson.dumps(hex(CHAIN_ID))
        raise ValueError(method)

    async def take(self, request: web.Request) -> web.Response:
        call = orjson.loads(await request.read())
        result = self.answer(call["method"], call.get("params", []))
        body = b'{"jsonrpc":"2.0","id":' + str(call["id"]).encode() + b',"result":' + result + b"}"
        return web.Response(body=body, content_type="application/json")


async def main(port: int, *sizes: int) -> None:
    node = Node(*sizes)
    app = web.Application()
    app.router.add_post("/", node.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
