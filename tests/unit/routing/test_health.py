"""A rail is judged by its last minutes, and comes back by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.base import Decline, OutcomeUnknown, PaymentDeclined, RailMisconfigured, RailUnavailable, Severity
from orchestrator.routing.health import CALLS_MAX, CallOutcome, HealthBoard, HealthPolicy, HealthState, outcome_of
from tests.unit.routing.builders import NOON

KEY = ("stripe", "main", "card")
POLICY = HealthPolicy(window_seconds=300, calls_min=5, degraded_percent=20, down_percent=50, cool_down_seconds=30)
GOOD, BAD = CallOutcome.ANSWERED, CallOutcome.UNAVAILABLE


def board(*outcomes: CallOutcome) -> HealthBoard:
    """Record one call a second, from noon on."""
    made = HealthBoard(POLICY)
    for second, outcome in enumerate(outcomes):
        made.record(KEY, outcome, NOON + timedelta(seconds=second), "refused")
    return made


def state(made: HealthBoard, second: float) -> HealthState:
    return made.report(KEY, NOON + timedelta(seconds=second)).state


def test_a_rail_that_was_never_called_is_healthy() -> None:
    assert state(board(), 0) is HealthState.HEALTHY
    assert board().snapshot(NOON) == {}


def test_too_few_calls_prove_nothing() -> None:
    assert state(board(BAD, BAD, BAD, BAD), 4) is HealthState.HEALTHY


def test_a_fifth_of_failures_degrades_and_half_takes_down() -> None:
    assert state(board(GOOD, GOOD, GOOD, GOOD, BAD), 5) is HealthState.DEGRADED
    assert state(board(GOOD, GOOD, BAD, BAD, GOOD, BAD), 6) is HealthState.DOWN


def test_declines_are_answers() -> None:
    report = board(*[CallOutcome.DECLINED] * 20).report(KEY, NOON + timedelta(seconds=20))
    assert (report.state, report.calls, report.failures) == (HealthState.HEALTHY, 20, 0)


def test_a_rail_that_is_down_says_why_and_when_it_opens_again() -> None:
    report = board(BAD, BAD, BAD, BAD, BAD).report(KEY, NOON + timedelta(seconds=5))
    assert (report.calls, report.failures, report.last_error) == (5, 5, "refused")
    assert report.last_error_at == NOON + timedelta(seconds=4)
    assert report.reopens_at == NOON + timedelta(seconds=34)


def test_after_the_cool_down_it_is_probed_and_one_more_failure_closes_it() -> None:
    made = board(BAD, BAD, BAD, BAD, BAD)
    assert state(made, 33.9) is HealthState.DOWN
    assert state(made, 34) is HealthState.PROBING
    made.record(KEY, BAD, NOON + timedelta(seconds=40))
    assert state(made, 69) is HealthState.DOWN
    assert state(made, 70) is HealthState.PROBING


def test_after_the_cool_down_a_few_answers_in_a_row_make_it_healthy() -> None:
    made = board(BAD, BAD, BAD, BAD, BAD)
    for second, expected in ((40, HealthState.PROBING), (41, HealthState.PROBING), (42, HealthState.HEALTHY)):
        made.record(KEY, GOOD, NOON + timedelta(seconds=second))
        assert state(made, second) is expected


def test_a_failure_among_the_probes_counts_them_anew() -> None:
    made = board(BAD, BAD, BAD, BAD, BAD)
    for second, outcome in ((40, GOOD), (41, GOOD), (42, BAD), (80, GOOD), (81, GOOD)):
        made.record(KEY, outcome, NOON + timedelta(seconds=second))
    assert state(made, 82) is HealthState.PROBING


def test_an_answer_that_comes_during_the_cool_down_does_not_open_it() -> None:
    made = board(BAD, BAD, BAD, BAD, BAD)
    made.record(KEY, GOOD, NOON + timedelta(seconds=10))
    assert state(made, 11) is HealthState.DOWN


def test_what_is_older_than_the_window_is_forgotten() -> None:
    made = board(GOOD, GOOD, GOOD, GOOD, BAD)
    assert state(made, 303) is HealthState.HEALTHY
    report = made.report(KEY, NOON + timedelta(seconds=400))
    assert (report.calls, report.failures, report.last_error) == (0, 0, "refused")


def test_a_window_holds_a_limited_number_of_calls() -> None:
    made = HealthBoard(POLICY)
    for number in range(CALLS_MAX * 2):
        made.record(KEY, BAD if number < CALLS_MAX else GOOD, NOON)
    report = made.report(KEY, NOON)
    assert (report.calls, report.failures) == (CALLS_MAX, 0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, CallOutcome.ANSWERED),
        (PaymentDeclined(Decline(Severity.SOFT, "nsf", "Not enough money")), CallOutcome.DECLINED),
        (RailUnavailable(), CallOutcome.UNAVAILABLE),
        (OutcomeUnknown(), CallOutcome.UNKNOWN),
        (RailMisconfigured(), CallOutcome.MISCONFIGURED),
        (KeyError(), None),
    ],
)
def test_how_a_call_ended_says_this_of_the_rail(error: BaseException | None, outcome: CallOutcome | None) -> None:
    assert outcome_of(error) is outcome


def test_the_snapshot_is_what_the_engine_asks_for() -> None:
    assert board(BAD, BAD, BAD, BAD, BAD).snapshot(NOON + timedelta(seconds=5)) == {KEY: HealthState.DOWN}
