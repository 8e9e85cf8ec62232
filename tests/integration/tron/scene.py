"""A whole Crossrail over a TRON node whose contracts run on a real EVM node, with a signer in a process of its own.

async with tron_world(url, tmp_path, anvil_url) as scene:
    payment = await scene.pay("VN")            # a buyer's tokens, credited by the scanner
    await scene.services.sweeps.build()
    await scene.finish()
    await scene.assert_sound()
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from coincurve import PrivateKey
from sqlalchemy import select

from adapters.kit.chain.addresses import read_tron, show_tron
from adapters.kit.chain.tron_transaction import TronTransaction
from adapters.sending import CallKind, ChainCall
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.check import check
from orchestrator.services import Services
from orchestrator.signer.keys import PrivateNode
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.workers.chain_watch import ChainWatch
from tests.adapters.chains.test_chain_real_node import RealChain, real_chain
from tests.support.signing import SignerFiles, node, short_folder, signer_process
from tests.support.tron_node import TronNode, tron_node
from tests.support.world import World, world

CHAIN, NETWORK = "tron:0x00007a69", "test:tron:0x00007a69"
TREASURY = b"\x7e" * 20
OPERATING = node("tron").child(1).child(0).address
BUYER = node("tron").child(5).child(0)
TRX = 1_000_000
FINAL_BLOCKS = 12
EXPIRED_S = 2 * 3600 + 20 * 60
"""Past a transaction's life and the grace."""


def configured(rpc_urls: Sequence[str], contract: str, socket: Path, **options: Any) -> dict[str, Any]:
    """Lay the node over config.yaml's TRON account, which keeps its published xpub."""
    account = {
        "chain_id": 31337, "network": "TRON over anvil", "rpc_urls": rpc_urls, "confirmations": 1,
        "finality": {"tiers": []}, **options,
        "tokens": {"USDT": {"contract": contract, "decimals": 6, "method": "usdt_tron"}},
    }  # fmt: skip
    network = {"treasury": show_tron(TREASURY), "coin": "TRX", "coin_usd": "0.10"}
    return {
        "rails": {"tron": {"accounts": {"tron": {"options": account}}}},
        "sweeps": {"signer_socket": str(socket), "worth_times_cost": 1, "networks": {CHAIN: network}},
    }


def policy(contract: str) -> Mapping[str, Any]:
    token = {
        "contract": contract, "decimals": 6, "sweep_day_max": "100000", "sweep_approval_above": "50000",
        "refund_max": "1000", "refund_day_max": "5000", "refund_approval_above": "500",
    }  # fmt: skip
    return {
        CHAIN: {
            "family": "tron", "coin_decimals": 6, "fee_max": "40", "fee_day_max": "400", "fuel_max": "40",
            "fuel_day_max": "400", "destinations": [show_tron(TREASURY)], "tokens": {"USDT": token},
        }
    }  # fmt: skip


