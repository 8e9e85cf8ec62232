"""What a transaction did, once its block is final: its entry, and the state of what it served. Inside one unit."""

from __future__ import annotations

import orjson

from adapters.kit.chain.transfer_log import narrow
from adapters.sending import ChainReceipt
from orchestrator.database.unit import Changes, Lock, Row, View, row_lock
from orchestrator.ids import new_id
from orchestrator.sweeps import recipes
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.sweeps.recipes import Gas
from rates.money import Asset, Money

X402_KEY = ("merchant_id", "id")


def closing_locks(row: Row) -> list[Lock]:
    merchant, subject = row["merchant_id"], row["subject_id"]
    locks = [row_lock("chain_transaction", merchant, row["id"])]
    match row["purpose"]:
        case "sweep" | "fuel":
            locks.append(row_lock("sweep", merchant, subject))
        case "refund":
            locks.append(row_lock("chain_refund", merchant, subject))
        case _:
            locks.append(Lock("x402_attempt", X402_KEY, (merchant, subject)))
    return locks


def close(view: View, changes: Changes, network: SendingNetwork, row: Row, receipt: ChainReceipt) -> None:
    """Book a final transaction. What did something else than it was made for goes to a person, with its gas booked."""
    gas = Gas(Money(network.coin_units(receipt.fee), network.coin), by_house=row["branch"] == "operating")
    moved = Money(row["units"], Asset.parse(row["asset"]))
    went = _went(row, receipt)
    succeeded = receipt.succeeded and (went is not None or row["contract"] is None)
    fact = row["id"]
    entry = recipes.gas_only(fact, network.name, gas)
    if succeeded:
        match row["purpose"]:
            case "fuel":
                entry = recipes.fuel(fact, network.name, moved, gas)
            case "sweep":
                arrived, _ = narrow(went or 0, network.tokens[bytes(row["contract"])])
                entry = recipes.sweep(fact, network.name, moved, arrived, gas)
            case "refund":
                entry = recipes.refund(fact, network.name, moved, gas)
            case _:
                pass  # x402: money came in, and only the scanner books that
    if entry is not None:
        changes.post(entry)
    changes.update(
        "chain_transaction", (row["merchant_id"], row["id"]), status="final" if succeeded else "failed",
        block_number=receipt.block_number, fee=str(receipt.fee), updated_us=view.now_us,
        note="" if succeeded else "reverted" if not receipt.succeeded else "it moved something else",
    )  # fmt: skip
    settle_subject(view, changes, row, succeeded=succeeded)
    if not succeeded and row["purpose"] != "x402":
        ask(view, changes, row, "chain_transaction_failed")


def settle_subject(view: View, changes: Changes, row: Row, *, succeeded: bool) -> None:
    """Write what became of the sweep, refund or attempt."""
    merchant, subject = row["merchant_id"], row["subject_id"]
    match row["purpose"]:
        case "fuel":
            if not succeeded:
                changes.update("sweep", (merchant, subject), status="failed", note="fuel", updated_us=view.now_us)
        case "sweep":
            status = "done" if succeeded else "failed"
            changes.update("sweep", (merchant, subject), status=status, updated_us=view.now_us)
        case "refund":
            status = "done" if succeeded else "failed"
            changes.update("chain_refund", (merchant, subject), status=status, updated_us=view.now_us)
        case _:
            (attempt,) = view.many("x402_attempt", X402_KEY, (merchant, subject))
            key = (attempt["network"], attempt["asset"], attempt["payer"], attempt["nonce"])
            status = "settled" if succeeded else "failed"
            reason = "" if succeeded else attempt["reason"] or "transaction_failed"
            changes.update(
                "x402_attempt", key, status=status, reason=reason, tx_hash=row["tx_hash"], updated_us=view.now_us
            )


def ask(view: View, changes: Changes, row: Row, reason: str) -> None:
    """Open a review item about a transaction."""
    evidence = {name: row[name] for name in ("network", "purpose", "subject_id", "tx_hash", "units", "asset", "note")}
    changes.insert(
        "review", merchant_id=row["merchant_id"], id=new_id("rev"), mode=row["mode"], reason=reason, subject=row["id"],
        payment_id=None, status="open", evidence=orjson.dumps(evidence).decode(), created_us=view.now_us,
        resolved_us=None,
    )  # fmt: skip


def _went(row: Row, receipt: ChainReceipt) -> int | None:
    """Return what the recipient got of the token, raw; None where the sender's side is not what was asked for."""
    if row["contract"] is None:
        return None
    contract, raw = bytes(row["contract"]), int(row["raw_value"])
    if row["purpose"] == "x402":
        got = sum(one.raw_value for one in receipt.moved if one.contract == contract)
        return got if got >= raw else None
    sender, recipient = bytes(row["sender"]), bytes(row["recipient"])
    ours = [one for one in receipt.moved if one.contract == contract and one.sender == sender]
    if sum(one.raw_value for one in ours) != raw:
        return None
    return sum(one.raw_value for one in ours if one.recipient == recipient)
