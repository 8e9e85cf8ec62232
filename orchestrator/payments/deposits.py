"""The door for chains: blocks become deposits.

Blocks are one unit: headers, cursor and every transfer to us. What waits for its credit is rows, so a crash in between
loses nothing (``deposit_desk`` credits). On a fork the cursor goes back and the deposits above it are marked; those that
the new branch does not bring again are taken back there too. A transfer is known by chain, transaction and its log's
place inside the receipt, never by the block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import select

from adapters.base import BlockHeader, BlockScan
from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, StrayTransfer, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.payments.addresses import AddressBook, AddressOwner
from orchestrator.payments.deposit_desk import DepositDesk
from orchestrator.payments.pricer import Pricer
from orchestrator.payments.sightings import (
    Network,
    Sightings,
    attempts_lock,
    deposit_lock,
    payment_deposits_lock,
    put_header,
)
from orchestrator.payments.strays import (
    mark_strays_orphaned,
    record_strays,
    stray_block_lock,
    stray_lock,
    strays_of,
)
from orchestrator.payments.token_alarms import tell_alarm

PLATFORM: Final = "platform"
_log = structlog.get_logger("deposits")


class CursorMoved(Exception):
    """Another scanner of this chain was faster, or holds its lease: read the cursor again."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """One or more blocks that follow the cursor. Empty blocks of a long range are not among ``scans``."""

    parent_hash: str
    """Of the first one: the cursor's hash."""
    first_number: int
    last: BlockHeader
    scans: Sequence[BlockScan]


