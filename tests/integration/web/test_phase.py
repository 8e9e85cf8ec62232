"""The page's phase for every status of a payment."""

from __future__ import annotations

import pytest

from orchestrator.payments.payment import Status
from orchestrator.web.phase import Phase, phase_of


def phase(
    payment: str | None,
    attempt: str | None = None,
    action: str | None = None,
    *,
    session: str = "open",
    over: bool = False,
) -> Phase:
    return phase_of(session=session, over=over, payment=payment, attempt=attempt, action=action)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_page(status: Status) -> None:
    assert phase(status.value, "pending") in set(Phase)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None,), Phase.CHOOSE),
        (("awaiting_payment", "sent"), Phase.PROCESSING),
        (("awaiting_payment", "requires_action", "redirect"), Phase.REDIRECT),
        (("awaiting_payment", "requires_action", "deposit_address"), Phase.DEPOSIT),
        (("processing", "pending", "redirect"), Phase.PROCESSING),
        (("processing", "pending", "deposit_address"), Phase.DEPOSIT),
        (("unknown", "outcome_unknown"), Phase.UNKNOWN),
        (("failed", "declined_soft"), Phase.DECLINED),
        (("failed", "declined_hard"), Phase.DECLINED),
        (("failed", "not_sent"), Phase.UNAVAILABLE),
        (("failed", "canceled"), Phase.NOT_COMPLETED),
        (("review", "succeeded"), Phase.REVIEW),
        (("credited", "succeeded"), Phase.COMPLETE),
    ],
)
def test_the_page_follows_the_payment_and_its_last_attempt(given: tuple[str, ...], expected: Phase) -> None:
    assert phase(*given) is expected


@pytest.mark.parametrize(("session", "over"), [("expired", False), ("open", True)])
@pytest.mark.parametrize("given", [(None,), ("failed", "declined_soft"), ("expired", "superseded")])
def test_nothing_can_be_chosen_once_the_session_is_over(given: tuple[str, ...], session: str, over: bool) -> None:
    assert phase(*given, session=session, over=over) is Phase.EXPIRED


@pytest.mark.parametrize("status", ["processing", "unknown", "credited", "partially_paid", "review"])
def test_money_on_its_way_is_shown_also_after_the_session_is_over(status: str) -> None:
    assert phase(status, "pending", session="expired", over=True) is not Phase.EXPIRED
