"""A whole Crossrail over a real EVM node, with a signer in a process of its own.

async with chain_scene(url, tmp_path, anvil_url) as scene:
    wallet = await scene.deposit("c", "20")     # a customer's tokens, credited by the scanner
    await scene.services.sweeps.build()
    await scene.finish()
    await scene.assert_sound()
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import select

from adapters.kit.chain.addresses import show_evm
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.check import check
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.wallets import ensure_deposit_addresses, ensure_wallet, find_wallet
from orchestrator.services import Services
from orchestrator.sweeps.networks import SendingNetwork
from tests.adapters.chains.test_chain_real_node import RealChain, real_chain
from tests.support.signing import SignerFiles, node, short_folder, signer_process
from tests.support.world import MERCHANT, MODE, Setup, World, world

CONTRACT_FILES = Path(__file__).parents[2] / "adapters" / "chains" / "contracts"
CHAIN, NETWORK = "eip155:31337", "test:eip155:31337"
TREASURY = b"\x7e" * 20
OPERATING = node("evm").child(1).child(0).address
COIN = 10**18
FINAL_BLOCKS = "0xc"
DOMAIN = {"name": "Authorized test dollar", "version": "2"}
DOLLAR = json.loads((CONTRACT_FILES / "AuthorizedDollar.json").read_text())["contracts"]["AuthorizedDollar"]


def configured(rpc_url: str, contract: str, dollar: str, socket: Path, **more: Any) -> dict[str, Any]:
    """Lay the real node over config.yaml's BNB account, which keeps its published xpub."""
    options = {
        "chain_id": 31337, "network": "Anvil", "rpc_urls": [rpc_url], "confirmations": 1,
        "finality": {"tiers": []},
        "tokens": {"USDT": {"contract": contract, "decimals": 6, "method": "usdt_bsc"},
                   "USDC": {"contract": dollar, "decimals": 6, "method": "usdc_bsc"}},
    }  # fmt: skip
    network = {"treasury": show_evm(TREASURY), "coin": "ETH", "coin_usd": "10.00"}
    agents = {"chain": CHAIN, "facilitator": "signer", "tokens": {"USDC": {"contract": dollar, **DOMAIN}}}
    usdc = {"rate": "1", "as_of": date(2026, 11, 1).isoformat(), "reason": "for tests"}
    return {
        "rails": {
            "evm": {"accounts": {"bsc": {"options": options, "fees": {"usdc_bsc": {"network_fixed_usd": "0.10"}}}}},
            "x402": {"accounts": {"ethereum": {"simulated": False, "options": agents}}},
        },
        "rates": {"sources": {"fixed": {"rates": {"USD-USDC": usdc}}}},
        "sweeps": {"signer_socket": str(socket), "worth_times_cost": 5, "networks": {CHAIN: network}},
        **more,
    }


def policy(contract: str, dollar: str, **changes: Any) -> dict[str, Any]:
    token = {
        "contract": show_evm(bytes.fromhex(contract[2:])), "decimals": 6, "sweep_day_max": "100000",
        "sweep_approval_above": "50000", "refund_max": "1000", "refund_day_max": "5000",
        "refund_approval_above": "500", **changes,
    }  # fmt: skip
    return {
        CHAIN: {
            "family": "evm", "coin_decimals": 18, "fee_max": "0.1", "fee_day_max": "5", "fuel_max": "0.1",
            "fuel_day_max": "5", "destinations": [show_evm(TREASURY)],
            "tokens": {"USDT": token, "USDC": {**token, "contract": show_evm(bytes.fromhex(dollar[2:]))}},
        }
    }  # fmt: skip


