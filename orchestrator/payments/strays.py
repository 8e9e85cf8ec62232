"""Transfers that nobody is credited for by guess: tokens that are not in the registry, addresses of ours without an owner.

Recorded with their block, in no book; a person credits, ignores or plans a refund (``stray_desk``).
"""

from __future__ import annotations

from typing import Any, Final

from adapters.base import BlockScan, TokenTransfer, UnknownTransfer
from orchestrator.clock import to_us
from orchestrator.database.unit import Changes, Lock, Row, View, row_lock
from orchestrator.ids import new_id
from orchestrator.payments.addresses import AddressOwner
from orchestrator.payments.sightings import Network

_BY_BLOCK: Final = ("network", "block_hash")


def stray_lock(network: str, transfer: TokenTransfer | UnknownTransfer) -> Lock:
    return row_lock("stray_transfer", network, transfer.tx_hash, transfer.receipt_ordinal)


def stray_block_lock(network: str, block_hash: str) -> Lock:
    return Lock("stray_transfer", _BY_BLOCK, (network, block_hash))


def strays_of(scan: BlockScan, owners: dict[bytes, AddressOwner]) -> list[TokenTransfer | UnknownTransfer]:
    """Return the transfers of a block that have no owner or no registered token."""
    ownerless = [transfer for transfer in scan.transfers if transfer.recipient not in owners]
    return [*ownerless, *scan.unknown]


def record_strays(
    view: View, changes: Changes, network: Network, scan: BlockScan, owners: dict[bytes, AddressOwner]
) -> None:
    """Store a block's strays; one that is mined again takes its new block, and is open again if it had fallen away."""
    for transfer in strays_of(scan, owners):
        key = (network.name, transfer.tx_hash, transfer.receipt_ordinal)
        place: Row = {
            "block_number": scan.header.number,
            "block_hash": scan.header.hash,
            "block_us": to_us(scan.header.timestamp),
            "updated_us": view.now_us,
        }
        known = view.one("stray_transfer", *key)
        if known is not None:
            again = {"status": "open"} if known["status"] == "orphaned" else {}
            changes.update("stray_transfer", key, **place, **again)
            continue
        owner = owners.get(transfer.recipient)
        changes.insert(
            "stray_transfer",
            network=network.name,
            tx_hash=transfer.tx_hash,
            ordinal=transfer.receipt_ordinal,
            id=new_id("str"),
            sender=transfer.sender,
            recipient=transfer.recipient,
            raw_value=str(transfer.raw_value),
            merchant_id=None if owner is None else owner.merchant_id,
            wallet_id=None if owner is None else owner.wallet_id,
            status="open",
            note="",
            decided_by="",
            created_us=view.now_us,
            **_token(transfer),
            **place,
        )


def _token(transfer: TokenTransfer | UnknownTransfer) -> dict[str, Any]:
    if isinstance(transfer, TokenTransfer):
        return {
            "reason": "unknown_recipient",
            "contract": transfer.token.contract,
            "asset": str(transfer.amount.asset),
            "units": transfer.amount.units,
        }
    return {"reason": "unknown_token", "contract": transfer.contract, "asset": None, "units": 0}


def mark_strays_orphaned(view: View, changes: Changes, network: str, block_hash: str) -> None:
    """Their block fell away: what was open is not there to be decided any more."""
    for row in view.many("stray_transfer", _BY_BLOCK, (network, block_hash)):
        if row["status"] == "open":
            key = (network, row["tx_hash"], row["ordinal"])
            changes.update("stray_transfer", key, status="orphaned", updated_us=view.now_us)
