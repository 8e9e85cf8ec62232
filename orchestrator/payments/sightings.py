"""A block's transfers, recorded: deposits, the payment each belongs to, and what a reorganization takes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from adapters.base import BlockHeader, RailAccount, ScansChain, TokenTransfer
from orchestrator.clock import rfc3339, to_us
from orchestrator.database.unit import Changes, Lock, Row, View
from orchestrator.ids import new_id
from orchestrator.payments.addresses import AddressOwner
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.payment import Fact
from orchestrator.payments.story import Story, money_body, usd_body
from rates.money import Asset, Money

_PAID_BY = ("rail", "account", "method", "asset")


@dataclass(frozen=True, slots=True)
class Network:
    """One watched chain, as the books name it: mode and CAIP-2."""

    account: RailAccount
    chain: str
    family: str
    confirmations: int

    @property
    def name(self) -> str:
        return f"{self.account.mode.value}:{self.chain}"

    @classmethod
    def of(cls, account: RailAccount, scanner: ScansChain) -> Network:
        return cls(account, scanner.chain, scanner.family, scanner.confirmations)


def deposit_object(row: Row) -> dict[str, Any]:
    """Return a deposit as events and the API show it."""
    return {
        "id": row["id"],
        "status": row["status"],
        "wallet": row["wallet_id"],
        "payment": row["payment_id"],
        "chain": row["network"].partition(":")[2],
        "tx_hash": row["tx_hash"],
        "ordinal": row["ordinal"],
        "method": row["method"],
        "amount": money_body(Money(row["units"], Asset.parse(row["asset"]))),
        "credited": usd_body(row["credited_units"]),
        "block_number": row["block_number"],
        "block_at": rfc3339(row["block_us"]),
    }


def deposit_lock(network: str, transfer: TokenTransfer) -> Lock:
    return Lock("deposit", ("network", "tx_hash", "ordinal"), (network, transfer.tx_hash, transfer.receipt_ordinal))


def attempts_lock(owner: AddressOwner) -> Lock:
    """Lock the attempts of a wallet that money may still come for."""
    return Lock("attempt", ("merchant_id", "wallet_id", "open_at_rail"), (owner.merchant_id, owner.wallet_id, 1))


def waiting_lock(network: str) -> Lock:
    """Lock the deposits that were seen and wait for their credit: what they bring is not yet in their attempts."""
    return Lock("deposit", ("network", "status"), (network, "detected"))


def put_header(view: View, changes: Changes, network: str, header: BlockHeader) -> None:
    """Store a header, over the one that a reorganization left at its height."""
    row = {"hash": header.hash, "parent_hash": header.parent_hash, "timestamp_us": to_us(header.timestamp)}
    if view.one("chain_header", network, header.number) is None:
        changes.insert("chain_header", network=network, number=header.number, **row)
    else:
        changes.update("chain_header", (network, header.number), **row)


@dataclass(slots=True)
class Sightings:
    """The transfers of one block, inside its unit. One payment may be met by several of them."""

    view: View
    changes: Changes
    network: Network
    header: BlockHeader
    _stories: dict[str, Story] = field(default_factory=dict)
    _paid: dict[str, int] = field(default_factory=dict)

    def record(self, transfer: TokenTransfer, owner: AddressOwner) -> None:
        """Store one transfer; the same one mined again takes its new block and waits again."""
        key = (self.network.name, transfer.tx_hash, transfer.receipt_ordinal)
        known = self.view.many("deposit", ("network", "tx_hash", "ordinal"), key)
        if known:
            self._mined_again(known[0])
            return
        attempt = self._attempt_for(transfer, owner) if transfer.amount.units else None
        row: Row = {
            "merchant_id": owner.merchant_id,
            "id": new_id("dep"),
            "mode": self.network.account.mode.value,
            "rail": self.network.account.rail,
            "account": self.network.account.account,
            "network": self.network.name,
            "tx_hash": transfer.tx_hash,
            "ordinal": transfer.receipt_ordinal,
            "method": transfer.token.method,
            "asset": str(transfer.amount.asset),
            "units": transfer.amount.units,
            "raw_value": str(transfer.raw_value),
            "remainder": str(transfer.remainder),
            "sender": transfer.sender,
            "recipient": transfer.recipient,
            "block_number": self.header.number,
            "block_hash": self.header.hash,
            "block_us": to_us(self.header.timestamp),
            "wallet_id": owner.wallet_id,
            "payment_id": attempt["payment_id"] if attempt else None,
            "attempt_id": attempt["id"] if attempt else None,
            "session_id": attempt["session_id"] if attempt else None,
            "generation": 0,
            "status": "detected" if transfer.amount.units else "dust",
            "credited_units": 0,
            "created_us": self.view.now_us,
            "updated_us": self.view.now_us,
        }
        self.changes.insert("deposit", **row)
        if attempt is not None:
            self._seen(attempt, row)
        self._tell("deposit.detected", row)

    def write(self) -> None:
        """Write the payments that were met."""
        for story in self._stories.values():
            story.write()

    def _attempt_for(self, transfer: TokenTransfer, owner: AddressOwner) -> Row | None:
        """The oldest open attempt with exactly this amount left; else the only open one; else none (rule 18)."""
        lock = attempts_lock(owner)
        account = self.network.account
        wanted = (account.rail, account.account, transfer.token.method, str(transfer.amount.asset))
        rows = self.view.many(lock.table, lock.columns, lock.values)
        open_ones = [row for row in rows if tuple(row[name] for name in _PAID_BY) == wanted]
        for row in open_ones:
            if row["units"] - row["received_units"] - self._waiting(row["id"]) == transfer.amount.units:
                return row
        return open_ones[0] if len(open_ones) == 1 else None

    def _waiting(self, attempt_id: str) -> int:
        """Units that were seen for an attempt, in this block or before, and are not credited yet."""
        lock = waiting_lock(self.network.name)
        waiting = self.view.many(lock.table, lock.columns, lock.values)
        before = sum(int(row["units"]) for row in waiting if row["attempt_id"] == attempt_id)
        return before + self._paid.get(attempt_id, 0)

    def _seen(self, attempt: Row, deposit: Row) -> None:
        self._paid[attempt["id"]] = self._paid.get(attempt["id"], 0) + deposit["units"]
        story = self._stories.get(attempt["payment_id"])
        if story is None:
            payment = self.view.one("payment", attempt["merchant_id"], attempt["payment_id"])
            assert payment is not None, "an attempt has its payment"
            story = self._stories[attempt["payment_id"]] = Story(payment, self.changes, self.view.now_us)
        story.tell(Fact.PENDING, at_us=deposit["block_us"], attempt_id=attempt["id"], deposit=deposit["id"])
        if attempt["status"] in IN_FLIGHT:
            key = (attempt["merchant_id"], attempt["id"])
            self.changes.update("attempt", key, status=AttemptStatus.PENDING.value, updated_us=self.view.now_us)

    def _mined_again(self, row: Row) -> None:
        again = row["status"] == "orphaned"
        self.changes.update(
            "deposit", (row["merchant_id"], row["id"]),
            block_number=self.header.number, block_hash=self.header.hash, block_us=to_us(self.header.timestamp),
            status="detected" if again else row["status"], generation=row["generation"] + (1 if again else 0),
            updated_us=self.view.now_us,
        )  # fmt: skip

    def _tell(self, type_: str, row: Row) -> None:
        body = orjson.dumps(deposit_object(row)).decode()
        self.changes.emit(type_, row["id"], body, row["merchant_id"])


def orphan(view: View, changes: Changes, row: Row) -> None:
    """Take a deposit back out of a block that fell away. What was credited already goes to a person."""
    if row["status"] == "detected":
        key = (row["merchant_id"], row["id"])
        changes.update("deposit", key, status="orphaned", updated_us=view.now_us)
        body = orjson.dumps(deposit_object({**row, "status": "orphaned"})).decode()
        changes.emit("deposit.orphaned", row["id"], body, row["merchant_id"])
    elif row["status"] in {"credited", "unallocated"}:
        ask_a_person(
            view, changes, row["merchant_id"], row["mode"], reason="credited_deposit_orphaned", subject=row["id"],
            payment_id=row["payment_id"], evidence=deposit_object(row),
        )  # fmt: skip
