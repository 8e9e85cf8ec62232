"""What a person is asked about a refund that does not end: one open question at a time, withdrawn when it is found."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from orchestrator.clock import rfc3339
from orchestrator.database.unit import Changes, Lock, Row, View
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.story import money_body
from rates.money import Asset, Money

UNKNOWN: Final = "refund_unknown_too_long"
PENDING: Final = "refund_pending_too_long"
NOT_SENT_AGAIN: Final = "refund_cannot_be_sent_again"
"""No answer ever came, and the rail keeps our key no longer: the same order would be a second refund there."""
LOST: Final = frozenset({UNKNOWN, NOT_SENT_AGAIN})
"""Questions that a sign of the refund answers; the third asks about one that is known and does not end."""
WAITING: Final = LOST | {PENDING}
_BY_SUBJECT: Final = ("merchant_id", "subject")
_WHY: Final = (
    "no answer to its call ever came, and the rail keeps its idempotency key no longer: it is not sent again, because that"
    " could be a second refund. Look for our id at the rail"
)


def questions_lock(refund: Row) -> Lock:
    """Return the lock under which a refund's questions are asked and withdrawn."""
    return Lock("review", _BY_SUBJECT, (refund["merchant_id"], refund["id"]))


def ask_overdue(view: View, changes: Changes, refund: Row) -> None:
    """Ask about a refund that was looked at many times; not where a person knows already that it is lost."""
    reason = UNKNOWN if refund["status"] == "sent" else PENDING
    if reason == PENDING or not _asked(view, refund, {NOT_SENT_AGAIN}):
        _ask(view, changes, refund, reason)


def ask_not_sent_again(view: View, changes: Changes, refund: Row, kept_until_us: int, rail_said: str) -> None:
    """Ask, once for ever, about a refund that only a sign of the rail can end; it takes the place of ``UNKNOWN``."""
    if refund["status"] != "sent" or _asked(view, refund, {NOT_SENT_AGAIN}):
        return
    withdraw(view, changes, refund, {UNKNOWN})
    _ask(view, changes, refund, NOT_SENT_AGAIN, why=_WHY, account=refund["account"], asked_at=rfc3339(refund["created_us"]),
         key_trusted_until=rfc3339(kept_until_us), checks=refund["checks"], rail_said=rail_said)  # fmt: skip


def withdraw(view: View, changes: Changes, refund: Row, reasons: Collection[str] = WAITING) -> None:
    """Close what has answered itself."""
    for review in _reviews(view, refund):
        if review["status"] == "open" and review["reason"] in reasons:
            key = (review["merchant_id"], review["id"])
            changes.update("review", key, status="resolved", resolved_us=view.now_us)


def _asked(view: View, refund: Row, reasons: Collection[str]) -> bool:
    return any(review["reason"] in reasons for review in _reviews(view, refund))


def _reviews(view: View, refund: Row) -> list[Row]:
    return view.many("review", _BY_SUBJECT, (refund["merchant_id"], refund["id"]))


def _ask(view: View, changes: Changes, refund: Row, reason: str, **more: Any) -> None:
    local = Money(refund["local_units"], Asset.parse(refund["asset"]))
    evidence = {"amount": money_body(local), "rail": refund["rail"], **more}
    ask_a_person(view, changes, refund["merchant_id"], refund["mode"], reason=reason, subject=refund["id"],
                 payment_id=refund["payment_id"], evidence=evidence)  # fmt: skip
