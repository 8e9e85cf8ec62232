"""Sweeps on a simulated TRON: no nonces, so the same bytes again, and other bytes only after the first have expired."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from adapters.kit.chain.addresses import show_tron
from orchestrator.database import tables
from orchestrator.database.reads import Reads
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer, backend_for
from orchestrator.sweeps.machine import ChainMachine
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.sweeps.sweeps import Sweeps
from rates.money import WALLET_USD, Money
from tests.adapters.chains.bench import USDT, Bench, chain
from tests.integration.payments.scene import SetClock
from tests.support.signing import SignerFiles, node, short_folder, signer_process

CHAIN, NETWORK = "tron:0x2b6653dc", "test:tron:0x2b6653dc"
TREASURY = b"\x7e" * 20
OPERATING = node("tron").child(1).child(0).address
TRX = 1_000_000
POLICY = {
    CHAIN: {
        "family": "tron", "coin_decimals": 6, "fee_max": "40", "fee_day_max": "400", "fuel_max": "40",
        "fuel_day_max": "400", "destinations": [show_tron(TREASURY)],
        "tokens": {"USDT": {"contract": USDT["tron"], "decimals": 6, "sweep_day_max": "100000",
                            "sweep_approval_above": "50000"}},
    }
}  # fmt: skip


@dataclass
class TronScene:
    bench: Bench
    sweeps: Sweeps
    reads: Reads
    writer: Writer
    network: SendingNetwork

    async def wallet(self, **wanted: Any) -> list[str]:
        """Turn the node's switches; return every id that was broadcast to it."""
        async with self.bench.http.post(f"{self.bench.base_url}/_wallet", json=wanted) as answer:
            ids: list[str] = (await answer.json())["broadcasts"]
            return ids

    async def deposit(self, index: int, units: int) -> bytes:
        """Tokens on a deposit address, on the chain and in the books' rows."""
        address = self.bench.ours(index)
        await self.bench.pay(address, str(units // 10**6))

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            del view
            wallet = f"wal_{index}"
            changes.insert("deposit_address", merchant_id="mer_1", mode="test", wallet_id=wallet, family="tron",
                           address_index=index, address=address, created_us=0)  # fmt: skip
            changes.insert(
                "deposit", merchant_id="mer_1", id=f"dep_{index}", mode="test", rail="tron", account="tron-main",
                network=NETWORK, tx_hash=f"0x{index:064x}", ordinal=0, method="usdt_tron", asset="USDT/6", units=units,
                raw_value=str(units), remainder="0", sender=b"", recipient=address, block_number=1, block_hash="",
                block_us=0, wallet_id=wallet, generation=0, status="credited", credited_units=0, created_us=0,
                updated_us=0,
            )  # fmt: skip
            return {}

        await self.writer.submit(Unit("mer_1", "test", None, (), decide))
        return address

    async def rounds(self, count: int = 8, blocks: int = 4) -> None:
        for _ in range(count):
            await self.sweeps.run_once()
            await self.pass_by(blocks)

    async def pass_by(self, blocks: int) -> None:
        self.bench.clock.move(3 * blocks)
        await self.bench.control(mine=1)

    async def rows(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        return await self.reads.all(query.order_by(*table.primary_key.columns))

    async def tokens(self, holder: bytes) -> int:
        return await self.network.sender.balance(holder, next(iter(self.network.tokens)))


@asynccontextmanager
async def tron_scene(url: str) -> AsyncIterator[TronScene]:
    async with short_folder() as folder, chain("tron") as bench:
        files = SignerFiles(folder).write(POLICY)
        writer, reads = Writer(backend_for(url), SetClock()), Reads(url)
        await writer.open()
        rail: Any = bench.rail
        network = SendingNetwork(
            name=NETWORK, chain=CHAIN, mode="test", family="tron", sender=rail.sender,
            tokens={token.contract: token for token in rail.tokens}, show_address=rail.show_address, read_address=rail.read_address,
            derive_address=rail.derive_address, operating=rail.operating_address, treasury=TREASURY, coin_code="TRX",
            coin_usd=Money(100_000_000, WALLET_USD),
        )  # fmt: skip
        try:
            async with signer_process(files):
                scene = TronScene(
                    bench,
                    Sweeps(ChainMachine(writer, reads, files.client, {NETWORK: network}), 5),
                    reads,
                    writer,
                    network,
                )
                await scene.wallet(fund={"to": "41" + OPERATING.hex(), "sun": 1000 * TRX})
                yield scene
        finally:
            await writer.close()
            await reads.close()


async def test_tokens_go_to_the_treasury_with_energy_paid_for(migrated_database_url: str) -> None:
    async with tron_scene(migrated_database_url) as scene:
        address = await scene.deposit(0, 200_000_000)
        assert scene.network.operating == OPERATING
        assert len(await scene.sweeps.build()) == 1
        await scene.rounds()
        assert await scene.tokens(TREASURY) == 200_000_000
        rows = await scene.rows(tables.ChainTransaction)
        assert [(row["purpose"], row["status"]) for row in rows] == [("fuel", "final"), ("sweep", "final")]
        fees = sum(int(row["fee"]) for row in rows)
        (cost,) = await scene.rows(tables.Account, code="fees:rail_cost", asset="TRX/6")
        assert cost["balance"] == fees  # a sun is a unit of the books
        assert 1000 * TRX - await scene.network.sender.balance(OPERATING, None) == (
            fees + await scene.network.sender.balance(address, None)
        )


async def test_what_a_node_swallowed_is_sent_again_and_rebuilt_only_after_it_expired(sqlite_url: str) -> None:
    async with tron_scene(sqlite_url) as scene:
        await scene.deposit(0, 200_000_000)
        await scene.sweeps.build()
        await scene.wallet(swallow_broadcasts=1000)
        await scene.rounds(count=6)
        (row,) = await scene.rows(tables.ChainTransaction)
        sent = await scene.wallet()
        assert (row["status"], set(sent)) == ("sent", {row["tx_hash"]})
        assert len(sent) > 3
        # Past its end, but not by the grace: still no other transaction.
        await scene.pass_by(2 * 3600 // 3 + 60)
        await scene.rounds(count=2)
        assert len(await scene.rows(tables.ChainTransaction)) == 1
        await scene.pass_by(20 * 60 // 3)
        await scene.wallet(swallow_broadcasts=0)
        await scene.rounds(count=3)
        first, second = await scene.rows(tables.ChainTransaction)
        assert (first["status"], first["generation"], second["generation"]) == ("expired", 0, 1)
        assert first["tx_hash"] != second["tx_hash"]


async def test_a_transaction_that_a_node_knows_already_is_fine(sqlite_url: str) -> None:
    async with tron_scene(sqlite_url) as scene:
        await scene.deposit(0, 200_000_000)
        await scene.sweeps.build()
        await scene.sweeps.run_once()
        (row,) = await scene.rows(tables.ChainTransaction)
        assert (await scene.network.sender.send(bytes(row["signed"]))).sent.value == "taken"
        assert (await scene.network.sender.send(bytes(row["signed"]))).sent.value == "known"
        await scene.rounds()
        assert await scene.tokens(TREASURY) == 200_000_000


async def test_out_of_energy_fails_the_sweep_books_the_burnt_coins_and_asks_a_person(sqlite_url: str) -> None:
    async with tron_scene(sqlite_url) as scene:
        await scene.deposit(0, 200_000_000)
        await scene.wallet(out_of_energy=1)
        await scene.sweeps.build()
        await scene.rounds()
        (sweep,) = await scene.rows(tables.Sweep)
        (row,) = await scene.rows(tables.ChainTransaction, purpose="sweep")
        assert (sweep["status"], row["status"], row["note"]) == ("failed", "failed", "reverted")
        assert int(row["fee"]) > 10 * TRX
        assert [one["reason"] for one in await scene.rows(tables.Review)] == ["chain_transaction_failed"]
        assert await scene.tokens(TREASURY) == 0


async def test_a_rate_limited_node_delays_and_loses_nothing(sqlite_url: str) -> None:
    async with tron_scene(sqlite_url) as scene:
        await scene.deposit(0, 200_000_000)
        await scene.sweeps.build()
        for _ in range(4):
            await scene.bench.control(http200_error=2)
            await scene.rounds(count=2)
        await scene.rounds()
        assert await scene.tokens(TREASURY) == 200_000_000
        assert len(await scene.rows(tables.ChainTransaction)) == 2
