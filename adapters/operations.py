"""What a rail can do with money after it was taken, as optional abilities beside the port of ``base.py``.

A rail implements the protocols that its vendor has; who asks looks with ``isinstance``. The rules of ``base.py`` hold:
amounts are in the scale of ``display_asset``, our id is the vendor's idempotency key, and every call may raise
RailUnavailable (nothing happened), OutcomeUnknown (sent, ask again under the same id) or RailMisconfigured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from adapters.base import Mode, RailError, RailEvent
from rates.money import Money

# --- refunds ------------------------------------------------------------------------------------------------------


class RefundState(StrEnum):
    PENDING = "pending"
    """Taken, not yet through (a word that is not known counts as this)."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The money stays with us, or came back to us."""


class RefundRefused(RailError):
    """The rail will not refund this and did nothing: too much, too late, disputed, or the method cannot."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """What is to be given back of one piece of money. The same order again gives the same refund."""

    refund_id: str
    """Ours: the rail's idempotency key and its reference to us."""
    attempt_id: str
    money_id: str
    """``RailEvent.money_id`` of the capture."""
    amount: Money
    """All of it, or a part."""
    created_at: datetime
    rail_reference: str | None = None
    """The rail's own id, for ``fetch_refund``; None where its answer never reached us."""


@dataclass(frozen=True, slots=True)
class RefundEvent:
    """One thing that a rail said of one refund, from an answer, a poll or a webhook."""

    rail: str
    account: str
    mode: Mode
    event_id: str
    state: RefundState
    refund_id: str | None
    """Ours, as the rail echoes it; None for a refund that somebody made in the vendor's dashboard."""
    rail_reference: str
    money_id: str | None
    amount: Money | None
    occurred_at: datetime
    reason: str = ""
    """The rail's own word for a failure."""


@runtime_checkable
class Refunds(Protocol):
    async def refund_payment(self, order: RefundOrder) -> RefundEvent:
        """Give money back. Raises RefundRefused."""
        ...

    async def fetch_refund(self, order: RefundOrder) -> RefundEvent | None:
        """Ask what became of a refund; without ``rail_reference`` it is searched by our id. None proves nothing."""
        ...


# --- disputes -----------------------------------------------------------------------------------------------------


class DisputeState(StrEnum):
    NEEDS_ANSWER = "needs_answer"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    CLOSED = "closed"
    """It ended without a verdict (an inquiry that came to nothing)."""


class Funds(StrEnum):
    """What the rail did with the disputed money by this statement."""

    UNCHANGED = "unchanged"
    WITHDRAWN = "withdrawn"
    RETURNED = "returned"


NOT_CAPTURED: Final = "capture failed"
"""Begins the ``reason`` of a dispute that is none: the money was called ours and never came, so no report will have it."""


@dataclass(frozen=True, slots=True)
class DisputeEvent:
    """One thing that a rail said of one dispute."""

    rail: str
    account: str
    mode: Mode
    event_id: str
    dispute_id: str
    state: DisputeState
    inquiry: bool
    """True: a question of the bank; no money has moved for it."""
    funds: Funds
    money_id: str | None
    attempt_id: str | None
    amount: Money
    reason: str
    """The rail's own word."""
    answer_by: datetime | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Document:
    """One file of evidence."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is shown to the bank. A rail takes of it what it has fields for."""

    summary: str
    product: str = ""
    customer_email: str = ""
    customer_ip: str = ""
    usage_log: str = ""
    """When the credit was used, line by line."""
    documents: tuple[Document, ...] = ()


@runtime_checkable
class AnswersDisputes(Protocol):
    async def submit_evidence(self, dispute_id: str, evidence: Evidence) -> None:
        """Answer a dispute, once and finally."""
        ...

    async def accept_dispute(self, dispute_id: str) -> None:
        """Give a dispute up: the money is the buyer's. Safe to repeat."""
        ...


@runtime_checkable
class ListsDisputes(Protocol):
    async def list_disputes(self, since: datetime) -> Sequence[DisputeEvent]:
        """Return every dispute that was opened since, as it stands now, newest first."""
        ...


@runtime_checkable
class ReportsReversals(Protocol):
    def parse_reversals(self, headers: Mapping[str, str], body: bytes) -> Sequence[RefundEvent | DisputeEvent]:
        """Verify a webhook's raw bytes and read what it says of refunds and disputes. Raises WebhookRejected."""
        ...


# --- capture after authorisation ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """Take what an order with ``capture_later`` only reserved."""

    attempt_id: str
    authorisation_id: str
    """``detail["authorisation"]`` of the PENDING event that said so."""
    amount: Money
    """All of it, or less: the rest is released."""


@runtime_checkable
class CapturesLater(Protocol):
    @property
    def later_methods(self) -> frozenset[str]:
        """Methods of this rail whose money can be reserved first; the others take it at once."""
        ...

    async def capture_payment(self, order: CaptureOrder) -> Sequence[RailEvent]:
        """Ask for the money; CAPTURED is in the answer or comes by webhook. Once per attempt."""
        ...

    async def release_payment(self, order: CaptureOrder) -> None:
        """Let the reservation go. Safe to repeat."""
        ...


# --- reports ------------------------------------------------------------------------------------------------------


class LineKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"
    DISPUTE_REVERSED = "dispute_reversed"
    FEE = "fee"
    PAYOUT = "payout"
    OTHER = "other"
    """A word that is not known: a person looks."""


@dataclass(frozen=True, slots=True)
class SettlementLine:
    """One line of what the rail says it holds for us. ``net`` = ``gross`` - ``fee`` in the currency of settlement."""

    line_id: str
    """Names the line for ever: a page may show it again."""
    kind: LineKind
    word: str
    """The vendor's own."""
    money_id: str | None
    attempt_id: str | None
    reference: str | None
    """The vendor's id of the refund, dispute or payout."""
    gross: Money
    """Signed: what came to us is positive."""
    fee: Money
    net: Money
    occurred_at: datetime
    batch: str = ""
    original: Money | None = None
    """Where the rail converted it: ``gross`` in the currency that the buyer paid in, signed alike."""
    exchange_rate: str = ""
    """The rail's own, as it prints it: ``original`` times this is ``gross``."""


@dataclass(frozen=True, slots=True)
class SettlementPage:
    lines: tuple[SettlementLine, ...]
    next_cursor: str
    """To ask with next time, for ever."""
    more: bool
    """False: nothing newer is there yet."""


@runtime_checkable
class ReportsSettlement(Protocol):
    async def settlement_page(self, cursor: str) -> SettlementPage:
        """Read the next lines after a cursor ("" = from the beginning of the account). Safe to repeat."""
        ...


@runtime_checkable
class NamesPayoutLines(Protocol):
    async def payout_lines(self, reference: str) -> frozenset[str] | None:
        """Return the ids of the lines that a payout of ours is made of, without its own; None where nobody says.

        ``reference`` is that of the payout's line. Raises RailUnavailable where the rail does not know it yet.
        """
        ...


# --- looking at an account ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """What a look at the vendor showed."""

    said: str
    """Who the key belongs to."""
    clock_ahead_seconds: float | None
    """Of our clock against the vendor's Date header; None where it said none."""


@runtime_checkable
class ChecksAccount(Protocol):
    async def check_account(self) -> AccountCheck:
        """Make one call that changes nothing. Raises RailUnavailable (not reachable), RailMisconfigured (key refused)."""
        ...


@runtime_checkable
class NamesEventTypes(Protocol):
    def event_types(self, body: bytes) -> Sequence[tuple[str, bool]]:
        """Return the vendor's word of each message in a verified webhook, and whether it is one that is read here."""
        ...
