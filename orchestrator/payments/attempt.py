"""One attempt's own small machine. PURE. Money that arrived wins over every other word, in any order of arrival."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from adapters.base import RailEvent, RailEventKind, Severity
from orchestrator.payments.payment import Fact


class AttemptStatus(StrEnum):
    PENDING_SEND = "pending_send"
    SENT = "sent"
    """Stored before the rail is called: after a crash it means unknown."""
    NOT_SENT = "not_sent"
    REQUIRES_ACTION = "requires_action"
    PENDING = "pending"
    OUTCOME_UNKNOWN = "outcome_unknown"
    SUCCEEDED = "succeeded"
    DECLINED_SOFT = "declined_soft"
    DECLINED_HARD = "declined_hard"
    CANCELED = "canceled"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


IN_FLIGHT: Final = frozenset(
    {
        AttemptStatus.PENDING_SEND,
        AttemptStatus.SENT,
        AttemptStatus.REQUIRES_ACTION,
        AttemptStatus.PENDING,
        AttemptStatus.OUTCOME_UNKNOWN,
    }
)
_WAITING: Final = IN_FLIGHT - {AttemptStatus.PENDING}


def after_event(status: AttemptStatus, event: RailEvent) -> tuple[AttemptStatus, Fact | None]:
    """Return the attempt's status after a rail's word (other than money), and the fact for its payment, if any."""
    match event.kind:
        case RailEventKind.ACTION_REQUIRED if status in {AttemptStatus.SENT, AttemptStatus.OUTCOME_UNKNOWN}:
            return AttemptStatus.REQUIRES_ACTION, Fact.ACTION_REQUIRED
        case RailEventKind.PENDING if status in _WAITING:
            return AttemptStatus.PENDING, Fact.PENDING
        case RailEventKind.DECLINED if status in IN_FLIGHT:
            soft = event.decline is not None and event.decline.severity is Severity.SOFT
            return (AttemptStatus.DECLINED_SOFT if soft else AttemptStatus.DECLINED_HARD), Fact.DECLINED
        case RailEventKind.CANCELED if status in IN_FLIGHT:
            return AttemptStatus.CANCELED, Fact.ATTEMPT_CLOSED
        case RailEventKind.EXPIRED if status in IN_FLIGHT:
            return AttemptStatus.EXPIRED, Fact.ATTEMPT_CLOSED
        case _:
            return status, None


def closes(event: RailEvent) -> bool:
    """Say whether the rail will take no more money for this attempt after this word."""
    match event.kind:
        case RailEventKind.CANCELED | RailEventKind.EXPIRED | RailEventKind.CAPTURED:
            return True
        case RailEventKind.DECLINED:
            return not event.still_open
        case RailEventKind.ACTION_REQUIRED | RailEventKind.PENDING:
            return False
