"""The receipt of a transaction that paid us: did it succeed, and which place has the log in it. Pure.

The block-wide log index changes when a transaction is mined again in another block; the place inside its receipt
does not, so that place is the deposit's key (money rule 4).
"""

from __future__ import annotations

from typing import Any

from adapters.base import ChainScanFailed
from adapters.kit.chain.rpc import as_list, as_object, hash32, quantity
from adapters.kit.chain.transfer_log import TransferLog, read_transfer


def succeeded(raw: Any, tx_hash: str, block_hash: str) -> bool:
    """Say whether the transaction of this block succeeded. Raises ChainScanFailed where the receipt is not of it."""
    receipt = as_object(raw, f"receipt of {tx_hash}")
    if hash32(receipt.get("transactionHash"), "receipt.transactionHash") != tx_hash:
        raise ChainScanFailed(f"the receipt of {receipt['transactionHash']} came for {tx_hash}")
    if hash32(receipt.get("blockHash"), "receipt.blockHash") != block_hash:
        raise ChainScanFailed(f"{tx_hash} is in block {receipt['blockHash']} by its receipt, not in {block_hash}")
    status = quantity(receipt.get("status"), "receipt.status")
    if status not in {0, 1}:
        raise ChainScanFailed(f"{tx_hash} has the receipt status {status}")
    return status == 1


def ordinal_of(log: TransferLog, raw: Any, block_hash: str, block_number: int) -> int:
    """Return the log's place inside its receipt, 0 first. Raises ChainScanFailed unless it is there exactly once."""
    logs = as_list(as_object(raw, "receipt").get("logs"), "receipt.logs")
    places = [
        place
        for place, entry in enumerate(logs)
        if quantity(as_object(entry, "receipt.log").get("logIndex"), "receipt.logIndex") == log.log_index
    ]
    if len(places) != 1:
        raise ChainScanFailed(f"log {log.log_index} stands {len(places)} times in the receipt of {log.tx_hash}")
    if read_transfer(logs[places[0]], block_hash, block_number, {log.contract}) != log:
        raise ChainScanFailed(f"log {log.log_index} of {log.tx_hash} differs between eth_getLogs and its receipt")
    return places[0]
