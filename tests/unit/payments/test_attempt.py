"""One attempt's machine: money wins in any order, and a word that comes late takes nothing back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.base import Decline, Mode, RailEvent, RailEventKind, Severity
from orchestrator.database import tables
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus, after_event, closes
from orchestrator.payments.payment import Fact

A, K = AttemptStatus, RailEventKind
SOFT = Decline(Severity.SOFT, "insufficient_funds", "Not enough money.")
HARD = Decline(Severity.HARD, "stolen_card", "Refused.")


def _event(kind: RailEventKind, *, decline: Decline | None = None, still_open: bool = False) -> RailEvent:
    return RailEvent(
        "fake", "main", Mode.TEST, "evt", kind, "att", "ref", datetime(2026, 11, 1, tzinfo=UTC),
        decline=decline, still_open=still_open,
    )  # fmt: skip


def test_in_flight_means_the_same_to_the_machine_and_to_the_database() -> None:
    assert {status.value for status in IN_FLIGHT} == set(tables.IN_FLIGHT)


MOVES = {
    (A.SENT, K.ACTION_REQUIRED): (A.REQUIRES_ACTION, Fact.ACTION_REQUIRED),
    (A.OUTCOME_UNKNOWN, K.ACTION_REQUIRED): (A.REQUIRES_ACTION, Fact.ACTION_REQUIRED),
    **{(status, K.PENDING): (A.PENDING, Fact.PENDING) for status in IN_FLIGHT - {A.PENDING}},
    **{(status, K.CANCELED): (A.CANCELED, Fact.ATTEMPT_CLOSED) for status in IN_FLIGHT},
    **{(status, K.EXPIRED): (A.EXPIRED, Fact.ATTEMPT_CLOSED) for status in IN_FLIGHT},
    **{(status, K.DECLINED): (A.DECLINED_SOFT, Fact.DECLINED) for status in IN_FLIGHT},
}


@pytest.mark.parametrize("status", list(AttemptStatus))
@pytest.mark.parametrize("kind", [kind for kind in RailEventKind if kind is not RailEventKind.CAPTURED])
def test_a_word_moves_an_attempt_as_the_table_says(status: AttemptStatus, kind: RailEventKind) -> None:
    event = _event(kind, decline=SOFT if kind is K.DECLINED else None)
    assert after_event(status, event) == MOVES.get((status, kind), (status, None))


@pytest.mark.parametrize("decline", [HARD, None])
def test_a_decline_that_is_not_surely_soft_is_hard(decline: Decline | None) -> None:
    assert after_event(A.PENDING, _event(K.DECLINED, decline=decline)) == (A.DECLINED_HARD, Fact.DECLINED)


@pytest.mark.parametrize("status", [status for status in AttemptStatus if status not in IN_FLIGHT])
def test_nothing_brings_an_attempt_back_into_flight(status: AttemptStatus) -> None:
    for kind in RailEventKind:
        assert after_event(status, _event(kind))[0] is status


def test_a_rail_closes_an_attempt_by_its_word_alone() -> None:
    closing = {kind for kind in RailEventKind if closes(_event(kind))}
    assert closing == {K.CAPTURED, K.CANCELED, K.EXPIRED, K.DECLINED}
    assert not closes(_event(K.DECLINED, still_open=True)), "the hosted page takes another card"
