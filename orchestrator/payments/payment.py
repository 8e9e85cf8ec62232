"""The payment's state machine. PURE: a status is a fold over facts; the tables are data and a test draws them.

A command may be refused: what is absent in COMMANDS is. A fact of a rail is never refused: what is absent in AFTER
leaves the status as it is, and the fact is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    CREATED = "created"
    AWAITING_PAYMENT = "awaiting_payment"
    PROCESSING = "processing"
    UNKNOWN = "unknown"
    PARTIALLY_PAID = "partially_paid"
    EXPIRED = "expired"
    CANCELED = "canceled"
    LATE_PAID = "late_paid"
    FAILED = "failed"
    REVIEW = "review"
    SETTLED = "settled"
    CREDITED = "credited"
    REFUND_PENDING = "refund_pending"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    CLAWED_BACK = "clawed_back"


class Command(StrEnum):
    """What somebody asks of us."""

    SELECT = "select"
    EXPIRE = "expire"
    REFUND = "refund"


class Fact(StrEnum):
    """What happened."""

    SENT = "sent"
    """An attempt is about to be sent to its rail."""
    ACTION_REQUIRED = "action_required"
    NOT_SENT = "not_sent"
    """The rail was down or refused our request: nothing happened there."""
    PENDING = "pending"
    UNKNOWN = "unknown"
    DECLINED = "declined"
    ATTEMPT_CLOSED = "attempt_closed"
    """The rail's word that an attempt will bring no money (canceled, expired)."""
    SUPERSEDED = "superseded"
    """The buyer chose another method; the old one cannot be taken back and is watched on."""
    SESSION_EXPIRED = "session_expired"
    PARTIAL = "partial"
    """A part arrived, and is credited at once."""
    CAPTURED = "captured"
    SETTLED = "settled"
    CREDITED = "credited"
    REVIEW = "review"
    """Money arrived that could not be placed: it is in suspense."""
    PROVISIONAL = "provisional"
    """What was seen is credited until it is final: it can be used, and it can fall away."""
    ORPHANED = "orphaned"
    """What was seen or credited fell away with its block, and nothing else came."""
    PART_ORPHANED = "part_orphaned"
    """It fell away with its block; another part stays credited."""
    REFUND_ASKED = "refund_asked"
    REFUND_NOTED = "refund_noted"
    """One refund ended, or was made at the rail, while others are open."""
    REFUNDED = "refunded"
    """No refund is open, and all of the credit went back."""
    PART_REFUNDED = "part_refunded"
    REFUND_FAILED = "refund_failed"
    """No refund is open, and nothing went back."""
    DISPUTED = "disputed"
    """The payer's bank takes the money back, or will."""
    CLAWED_BACK = "clawed_back"
    """The dispute is lost: the credit was taken back."""
    WEBHOOK_REPLAYED = "webhook_replayed"
    """A person had a stored message of the rail applied once more; what it said is a fact of its own, if it was news."""
    DISPUTE_ENDED = "dispute_ended"
    """No dispute stands against it any more."""


COMMANDS: Final[Mapping[Command, frozenset[Status]]] = {
    Command.SELECT: frozenset({Status.CREATED, Status.AWAITING_PAYMENT, Status.FAILED}),
    Command.EXPIRE: frozenset({Status.CREATED, Status.AWAITING_PAYMENT, Status.PARTIALLY_PAID, Status.FAILED}),
    Command.REFUND: frozenset(
        {Status.CREDITED, Status.PARTIALLY_REFUNDED, Status.REFUND_PENDING, Status.PARTIALLY_PAID}
    ),
}

_OPEN: Final = (Status.CREATED, Status.AWAITING_PAYMENT, Status.PROCESSING, Status.UNKNOWN, Status.FAILED)


