"""One block header as a node gives it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.base import BlockHeader, ChainScanFailed
from adapters.kit.chain.bloom import BLOOM_BYTES
from adapters.kit.chain.rpc import as_list, as_object, data_bytes, hash32, quantity


@dataclass(frozen=True, slots=True)
class NodeBlock:
    """A header, and what else of the block serves to check answers about it."""

    header: BlockHeader
    bloom: int
    """The header's logsBloom as a number; 0 on TRON, which keeps none."""
    transaction_hashes: frozenset[str]


def read_block(raw: Any, number: int, *, has_bloom: bool) -> NodeBlock | None:
    """Read the answer of ``eth_getBlockByNumber(number, false)``; its ``null`` is a block that is not there yet.

    Raises ChainScanFailed.
    """
    if raw is None:
        return None
    block = as_object(raw, f"block {number}")
    found = quantity(block.get("number"), "block.number")
    if found != number:
        raise ChainScanFailed(f"block {found} came for block {number}")
    hashes = [hash32(tx, "block.transactions") for tx in as_list(block.get("transactions"), "block.transactions")]
    seconds = quantity(block.get("timestamp"), "block.timestamp")
    try:
        timestamp = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ChainScanFailed(f"block {number} has the timestamp {seconds}") from None
    header = BlockHeader(
        number=number,
        hash=hash32(block.get("hash"), "block.hash"),
        parent_hash=hash32(block.get("parentHash"), "block.parentHash"),
        timestamp=timestamp,
    )
    bloom = data_bytes(block.get("logsBloom"), BLOOM_BYTES, "block.logsBloom") if has_bloom else b""
    return NodeBlock(header, int.from_bytes(bloom, "big"), frozenset(hashes))
