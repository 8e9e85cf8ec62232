"""A month's disputes against the schemes' limits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.payments.dispute_rates import Month, judge, read_limits

LIMITS = read_limits()


def level(programme: str, disputes: int, same_month: int, month_before: int) -> str:
    (found,) = [one for one in judge(LIMITS, disputes, same_month, month_before) if one.programme.name == programme]
    return found.level


@pytest.mark.parametrize(
    ("disputes", "month_before", "wanted"),
    [
        (99, 100, "warning"),  # many of few, and not yet a hundred
        (100, 6666, "exceeded"),  # 1.5001 %
        (100, 6667, "warning"),  # 1.4999 %
        (60, 6666, "warning"),
        (59, 100, "ok"),
        (1000, 10_000_000, "ok"),
        (100, 0, "exceeded"),  # a merchant's first month
    ],
)
def test_both_numbers_of_a_programme_must_be_reached(disputes: int, month_before: int, wanted: str) -> None:
    assert level("Mastercard ECM", disputes, 1, month_before) == wanted


def test_a_programme_divides_by_its_own_month() -> None:
    assert level("Visa VAMP, merchant excessive", 1500, 100_000, 1) == "exceeded"
    assert level("Visa VAMP, merchant excessive", 1500, 100_001, 1) == "warning"
    assert level("Mastercard HECM", 300, 1, 10_000) == "exceeded"
    assert level("Mastercard HECM", 300, 1, 10_001) == "warning"


def test_every_limit_names_its_source_and_the_day_it_was_read() -> None:
    assert all(one.source.startswith("https://") and one.read_on.year >= 2026 for one in LIMITS.programmes)


def test_months_follow_each_other_over_the_year() -> None:
    january = Month.of(datetime(2026, 1, 31, tzinfo=UTC))
    assert (str(january.before), str(january.before.after), str(january.after)) == ("2025-12", "2026-01", "2026-02")
    assert january.after.first_us - january.first_us == 31 * 86_400_000_000
    assert Month.parse("2026-11") == Month(2026, 11)
    with pytest.raises(ValueError, match=r"unconverted|does not match"):
        Month.parse("2026-13")
