"""From deposit addresses to the treasury: plan, build, broadcast.

    fueling --coins are final--> moving --tokens are final--> done | failed

An address without coins gets some first. Both transactions are stored before they are signed, and signed before they
are sent; what takes the place of an expired one serves the same sweep, so the signer sees the same name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from sqlalchemy import select

from adapters.base import RailError
from adapters.sending import CallKind, ChainCall, FeeQuote, SendFailed
from orchestrator.database.tables import ChainTransaction, table_of
from orchestrator.database.tables import Sweep as SweepTable
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.ids import new_id
from orchestrator.sweeps.machine import ChainMachine
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.sweeps.plan import Lying, Planned, lying_on, swept_units, weigh
from orchestrator.sweeps.transaction import GONE, NotNow, Wanted, put_transaction, transaction_locks
from rates.money import WALLET_USD, Money

OF_ADDRESS: Final = ("network", "address")
FEE_MARGIN_BPS: Final = 13_000
"""Over the expected fee: the slack in gas, and a little for the next block."""
_log = structlog.get_logger("sweeps")


@dataclass(frozen=True, slots=True)
class Sweeps:
    machine: ChainMachine
    worth_times_cost: int

    async def plan(self) -> list[tuple[SendingNetwork, Planned]]:
        """Return what lies where, what moving it costs, and whether that is worth it."""
        return [one async for one in self._planned()]

    async def _planned(self) -> AsyncIterator[tuple[SendingNetwork, Planned]]:
        for network in self.machine.networks.values():
            if network.treasury is None:
                continue
            for lying in await lying_on(self.machine.reads, network):
                try:
                    yield network, await weigh(network, lying, self.worth_times_cost)
                except RailError as error:
                    _log.warning("sweep_not_weighed", network=network.name, address=lying.address.hex(),
                                 error=repr(error)[:300])  # fmt: skip
                    yield network, Planned(lying, Money.zero(WALLET_USD), 0, worth=False, why=str(error)[:200])

    async def build(self) -> list[str]:
        """Store a sweep, and its first transaction, for all that is worth it; return their ids. Safe to repeat."""
        built = []
        for network, planned in await self.plan():
            if planned.worth:
                try:
                    built.append(await self._begin(network, planned))
                except (NotNow, RailError) as no:
                    _log.info("sweep_not_begun", network=network.name, text=str(no)[:200])
        return built

    async def run_once(self) -> int:
        """Give every sweep its next transaction, then take every transaction one step further."""
        moved = 0
        for row in await self._moving():
            try:
                moved += await self._go_on(row)
            except (NotNow, RailError) as no:
                _log.info("sweep_waits", sweep=row["id"], text=str(no)[:200])
        return moved + await self.machine.run_once()

    # --- one sweep ------------------------------------------------------------------------------------------------

    async def _begin(self, network: SendingNetwork, planned: Planned) -> str:
        lying, sweep_id = planned.lying, new_id("swp")
        if planned.fuel_raw:
            wanted = await self._fuel(network, lying.merchant_id, sweep_id, lying, planned.fuel_raw)
        else:
            wanted = await self._tokens(network, sweep_id, lying)
        of_address = Lock("sweep", OF_ADDRESS, (network.name, lying.address))

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            before = view.many("sweep", OF_ADDRESS, (network.name, lying.address))
            if swept_units(before, lying.token.contract) != lying.swept:
                raise NotNow(f"{lying.address.hex()} was swept meanwhile")
            changes.insert(
                "sweep", merchant_id=lying.merchant_id, id=sweep_id, mode=lying.mode, network=network.name,
                wallet_id=lying.wallet_id, address_index=lying.address_index, address=lying.address,
                contract=lying.token.contract, asset=str(lying.token.asset), units=lying.units, raw_value=str(lying.raw),
                status="fueling" if planned.fuel_raw else "moving", created_us=view.now_us, updated_us=view.now_us,
            )  # fmt: skip
            put_transaction(view, changes, network, wanted)
            return {}

        locks = [of_address, *transaction_locks(network, wanted)]
        await self.machine.writer.submit(Unit(lying.merchant_id, lying.mode, None, locks, decide))
        return sweep_id

    async def _go_on(self, row: Row) -> bool:
        """Store the transaction that a sweep needs next, where the last one is done or can never be mined."""
        network = self.machine.networks[row["network"]]
        done = {purpose: status for purpose, status in await self._states(row)}  # noqa: C416  # the newest one counts
        lying = self._lying(network, row)
        fueled = row["status"] == "fueling" and done.get("fuel") == "final"
        fuel_raw = 0
        if row["status"] == "fueling" and done.get("fuel") in GONE:  # weighed again: fees are others by now
            fuel_raw = (await weigh(network, lying, self.worth_times_cost)).fuel_raw
            fueled = not fuel_raw
        if fuel_raw:
            wanted = await self._fuel(network, row["merchant_id"], row["id"], lying, fuel_raw)
        elif fueled or (row["status"] == "moving" and done.get("sweep", "void") in GONE):
            wanted = await self._tokens(network, row["id"], lying)
        else:
            return False

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            sweep = view.one("sweep", row["merchant_id"], row["id"])
            if sweep is None or sweep["status"] != row["status"]:
                raise NotNow(f"{row['id']} moved on")
            put_transaction(view, changes, network, wanted)
            if fueled:
                changes.update("sweep", (row["merchant_id"], row["id"]), status="moving", updated_us=view.now_us)
            return {}

        locks = [row_lock("sweep", row["merchant_id"], row["id"]), *transaction_locks(network, wanted)]
        await self.machine.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))
        return True

    async def _fuel(self, network: SendingNetwork, merchant_id: str, sweep_id: str, lying: Lying, raw: int) -> Wanted:
        call = ChainCall(CallKind.COIN, network.operating, lying.address, raw)
        return await prepared(
            network, call, merchant_id=merchant_id, mode=lying.mode, purpose="fuel", subject_id=sweep_id,
            branch="operating", key_index=0, asset=str(network.coin), units=raw // network.coin_factor,
            recipient_index=lying.address_index,
        )  # fmt: skip

    async def _tokens(self, network: SendingNetwork, sweep_id: str, lying: Lying) -> Wanted:
        assert network.treasury is not None, "only networks with a treasury are swept"
        return await prepared(
            network, lying.call(network.treasury), merchant_id=lying.merchant_id, mode=lying.mode, purpose="sweep",
            subject_id=sweep_id, branch="deposit", key_index=lying.address_index, asset=str(lying.token.asset),
            units=lying.units,
        )  # fmt: skip

    def _lying(self, network: SendingNetwork, row: Row) -> Lying:
        token = network.tokens.get(bytes(row["contract"]))
        if token is None:
            raise SendFailed(f"{row['id']}: its token is no longer configured")
        return Lying(row["merchant_id"], row["mode"], row["wallet_id"], bytes(row["address"]),
                     int(row["address_index"]), token, int(row["units"]), 0)  # fmt: skip

    async def _moving(self) -> list[Row]:
        table = table_of(SweepTable)
        names = [name for name, network in self.machine.networks.items() if network.treasury is not None]
        return await self.machine.reads.all(
            select(table)
            .where(table.c.network.in_(names), table.c.status.in_(("fueling", "moving")))
            .order_by(table.c.id)
            .limit(1000)
        )

    async def _states(self, row: Row) -> list[tuple[str, str]]:
        table = table_of(ChainTransaction)
        rows = await self.machine.reads.all(
            select(table.c.purpose, table.c.status)
            .where(table.c.merchant_id == row["merchant_id"], table.c.subject_id == row["id"])
            .order_by(table.c.generation)
        )
        return [(one["purpose"], one["status"]) for one in rows]


async def prepared(network: SendingNetwork, call: ChainCall, **more: Any) -> Wanted:
    """Quote a call, by what the sender can pay, and fetch what its bytes need. Raises RailError, NotNow."""
    sender = network.sender
    coins = await sender.balance(call.sender, None)
    quote = affordable(await sender.quote(call), coins - (call.raw_value if call.kind is CallKind.COIN else 0))
    first = await sender.sent_count(call.sender, final=False) if sender.counts_transactions else None
    return Wanted(
        call=call, prepared=await sender.prepare(call, quote), fee_max=quote.maximum, first_nonce=first, **more
    )


def affordable(quote: FeeQuote, coins: int) -> FeeQuote:
    """Return a quote that the sender can pay: a fee that has risen since may eat up its headroom, no more.

    Raises NotNow: a node would refuse such a transaction, or keep it waiting for ever.
    """
    if quote.maximum <= coins:
        return quote
    if quote.expected * FEE_MARGIN_BPS // 10_000 > coins:
        raise NotNow(f"it costs {quote.expected}, the sender has {coins}")
    for_gas = coins - quote.beside * FEE_MARGIN_BPS // 10_000
    price = min(quote.price, for_gas // quote.gas) if quote.gas else quote.price
    return replace(quote, maximum=coins, price=price, tip=min(quote.tip, price))
