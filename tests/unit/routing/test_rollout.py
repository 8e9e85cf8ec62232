"""The guards of a canary: what calls a draft back, what does not, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import Invalid
from orchestrator.routing.rollout import Arm, Guards, breach

GUARDS = Guards(sample_min=30, settle_drop_percent=5, credit_time_percent=150, error_rise_percent=5)
WELL = Arm(decided=200, ended=200, settled=180, calls=200, errors=2, credit_seconds=(10.0,) * 180)


def test_a_draft_that_does_as_well_goes_on() -> None:
    assert breach(GUARDS, WELL, WELL) is None
    assert breach(GUARDS, WELL, replace(WELL, settled=200, errors=0, credit_seconds=(1.0,) * 200)) is None


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (replace(WELL, settled=150), "settle rate 75.0% against 90.0% (150 of 200; 180 of 200)"),
        (replace(WELL, errors=30), "error rate 15.0% against 1.0% (30 of 200 calls)"),
        (replace(WELL, credit_seconds=(16.0,) * 180), "time to credit 16 s against 10 s (middle of 180 and 180)"),
    ],
)
def test_each_guard_calls_a_draft_back_and_says_why(worse: Arm, said: str) -> None:
    reason = breach(GUARDS, WELL, worse)
    assert reason is not None
    assert reason.startswith(said)
    assert "the guard allows" in reason


@pytest.mark.parametrize(
    "little",
    [
        replace(WELL, settled=174),  # three points less: the guard allows five
        replace(WELL, errors=10),
        replace(WELL, credit_seconds=(15.0,) * 180),
        Arm(decided=29, ended=29, settled=0, calls=29, errors=29, credit_seconds=(900.0,) * 29),  # too few to say
    ],
)
def test_what_the_guards_allow_and_what_is_too_little_calls_nothing_back(little: Arm) -> None:
    assert breach(GUARDS, WELL, little) is None


def test_a_difference_that_chance_may_have_made_calls_nothing_back() -> None:
    base, draft = Arm(ended=30, settled=27), Arm(ended=30, settled=24)  # ten points, and one time in seven by chance
    assert breach(GUARDS, base, draft) is None
    assert breach(GUARDS, Arm(ended=300, settled=270), Arm(ended=300, settled=240)) is not None


def test_one_slow_payment_is_not_the_middle() -> None:
    slow = (*(10.0,) * 100, *(3_600.0,) * 80)
    assert breach(GUARDS, WELL, replace(WELL, credit_seconds=slow)) is None


def test_a_guard_that_could_never_hold_is_refused() -> None:
    for wrong in (Guards(sample_min=0), Guards(settle_drop_percent=0), Guards(credit_time_percent=99)):
        with pytest.raises(Invalid, match="at least"):
            wrong.check()
