"""The port's other half: what leaves on a chain. Transactions are built and sent here; nobody here holds a key.

A transaction is built as bytes, signed elsewhere (the signer process), stored, and then sent: always the same bytes.
Its id is computed from the bytes, never taken from a node. Amounts are raw: as the chain counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from adapters.base import RailError


class CallKind(StrEnum):
    COIN = "coin"
    """A transfer of the chain's own coin."""
    TOKEN = "token"  # noqa: S105  # a coin's name, no password
    """``transfer`` of an ERC-20 or TRC-20 contract."""
    AUTHORIZED = "authorized"
    """``transferWithAuthorization`` (EIP-3009): the payer signed, the sender pays the fee. x402."""


@dataclass(frozen=True, slots=True)
class AuthorizedTransfer:
    """What a payer signed (EIP-3009), beside recipient and value."""

    payer: bytes
    valid_after: int
    """Unix seconds; not before."""
    valid_before: int
    """Unix seconds; not from then on."""
    nonce: bytes
    """32 bytes that the payer chose; the contract takes each once."""
    signature: bytes
    """r, s and v (27 or 28), 65 bytes."""


@dataclass(frozen=True, slots=True)
class ChainCall:
    """What a transaction does. Addresses are 20 raw bytes."""

    kind: CallKind
    sender: bytes
    """Who signs the transaction and pays its fee."""
    recipient: bytes
    raw_value: int
    contract: bytes | None = None
    """The token's; None for the coin."""
    authorized: AuthorizedTransfer | None = None


@dataclass(frozen=True, slots=True)
class FeeQuote:
    """What a call would cost now, in the coin's raw units."""

    expected: int
    maximum: int
    """The most that it can cost: what the sender has to hold."""
    gas: int
    """Gas on EVM, energy on TRON."""
    price: int
    """The most per gas, wei; sun per energy."""
    tip: int = 0
    beside: int = 0
    """Of what is expected, what is taken beside gas: a rollup's fee for its data."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    raw: bytes
    """What is signed."""
    expires_us: int | None
    """After it no node takes it any more; None: it never expires (EVM)."""


class Prepared(Protocol):
    """A transaction that lacks its number only."""

    def unsigned(self, nonce: int | None) -> Unsigned:
        """Return the bytes to sign. Pure: it may be called while the database holds its locks."""
        ...


class Sent(StrEnum):
    """What a node said of bytes that it was sent. Only the chain itself says what became of them."""

    TAKEN = "taken"
    KNOWN = "known"
    """It had them already: sent twice is fine."""
    REFUSED = "refused"
    """This node will not pass them on; another may have."""
    UNCLEAR = "unclear"
    """No answer."""


@dataclass(frozen=True, slots=True)
class SendAnswer:
    sent: Sent
    text: str = ""
    """The node's own words."""


@dataclass(frozen=True, slots=True)
class MovedToken:
    """One Transfer log of a receipt."""

    contract: bytes
    sender: bytes
    recipient: bytes
    raw_value: int


@dataclass(frozen=True, slots=True)
class ChainReceipt:
    """What a transaction did in its block."""

    block_number: int
    succeeded: bool
    fee: int
    """In the coin's raw units, exact."""
    moved: Sequence[MovedToken]
    final: bool
    """The block cannot fall away any more: finalized (EVM), solidified (TRON)."""


class SendFailed(RailError):
    """A node did not answer a question about sending, or not believably: nothing was sent; ask again."""


@runtime_checkable
class SendsOnChain(Protocol):
    """A chain on which transactions of ours are sent.

    Where a node gives no clean answer, a RailError says so: nothing happened by it, ask again.
    """

    @property
    def coin_decimals(self) -> int: ...

    @property
    def counts_transactions(self) -> bool:
        """True: every sender's transactions are numbered (EVM nonces). False: they expire instead (TRON)."""
        ...

    async def balance(self, holder: bytes, contract: bytes | None) -> int:
        """Return what an address holds of a token, or of the coin."""
        ...

    async def sent_count(self, sender: bytes, *, final: bool) -> int:
        """Return how many transactions of a sender are mined (or final): its next nonce. EVM only."""
        ...

    async def quote(self, call: ChainCall) -> FeeQuote:
        """Estimate what a call costs now. Raises CallWouldFail where the chain says that it cannot succeed."""
        ...

    async def prepare(self, call: ChainCall, quote: FeeQuote) -> Prepared:
        """Fetch what else the bytes need."""
        ...

    def read_signed(self, signed: bytes, unsigned: bytes) -> str:
        """Return the transaction's id. Raises ValueError where the bytes are not ``unsigned``, signed."""
        ...

    async def send(self, signed: bytes) -> SendAnswer:
        """Give signed bytes to the nodes. Never raises for what a node says; safe to repeat."""
        ...

    async def receipt(self, transaction_id: str, *, proven: bool = False) -> ChainReceipt | None:
        """Return what became of a transaction; None where no block that the nodes know holds it.

        ``proven``: every node must say so, each in a form that cannot be mistaken; before anything is sent in its place.
        """
        ...

    async def final_time_us(self) -> int:
        """Return the time of the newest final block: what expired before it will never be mined."""
        ...


class CallWouldFail(SendFailed):
    """The chain itself says that this call cannot succeed: paused, blacklisted, not enough there."""


@runtime_checkable
class CanSend(Protocol):
    """A rail account whose chain can be sent on."""

    @property
    def sender(self) -> SendsOnChain: ...

    @property
    def operating_address(self) -> bytes:
        """Return 1/0 of the account xpub: our wallet that pays fees for others, refunds, and settles x402."""
        ...

    def read_address(self, text: str) -> bytes:
        """Read an address as people copy it. Raises ValueError."""
        ...