@dataclass(frozen=True, slots=True)
class Deposits:
    """Writes what scanners read."""

    writer: Writer
    reads: Reads
    book: AddressBook
    pricer: Pricer
    clock: Clock

    @property
    def desk(self) -> DepositDesk:
        """Who credits what was found here."""
        return DepositDesk(self.writer, self.reads, self.pricer, self.clock)

    # --- the cursor -----------------------------------------------------------------------------------------------

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

    async def lease(self, network: Network, owner: str, seconds: float, finalized_number: int = -1) -> bool:
        """Take or keep the right to write for a chain, and raise the block that is final. False: another has it."""

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            cursor = view.one("chain_cursor", network.name)
            if cursor is None or (cursor["owner"] != owner and cursor["lease_us"] > view.now_us):
                return {"held": False}
            changes.update(
                "chain_cursor", (network.name,), owner=owner, lease_us=view.now_us + int(seconds * 1_000_000),
                finalized_number=max(cursor["finalized_number"], min(finalized_number, cursor["number"])),
            )  # fmt: skip
            return {"held": True}

        unit = Unit(PLATFORM, network.account.mode.value, None, (row_lock("chain_cursor", network.name),), decide)
        return bool((await self.writer.submit(unit)).answer["held"])

    async def take_block(self, network: Network, scan: BlockScan, owner: str = "") -> None:
        """Store one block that follows the cursor, whole. Raises CursorMoved."""
        await self.take(network, Blocks(scan.header.parent_hash, scan.header.number, scan.header, (scan,)), owner)

    async def take(self, network: Network, blocks: Blocks, owner: str = "") -> None:
        """Store blocks that follow the cursor. Raises CursorMoved; then nothing of them is written."""
        mode = network.account.mode.value
        recipients = {one.recipient for scan in blocks.scans for one in scan.transfers}
        recipients |= {one.recipient for scan in blocks.scans for one in scan.unknown}
        owners = await self.book.owners(mode, network.family, recipients)
        owners |= await self._allotted(network, blocks, owners)
        locks = [row_lock("chain_cursor", network.name), row_lock("chain_header", network.name, blocks.last.number)]
        for scan in blocks.scans:
            locks.append(row_lock("chain_header", network.name, scan.header.number))
            locks += [deposit_lock(network.name, one) for one in scan.transfers if one.recipient in owners]
            locks += [stray_lock(network.name, one) for one in strays_of(scan, owners)]
        locks += [attempts_lock(found) for found in set(owners.values())]
        for merchant, payment in await self._open_payments(owners.values()):
            locks += [row_lock("payment", merchant, payment), payment_deposits_lock(merchant, payment)]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            cursor = view.one("chain_cursor", network.name)
            if cursor is None or (cursor["number"] + 1, cursor["hash"]) != (blocks.first_number, blocks.parent_hash):
                raise CursorMoved(f"{network.name}: block {blocks.first_number} does not follow the cursor")
            _assert_owner(network, cursor, owner, view.now_us)
            _record(view, changes, network, blocks, owners)
            changes.update(
                "chain_cursor", (network.name,),
                number=blocks.last.number, hash=blocks.last.hash, updated_us=view.now_us,
            )  # fmt: skip
            return {"blocks": blocks.last.number - blocks.first_number + 1}

        # No key: the cursor itself says whether a block was taken, and after a reorganization it may come again.
        await self.writer.submit(Unit(PLATFORM, mode, None, locks, decide))

    async def rewind(self, network: Network, ancestor: BlockHeader, dropped: Sequence[str], owner: str = "") -> None:
        """Go back to the last common block. What stood in the blocks that fell away is marked, to be decided."""
        mode = network.account.mode.value
        locks = [row_lock("chain_cursor", network.name), row_lock("chain_header", network.name, ancestor.number)]
        for block in dropped:
            locks.append(Lock("deposit", ("network", "block_hash"), (network.name, block)))
            locks.append(stray_block_lock(network.name, block))

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            cursor = view.one("chain_cursor", network.name)
            if cursor is None or cursor["hash"] != dropped[0]:
                raise CursorMoved(f"{network.name}: the cursor is no longer at {dropped[0]}")
            _assert_owner(network, cursor, owner, view.now_us)
            for block in dropped:
                for row in view.many("deposit", ("network", "block_hash"), (network.name, block)):
                    if row["status"] != "orphaned" and row["fallen_us"] is None:
                        changes.update(
                            "deposit", (row["merchant_id"], row["id"]), fallen_us=view.now_us, updated_us=view.now_us
                        )
                mark_strays_orphaned(view, changes, network.name, block)
            put_header(view, changes, network.name, ancestor)
            changes.update(
                "chain_cursor", (network.name,), number=ancestor.number, hash=ancestor.hash, updated_us=view.now_us
            )
            return {}

        _log.warning("chain_reorganized", network=network.name, depth=len(dropped), ancestor=ancestor.number)
        await self.writer.submit(Unit(PLATFORM, mode, None, locks, decide))

    async def _allotted(
        self, network: Network, blocks: Blocks, owners: Mapping[bytes, AddressOwner]
    ) -> dict[bytes, AddressOwner]:
        """Return to whom a person allotted transfers to addresses without an owner: mined again, they are his."""
        wanted = {
            transfer.tx_hash: transfer.recipient
            for scan in blocks.scans
            for transfer in scan.transfers
            if transfer.recipient not in owners
        }
        if not wanted:
            return {}
        table = table_of(StrayTransfer)
        rows = await self.reads.all(
            select(table).where(
                table.c.network == network.name, table.c.status == "credited", table.c.tx_hash.in_(sorted(wanted))
            )
        )
        return {bytes(row["recipient"]): AddressOwner(row["merchant_id"], row["wallet_id"]) for row in rows}

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


def _record(view: View, changes: Changes, network: Network, blocks: Blocks, owners: dict[bytes, AddressOwner]) -> None:
    headers = {scan.header.number: scan.header for scan in blocks.scans} | {blocks.last.number: blocks.last}
    for header in headers.values():
        put_header(view, changes, network.name, header)
    sightings = Sightings(view, changes, network)
    for scan in blocks.scans:
        for transfer in scan.transfers:
            found = owners.get(transfer.recipient)
            if found is not None:
                sightings.record(scan.header, transfer, found)
        for alarm in scan.alarms:
            tell_alarm(view, changes, network, scan.header, alarm)
        record_strays(view, changes, network, scan, owners)
    sightings.write()


def _assert_owner(network: Network, cursor: Row, owner: str, now_us: int) -> None:
    """Stop a second scanner of the chain. Raises CursorMoved."""
    if owner and cursor["owner"] != owner:
        raise CursorMoved(f"{network.name}: another scanner holds the lease")
    if not owner and cursor["lease_us"] > now_us:
        raise CursorMoved(f"{network.name}: {cursor['owner']} holds the lease")
