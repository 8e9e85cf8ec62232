"""A block's transfers, recorded: deposits, the payment each belongs to, and what a reorganization takes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from adapters.base import BlockHeader, FinalityRule, RailAccount, ScansChain, TokenTransfer
from orchestrator.clock import rfc3339, to_us
from orchestrator.database.unit import Changes, Lock, Row, View
from orchestrator.ids import new_id
from orchestrator.payments.addresses import AddressOwner
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.payment import Fact
from orchestrator.payments.story import Story, money_body, usd_body
from rates.money import Asset, Money

_BY_PAYMENT = ("merchant_id", "payment_id")
_WAITING = frozenset({"detected", "provisional"})
_PAID_BY = ("rail", "account", "method", "asset")


@dataclass(frozen=True, slots=True)
class Network:
    """One watched chain, as the books name it: mode and CAIP-2."""

    account: RailAccount
    chain: str
    family: str
    finality: FinalityRule

    @property
    def confirmations(self) -> int:
        return self.finality.confirmations

    @property
    def name(self) -> str:
        return f"{self.account.mode.value}:{self.chain}"

    @classmethod
    def of(cls, account: RailAccount, scanner: ScansChain) -> Network:
        return cls(account, scanner.chain, scanner.family, scanner.finality)


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
        "provisional": usd_body(row["provisional_units"]),
        "block_number": row["block_number"],
        "block_at": rfc3339(row["block_us"]),
    }


def deposit_lock(network: str, transfer: TokenTransfer) -> Lock:
    return Lock("deposit", ("network", "tx_hash", "ordinal"), (network, transfer.tx_hash, transfer.receipt_ordinal))


def attempts_lock(owner: AddressOwner) -> Lock:
    """Lock the attempts of a wallet that money may still come for."""
    return Lock("attempt", ("merchant_id", "wallet_id", "open_at_rail"), (owner.merchant_id, owner.wallet_id, 1))


def payment_deposits_lock(merchant_id: str, payment_id: str) -> Lock:
    """Lock the deposits of a payment: those that wait for their credit are not yet in its attempts."""
    return Lock("deposit", _BY_PAYMENT, (merchant_id, payment_id))


def put_header(view: View, changes: Changes, network: str, header: BlockHeader) -> None:
    """Store a header, over the one that a reorganization left at its height."""
    row = {"hash": header.hash, "parent_hash": header.parent_hash, "timestamp_us": to_us(header.timestamp)}
    if view.one("chain_header", network, header.number) is None:
        changes.insert("chain_header", network=network, number=header.number, **row)
    else:
        changes.update("chain_header", (network, header.number), **row)


@dataclass(slots=True)
class Sightings:
    """The transfers of one or more blocks, inside their unit. One payment may be met by several of them."""

    view: View
    changes: Changes
    network: Network
    _stories: dict[str, Story] = field(default_factory=dict)
    _paid: dict[str, int] = field(default_factory=dict)

    def record(self, header: BlockHeader, transfer: TokenTransfer, owner: AddressOwner) -> None:
        """Store one transfer; the same one mined again takes its new block and waits again."""
        key = (self.network.name, transfer.tx_hash, transfer.receipt_ordinal)
        known = self.view.many("deposit", ("network", "tx_hash", "ordinal"), key)
        if known:
            self._mined_again(known[0], header, transfer)
            return
        dust = transfer.amount.units < max(1, transfer.token.dust_units)
        attempt = None if dust else self._attempt_for(transfer, owner)
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
            "block_number": header.number,
            "block_hash": header.hash,
            "block_us": to_us(header.timestamp),
            "wallet_id": owner.wallet_id,
            "payment_id": attempt["payment_id"] if attempt else None,
            "attempt_id": attempt["id"] if attempt else None,
            "session_id": attempt["session_id"] if attempt else None,
            "generation": 0,
            "status": "dust" if dust else "detected",
            "credited_units": 0,
            "provisional_units": 0,
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
            if row["units"] - row["received_units"] - self._waiting(row) == transfer.amount.units:
                return row
        return open_ones[0] if len(open_ones) == 1 else None

    def _waiting(self, attempt: Row) -> int:
        """Units that were seen for an attempt, in this block or before, and are not credited for good yet."""
        lock = payment_deposits_lock(attempt["merchant_id"], attempt["payment_id"])
        before = sum(
            int(row["units"])
            for row in self.view.many(lock.table, lock.columns, lock.values)
            if row["attempt_id"] == attempt["id"] and row["status"] in _WAITING and row["fallen_us"] is None
        )
        return before + self._paid.get(attempt["id"], 0)

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

    def _mined_again(self, row: Row, header: BlockHeader, transfer: TokenTransfer) -> None:
        """Put it into its new block. What was booked when it fell away begins anew, in its next generation."""
        changed: Row = {
            "block_number": header.number, "block_hash": header.hash,
            "block_us": to_us(header.timestamp), "fallen_us": None, "updated_us": self.view.now_us,
        }  # fmt: skip
        again = row["status"] == "orphaned"
        if again:
            dust = row["units"] < max(1, transfer.token.dust_units)
            changed |= {"status": "dust" if dust else "detected", "generation": row["generation"] + 1}
        self.changes.update("deposit", (row["merchant_id"], row["id"]), **changed)
        if again:
            self._tell("deposit.detected", {**row, **changed})
            attempt = self._attempt_of(row)
            if attempt is not None:
                self._seen(attempt, {**row, **changed})
        elif row["fallen_us"] is not None and row["attempt_id"] is not None and row["status"] in _WAITING:
            self._paid[row["attempt_id"]] = self._paid.get(row["attempt_id"], 0) + row["units"]

    def _attempt_of(self, row: Row) -> Row | None:
        """Its own attempt, if that still waits for money."""
        lock = attempts_lock(AddressOwner(row["merchant_id"], row["wallet_id"]))
        rows = self.view.many(lock.table, lock.columns, lock.values)
        return next((found for found in rows if found["id"] == row["attempt_id"]), None)

    def _tell(self, type_: str, row: Row) -> None:
        body = orjson.dumps(deposit_object(row)).decode()
        self.changes.emit(type_, row["id"], body, row["merchant_id"])
