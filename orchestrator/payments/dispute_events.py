"""What is told of a dispute: an event for each step, and the questions to a person that end with it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from adapters.operations import DisputeState
from orchestrator.database.unit import Changes, Row, View
from orchestrator.events.catalog import EventType, emit
from orchestrator.payments.dispute_terms import BY_SUBJECT, dispute_object

ENDED: Final = frozenset({DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED})
TWICE_WITHDRAWN: Final = "dispute_withdrawn_twice"
TWICE_RETURNED: Final = "dispute_returned_twice"
_TOLD: Final = {
    DisputeState.WON: EventType.DISPUTE_WON,
    DisputeState.LOST: EventType.DISPUTE_LOST,
    DisputeState.CLOSED: EventType.DISPUTE_CLOSED,
}


def announce(changes: Changes, before: Row | None, row: Row, *, opened: bool) -> None:
    """Tell the merchant of a step. One that begins and ends with the same word is told of twice."""
    state, changed = DisputeState(row["state"]), before is None or before["state"] != row["state"]
    type_ = EventType.DISPUTE_OPENED if opened else EventType.DISPUTE_UPDATED
    if not opened and changed and state in _TOLD:
        type_ = _TOLD[state]
    emit(changes, type_, row["id"], dispute_object(row), row["merchant_id"])
    if opened and state in _TOLD:
        emit(changes, _TOLD[state], row["id"], dispute_object(row), row["merchant_id"])


def close_reviews(view: View, changes: Changes, row: Row, reasons: Collection[str]) -> None:
    """Close what a person was asked and what has answered itself; a dispute's reviews are locked by its id."""
    for review in view.many("review", BY_SUBJECT, (row["merchant_id"], row["id"])):
        if review["status"] == "open" and review["reason"] in reasons:
            key = (row["merchant_id"], review["id"])
            changes.update("review", key, status="resolved", resolved_us=view.now_us)
