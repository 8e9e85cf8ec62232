"""The door for chains: blocks become deposits, and deposits deep enough become credit.

A block is one unit: header, cursor and every transfer to us. A credit is a unit of its own that looks at the cursor and
at the header under the deposit again, inside its transaction; what waits is rows, so a crash between the two loses
nothing. A transfer is known by chain, transaction and its log's place inside the receipt, never by the block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select

from adapters.base import BlockHeader, BlockScan
from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Deposit, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.payments.addresses import AddressBook, AddressOwner
from orchestrator.payments.crediting import (
    MoneyAt,
    credit_locks,
    holding_of,
)
from orchestrator.payments.deposit_credit import DepositCredit, NotFinal
from orchestrator.payments.pricer import Pricer
from orchestrator.payments.sightings import (
    Network,
    Sightings,
    attempts_lock,
    deposit_lock,
    orphan,
    put_header,
    waiting_lock,
)
from rates.money import Asset, Money

PLATFORM = "platform"
_log = structlog.get_logger("deposits")


class CursorMoved(Exception):
    """Another scanner of this chain was faster: read the cursor again."""


@dataclass(frozen=True, slots=True)
class Deposits:
    """Writes what scanners read."""

    writer: Writer
    reads: Reads
    book: AddressBook
    pricer: Pricer
    clock: Clock

    async def start_at(self, network: Network, header: BlockHeader) -> None:
        """Begin a chain's cursor at a block, where it has none yet."""

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            if view.one("chain_cursor", network.name) is None:
                put_header(view, changes, network.name, header)
                changes.insert(
                    "chain_cursor", network=network.name, number=header.number, hash=header.hash, updated_us=view.now_us
                )
            return {}

        locks = (row_lock("chain_cursor", network.name), row_lock("chain_header", network.name, header.number))
        await self.writer.submit(Unit(PLATFORM, network.account.mode.value, None, locks, decide))

    async def take_block(self, network: Network, scan: BlockScan) -> None:
        """Store one block that follows the cursor, whole. Raises CursorMoved."""
        mode = network.account.mode.value
        owned = [
            (transfer, owner)
            for transfer in scan.transfers
            if (owner := self.book.owner(mode, network.family, transfer.recipient)) is not None
        ]
        locks = [
            row_lock("chain_cursor", network.name),
            row_lock("chain_header", network.name, scan.header.number),
        ]
        if owned:
            locks.append(waiting_lock(network.name))
        for transfer, owner in owned:
            locks.append(deposit_lock(network.name, transfer))
            locks.append(attempts_lock(owner))
        payments = await self._open_payments([owner for _, owner in owned])
        locks += [row_lock("payment", merchant, payment) for merchant, payment in payments]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            cursor = view.one("chain_cursor", network.name)
            if cursor is None or (cursor["number"] + 1, cursor["hash"]) != (
                scan.header.number,
                scan.header.parent_hash,
            ):
                raise CursorMoved(f"{network.name}: block {scan.header.number} does not follow the cursor")
            put_header(view, changes, network.name, scan.header)
            sightings = Sightings(view, changes, network, scan.header)
            for transfer, owner in owned:
                sightings.record(transfer, owner)
            sightings.write()
            changes.update(
                "chain_cursor", (network.name,),
                number=scan.header.number, hash=scan.header.hash, updated_us=view.now_us,
            )  # fmt: skip
            return {"deposits": len(owned)}

        # No key: the cursor itself says whether a block was taken, and after a reorganization it may come again.
        await self.writer.submit(Unit(PLATFORM, mode, None, locks, decide))

    async def rewind(self, network: Network, ancestor: BlockHeader, dropped: Sequence[str]) -> None:
        """Go back to the last common block: deposits in the blocks that fell away are orphaned until mined again."""
        mode = network.account.mode.value
        deposit_by_block = [Lock("deposit", ("network", "block_hash"), (network.name, block)) for block in dropped]
        locks = [row_lock("chain_cursor", network.name), *deposit_by_block]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            cursor = view.one("chain_cursor", network.name)
            if cursor is None or cursor["hash"] != dropped[0]:
                raise CursorMoved(f"{network.name}: the cursor is no longer at {dropped[0]}")
            for block in dropped:
                for row in view.many("deposit", ("network", "block_hash"), (network.name, block)):
                    orphan(view, changes, row)
            changes.update(
                "chain_cursor", (network.name,), number=ancestor.number, hash=ancestor.hash, updated_us=view.now_us
            )
            return {}

        _log.warning("chain_reorganized", network=network.name, depth=len(dropped), ancestor=ancestor.number)
        await self.writer.submit(Unit(PLATFORM, mode, None, locks, decide))

    async def credit_final(self, network: Network, cursor_number: int) -> int:
        """Credit every deposit that is deep enough under the cursor; return how many were placed.

        One that cannot be placed now (another scanner went back on a fork, a bug) waits and holds up no other.
        """
        table = table_of(Deposit)
        rows = await self.reads.all(
            select(table)
            .where(
                table.c.network == network.name,
                table.c.status == "detected",
                table.c.block_number <= cursor_number - network.confirmations + 1,
            )
            .order_by(table.c.block_number, table.c.id)
            .limit(500)
        )
        units = [self._credit_unit(network, row) for row in rows]
        results = await asyncio.gather(*(self.writer.submit(unit) for unit in units), return_exceptions=True)
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, NotFinal):
                _log.info("deposit_not_final", network=network.name, deposit=row["id"], text=str(result))
            elif isinstance(result, BaseException):
                _log.error("deposit_not_credited", network=network.name, deposit=row["id"], error=repr(result)[:300])
        return sum(not isinstance(result, BaseException) for result in results)

    def _credit_unit(self, network: Network, row: Row) -> Unit:
        merchant, mode = row["merchant_id"], row["mode"]
        rail, account = network.account.rail, network.account.account
        money_id = f"{network.chain}:{row['tx_hash']}:{row['ordinal']}"
        money = MoneyAt(
            merchant_id=merchant,
            mode=mode,
            rail=rail,
            account=account,
            kind="deposit",
            rail_id=money_id,
            object_id=row["id"],
            wallet_id=row["wallet_id"],
            payment_id=row["payment_id"],
            total=Money(row["units"], Asset.parse(row["asset"])),
            holding=holding_of(rail, account, network.name),
        )
        arrival = self.pricer.arrival(
            money.total, rail=rail, account=account, method=row["method"], now=self.clock.now()
        )
        locks = [
            row_lock("deposit", merchant, row["id"]),
            row_lock("chain_cursor", network.name),
            row_lock("chain_header", network.name, row["block_number"]),
            *credit_locks(merchant, mode, row["wallet_id"], money.claim_key),
        ]
        if row["attempt_id"] is not None:
            locks += [
                row_lock("attempt", merchant, row["attempt_id"]),
                row_lock("payment", merchant, row["payment_id"]),
                row_lock("checkout_session", merchant, row["session_id"]),
            ]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            return DepositCredit(view, changes, network, money, arrival).run()

        # The generation makes a credit after a reorganization a new unit; the money claim stays the same for ever.
        return Unit(merchant, mode, f"credit:{network.name}:{money_id}:{row['generation']}", locks, decide)

    async def _open_payments(self, owners: Iterable[AddressOwner]) -> list[tuple[str, str]]:
        table = table_of(Attempt)
        wallets = sorted({owner.wallet_id for owner in owners})
        found: list[tuple[str, str]] = []
        for start in range(0, len(wallets), 200):
            rows = await self.reads.all(
                select(table.c.merchant_id, table.c.payment_id)
                .distinct()
                .where(table.c.wallet_id.in_(wallets[start : start + 200]), table.c.open_at_rail == 1)
            )
            found += [(row["merchant_id"], row["payment_id"]) for row in rows]
        return found
