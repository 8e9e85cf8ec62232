"""One chain rail against its simulated node over a real socket, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import aiohttp
from aiohttp import web
from bip32 import BIP32
from eth_account.hdaccount import seed_from_mnemonic

from adapters.base import BlockScan, Mode, RailAccount, SimulatorSettings, TokenTransfer
from adapters.evm.adapter import EvmRail
from adapters.kit.chain.node_simulator import EVM_NODE, TRON_NODE, node_application
from adapters.kit.chain.rail import ChainRail
from adapters.tron.adapter import TronRail
from tests.adapters.loopback import address, listen, serving

PUBLISHED_WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
COIN_TYPES = {"evm": 60, "tron": 195}
RAILS: dict[str, type[EvmRail | TronRail]] = {"evm": EvmRail, "tron": TronRail}
KINDS = {"evm": EVM_NODE, "tron": TRON_NODE}
USDT = {
    "evm": "0xdAC17F958D2ee523a2206206994597C13D831ec7",
    "tron": "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
}
USDC = {
    "evm": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
    "tron": "TEkxiTehnzSmSe2XqrBj4w32RUN966rdz8",
}
LOOKALIKE = "0x00000000000000000000000000000000000DeaD1".lower()


@cache
def account_xpub(family: str) -> str:
    """Return the account's xpub; only tests ever see the words."""
    root = BIP32.from_seed(seed_from_mnemonic(PUBLISHED_WORDS, ""))
    return str(root.get_xpub_from_path(f"m/44'/{COIN_TYPES[family]}'/0'"))


def options(family: str, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "chain_id": 1 if family == "evm" else 0x2B6653DC,
        "network": "Ethereum (ERC20)" if family == "evm" else "TRON (TRC20)",
        "xpub": account_xpub(family),
        "confirmations": 3,
        "block_seconds": 12 if family == "evm" else 3,
        "minimum": "1.00",
        "tokens": {
            "USDT": {"contract": USDT[family], "decimals": 6, "method": f"usdt_{family}"},
            "USDC": {"contract": USDC[family], "decimals": 6, "method": f"usdc_{family}"},
        },
    }
    return {**made, **changes}


def account(family: str, base_url: str | None = "http://127.0.0.1:9", **changes: Any) -> RailAccount:
    mode = changes.pop("mode", Mode.TEST)
    return RailAccount(family, f"{family}-main", mode, options(family, **changes), base_url)


@dataclass
class Clock:
    """Stands still until a test moves it."""

    instant: datetime = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.instant

    def move(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


@dataclass
class Bench:
    """``rail`` reads the node that ``control`` steers."""

    family: str
    rail: ChainRail
    http: aiohttp.ClientSession
    base_url: str
    clock: Clock
    requests: list[str] = field(default_factory=list)
    """Every request that reached the node, in order."""

    async def control(self, **commands: Any) -> Any:
        async with self.http.post(f"{self.base_url}/_control", json=commands) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    def ours(self, index: int = 0) -> bytes:
        return self.rail.derive_address(index)

    async def pay(self, to: bytes, amount: str = "20.00", **more: Any) -> str:
        """Pay in the next block, make that block, and return the transaction's hash."""
        paid = await self.control(
            pay={"token": "USDT", "to": self.rail.show_address(to), "amount": amount, **more}, mine=1
        )
        return str(paid["tx_hash"])

    async def scan(self, *ours: bytes) -> BlockScan:
        """Scan the newest block for some addresses (by default our first)."""
        mine = set(ours or (self.ours(),))
        scanned = await self.rail.scan_block((await self.rail.head()).latest, mine.__contains__)
        assert scanned is not None
        return scanned

    async def only_transfer(self) -> TokenTransfer:
        (transfer,) = (await self.scan()).transfers
        return transfer


@asynccontextmanager
async def chain(family: str, **changes: Any) -> AsyncIterator[Bench]:
    """Serve a simulated node below a path, as the sandbox does, and open the rail on it."""
    bound, clock = listen(), Clock()
    base_url = f"{address(bound)}/sandbox/{family}"
    requests: list[str] = []

    @web.middleware
    async def record(request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.endswith("/_control"):
            requests.append(request.path)
        answer: web.StreamResponse = await handler(request)
        return answer

    settings = SimulatorSettings(options(family, **changes), base_url, None)
    app = web.Application(middlewares=[record])
    app.add_subapp(f"/sandbox/{family}", node_application(settings, KINDS[family], clock))
    async with serving(app, bound), aiohttp.ClientSession() as http:
        rail = RAILS[family](account(family, base_url, **changes), http)
        yield Bench(family, rail, http, base_url, clock, requests)


@dataclass
class CannedNode:
    """A node that gives prepared answers by method: what a broken or lying one would say."""

    answers: dict[str, Any] = field(default_factory=dict)
    """A ``result`` by method; a callable makes one of the parameters."""
    raw: dict[str, bytes] = field(default_factory=dict)
    """A whole HTTP body by method."""
    refusals: dict[str, Any] = field(default_factory=dict)
    """An ``error`` by method."""
    status: int = 200

    async def handle(self, request: web.Request) -> web.Response:
        call: Mapping[str, Any] = await request.json()
        method = call["method"]
        if method in self.raw:
            return web.Response(body=self.raw[method], content_type="application/json", status=self.status)
        if method in self.refusals:
            return web.json_response({"jsonrpc": "2.0", "id": call["id"], "error": self.refusals[method]})
        answer = self.answers[method]
        result = answer(call["params"]) if callable(answer) else answer
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": result}, status=self.status)


@asynccontextmanager
async def canned(node: CannedNode, family: str, **changes: Any) -> AsyncIterator[ChainRail]:
    bound = listen()
    app = web.Application()
    app.router.add_post("/{rest:.*}", node.handle)
    async with serving(app, bound), aiohttp.ClientSession() as http:
        yield RAILS[family](account(family, address(bound), **changes), http)
