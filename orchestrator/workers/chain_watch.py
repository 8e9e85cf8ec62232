"""Follows one chain: block after block, back to the common ancestor on a fork, credit when deep enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Gauge
from sqlalchemy import func, select

from adapters.base import (
    BlockHeader,
    BlockScan,
    ChainHead,
    ChainScanFailed,
    RailAdapter,
    RailMisconfigured,
    RailUnavailable,
    ScansChain,
    SeenTransfer,
    TokenCodeChanged,
)
from orchestrator.clock import from_us, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, ChainCursor, ChainHeader, table_of
from orchestrator.database.unit import Row
from orchestrator.ids import new_id
from orchestrator.payments.deposits import Blocks, CursorMoved, Deposits
from orchestrator.payments.sightings import Network
from orchestrator.payments.token_alarms import alarm_code_changed, note_alarm
from orchestrator.routing.health import CallOutcome, HealthBoard

REORG_DEPTH_MAX = 5000
HEADERS_PAGE = 100
CALL_TIMEOUT_S = 60
CATCH_UP_FROM_BLOCKS = 8
"""So many final blocks behind: they are read by ranges."""
LEASE_S = 15.0
START_MARGIN_US = 60_000_000
"""The chain's clock and ours differ."""
CHECK_EVERY_US = 3_600_000_000
ERROR_CHARS = 700
"""Two hashes and what to do stand in one."""
OFFERED_LAG_S = 300.0
"""A chain whose newest block that we read is older than this is not offered: who pays would wait without a word."""
_log = structlog.get_logger("chain")
_lag = Gauge("crossrail_chain_lag_blocks", "Blocks between a chain's head and our cursor", ["network"])
_lag_s = Gauge("crossrail_chain_lag_seconds", "Age of the newest block that was read", ["network"])
_finalized = Gauge("crossrail_chain_finalized", "The highest block that is final and ours", ["network"])


class ForkTooDeep(Exception):
    """No common block within the headers that are kept: a person must look at the node."""


