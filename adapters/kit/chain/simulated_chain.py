"""The chain behind a simulated node: blocks, pending transactions, reorganisation. State in memory.

Block numbers come from the clock (unix time / block_seconds) and a block's hash from its number, so that a restarted
sandbox goes on where it was: whoever remembers an older block still finds it, with the same hash and parents.
Written from the Ethereum execution API and java-tron's documentation; knows nothing of who reads it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eth_hash.auto import keccak

TRANSFER: Final = keccak(b"Transfer(address,address,uint256)")
APPROVAL: Final = keccak(b"Approval(address,address,uint256)")
BLOCKS_MADE_AT_ONCE_MAX: Final = 10_000
TRANSACTIONS_PER_BLOCK_MAX: Final = 200
STRANGERS: Final = (keccak(b"a stranger")[-20:], keccak(b"another stranger")[-20:])


@dataclass(frozen=True, slots=True)
class Token:
    code: str
    symbol: str
    contract: bytes
    decimals: int


@dataclass(frozen=True, slots=True)
class Log:
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    hash: str
    sender: bytes
    to: bytes
    logs: tuple[Log, ...]
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    number: int
    hash: str
    parent_hash: str
    timestamp: int
    """Unix seconds; may equal the parent's, as on chains with blocks below a second."""
    transactions: tuple[Transaction, ...]


def transfer_log(contract: bytes, sender: bytes, recipient: bytes, value: int) -> Log:
    return Log(contract, (TRANSFER, sender.rjust(32, b"\0"), recipient.rjust(32, b"\0")), value.to_bytes(32, "big"))


def foreign_log() -> Log:
    """Return a log of a contract that nobody watches."""
    return Log(secrets.token_bytes(20), (APPROVAL, secrets.token_bytes(32), secrets.token_bytes(32)), bytes(32))


class SimulatedChain:
    """Grows by the clock, and on demand."""

    def __init__(self, chain_id: int, block_seconds: float, now: Callable[[], datetime], lag_blocks: int = 0) -> None:
        self.chain_id = chain_id
        self.pending: list[Transaction] = []
        self.automine = True
        self._block_seconds = block_seconds
        self._now = now
        self._started = now().timestamp()
        self._first = math.floor(self._started / block_seconds)
        self._mined_by_hand = 0
        self._timestamps = [int(self._started)]
        self._salts: dict[int, int] = {}
        self._forks = 0
        self._transactions: dict[int, tuple[Transaction, ...]] = {}
        self.lag_blocks = lag_blocks

    @property
    def tip(self) -> int:
        """The newest block there is, whether a lagging node shows it or not."""
        return self._first + len(self._timestamps) - 1

    @property
    def head(self) -> int:
        """The newest block that this node shows."""
        self.catch_up()
        return max(0, self.tip - self.lag_blocks)

    def catch_up(self) -> None:
        """Make the blocks that the clock is due."""
        if not self.automine:
            return
        elapsed = math.floor((self._now().timestamp() - self._started) / self._block_seconds)
        for _ in range(self._first + self._mined_by_hand + elapsed - self.tip):
            self._make_block()

    def mine(self, count: int) -> None:
        """Make so many blocks now; the first of them takes what is pending."""
        self.catch_up()
        for _ in range(count):
            self._make_block()
        self._mined_by_hand += count

    def reorganise(self, depth: int, *, requeue: bool) -> None:
        """Replace the newest blocks by empty ones; what they held is pending again, or gone."""
        self.catch_up()
        self._forks += 1
        dropped: list[Transaction] = []
        for number in range(self.tip - depth + 1, self.tip + 1):
            self._salts[number] = self._forks
            dropped += self._transactions.pop(number, ())
        if requeue:
            self.pending[:0] = [tx for tx in dropped if tx.sender not in STRANGERS]

    def submit(self, sender: bytes, to: bytes, logs: tuple[Log, ...], *, ok: bool = True) -> Transaction:
        transaction = Transaction("0x" + secrets.token_hex(32), sender, to, logs, ok)
        self.pending.append(transaction)
        return transaction

    def block(self, number: int) -> Block | None:
        """Return a block that this node shows. Those from before the start are empty."""
        if not 0 <= number <= self.head:
            return None
        place = number - self._first
        before_start = max(0, int(self._started + place * self._block_seconds))
        timestamp = self._timestamps[place] if place >= 0 else before_start
        parent = self._hash(number - 1) if number else "0x" + "0" * 64
        return Block(number, self._hash(number), parent, timestamp, self._transactions.get(number, ()))

    def block_by_hash(self, block_hash: str) -> Block | None:
        block = self.block(int(block_hash[2:18], 16))
        return block if block is not None and block.hash == block_hash else None

    def blocks_with_transactions(self, first: int, last: int) -> Iterator[Block]:
        for number in sorted(self._transactions):
            block = self.block(number) if first <= number <= last else None
            if block is not None:
                yield block

    def find(self, tx_hash: str) -> tuple[Block, int] | None:
        """Return the block that holds a transaction, and its place there."""
        for block in self.blocks_with_transactions(0, self.head):
            for place, transaction in enumerate(block.transactions):
                if transaction.hash == tx_hash:
                    return block, place
        return None

    def _make_block(self) -> None:
        self._timestamps.append(max(self._timestamps[-1], int(self._now().timestamp())))
        if self.pending:
            taken, self.pending = self.pending[:TRANSACTIONS_PER_BLOCK_MAX], self.pending[TRANSACTIONS_PER_BLOCK_MAX:]
            self._transactions[self.tip] = tuple(taken)

    def _hash(self, number: int) -> str:
        """Height in the first 8 bytes, as on TRON; opaque to EVM clients."""
        salt = self._salts.get(number, 0)
        return "0x" + (number.to_bytes(8, "big") + keccak(f"{self.chain_id}/{number}/{salt}".encode())[8:]).hex()