def _table() -> dict[tuple[Status, Fact], Status]:
    s, f = Status, Fact
    table: dict[tuple[Status, Fact], Status] = {
        (s.CREATED, f.SENT): s.AWAITING_PAYMENT,
        (s.FAILED, f.SENT): s.AWAITING_PAYMENT,
        (s.CREATED, f.SESSION_EXPIRED): s.EXPIRED,
        (s.AWAITING_PAYMENT, f.SESSION_EXPIRED): s.EXPIRED,
        (s.FAILED, f.SESSION_EXPIRED): s.EXPIRED,
        (s.PARTIALLY_PAID, f.SESSION_EXPIRED): s.SETTLED,
        (s.UNKNOWN, f.ACTION_REQUIRED): s.AWAITING_PAYMENT,
        (s.AWAITING_PAYMENT, f.PENDING): s.PROCESSING,
        (s.UNKNOWN, f.PENDING): s.PROCESSING,
        (s.AWAITING_PAYMENT, f.UNKNOWN): s.UNKNOWN,
        (s.PROCESSING, f.UNKNOWN): s.UNKNOWN,
        (s.EXPIRED, f.CAPTURED): s.LATE_PAID,
        (s.CANCELED, f.CAPTURED): s.LATE_PAID,
        (s.EXPIRED, f.PARTIAL): s.LATE_PAID,
        (s.CANCELED, f.PARTIAL): s.LATE_PAID,
        (s.LATE_PAID, f.SETTLED): s.SETTLED,
        (s.LATE_PAID, f.REVIEW): s.REVIEW,
        (s.PARTIALLY_PAID, f.CAPTURED): s.PROCESSING,
        (s.REVIEW, f.SETTLED): s.SETTLED,
        (s.SETTLED, f.CREDITED): s.CREDITED,
    }
    for status in (s.AWAITING_PAYMENT, s.PROCESSING, s.UNKNOWN):
        table[status, f.DECLINED] = s.FAILED
        table[status, f.NOT_SENT] = s.FAILED
        table[status, f.ATTEMPT_CLOSED] = s.FAILED
    table[s.UNKNOWN, f.SESSION_EXPIRED] = s.UNKNOWN  # only the rail's own answer leads out of it
    for status in _OPEN:
        table[status, f.CAPTURED] = s.PROCESSING
        table[status, f.PARTIAL] = s.PARTIALLY_PAID
        table[status, f.SETTLED] = s.SETTLED
        table[status, f.REVIEW] = s.REVIEW
    for status in (s.PROCESSING, s.PARTIALLY_PAID, s.LATE_PAID, s.REVIEW, s.SETTLED, s.CREDITED):
        table[status, f.ORPHANED] = s.AWAITING_PAYMENT
        table[status, f.PART_ORPHANED] = s.PARTIALLY_PAID
    for status in (s.CREDITED, s.PARTIALLY_REFUNDED, s.REFUNDED, s.REFUND_PENDING):
        table[status, f.REFUND_ASKED] = s.REFUND_PENDING
        table[status, f.REFUNDED] = s.REFUNDED
        table[status, f.PART_REFUNDED] = s.PARTIALLY_REFUNDED
        table[status, f.REFUND_FAILED] = s.CREDITED
    for status in (s.CREDITED, s.PARTIALLY_REFUNDED, s.REFUNDED, s.REFUND_PENDING, s.CLAWED_BACK):
        table[status, f.DISPUTED] = s.DISPUTED
        table[status, f.CLAWED_BACK] = s.CLAWED_BACK
    table[s.DISPUTED, f.CLAWED_BACK] = s.CLAWED_BACK
    for status in (s.DISPUTED, s.CLAWED_BACK):
        table[status, f.DISPUTE_ENDED] = s.CREDITED
    return table


AFTER: Final[Mapping[tuple[Status, Fact], Status]] = _table()
"""Where a fact leads; absent: the status stays, the fact is kept."""


def allows(status: Status, command: Command) -> bool:
    """Say whether a command may be carried out in this status."""
    return status in COMMANDS[command]


def after(status: Status, fact: Fact) -> Status:
    """Return the status after a fact."""
    return AFTER.get((status, fact), status)


def fold(facts: Iterable[Fact]) -> Status:
    """Return the status that a payment's facts, in their order, lead to."""
    status = Status.CREATED
    for fact in facts:
        status = after(status, fact)
    return status
