"""What a person may decide about a review item, by its reason and subject. Pure.

An action that is not listed for an item does not exist for it: no decision can invent or lose money.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from orchestrator.database.unit import Entry, Row
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.ledger.recipes import Holding
from orchestrator.payments.refund_questions import LOST
from rates.money import Money


class Action(StrEnum):
    CREDIT = "credit"
    """Out of suspense into a wallet, priced as money that arrives now."""
    REFUNDED_OUTSIDE = "refunded_outside"
    """The rail sent it back and a person saw it there: out of suspense, and out of what the rail holds for us."""
    PLAN_REFUND = "plan_refund"
    """A deposit is to be sent back, once its customer has confirmed an address; until then it stays in suspense."""
    IGNORE = "ignore"
    """Nothing is done: the money stays in suspense, where it is owed. It can be credited or sent back later."""
    CHECK_AGAIN = "check_again"
    """Ask the rail now, and wait for its word."""
    NOT_REFUNDED = "not_refunded"
    """A person looked at the rail and it has no such refund: it has failed, its credit is back where it was. Should the rail
    say later that it was through, that is booked as the fact that it is."""
    ACCEPT = "accept"
    """Seen: there is nothing to book."""


IN_SUSPENSE: Final = frozenset({"amount_mismatch", "currency_mismatch", "no_rate", "below_minimum", "too_large"})
"""Reasons with which money went to suspense."""
KEPT: Final = frozenset({Action.IGNORE.value, Action.PLAN_REFUND.value})
"""After these the money is in suspense still, so another decision can follow."""


def actions_of(review: Row) -> tuple[Action, ...]:
    """Return what can be decided about an item now."""
    if review["status"] != "open" and review["action"] not in KEPT:
        return ()
    possible = _possible(review["reason"], review["subject"])
    return tuple(action for action in possible if action.value != review["action"])


def _possible(reason: str, subject: str) -> tuple[Action, ...]:
    if reason in IN_SUSPENSE and subject.startswith("cap_"):
        return (Action.CREDIT, Action.REFUNDED_OUTSIDE, Action.IGNORE)
    if reason in IN_SUSPENSE and subject.startswith("dep_"):
        return (Action.CREDIT, Action.PLAN_REFUND, Action.IGNORE)
    if subject.startswith("att_"):
        return (Action.CHECK_AGAIN, Action.ACCEPT)
    if reason in LOST:
        return (Action.NOT_REFUNDED, Action.ACCEPT)
    return (Action.ACCEPT,)


def refunded_outside(capture_id: str, total: Money, held: Holding, payment_id: str | None) -> Entry:
    """Take money out of suspense that its rail sent back."""
    return entry(
        "suspense_refunded", capture_id, debit(Account.SUSPENSE, total, capture_id),
        credit(held.account, total, held.subject), payment_id=payment_id,
    )  # fmt: skip