@dataclass
class ChainScene:
    world: World
    real: RealChain
    files: SignerFiles
    dollar: str

    @property
    def services(self) -> Services:
        return self.world.services

    async def wallet(self, reference: str) -> Row:
        """A customer's wallet, with its addresses."""
        services = self.services
        wallet_id = await ensure_wallet(services.writer, CustomerRef(MERCHANT, MODE, reference, "DE"))
        wallet = await find_wallet(services.reads, MERCHANT, MODE, wallet_id)
        await ensure_deposit_addresses(services.writer, services.rails, wallet)
        return wallet

    async def address(self, wallet: Row) -> bytes:
        rows = await self.all(tables.DepositAddress, wallet_id=wallet["id"], family="evm")
        return bytes(rows[0]["address"])

    async def deposit(self, reference: str, amount: str) -> bytes:
        """Pay tokens to a customer and let the scanner credit them; return the address."""
        address = await self.address(await self.wallet(reference))
        await self.real.transfer(address, int(amount) * 10**6)
        await self.finalize()
        await self.watch()
        return address

    async def watch(self) -> None:
        for watch in self.world.watches:
            if watch.network.name == NETWORK:
                await watch.run_once()
                await watch.run_once()

    async def finalize(self) -> None:
        await self.real.node.call("anvil_mine", FINAL_BLOCKS)

    async def finish(self, rounds: int = 12) -> None:
        """Run until nothing is on its way."""
        for _ in range(rounds):
            await self.services.sweeps.run_once()
            await self.finalize()
            if not await self.live():
                await self.services.sweeps.run_once()
                if not await self.live():
                    return
        raise AssertionError(f"still on its way: {await self.live()}")

    async def live(self) -> list[tuple[str, str, str]]:
        rows = await self.all(tables.ChainTransaction)
        live = [(r["purpose"], r["status"], r["note"]) for r in rows if r["status"] in {"built", "signed", "sent"}]
        return live + [("", r["status"], r["id"]) for r in await self.all(tables.Sweep) if r["status"] == "fueling"]

    async def all(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).order_by(*table.primary_key.columns)
        return await self.services.reads.all(query.where(*(table.c[name] == value for name, value in where.items())))

    async def tokens(self, holder: bytes) -> int:
        return await self.network.sender.balance(holder, bytes.fromhex(self.real.token[2:]))

    async def coins(self, holder: bytes) -> int:
        return await self.network.sender.balance(holder, None)

    @property
    def network(self) -> SendingNetwork:
        return self.services.sweeps.machine.networks[NETWORK]

    async def balances(self, code: str, asset: str = "USDT/6") -> int:
        rows = await self.all(tables.Account, code=code, asset=asset)
        return sum(int(row["balance"]) for row in rows)

    async def assert_sound(self) -> None:
        """The books hold, and say of tokens what the chain says."""
        report = await check(self.services.reads)
        assert report.ok, report.findings
        addresses = [bytes(row["address"]) for row in await self.all(tables.DepositAddress, family="evm")]
        assert await self.balances("chain:final") == sum([await self.tokens(one) for one in addresses])
        assert await self.balances("chain:treasury") == await self.tokens(TREASURY) + await self.tokens(OPERATING)


@asynccontextmanager
async def chain_scene(
    database_url: str,
    folder: Path,
    anvil_url: str,
    *,
    limits: Mapping[str, Any] | None = None,
    setups: Sequence[Setup] = (),
    **more: Any,
) -> AsyncIterator[ChainScene]:
    async with short_folder() as short, real_chain(anvil_url) as real:
        await real.node.call("anvil_setBalance", "0x" + OPERATING.hex(), hex(10 * COIN))
        dollar = str((await real.send(None, DOLLAR["bytecode"]))["contractAddress"])
        files = SignerFiles(short).write(policy(real.token, dollar, **(limits or {})))
        shown = [show_evm(bytes.fromhex(one[2:])) for one in (real.token, dollar)]
        overrides = configured(anvil_url, shown[0], shown[1], files.socket, **more)
        async with (
            signer_process(files),
            world(database_url, folder, overrides=overrides, loops=False, setups=setups) as here,
        ):
            yield ChainScene(here, real, files, dollar)
