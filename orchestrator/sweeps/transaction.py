"""A transaction of ours as a row: its bytes stored, its nonce from the database. Inside units.

    built --signer--> signed --nodes--> sent --final block--> final | failed
      |                                   |
      +-- never signed: void              +-- TRON, past its end and in no final block: expired (another may follow)

There is one live transaction for each thing at a time, and none after one that is final: the table's own index says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from adapters.sending import ChainCall, Prepared
from orchestrator.database.unit import Changes, Lock, Row, View, row_lock
from orchestrator.ids import new_id
from orchestrator.sweeps.networks import SendingNetwork

LIVE = frozenset({"built", "signed", "sent"})
GONE = frozenset({"expired", "void"})
"""Nothing of it will ever be mined: another may take its place."""
SUBJECT = ("merchant_id", "subject_id")


class NotNow(Exception):
    """There is a transaction for this already, or the nonce is not known: nothing was written."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A transaction to be stored. ``units`` of ``asset`` is what the books will say that it moves."""

    merchant_id: str
    mode: str
    purpose: str
    subject_id: str
    branch: str
    key_index: int
    call: ChainCall
    asset: str
    units: int
    prepared: Prepared
    fee_max: int
    first_nonce: int | None
    """What the chain says where the database has no nonce of this sender yet; None: the chain numbers nothing."""
    recipient_index: int | None = None


def transaction_locks(network: SendingNetwork, wanted: Wanted) -> list[Lock]:
    return [
        Lock("chain_transaction", SUBJECT, (wanted.merchant_id, wanted.subject_id)),
        row_lock("chain_nonce", network.name, wanted.call.sender),
    ]


def put_transaction(view: View, changes: Changes, network: SendingNetwork, wanted: Wanted) -> Row:
    """Store one, unsigned. Raises NotNow where one lives or was mined."""
    rows = view.many("chain_transaction", SUBJECT, (wanted.merchant_id, wanted.subject_id))
    before = [row for row in rows if row["purpose"] == wanted.purpose]
    if any(row["status"] not in GONE for row in before):
        raise NotNow(f"{wanted.subject_id} has its {wanted.purpose} already")
    nonce = None if wanted.first_nonce is None else _next_nonce(view, changes, network, wanted)
    made = wanted.prepared.unsigned(nonce)
    row: Row = {
        "merchant_id": wanted.merchant_id, "id": new_id("ctx"), "mode": wanted.mode, "network": network.name,
        "purpose": wanted.purpose, "subject_id": wanted.subject_id, "generation": len(before),
        "branch": wanted.branch, "key_index": wanted.key_index, "recipient_index": wanted.recipient_index,
        "sender": wanted.call.sender, "recipient": wanted.call.recipient, "contract": wanted.call.contract,
        "asset": wanted.asset, "units": wanted.units, "raw_value": str(wanted.call.raw_value), "nonce": nonce,
        "fee_max": str(wanted.fee_max), "expires_us": made.expires_us, "unsigned": made.raw, "status": "built",
        "created_us": view.now_us, "updated_us": view.now_us,
    }  # fmt: skip
    changes.insert("chain_transaction", **row)
    return row


def _next_nonce(view: View, changes: Changes, network: SendingNetwork, wanted: Wanted) -> int:
    """Take the lowest number that was given back, else the next one."""
    sender = wanted.call.sender
    row = view.one("chain_nonce", network.name, sender)
    if row is None:
        assert wanted.first_nonce is not None, "the caller asked the chain"
        changes.insert("chain_nonce", network=network.name, sender=sender, next_nonce=wanted.first_nonce + 1)
        return wanted.first_nonce
    freed: list[int] = sorted(orjson.loads(row["freed"]))
    if freed:
        changes.update("chain_nonce", (network.name, sender), freed=orjson.dumps(freed[1:]).decode())
        return freed[0]
    nonce = int(row["next_nonce"])
    changes.update("chain_nonce", (network.name, sender), next_nonce=nonce + 1)
    return nonce


def void(view: View, changes: Changes, row: Row) -> None:
    """Give a transaction up that was never signed; its nonce serves the next one.

    Should the signer have signed it after all and its answer been lost, the signer itself refuses the nonce's second
    use and, on TRON, a second transaction for the same thing.
    """
    if row["status"] != "built":
        raise NotNow(f"{row['id']} is {row['status']}: what is signed can be mined")
    key = (row["merchant_id"], row["id"])
    changes.update("chain_transaction", key, status="void", updated_us=view.now_us)
    if row["nonce"] is not None:
        counter = view.one("chain_nonce", row["network"], row["sender"])
        assert counter is not None, "it was counted here"
        freed = sorted({*orjson.loads(counter["freed"]), row["nonce"]})
        changes.update("chain_nonce", (row["network"], row["sender"]), freed=orjson.dumps(freed).decode())


def transaction_object(row: Row, show: SendingNetwork | None) -> dict[str, object]:
    """Return one as the platform sees it."""
    return {
        "id": row["id"], "merchant": row["merchant_id"], "network": row["network"], "purpose": row["purpose"],
        "subject": row["subject_id"], "status": row["status"], "note": row["note"], "asset": row["asset"],
        "units": row["units"], "nonce": row["nonce"], "tx_hash": row["tx_hash"],
        "sender": show.show_address(bytes(row["sender"])) if show else bytes(row["sender"]).hex(),
        "recipient": show.show_address(bytes(row["recipient"])) if show else bytes(row["recipient"]).hex(),
        "unsigned": bytes(row["unsigned"]).hex(), "approvals": len(orjson.loads(row["approvals"])),
        "block_number": row["block_number"], "fee": row["fee"],
    }  # fmt: skip