@dataclass(frozen=True, slots=True)
class ChainWatch:
    """Watches one rail account that is a chain. Of several watches of one chain, the lease lets one write."""

    adapter: RailAdapter
    scanner: ScansChain
    deposits: Deposits
    reads: Reads
    health: HealthBoard
    lease_seconds: float = LEASE_S
    owner: str = field(default_factory=lambda: new_id("scn"))
    _checks: list[int] = field(default_factory=list)
    """When the contracts were checked last, in microseconds."""

    @property
    def network(self) -> Network:
        return Network.of(self.adapter.account, self.scanner)

    async def run_once(self) -> int:
        """Read up to the head, then credit; return how many blocks were taken.

        The cursor never passes a block that was not read. What fell away on a fork is taken back after the new branch
        was read as far as it could be: most of it is mined again there.
        """
        network = self.network
        taken = 0
        try:
            await self._check(network)
            async with asyncio.timeout(CALL_TIMEOUT_S):
                head = await self.scanner.head()
            cursor = await self._cursor(network) or await self._start(network, head.latest)
            if not await self._lease(network, cursor):
                await self._note(network, "")  # another process scans: how far it is stands in the database
                return 0
            try:
                while cursor["number"] < head.latest:
                    step = await self._advance(network, cursor, head)
                    if not step:
                        break
                    taken += step
                    cursor = await self._cursor(network) or cursor
            finally:
                await self.deposits.desk.reverse_fallen(network)
            await self._check(
                network
            )  # at once where a token's code was replaced just now: before anything is credited
            await self._finalized(network, cursor, head)
        except (ChainScanFailed, TimeoutError) as error:
            _log.warning("chain_not_read", network=network.name, error=repr(error)[:300])
            await self._note(network, repr(error))
            return taken
        except RailMisconfigured as wrong:
            # Another chain, another code, other decimals: whatever would be read might be worth something else.
            _log.error("chain_misconfigured", network=network.name, error=str(wrong)[:ERROR_CHARS])
            self._record(CallOutcome.MISCONFIGURED, str(wrong))
            if isinstance(wrong, TokenCodeChanged):
                await alarm_code_changed(self.deposits.writer, self.reads, network, wrong)
            return taken
        except CursorMoved as moved:
            _log.info("cursor_moved", network=network.name, text=str(moved))
            return taken
        cursor = await self._cursor(network) or cursor
        _lag.labels(network.name).set(head.latest - cursor["number"])
        await self._note(network, "")
        await self.deposits.desk.settle(network, cursor, self._vouch)
        return taken

    async def _check(self, network: Network) -> None:
        """Assert chain id and contracts before the first block, and every hour. Raises as ``ScansChain.check``."""
        now_us = self.deposits.clock.now_us()
        if self._checks and now_us - self._checks[-1] < CHECK_EVERY_US:
            return
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self.scanner.check()
        except RailUnavailable as silent:
            raise ChainScanFailed(str(silent)) from None
        self._checks[:] = [now_us]
        _log.info("chain_checked", network=network.name)

    # --- forward --------------------------------------------------------------------------------------------------

    async def _start(self, network: Network, latest: int) -> Row:
        """Begin before the first address was shown to a buyer of this chain; at the head, where none was yet.

        The first look may come late (a node that was down, a contract that was checked first): who paid meanwhile is found.
        """
        header = await self._present(network, latest)
        shown_us = await self._first_shown(network)
        while shown_us is not None and header.number and to_us(header.timestamp) > shown_us - START_MARGIN_US:
            gap_s = (to_us(header.timestamp) - shown_us + START_MARGIN_US) / 1_000_000
            back = int(gap_s / self.scanner.block_seconds) + 1
            header = await self._present(network, max(0, header.number - back))
        await self.deposits.start_at(network, header)
        cursor = await self._cursor(network)
        assert cursor is not None, "the cursor was just written"
        return cursor

    async def _first_shown(self, network: Network) -> int | None:
        table = table_of(Attempt)
        first = select(func.min(table.c.created_us).label("created_us")).where(
            table.c.mode == network.account.mode.value,
            table.c.rail == network.account.rail,
            table.c.account == network.account.account,
        )
        row = await self.reads.one(first)
        return None if row is None else row["created_us"]

    async def _present(self, network: Network, number: int) -> BlockHeader:
        header = await self.scanner.header(number)
        if header is None:
            raise ChainScanFailed(f"{network.name}: the node has no header of its own block {number}")
        return header

    async def _lease(self, network: Network, cursor: Row) -> bool:
        """Hold the chain. Renewed when half of it is over."""
        half_us = int(self.lease_seconds * 500_000)
        if cursor["owner"] == self.owner and cursor["lease_us"] > self.deposits.clock.now_us() + half_us:
            return True
        held = await self.deposits.lease(network, self.owner, self.lease_seconds)
        if held and cursor["owner"] not in {self.owner, ""}:
            self._checks.clear()  # what the one before us saw of a token's code, we did not
        return held

    async def _advance(self, network: Network, cursor: Row, head: ChainHead) -> int:
        """Take the next block or range, or go back on a fork; return the blocks that were taken (1 for going back)."""
        final = min(head.finalized, head.latest)
        # After the head was read: whoever pays in these blocks got the address before they were mined.
        await self.deposits.book.refresh(network.account.mode.value, network.family)
        if final - cursor["number"] >= CATCH_UP_FROM_BLOCKS:
            return await self._range(network, cursor, final)
        return int(await self._step(network, cursor))

    async def _range(self, network: Network, cursor: Row, last: int) -> int:
        first = int(cursor["number"]) + 1
        async with asyncio.timeout(CALL_TIMEOUT_S):
            scan = await self.scanner.scan_range(first, last, self._is_ours(network))
        if scan.parent_hash != cursor["hash"]:
            await self._go_back(network, cursor)
            return 1
        await self._lease(network, cursor)
        await self.deposits.take(network, Blocks(scan.parent_hash, first, scan.last, scan.blocks), self.owner)
        self._tell_alarms(network, scan.blocks)
        return scan.last.number - first + 1

    async def _step(self, network: Network, cursor: Row) -> bool:
        """Take the next block, or go back on a fork; say whether to go on."""
        async with asyncio.timeout(CALL_TIMEOUT_S):
            scan = await self.scanner.scan_block(cursor["number"] + 1, self._is_ours(network))
        if scan is None:
            return False
        if scan.header.parent_hash != cursor["hash"]:
            await self._go_back(network, cursor)
            return True
        await self.deposits.take_block(network, scan, self.owner)
        self._tell_alarms(network, (scan,))
        return True

    def _is_ours(self, network: Network) -> Callable[[bytes], bool]:
        mode, family, book = network.account.mode.value, network.family, self.deposits.book
        book.look_ahead(mode, family, self.scanner.derive_address)
        return book.watched(mode, family).__contains__

    def _tell_alarms(self, network: Network, scans: Sequence[BlockScan]) -> None:
        for scan in scans:
            for alarm in scan.alarms:
                note_alarm(network, alarm)
                if alarm.replaces_code:
                    self._checks.clear()

    async def _finalized(self, network: Network, cursor: Row, head: ChainHead) -> None:
        """Raise the final block, where the node's is one that we read, with the same hash."""
        number = head.finalized
        if number <= cursor["finalized_number"] or number > cursor["number"]:
            return
        ours = await self._header(network, number)
        if ours is not None and head.finalized_hash and head.finalized_hash != ours.hash:
            _log.error("finalized_block_differs", network=network.name, number=number, ours=ours.hash)
            return
        if ours is None:  # inside a range: the last header above it stands in the same chain
            theirs = await self.scanner.header(number)
            if theirs is None or theirs.hash != head.finalized_hash:
                return
        await self.deposits.lease(network, self.owner, self.lease_seconds, number)
        _finalized.labels(network.name).set(number)

    async def _vouch(self, deposit: Row) -> bool:
        """Ask a second node about a large deposit; where nobody can say, it waits."""
        contracts = {
            token.method: token.contract for token in self.scanner.tokens if str(token.asset) == deposit["asset"]
        }
        seen = SeenTransfer(
            tx_hash=deposit["tx_hash"],
            receipt_ordinal=deposit["ordinal"],
            block_number=deposit["block_number"],
            block_hash=deposit["block_hash"],
            contract=contracts[deposit["method"]],
            recipient=bytes(deposit["recipient"]),
            raw_value=int(deposit["raw_value"]),
        )
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await self.scanner.second_opinion(seen)
        except (ChainScanFailed, TimeoutError) as error:
            _log.warning("no_second_opinion", network=self.network.name, deposit=deposit["id"], error=repr(error)[:200])
            return False

    # --- back -----------------------------------------------------------------------------------------------------

    async def _go_back(self, network: Network, cursor: Row) -> None:
        """Find the newest block that we have in common, and rewind to it."""
        dropped = [str(cursor["hash"])]
        below = int(cursor["number"])
        while len(dropped) <= REORG_DEPTH_MAX:
            kept = await self._headers_below(network, below)
            if not kept:
                theirs = await self.scanner.header(below - 1)
                if theirs is None:
                    break
                # The fork goes back behind the block that this watch began at: nothing was credited from there.
                await self.deposits.rewind(network, theirs, dropped, self.owner)
                return
            for ours in kept:
                theirs = await self.scanner.header(ours.number)
                if theirs is not None and theirs.hash == ours.hash:
                    await self._tell_depth(network, cursor, ours)
                    await self.deposits.rewind(network, ours, dropped, self.owner)
                    return
                dropped.append(ours.hash)
                below = ours.number
        raise ForkTooDeep(f"{network.name}: no common block down to {below}")

    async def _tell_depth(self, network: Network, cursor: Row, ancestor: BlockHeader) -> None:
        if ancestor.number < cursor["finalized_number"]:
            _log.error(
                "final_block_fell_away", network=network.name, finalized=cursor["finalized_number"],
                ancestor=ancestor.number,
            )  # fmt: skip

    async def _headers_below(self, network: Network, number: int) -> list[BlockHeader]:
        table = table_of(ChainHeader)
        rows = await self.reads.all(
            select(table)
            .where(table.c.network == network.name, table.c.number < number)
            .order_by(table.c.number.desc())
            .limit(HEADERS_PAGE)
        )
        return [_header_of(row) for row in rows]

    # --- rows -----------------------------------------------------------------------------------------------------

    async def _cursor(self, network: Network) -> Row | None:
        table = table_of(ChainCursor)
        return await self.reads.one(select(table).where(table.c.network == network.name))

    async def _header(self, network: Network, number: int) -> BlockHeader | None:
        table = table_of(ChainHeader)
        row = await self.reads.one(select(table).where(table.c.network == network.name, table.c.number == number))
        return None if row is None else _header_of(row)

    async def _note(self, network: Network, error: str) -> None:
        """Tell the health board, by scan lag: a chain is offered while its newest block that we read is fresh."""
        cursor = await self._cursor(network)
        newest = None if cursor is None else await self._header(network, cursor["number"])
        now = self.deposits.clock.now()
        lag_s = 0.0 if newest is None else max(0.0, (to_us(now) - to_us(newest.timestamp)) / 1_000_000)
        _lag_s.labels(network.name).set(lag_s)
        late = newest is None or lag_s > OFFERED_LAG_S
        if error and not late:
            return  # one bad answer is no reason to offer a chain less: its scan is fresh
        outcome = CallOutcome.UNAVAILABLE if late else CallOutcome.ANSWERED
        text = error or (f"the newest block that was read is {lag_s:.0f} s old" if late else "")
        self._record(outcome, text)

    def _record(self, outcome: CallOutcome, text: str) -> None:
        account, now = self.adapter.account, self.deposits.clock.now()
        for token in self.scanner.tokens:
            self.health.record((account.rail, account.account, token.method), outcome, now, text[:ERROR_CHARS])


def _header_of(row: Row) -> BlockHeader:
    return BlockHeader(row["number"], row["hash"], row["parent_hash"], from_us(row["timestamp_us"]))
