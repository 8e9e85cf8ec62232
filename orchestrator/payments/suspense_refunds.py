"""Deposits in suspense that a person decided to send back: once, by the machine of sweeps, to whom the customer confirmed.

    refund_planned --an address, confirmed and cooled off--> refunding --final--> refunded
                                                                |
                                                                +-- failed: unallocated again, its review open

A plan of an earlier version, when nothing was sent by it and a person may have sent it by hand, has no ``refunding_units``
and waits until it is decided again. The tokens go from the operating wallet (D ``fx:position`` / C ``chain:treasury``, the transfer's own entry); here the deposit
leaves suspense (D ``suspense`` / C ``fx:position``). What lies on the deposit address is swept like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import select

from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.tables import ChainRefund, Deposit, RefundAddress, table_of
from orchestrator.database.unit import Changes, Entry, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Busy, Conflict, Invalid
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.payments.sightings import deposit_object
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.sweeps.refunds import HOUR_US, Beside, ChainRefunds, RefundWanted
from rates.money import Asset, Money

ROUND_MAX: Final = 1_000
_BY_SUBJECT: Final = ("merchant_id", "subject")
_log = structlog.get_logger("suspense_refunds")


def out_of_suspense(refund_id: str, deposit: Row, total: Money) -> Entry:
    """A deposit went back to its customer."""
    return entry(
        "suspense_refunded", refund_id, debit(Account.SUSPENSE, total, deposit["id"]),
        credit(Account.FX_POSITION, total), payment_id=deposit["payment_id"],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SuspenseRefunds:
    """May run in several processes at once: each step looks at the deposit again under its lock."""

    writer: Writer
    reads: Reads
    chain: ChainRefunds
    clock: Clock

    async def run_once(self) -> int:
        """Begin what can be sent, end what was; return how many went a step further."""
        begun = [
            await self._begin(network, row)
            for network in self.chain.machine.networks.values()
            for row in await self._sendable(network)
        ]
        return sum(begun) + sum([await self._end(row) for row in await self._refunding()])

    # --- begin ------------------------------------------------------------------------------------------------------

    async def _sendable(self, network: SendingNetwork) -> list[Row]:
        """Return what was decided to go back and has where to go."""
        deposits, addresses = table_of(Deposit), table_of(RefundAddress)
        same = (addresses.c.merchant_id == deposits.c.merchant_id) & (addresses.c.mode == deposits.c.mode)
        return await self.reads.all(
            select(deposits)
            .join(addresses, same & (addresses.c.wallet_id == deposits.c.wallet_id))
            .where(
                deposits.c.network == network.name, deposits.c.status == "refund_planned",
                deposits.c.refunding_units == deposits.c.units, deposits.c.fallen_us.is_(None), addresses.c.family == network.family,
                addresses.c.confirmed_us <= self.clock.now_us() - self.chain.cool_off_h * HOUR_US,
            )
            .order_by(deposits.c.updated_us)
            .limit(ROUND_MAX)
        )  # fmt: skip

    async def _begin(self, network: SendingNetwork, row: Row) -> bool:
        total = Money(row["units"], Asset.parse(row["asset"]))
        token = next(
            (one for one in network.tokens.values() if (one.method, one.asset) == (row["method"], total.asset)), None
        )
        if token is None:
            _log.error("token_not_configured", deposit=row["id"], method=row["method"])
            return False
        refund_id = f"{row['id']}_{len(await self._transfers(row)) + 1}"
        wanted = RefundWanted(
            refund_id, row["merchant_id"], row["mode"], row["wallet_id"], network.name, token.contract, total
        )
        key = (row["merchant_id"], row["id"])

        def write(view: View, changes: Changes) -> None:
            deposit = view.one("deposit", *key)
            if deposit is None or not _is_planned(deposit):
                raise Conflict("already_decided", f"{row['id']} is {deposit and deposit['status']}")
            changes.update("deposit", key, status="refunding", updated_us=view.now_us)

        try:
            await self.chain.begin(wanted, Beside((row_lock("deposit", *key),), write))
        except (Busy, Conflict, Invalid) as refused:  # nothing was stored
            _log.info("deposit_not_sent_back", deposit=row["id"], why=str(refused)[:200])
            return False
        return True

    # --- end --------------------------------------------------------------------------------------------------------

    async def _refunding(self) -> list[Row]:
        table = table_of(Deposit)
        return await self.reads.all(
            select(table).where(table.c.status == "refunding").order_by(table.c.updated_us).limit(ROUND_MAX)
        )

    async def _transfers(self, row: Row) -> list[Row]:
        """Return every transfer that was stored for a deposit, the newest last."""
        table = table_of(ChainRefund)
        rows = await self.reads.all(
            select(table).where(
                table.c.merchant_id == row["merchant_id"], table.c.id.startswith(f"{row['id']}_", autoescape=True)
            )
        )
        return sorted(rows, key=lambda one: int(one["id"].rpartition("_")[2]))

    async def _end(self, row: Row) -> bool:
        newest = (await self._transfers(row))[-1]
        if newest["status"] == "moving":
            return False
        key = (row["merchant_id"], row["id"])

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            deposit = view.one("deposit", *key)
            if deposit is None or (deposit["status"], deposit["updated_us"]) != ("refunding", row["updated_us"]):
                return {"ended": False}  # somebody was faster, or it fell away: the next round looks again
            if newest["status"] == "done":
                self._refunded(view, changes, deposit, newest["id"])
            else:
                _failed(view, changes, deposit)
            return {"ended": True}

        locks = (row_lock("deposit", *key), Lock("review", _BY_SUBJECT, key))
        applied = await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))
        return bool(applied.answer["ended"])

    @staticmethod
    def _refunded(view: View, changes: Changes, deposit: Row, refund_id: str) -> None:
        total = Money(deposit["units"], Asset.parse(deposit["asset"]))
        changes.post(out_of_suspense(refund_id, deposit, total))
        changed = {
            "status": "refunded", "refunding_units": 0, "refunded_units": deposit["units"], "updated_us": view.now_us
        }  # fmt: skip
        changes.update("deposit", (deposit["merchant_id"], deposit["id"]), **changed)
        body = orjson.dumps(deposit_object({**deposit, **changed})).decode()
        changes.emit("deposit.refunded", deposit["id"], body, deposit["merchant_id"])


def _is_planned(deposit: Row) -> bool:
    return deposit["status"] == "refund_planned" and deposit["refunding_units"] > 0 and deposit["fallen_us"] is None


def _failed(view: View, changes: Changes, deposit: Row) -> None:
    """Put it back before the person: nothing is sent again by itself."""
    key = (deposit["merchant_id"], deposit["id"])
    changes.update("deposit", key, status="unallocated", refunding_units=0, updated_us=view.now_us)
    for review in view.many("review", _BY_SUBJECT, key):
        if review["action"] == "plan_refund":
            changes.update("review", (review["merchant_id"], review["id"]), status="open", action="", resolved_us=None)
