"""Which page a buyer sees. PURE: a fold over the session's, the payment's and the last attempt's status."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from orchestrator.payments.attempt import AttemptStatus
from orchestrator.payments.payment import Status


class Phase(StrEnum):
    CHOOSE = "choose"
    REDIRECT = "redirect"
    """The buyer is expected at the rail's own page."""
    DEPOSIT = "deposit"
    PROCESSING = "processing"
    UNKNOWN = "unknown"
    PARTIAL = "partial"
    DECLINED = "declined"
    UNAVAILABLE = "unavailable"
    """The rail did not take the order: nothing happened."""
    NOT_COMPLETED = "not_completed"
    """The rail closed the attempt without money."""
    EXPIRED = "expired"
    REVIEW = "review"
    COMPLETE = "complete"


CHOOSING: Final = frozenset({Phase.CHOOSE, Phase.DECLINED, Phase.UNAVAILABLE, Phase.NOT_COMPLETED})
"""Phases in which the page lists the offers."""
CHANGING: Final = frozenset({Phase.REDIRECT, Phase.DEPOSIT})
"""Phases in which the buyer may still choose another offer."""
WAITING: Final = frozenset({Phase.REDIRECT, Phase.DEPOSIT, Phase.PROCESSING, Phase.UNKNOWN, Phase.PARTIAL})
"""Phases that money or a rail's word will end: looked at often."""
FINAL: Final = frozenset({Phase.COMPLETE})

_OPEN_TO_CHOICE: Final = frozenset({Status.CREATED, Status.FAILED})
_PLAIN: Final[Mapping[Status, Phase]] = {
    Status.CREATED: Phase.CHOOSE,
    Status.UNKNOWN: Phase.UNKNOWN,
    Status.PARTIALLY_PAID: Phase.PARTIAL,
    Status.EXPIRED: Phase.EXPIRED,
    Status.CANCELED: Phase.EXPIRED,
    Status.LATE_PAID: Phase.PROCESSING,
    Status.SETTLED: Phase.PROCESSING,
    Status.REVIEW: Phase.REVIEW,
    Status.CREDITED: Phase.COMPLETE,
    Status.REFUND_PENDING: Phase.COMPLETE,
    Status.PARTIALLY_REFUNDED: Phase.COMPLETE,
    Status.REFUNDED: Phase.COMPLETE,
    Status.DISPUTED: Phase.COMPLETE,
    Status.CLAWED_BACK: Phase.COMPLETE,
}
"""Statuses that say it alone; for the others the attempt is looked at."""


def phase_of(*, session: str, over: bool, payment: str | None, attempt: str | None, action: str | None) -> Phase:
    """Return the phase. ``over``: the session's time has passed; ``action``: type of the attempt's next action."""
    closed = session == "expired" or over
    status = Status(payment) if payment is not None else Status.CREATED
    if closed and status in _OPEN_TO_CHOICE:
        return Phase.EXPIRED
    if status is Status.FAILED:
        return _failed(attempt)
    return _PLAIN.get(status) or _in_flight(attempt, action)


def _in_flight(attempt: str | None, action: str | None) -> Phase:
    if action == "deposit_address":
        return Phase.DEPOSIT
    if action == "redirect" and attempt == AttemptStatus.REQUIRES_ACTION:
        return Phase.REDIRECT
    return Phase.PROCESSING


def _failed(attempt: str | None) -> Phase:
    if attempt in {AttemptStatus.DECLINED_SOFT, AttemptStatus.DECLINED_HARD}:
        return Phase.DECLINED
    return Phase.UNAVAILABLE if attempt == AttemptStatus.NOT_SENT else Phase.NOT_COMPLETED
