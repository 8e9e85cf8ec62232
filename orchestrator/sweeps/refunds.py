"""Tokens back to a customer: only to an address that the customer proved, after it has cooled off, from the operating wallet.

The same machine as a sweep's: stored, signed by the signer within its own limits, sent, closed. When it is done the
asset's leg is in the books (D ``fx:position`` / C ``chain:treasury``); the dollars' leg is the refund's own entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from adapters.base import RailError
from adapters.kit.chain.transfer_log import widen
from adapters.sending import CallKind, CallWouldFail, ChainCall
from orchestrator.database.tables import ChainRefund, DepositAddress, RefundAddress, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.errors import Busy, Conflict, Invalid, NotFound
from orchestrator.sweeps.machine import ChainMachine
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.sweeps.sweeps import prepared
from orchestrator.sweeps.transaction import NotNow, Wanted, put_transaction, transaction_locks
from rates.money import Money

HOUR_US: Final = 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class RefundWanted:
    """What goes back. ``id`` is the refund's own: the same again is the same transfer."""

    id: str
    merchant_id: str
    mode: str
    wallet_id: str
    network: str
    """As the books name it: ``live:eip155:1``."""
    contract: bytes
    amount: Money


@dataclass(frozen=True, slots=True)
class Beside:
    """What else is written in the unit that stores a transfer. Where ``write`` raises Conflict, nothing is stored."""

    locks: Sequence[Lock]
    write: Callable[[View, Changes], None]


