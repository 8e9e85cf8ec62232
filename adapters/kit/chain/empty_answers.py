"""Is a block really empty? A node that lags, limits or lies answers "no logs" just as an empty block does.

- EVM: the header's bloom filter decides. Where it denies our contracts, "none" is proven. Where it says "maybe" (on busy
  chains it often does so without cause) the logs are asked for once more, of another node where there is one; if they are
  empty again, all receipts of the block are read, which must be those of the header's transactions and must make up
  the header's bloom: then they are the whole truth, with or without a transfer. Only if that fails too is the block not
  read (ChainScanFailed), so a false positive cannot halt the chain.
- TRON: the bloom is constant zero. A block without transactions is empty; else its receipts are read, which must be those
  of the header's transactions. A node too old for ``eth_getBlockReceipts`` is believed, unless a second one disagrees.
  Hardly a block of the main network has no USDT transfer, so this costs nothing there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from adapters.base import BlockHeader, ChainScanFailed
from adapters.kit.chain.block import NodeBlock
from adapters.kit.chain.bloom import bits_of, bits_of_all, may_hold
from adapters.kit.chain.providers import Providers
from adapters.kit.chain.rpc import NodeRefused, NodeRpc, as_list, as_object, data_bytes, hash32
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC, TransferLog

METHOD_NOT_FOUND: Final = -32601
AskLogs = Callable[[NodeRpc, BlockHeader], Awaitable[list[Any]]]


class EmptyAnswers:
    """Doubts the empty answers of one chain's nodes."""

    def __init__(self, providers: Providers, contracts: Iterable[bytes], ask_logs: AskLogs, *, has_bloom: bool) -> None:
        self._providers = providers
        self._ask_logs = ask_logs
        self._has_bloom = has_bloom
        topic_bits = bits_of(bytes.fromhex(TRANSFER_TOPIC[2:]))
        self._bits = {contract: bits_of(contract) | topic_bits for contract in contracts}

    async def settle(self, node: NodeRpc, block: NodeBlock) -> list[Any]:
        """Return the logs after all, or an empty list that is proven. Raises ChainScanFailed where neither can be."""
        if not self._has_bloom:
            return await self._without_bloom(node, block)
        if not any(may_hold(block.bloom, bits) for bits in self._bits.values()):
            return []
        if again := await self._again([*self._providers.others(node), node], block.header):
            return again
        logs = await logs_of_receipts(node, block)
        if bits_of_all(item for log in logs for item in bloom_items(log)) != block.bloom:
            raise ChainScanFailed(f"{node.name}: the logs of block {block.header.hash} do not make up its bloom")
        return logs

    def assert_in_bloom(self, block: NodeBlock, hits: Sequence[TransferLog]) -> None:
        """Raise ChainScanFailed where the header denies a transfer that the node shows."""
        for hit in hits if self._has_bloom else ():
            if not may_hold(block.bloom, self._bits[hit.contract]):
                raise ChainScanFailed(f"log {hit.log_index} is denied by the bloom of block {block.header.hash}")

    async def _without_bloom(self, node: NodeRpc, block: NodeBlock) -> list[Any]:
        if not block.transaction_hashes:
            return []
        try:
            return await logs_of_receipts(node, block)
        except NodeRefused as refused:
            if refused.code != METHOD_NOT_FOUND:
                raise
        for other in self._providers.others(node):
            return await self._providers.ask_one(other, lambda asked: self._ask_logs(asked, block.header))
        return []

    async def _again(self, nodes: Sequence[NodeRpc], header: BlockHeader) -> list[Any]:
        """Ask once more. A second node that cannot answer settles nothing: the receipts decide then."""
        try:
            return await self._providers.ask_one(nodes[0], lambda asked: self._ask_logs(asked, header))
        except ChainScanFailed:
            if len(nodes) == 1:
                raise
            return []


async def logs_of_receipts(node: NodeRpc, block: NodeBlock) -> list[Any]:
    """Return every log of the block, by the receipts of all of its transactions.

    Raises ChainScanFailed where the receipts are not of exactly the header's transactions.
    """
    raw = await node.call("eth_getBlockReceipts", hex(block.header.number))
    receipts = [as_object(receipt, "receipt") for receipt in as_list(raw, f"{node.name} eth_getBlockReceipts")]
    found = {hash32(receipt.get("transactionHash"), "receipt.transactionHash") for receipt in receipts}
    if found != block.transaction_hashes:
        raise ChainScanFailed(f"{node.name}: the receipts of block {block.header.hash} are not of its transactions")
    return [log for receipt in receipts for log in as_list(receipt.get("logs"), "receipt.logs")]


def bloom_items(raw: Any) -> list[bytes]:
    log = as_object(raw, "log")
    topics = as_list(log.get("topics"), "log.topics")
    return [
        data_bytes(log.get("address"), 20, "log.address"),
        *(data_bytes(topic, 32, "log.topics") for topic in topics),
    ]