@dataclass
class TronScene:
    world: World
    real: RealChain
    node: TronNode

    @property
    def services(self) -> Services:
        return self.world.services

    @property
    def network(self) -> SendingNetwork:
        return self.services.sweeps.machine.networks[NETWORK]

    @property
    def chain_watch(self) -> ChainWatch:
        return next(watch for watch in self.world.watches if watch.network.name == NETWORK)

    async def asked(self, reference: str = "buyer", usd: str = "20.00") -> tuple[Row, bytes, int]:
        """A buyer in Vietnam who chose USDT on TRON: the session, the address, and what it is to be paid."""
        session = await self.world.session("VN", usd, reference=reference)
        action = (await self.world.select(session))["next_action"]
        assert action["chain"] == CHAIN
        return session, read_tron(action["address"]), int(Decimal(action["amount"]["amount"]) * 10**6)

    async def paid(self, reference: str = "buyer", usd: str = "20.00") -> tuple[Row, bytes, int]:
        """A deposit that is final and credited."""
        session, address, units = await self.asked(reference, usd)
        await self.real.transfer(address, units)
        await self.finalize()
        await self.look()
        return session, address, units

    async def buyer_sends(self, to: bytes, units: int, **changes: Any) -> str:
        """Pay as a buyer's wallet does: a signed transaction that is broadcast. Returns its id."""
        if not await self.node.sun(BUYER.address):
            self.node.fund(BUYER.address, 1000 * TRX)
            await self.real.transfer(BUYER.address, 1000 * 10**6)
        call = ChainCall(CallKind.TOKEN, BUYER.address, to, units, bytes.fromhex(self.real.token[2:]))
        signed = broadcastable(call, BUYER, await self.post("wallet/getnowblock"), **changes)
        answer = await self.post("wallet/broadcasthex", transaction=signed.hex())
        assert answer["result"] is True, answer
        return "0x" + str(answer["txid"])

    async def post(self, path: str, **body: Any) -> Any:
        return await self.world.post(f"{self.node.url}/{path}", body)

    async def look(self, rounds: int = 2) -> None:
        for _ in range(rounds):
            await self.chain_watch.run_once()

    async def cursor(self) -> int:
        (row,) = await self.all(tables.ChainCursor, network=NETWORK)
        return int(row["number"])

    async def finalize(self) -> None:
        await self.node.mine(FINAL_BLOCKS)

    async def status(self, session: Row) -> str:
        payment = await self.world.payment(session)
        assert payment is not None
        return str(payment["status"])

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            await self.services.sweeps.run_once()
            await self.finalize()

    async def all(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).order_by(*table.primary_key.columns)
        return await self.services.reads.all(query.where(*(table.c[name] == value for name, value in where.items())))

    async def tokens(self, holder: bytes) -> int:
        """What lies there, by the contract itself."""
        call = {"to": self.real.token, "data": "0x70a08231" + holder.hex().rjust(64, "0")}
        return int(await self.node.chain.anvil("eth_call", call, "latest"), 16)

    async def balances(self, code: str, asset: str = "USDT/6") -> int:
        return sum(int(row["balance"]) for row in await self.all(tables.Account, code=code, asset=asset))

    async def assert_sound(self) -> None:
        """The books hold, and say of tokens and of burnt coins what the chain says."""
        report = await check(self.services.reads)
        assert report.ok, report.findings
        addresses = [bytes(row["address"]) for row in await self.all(tables.DepositAddress, family="tron")]
        assert await self.balances("chain:final") == sum([await self.tokens(one) for one in addresses])
        assert await self.balances("chain:treasury") == await self.tokens(TREASURY) + await self.tokens(OPERATING)


@asynccontextmanager
async def tron_world(
    url: str, folder: Path, anvil_url: str, *, other_urls: Sequence[str] = (), **options: Any
) -> AsyncIterator[TronScene]:
    async with short_folder() as short, real_chain(anvil_url) as real, tron_node(anvil_url) as node:
        contract = show_tron(bytes.fromhex(real.token[2:]))
        files = SignerFiles(short).write(policy(contract))
        node.fund(OPERATING, 1000 * TRX)
        overrides = configured([f"{node.url}/jsonrpc", *other_urls], contract, files.socket, **options)
        async with signer_process(files), world(url, folder, overrides=overrides, loops=False) as here:
            yield TronScene(here, real, node)


def broadcastable(call: ChainCall, key: PrivateNode, block: Mapping[str, Any], fee_limit: int = 50 * TRX) -> bytes:
    """Return a transaction of anybody's, signed, that refers to a block as /wallet/getnowblock shows it."""
    block_id, now_ms = bytes.fromhex(block["blockID"]), block["block_header"]["raw_data"]["timestamp"]
    fee = 0 if call.contract is None else fee_limit
    made = TronTransaction(block_id[6:8], block_id[8:16], now_ms + 3_600_000, now_ms, fee, call)
    digest = hashlib.sha256(made.unsigned()).digest()
    return made.signed(PrivateKey(key.secret).sign_recoverable(digest, hasher=None))