@dataclass(frozen=True, slots=True)
class ChainRefunds:
    machine: ChainMachine
    cool_off_h: int

    async def confirm_address(
        self, merchant_id: str, mode: str, wallet_id: str, *, network: str, address: str, proof: Mapping[str, str]
    ) -> None:
        """Remember an address that the customer proved (``proof``: how). Another one begins to cool off anew.

        Raises Invalid: mistyped, or an address of ours, which would be credited again.
        """
        found = self._network(network)
        raw = await self._read(found, address)
        key = (merchant_id, mode, wallet_id, found.family)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("refund_address", *key)
            columns = {"address": raw, "proof": orjson.dumps(proof).decode(), "confirmed_us": view.now_us}
            if row is None:
                changes.insert("refund_address", merchant_id=merchant_id, mode=mode, wallet_id=wallet_id,
                               family=found.family, **columns)  # fmt: skip
            elif bytes(row["address"]) != raw:
                changes.update("refund_address", key, **columns)
            return {}

        await self.machine.writer.submit(Unit(merchant_id, mode, None, (row_lock("refund_address", *key),), decide))

    async def begin(self, wanted: RefundWanted, beside: Beside | None = None) -> Row:
        """Store the transfer; workers carry it out. Raises Conflict, Invalid, NotFound, Busy (nothing happened)."""
        done = await self._stored(wanted)
        if done is not None:
            return done
        network = self._network(wanted.network)
        token = network.tokens.get(wanted.contract)
        if token is None or token.asset != wanted.amount.asset or wanted.amount.units <= 0:
            raise Invalid("refund_not_possible", "an amount of a token that is watched on this chain is due")
        key = (wanted.merchant_id, wanted.mode, wanted.wallet_id, network.family)
        table = table_of(RefundAddress)
        address = await self.machine.reads.one(
            select(table).where(table.c.merchant_id == key[0], table.c.mode == key[1], table.c.wallet_id == key[2],
                                table.c.family == key[3])
        )  # fmt: skip
        if address is None:
            raise Conflict("refund_address_missing", "the customer has not proven an address on this chain")
        call = ChainCall(CallKind.TOKEN, network.operating, bytes(address["address"]), widen(wanted.amount, token),
                         wanted.contract)  # fmt: skip
        made = await self._prepared(network, wanted, call)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if view.one("chain_refund", wanted.merchant_id, wanted.id) is not None:
                return {}
            proven = view.one("refund_address", *key)
            if proven is None or bytes(proven["address"]) != call.recipient:
                raise Conflict("refund_address_changed", "the customer has another address by now")
            if proven["confirmed_us"] + self.cool_off_h * HOUR_US > view.now_us:
                raise Conflict("refund_address_cools_off", f"it is used {self.cool_off_h} hours after it was proven")
            if beside is not None:
                beside.write(view, changes)
            changes.insert(
                "chain_refund", merchant_id=wanted.merchant_id, id=wanted.id, mode=wanted.mode, network=network.name,
                wallet_id=wanted.wallet_id, address=call.recipient, contract=wanted.contract,
                asset=str(wanted.amount.asset), units=wanted.amount.units, raw_value=str(call.raw_value),
                status="moving", created_us=view.now_us, updated_us=view.now_us,
            )  # fmt: skip
            put_transaction(view, changes, network, made)
            return {}

        locks = [row_lock("chain_refund", wanted.merchant_id, wanted.id), row_lock("refund_address", *key),
                 *transaction_locks(network, made), *(beside.locks if beside else ())]  # fmt: skip
        await self.machine.writer.submit(Unit(wanted.merchant_id, wanted.mode, None, locks, decide))
        return await self.find(wanted.merchant_id, wanted.id)

    async def find(self, merchant_id: str, refund_id: str) -> Row:
        """Return the transfer: moving, done or failed. Raises NotFound."""
        table = table_of(ChainRefund)
        row = await self.machine.reads.one(
            select(table).where(table.c.merchant_id == merchant_id, table.c.id == refund_id)
        )
        if row is None:
            raise NotFound("chain_refund_not_found", f"there is no transfer for {refund_id}")
        return row

    async def run_once(self) -> int:
        """Give a transfer whose transaction expired (TRON) or was given up unsigned another one."""
        table = table_of(ChainRefund)
        rows = await self.machine.reads.all(
            select(table).where(table.c.status == "moving", table.c.network.in_(list(self.machine.networks)))
        )
        again = 0
        for row in rows:
            last = await self.machine.of_subject(row["merchant_id"], row["id"])
            if last is not None and last["status"] == "expired":
                again += await self._again(row)
        return again

    async def _again(self, row: Row) -> bool:
        network = self.machine.networks[row["network"]]
        contract = bytes(row["contract"])
        call = ChainCall(CallKind.TOKEN, network.operating, bytes(row["address"]), int(row["raw_value"]), contract)
        amount = Money(int(row["units"]), network.tokens[contract].asset)
        wanted = RefundWanted(
            row["id"], row["merchant_id"], row["mode"], row["wallet_id"], network.name, contract, amount
        )
        try:
            made = await self._prepared(network, wanted, call)
        except (Busy, Conflict):
            return False

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            put_transaction(view, changes, network, made)
            return {}

        try:
            unit = Unit(row["merchant_id"], row["mode"], None, transaction_locks(network, made), decide)
            await self.machine.writer.submit(unit)
        except NotNow:
            return False
        return True

    async def _prepared(self, network: SendingNetwork, wanted: RefundWanted, call: ChainCall) -> Wanted:
        try:
            return await prepared(
                network, call, merchant_id=wanted.merchant_id, mode=wanted.mode, purpose="refund",
                subject_id=wanted.id, branch="operating", key_index=0, asset=str(wanted.amount.asset),
                units=wanted.amount.units,
            )  # fmt: skip
        except CallWouldFail as fails:
            raise Conflict("refund_would_fail", f"the token says no: {str(fails)[:120]}") from None
        except (RailError, NotNow) as error:
            raise Busy("chain_away", f"nothing happened: {str(error)[:120]}") from None

    async def _stored(self, wanted: RefundWanted) -> Row | None:
        try:
            return await self.find(wanted.merchant_id, wanted.id)
        except NotFound:
            return None

    def _network(self, name: str) -> SendingNetwork:
        network = self.machine.networks.get(name)
        if network is None:
            raise Invalid("network_not_possible", "nothing is sent on this chain", pointer="/network")
        return network

    async def _read(self, network: SendingNetwork, address: str) -> bytes:
        try:
            raw = network.read_address(address)
        except ValueError as error:
            raise Invalid("address_invalid", str(error), pointer="/address") from None
        table = table_of(DepositAddress)
        ours = await self.machine.reads.one(select(table.c.address).where(table.c.address == raw))
        if ours is not None or raw in {network.operating, network.treasury, *network.tokens} or not any(raw):
            raise Invalid(
                "address_not_possible", "an address of the house or of a token is nobody's", pointer="/address"
            )
        return raw
