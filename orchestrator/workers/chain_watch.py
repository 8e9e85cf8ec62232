"""Follows one chain: block after block, back to the common ancestor on a fork, credit when deep enough."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from prometheus_client import Gauge
from sqlalchemy import select

from adapters.base import BlockHeader, ChainScanFailed, RailAdapter, ScansChain
from orchestrator.clock import from_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import ChainCursor, ChainHeader, table_of
from orchestrator.database.unit import Row
from orchestrator.payments.deposits import CursorMoved, Deposits
from orchestrator.payments.sightings import Network
from orchestrator.routing.health import CallOutcome, HealthBoard

REORG_DEPTH_MAX = 5000
CALL_TIMEOUT_S = 60
_log = structlog.get_logger("chain")
_lag = Gauge("crossrail_chain_lag_blocks", "Blocks between a chain's head and our cursor", ["network"])


class ForkTooDeep(Exception):
    """No common block within the headers that are kept: a person must look at the node."""


@dataclass(frozen=True, slots=True)
class ChainWatch:
    """Watches one rail account that is a chain."""

    adapter: RailAdapter
    scanner: ScansChain
    deposits: Deposits
    reads: Reads
    health: HealthBoard

    @property
    def network(self) -> Network:
        return Network.of(self.adapter.account, self.scanner)

    async def run_once(self) -> int:
        """Read up to the head; return how many blocks were taken. The cursor never passes a block that was not read."""
        network = self.network
        taken = 0
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                head = await self.scanner.head()
            cursor = await self._cursor(network) or await self._start(network, head.latest)
            while cursor["number"] < head.latest:
                # After the head was read: whoever pays in these blocks got the address before they were mined.
                await self.deposits.book.refresh(network.account.mode.value, network.family)
                if not await self._step(network, cursor):
                    break
                taken += 1
                cursor = await self._cursor(network) or cursor
        except (ChainScanFailed, TimeoutError) as error:
            self._note(CallOutcome.UNAVAILABLE, repr(error))
            _log.warning("chain_not_read", network=network.name, error=repr(error)[:300])
            return taken
        except CursorMoved as moved:
            _log.info("cursor_moved", network=network.name, text=str(moved))
            return taken
        self._note(CallOutcome.ANSWERED, "")
        _lag.labels(network.name).set(head.latest - cursor["number"])
        await self.deposits.credit_final(network, cursor["number"])
        return taken

    async def _start(self, network: Network, latest: int) -> Row:
        """Begin at the head: no address of ours was ever shown before."""
        header = await self.scanner.header(latest)
        if header is None:
            raise ChainScanFailed(f"{network.name}: the node has no header of its own head {latest}")
        await self.deposits.start_at(network, header)
        cursor = await self._cursor(network)
        assert cursor is not None, "the cursor was just written"
        return cursor

    async def _step(self, network: Network, cursor: Row) -> bool:
        """Take the next block, or go back on a fork; say whether to go on."""
        mode, family = network.account.mode.value, network.family
        book = self.deposits.book
        async with asyncio.timeout(CALL_TIMEOUT_S):
            scan = await self.scanner.scan_block(
                cursor["number"] + 1, lambda address: book.owner(mode, family, address) is not None
            )
        if scan is None:
            return False
        if scan.header.parent_hash == cursor["hash"]:
            await self.deposits.take_block(network, scan)
        else:
            await self._go_back(network, cursor)
        return True

    async def _go_back(self, network: Network, cursor: Row) -> None:
        dropped = [str(cursor["hash"])]
        number = int(cursor["number"]) - 1
        while len(dropped) <= REORG_DEPTH_MAX:
            ours = await self._header(network, number)
            theirs = await self.scanner.header(number)
            if ours is None:
                if theirs is None or await self._knows_older(network, number):
                    break
                # The fork goes back behind the block that this watch began at: nothing was credited from there.
                await self.deposits.rewind(network, theirs, dropped)
                return
            if theirs is not None and theirs.hash == ours.hash:
                await self.deposits.rewind(network, ours, dropped)
                return
            dropped.append(ours.hash)
            number -= 1
        raise ForkTooDeep(f"{network.name}: no common block down to {number}")

    async def _knows_older(self, network: Network, number: int) -> bool:
        table = table_of(ChainHeader)
        query = select(table.c.number).where(table.c.network == network.name, table.c.number < number).limit(1)
        return await self.reads.one(query) is not None

    async def _cursor(self, network: Network) -> Row | None:
        table = table_of(ChainCursor)
        return await self.reads.one(select(table).where(table.c.network == network.name))

    async def _header(self, network: Network, number: int) -> BlockHeader | None:
        table = table_of(ChainHeader)
        row = await self.reads.one(select(table).where(table.c.network == network.name, table.c.number == number))
        if row is None:
            return None
        return BlockHeader(number, row["hash"], row["parent_hash"], from_us(row["timestamp_us"]))

    def _note(self, outcome: CallOutcome, error: str) -> None:
        account = self.adapter.account
        for token in self.scanner.tokens:
            key = (account.rail, account.account, token.method)
            self.health.record(key, outcome, self.deposits.clock.now(), error[:200])
