"""The port's part for agents that pay by themselves (x402): they sign an authorisation, somebody brings it to the chain.

What an agent pays lands on the customer's own deposit address, and only the chain's scanner credits it. So nothing here
moves money in the books; it only must not make an agent pay twice, and must not settle an authorisation twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from adapters.sending import AuthorizedTransfer


@dataclass(frozen=True, slots=True)
class AgentOffer:
    """One way to pay, as it was offered: what the agent accepts must equal it."""

    chain: str
    """CAIP-2."""
    contract: bytes
    raw_amount: int
    pay_to: bytes
    shown: Mapping[str, Any]
    """The payment requirements, as JSON."""


@dataclass(frozen=True, slots=True)
class AgentPayment:
    """What an agent signed, read and checked as far as that goes without a chain."""

    offer: AgentOffer
    authorized: AuthorizedTransfer
    payload: Mapping[str, Any]
    """The whole message, for a facilitator elsewhere."""


class PaymentInvalid(Exception):
    """Nothing happened and nothing will by this message. ``code`` is the protocol's own word."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Settled(StrEnum):
    DONE = "done"
    """It is on the chain, as far as the facilitator saw."""
    REFUSED = "refused"
    """It is not, and the facilitator will not try again."""
    UNKNOWN = "unknown"
    """Nobody knows: never ask the agent again, never settle again; the chain will tell."""


@dataclass(frozen=True, slots=True)
class Settlement:
    settled: Settled
    tx_hash: str | None = None
    reason: str = ""


@runtime_checkable
class TakesAgentPayments(Protocol):
    """A rail account that agents pay through, on one chain."""

    @property
    def chain(self) -> str:
        """CAIP-2: a rail account that scans this chain sees the money."""
        ...

    @property
    def contracts(self) -> Sequence[bytes]:
        """Tokens that can be paid with."""
        ...

    @property
    def settles_elsewhere(self) -> bool:
        """True: a facilitator elsewhere brings it to the chain. False: our own signer does, like a sweep."""
        ...

    def offer(self, contract: bytes, raw_amount: int, pay_to: bytes) -> AgentOffer: ...

    def read(self, message: Mapping[str, Any], offers: Sequence[AgentOffer], now: datetime) -> AgentPayment:
        """Read what an agent sent. Raises PaymentInvalid: not what was offered, not signed by the payer, not valid now."""
        ...

    async def settle(self, payment: AgentPayment) -> Settlement:
        """Ask the facilitator elsewhere, once. Never raises for what it says or does not say."""
        ...
