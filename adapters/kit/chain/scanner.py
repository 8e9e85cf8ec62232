"""One log scanner for EVM chains and TRON: two calls per block, however many addresses we have.

A block is read so:
1. the header by its number;
2. ``eth_getLogs({blockHash, address: [our contracts], topics: [Transfer]})`` (EIP-234: a node that lacks the block
   must say so and cannot answer "none"); recipients are matched here, against ``is_ours``;
3. for our hits only, the receipt: it must have succeeded, and gives the log's place inside it.

An empty answer is not simply believed.
- EVM: the header's bloom filter decides. Where it denies our contracts, "none" is proven. Where it says "maybe" (on busy
  chains it often does so without cause) the logs are asked for once more, of another node where there is one; if they are
  empty again, all receipts of the block are read, which must be those of the header's transactions and must make up
  the header's bloom: then they are the whole truth, with or without a transfer. Only if that fails too is the block not
  read (ChainScanFailed), so a false positive cannot halt the chain.
- TRON: the bloom is constant zero. A block without transactions is empty; else its receipts are read, which must be those
  of the header's transactions. A node too old for ``eth_getBlockReceipts`` is believed, unless a second one disagrees.
  Hardly a block of the main network has no USDT transfer, so this costs nothing there.

Several nodes: one block is read from one node; if it fails, the next node is asked. Each node is asked for its chain
id before it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from adapters.base import BlockHeader, BlockScan, ChainHead, ChainScanFailed, ChainToken, TokenTransfer
from adapters.kit.chain.block import NodeBlock, read_block
from adapters.kit.chain.bloom import bits_of, bits_of_all, may_hold
from adapters.kit.chain.receipt import ordinal_of, succeeded
from adapters.kit.chain.rpc import NodeRefused, NodeRpc, as_list, as_object, data_bytes, hash32, quantity
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC, TransferLog, narrow, read_transfer

RECEIPTS_AT_ONCE_MAX: Final = 8
METHOD_NOT_FOUND: Final = -32601

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WatchedChain:
    chain: str
    """CAIP-2."""
    chain_id: int
    tokens: tuple[ChainToken, ...]
    has_bloom: bool
    """False where headers carry no real bloom filter (TRON)."""


class LogScanner:
    """Reads blocks of one chain from its nodes. Keeps nothing but which node answered last."""

    def __init__(self, watched: WatchedChain, nodes: Sequence[NodeRpc]) -> None:
        self._watched = watched
        self._nodes = tuple(nodes)
        self._preferred = 0
        self._tokens = {token.contract: token for token in watched.tokens}
        self._addresses = ["0x" + contract.hex() for contract in self._tokens]
        topic_bits = bits_of(bytes.fromhex(TRANSFER_TOPIC[2:]))
        self._bits = {contract: bits_of(contract) | topic_bits for contract in self._tokens}

    async def head(self) -> ChainHead:
        return await self._ask(self._head_of)

    async def header(self, number: int) -> BlockHeader | None:
        async def read(node: NodeRpc) -> BlockHeader | None:
            block = await self._block(node, number)
            return block.header if block else None

        return await self._ask(read)

    async def scan_block(self, number: int, is_ours: Callable[[bytes], bool]) -> BlockScan | None:
        async def read(node: NodeRpc) -> BlockScan | None:
            block = await self._block(node, number)
            return await self._scan(node, block, is_ours) if block else None

        return await self._ask(read)

    async def _ask(self, read: Callable[[NodeRpc], Awaitable[T]]) -> T:
        """Ask the node that answered last, then the others. Raises ChainScanFailed with every node's reason."""
        reasons: list[str] = []
        for step in range(len(self._nodes)):
            place = (self._preferred + step) % len(self._nodes)
            node = self._nodes[place]
            try:
                await node.ensure_chain(self._watched.chain_id)
                answer = await read(node)
            except ChainScanFailed as failed:
                reasons.append(str(failed))
            else:
                self._preferred = place
                return answer
        raise ChainScanFailed("; ".join(reasons))

    async def _head_of(self, node: NodeRpc) -> ChainHead:
        block = as_object(await node.call("eth_getBlockByNumber", "finalized", False), "finalized block")
        finalized = quantity(block.get("number"), "finalized block.number")
        latest = quantity(await node.call("eth_blockNumber"), "eth_blockNumber")
        if finalized > latest:
            raise ChainScanFailed(f"{node.name}: finalized block {finalized} is above the latest, {latest}")
        return ChainHead(latest, finalized)

    async def _block(self, node: NodeRpc, number: int) -> NodeBlock | None:
        raw = await node.call("eth_getBlockByNumber", hex(number), False)
        return read_block(raw, number, has_bloom=self._watched.has_bloom)

    async def _scan(self, node: NodeRpc, block: NodeBlock, is_ours: Callable[[bytes], bool]) -> BlockScan:
        logs = await self._logs(node, block.header)
        if not logs:
            logs = await self._doubt_nothing(node, block)
        hits = self._hits(block, logs, is_ours)
        receipts = await self._receipts(node, sorted({hit.tx_hash for hit in hits}), block.header)
        transfers = tuple(
            self._transfer(hit, receipts[hit.tx_hash], block.header) for hit in hits if hit.tx_hash in receipts
        )
        return BlockScan(self._watched.chain, block.header, transfers)

    async def _logs(self, node: NodeRpc, header: BlockHeader) -> list[Any]:
        wanted = {"blockHash": header.hash, "address": self._addresses, "topics": [TRANSFER_TOPIC]}
        return as_list(await node.call("eth_getLogs", wanted), f"{node.name} eth_getLogs")

    async def _doubt_nothing(self, node: NodeRpc, block: NodeBlock) -> list[Any]:
        """Return the logs after all, or an empty list that is proven (see the top of this file)."""
        others = [other for other in self._nodes if other is not node]
        if not self._watched.has_bloom:
            return await self._prove_without_bloom(node, others, block)
        if not any(may_hold(block.bloom, bits) for bits in self._bits.values()):
            return []
        if again := await self._logs_again([*others, node], block.header):
            return again
        logs = await _logs_of_receipts(node, block)
        if bits_of_all(item for log in logs for item in _bloom_items(log)) != block.bloom:
            raise ChainScanFailed(f"{node.name}: the logs of block {block.header.hash} do not make up its bloom")
        return logs

    async def _prove_without_bloom(self, node: NodeRpc, others: Sequence[NodeRpc], block: NodeBlock) -> list[Any]:
        if not block.transaction_hashes:
            return []
        try:
            return await _logs_of_receipts(node, block)
        except NodeRefused as refused:
            if refused.code != METHOD_NOT_FOUND:
                raise
        if not others:
            return []
        await others[0].ensure_chain(self._watched.chain_id)
        return await self._logs(others[0], block.header)

    async def _logs_again(self, nodes: Sequence[NodeRpc], header: BlockHeader) -> list[Any]:
        """Ask once more. A second node that cannot answer settles nothing: the receipts decide then."""
        try:
            await nodes[0].ensure_chain(self._watched.chain_id)
            return await self._logs(nodes[0], header)
        except ChainScanFailed:
            if len(nodes) == 1:
                raise
            return []

    def _hits(self, block: NodeBlock, logs: Sequence[Any], is_ours: Callable[[bytes], bool]) -> list[TransferLog]:
        """Return the transfers to us, zero values dropped: anybody can emit those from any address."""
        hits: dict[int, TransferLog] = {}
        for raw in logs:
            log = read_transfer(raw, block.header.hash, block.header.number, self._tokens)
            if log is None or log.value == 0 or not is_ours(log.recipient):
                continue
            if log.log_index in hits:
                raise ChainScanFailed(f"log {log.log_index} of block {block.header.hash} came twice")
            if self._watched.has_bloom and not may_hold(block.bloom, self._bits[log.contract]):
                raise ChainScanFailed(f"log {log.log_index} is denied by the bloom of block {block.header.hash}")
            hits[log.log_index] = log
        return [hits[index] for index in sorted(hits)]

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


async def _logs_of_receipts(node: NodeRpc, block: NodeBlock) -> list[Any]:
    """Return every log of the block, by the receipts of all of its transactions.

    Raises ChainScanFailed where the receipts are not of exactly the header's transactions.
    """
    raw = await node.call("eth_getBlockReceipts", hex(block.header.number))
    receipts = [as_object(receipt, "receipt") for receipt in as_list(raw, f"{node.name} eth_getBlockReceipts")]
    found = {hash32(receipt.get("transactionHash"), "receipt.transactionHash") for receipt in receipts}
    if found != block.transaction_hashes:
        raise ChainScanFailed(f"{node.name}: the receipts of block {block.header.hash} are not of its transactions")
    return [log for receipt in receipts for log in as_list(receipt.get("logs"), "receipt.logs")]


def _bloom_items(raw: Any) -> list[bytes]:
    log = as_object(raw, "log")
    topics = as_list(log.get("topics"), "log.topics")
    return [
        data_bytes(log.get("address"), 20, "log.address"),
        *(data_bytes(topic, 32, "log.topics") for topic in topics),
    ]
