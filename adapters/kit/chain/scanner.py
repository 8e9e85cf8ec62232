"""One log scanner for EVM chains and TRON: two calls per block, however many addresses we have.

At the tip a block is read so:
1. the header by its number;
2. ``eth_getLogs({blockHash, address: [our contracts], topics: [Transfer, acts of administrators]})`` (EIP-234: a node
   that lacks the block must say so and cannot answer "none"); recipients are matched here, against ``is_ours``;
3. for our hits only, the receipt: it must have succeeded, and gives the log's place inside it.

Final blocks far behind are read by ranges: two headers and one ``eth_getLogs({fromBlock, toBlock})``, whose span grows
while the node answers and halves when it says "too much"; blocks with something for us are then read by their headers.
A range without any log is not believed: another node must say the same, or its blocks are read one by one.

An empty answer at the tip is not believed either (``EmptyAnswers``). Several nodes: ``Providers``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from adapters.base import (
    BlockHeader,
    BlockScan,
    ChainHead,
    ChainScanFailed,
    ChainToken,
    RangeScan,
    SeenTransfer,
    TokenTransfer,
    UnknownTransfer,
)
from adapters.final_balances import FinalBalances
from adapters.kit.chain import token_contract
from adapters.kit.chain.block import NodeBlock, read_block
from adapters.kit.chain.block_logs import WATCHED_TOPICS, Findings, LogReader
from adapters.kit.chain.empty_answers import EmptyAnswers
from adapters.kit.chain.providers import LAG_BLOCKS_MIN, NoNodeAnswered, Providers
from adapters.kit.chain.receipt import ordinal_of, succeeded
from adapters.kit.chain.rpc import (
    AnswerTooLarge,
    NodeRefused,
    NodeRpc,
    NodeSilent,
    as_list,
    as_object,
    hash32,
    quantity,
)
from adapters.kit.chain.transfer_log import TransferLog, narrow, read_transfer

RECEIPTS_AT_ONCE_MAX: Final = 8
SPAN_FIRST: Final = 64
SUSPECT_COUNTS: Final = frozenset({1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000})
"""Some nodes cut an answer at a round number and say nothing of it."""


@dataclass(frozen=True, slots=True)
class WatchedChain:
    chain: str
    """CAIP-2."""
    chain_id: int
    tokens: tuple[ChainToken, ...]
    has_bloom: bool
    """False where headers carry no real bloom filter (TRON)."""
    unknown_tokens: bool = False
    """True: Transfer logs of every contract are read, so that tokens nobody registered are found."""
    range_blocks_max: int = 2000
    lag_blocks_max: int = LAG_BLOCKS_MIN
    """So far behind the best head a node is still asked before others."""


class LogScanner:
    """Reads blocks of one chain from its nodes. Keeps nothing but the span that its nodes bear."""

    def __init__(self, watched: WatchedChain, nodes: Sequence[NodeRpc]) -> None:
        self._watched = watched
        self.providers = Providers(watched.chain_id, nodes, watched.lag_blocks_max)
        self._tokens = {token.contract: token for token in watched.tokens}
        self._reader = LogReader(watched.tokens, unknown_tokens=watched.unknown_tokens)
        self._filter: dict[str, Any] = {"topics": [WATCHED_TOPICS]}
        if not watched.unknown_tokens:
            self._filter["address"] = ["0x" + contract.hex() for contract in self._tokens]
        self._doubts = EmptyAnswers(self.providers, self._tokens, self._logs, has_bloom=watched.has_bloom)
        self._span = min(SPAN_FIRST, watched.range_blocks_max)

    @property
    def span(self) -> int:
        """How many blocks the next range asks for."""
        return self._span

    async def head(self) -> ChainHead:
        await self.providers.compare_heads(_latest)
        return await self.providers.ask(self._head_of)

    async def header(self, number: int) -> BlockHeader | None:
        async def read(node: NodeRpc) -> BlockHeader | None:
            block = await self._block(node, number)
            return block.header if block else None

        return await self.providers.ask(read)

    async def scan_block(self, number: int, is_ours: Callable[[bytes], bool]) -> BlockScan | None:
        async def read(node: NodeRpc) -> BlockScan | None:
            block = await self._block(node, number)
            if block is None and self.providers.doubt_head(node, number):
                raise ChainScanFailed(f"{node.name}: block {number} is not there, and its head was above it")
            return await self._scan(node, block, is_ours) if block else None

        return await self.providers.ask(read)

    async def scan_range(self, first: int, last: int, is_ours: Callable[[bytes], bool]) -> RangeScan:
        """Read final blocks from ``first``: as many as the span allows, ``last`` at most. Raises ChainScanFailed."""
        while True:
            end = min(last, first + self._span - 1)
            try:
                scan = await self.providers.ask(partial(self._range, first=first, last=end, is_ours=is_ours))
            except ChainScanFailed as failed:
                if end == first or not _asks_for_less(failed):
                    raise
                self._span = max(1, (end - first + 1) // 2)
            else:
                if end - first + 1 == self._span:
                    self._span = min(self._watched.range_blocks_max, self._span * 2)
                return scan

    async def second_opinion(self, seen: SeenTransfer) -> bool:
        """Ask another node for the block and the receipt of a transfer. Raises ChainScanFailed where none answers."""
        failures: list[ChainScanFailed] = []
        for other in self.providers.others(self.providers.preferred):
            try:
                return await self.providers.ask_one(other, partial(self._shows, seen=seen))
            except ChainScanFailed as failed:
                failures.append(failed)
        raise NoNodeAnswered(failures)

    async def _shows(self, node: NodeRpc, seen: SeenTransfer) -> bool:
        block = await self._block(node, seen.block_number)
        if block is None or block.header.hash != seen.block_hash:
            return False
        receipt = await node.call("eth_getTransactionReceipt", seen.tx_hash)
        if receipt is None or not succeeded(receipt, seen.tx_hash, seen.block_hash):
            return False
        logs = as_list(receipt.get("logs"), "receipt.logs")
        if seen.receipt_ordinal >= len(logs):
            return False
        log = read_transfer(logs[seen.receipt_ordinal], seen.block_hash, seen.block_number, {seen.contract})
        return log is not None and (log.recipient, log.value) == (seen.recipient, seen.raw_value)

    async def balances(self, token: ChainToken, addresses: Sequence[bytes]) -> list[int]:
        """Return what lies on addresses at the newest block, raw. Raises ChainScanFailed."""
        return await self.providers.ask(partial(token_contract.balances, contract=token.contract, addresses=addresses))

    async def final_balances(self, token: ChainToken, addresses: Sequence[bytes]) -> FinalBalances:
        """Return what lay on addresses at the block that the answering node calls finalized. Raises ChainScanFailed."""

        async def read(node: NodeRpc) -> FinalBalances:
            block = (await self._head_of(node)).finalized
            found = await token_contract.balances(node, token.contract, addresses, hex(block))
            return FinalBalances(found, block)

        return await self.providers.ask(read)

    # --- one range ------------------------------------------------------------------------------------------------

    async def _range(self, node: NodeRpc, first: int, last: int, is_ours: Callable[[bytes], bool]) -> RangeScan:
        wanted = {"fromBlock": hex(first), "toBlock": hex(last), **self._filter}
        async with _gathering() as tasks:
            heads = tasks.create_task(self._present(node, first)), tasks.create_task(self._present(node, last))
            asked = tasks.create_task(node.call("eth_getLogs", wanted))
        start, end = (task.result() for task in heads)
        logs = as_list(asked.result(), f"{node.name} eth_getLogs")
        if len(logs) in SUSPECT_COUNTS and last > first:
            raise AnswerTooLarge(f"{node.name} eth_getLogs: exactly {len(logs)} logs: the answer may be cut")
        if not logs:
            logs = await self._second_range(node, wanted)
        if not logs:
            return await self._one_by_one(node, first, end, start.header.parent_hash, is_ours)
        blocks: list[BlockScan] = []
        for number, raw in sorted(self._reader.sift(logs, is_ours).items()):
            if not first <= number <= last:
                raise ChainScanFailed(f"{node.name} eth_getLogs: block {number} came for {first} to {last}")
            block = await self._present(node, number)
            found = self._reader.find(block.header, raw, is_ours)
            if found.transactions or found.alarms:
                blocks.append(await self._complete(node, block.header, found))
        return RangeScan(first, start.header.parent_hash, end.header, tuple(blocks))

    async def _second_range(self, node: NodeRpc, wanted: Any) -> list[Any]:
        """Ask another node for a range that one calls empty; with nobody else to ask there is no answer."""
        for other in self.providers.others(node):
            logs = await self.providers.ask_one(other, lambda asked: asked.call("eth_getLogs", wanted))
            return as_list(logs, f"{other.name} eth_getLogs")
        return []

    async def _one_by_one(
        self, node: NodeRpc, first: int, end: NodeBlock, parent_hash: str, is_ours: Callable[[bytes], bool]
    ) -> RangeScan:
        """Read a range that is said to be empty block by block: each answer is then held against its header."""
        last = end.header
        scans: list[BlockScan] = []
        for number in range(first, last.number + 1):
            scan = await self._scan(node, await self._present(node, number), is_ours)
            if scan.transfers or scan.unknown or scan.alarms:
                scans.append(scan)
        return RangeScan(first, parent_hash, last, tuple(scans))

    async def _present(self, node: NodeRpc, number: int) -> NodeBlock:
        block = await self._block(node, number)
        if block is None:
            raise ChainScanFailed(f"{node.name}: final block {number} is not there")
        return block

    # --- one block ------------------------------------------------------------------------------------------------

    async def _head_of(self, node: NodeRpc) -> ChainHead:
        block = as_object(await node.call("eth_getBlockByNumber", "finalized", False), "finalized block")
        finalized = quantity(block.get("number"), "finalized block.number")
        finalized_hash = hash32(block.get("hash"), "finalized block.hash")
        latest = await _latest(node)
        if finalized > latest:
            raise ChainScanFailed(f"{node.name}: finalized block {finalized} is above the latest, {latest}")
        self.providers.saw_head(node, latest)
        return ChainHead(latest, finalized, finalized_hash)

    async def _block(self, node: NodeRpc, number: int) -> NodeBlock | None:
        raw = await node.call("eth_getBlockByNumber", hex(number), False)
        return read_block(raw, number, has_bloom=self._watched.has_bloom)

    async def _scan(self, node: NodeRpc, block: NodeBlock, is_ours: Callable[[bytes], bool]) -> BlockScan:
        logs = await self._logs(node, block.header)
        if not logs:
            logs = await self._doubts.settle(node, block)
        found = self._reader.find(block.header, logs, is_ours)
        self._doubts.assert_in_bloom(block, found.hits)
        return await self._complete(node, block.header, found)

    async def _logs(self, node: NodeRpc, header: BlockHeader) -> list[Any]:
        wanted = {"blockHash": header.hash, **self._filter}
        return as_list(await node.call("eth_getLogs", wanted), f"{node.name} eth_getLogs")

    async def _complete(self, node: NodeRpc, header: BlockHeader, found: Findings) -> BlockScan:
        receipts = await self._receipts(node, found.transactions, header)
        transfers = tuple(
            self._transfer(hit, receipts[hit.tx_hash], header) for hit in found.hits if hit.tx_hash in receipts
        )
        unknown = tuple(
            UnknownTransfer(
                log.tx_hash, ordinal_of(log, receipts[log.tx_hash], header.hash, header.number), log.contract, log.sender,
                log.recipient, log.value,
            )
            for log in found.strangers if log.tx_hash in receipts
        )  # fmt: skip
        return BlockScan(self._watched.chain, header, transfers, unknown, found.alarms)

    async def _receipts(self, node: NodeRpc, tx_hashes: Sequence[str], header: BlockHeader) -> dict[str, Any]:
        """Return the receipts of those transactions that succeeded."""
        slots = asyncio.Semaphore(RECEIPTS_AT_ONCE_MAX)

        async def fetch(tx_hash: str) -> Any:
            async with slots:
                return await node.call("eth_getTransactionReceipt", tx_hash)

        try:
            async with asyncio.TaskGroup() as tasks:
                fetched = {tx_hash: tasks.create_task(fetch(tx_hash)) for tx_hash in tx_hashes}
        except* ChainScanFailed as failed:
            raise ChainScanFailed(str(failed.exceptions[0])) from None
        answers = {tx_hash: task.result() for tx_hash, task in fetched.items()}
        return {tx_hash: raw for tx_hash, raw in answers.items() if succeeded(raw, tx_hash, header.hash)}

    def _transfer(self, hit: TransferLog, receipt: Any, header: BlockHeader) -> TokenTransfer:
        token = self._tokens[hit.contract]
        amount, remainder = narrow(hit.value, token)
        return TokenTransfer(
            tx_hash=hit.tx_hash,
            receipt_ordinal=ordinal_of(hit, receipt, header.hash, header.number),
            token=token,
            sender=hit.sender,
            recipient=hit.recipient,
            raw_value=hit.value,
            amount=amount,
            remainder=remainder,
        )


async def _latest(node: NodeRpc) -> int:
    return quantity(await node.call("eth_blockNumber"), "eth_blockNumber")


def _asks_for_less(failed: ChainScanFailed) -> bool:
    """Say whether a shorter range may be answered: the node named a limit, was too slow or said too much.

    Nodes have no common code for it: -32005, -32602, -32600, -32000 and words are all in use.
    """
    reasons = failed.failures if isinstance(failed, NoNodeAnswered) else (failed,)
    return any(isinstance(reason, (AnswerTooLarge, NodeSilent, NodeRefused)) for reason in reasons)


@asynccontextmanager
async def _gathering() -> AsyncIterator[asyncio.TaskGroup]:
    """Run calls together; the first failure is raised as what it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except* ChainScanFailed as failed:
        first = failed.exceptions[0]
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
