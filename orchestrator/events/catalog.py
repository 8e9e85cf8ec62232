"""What we tell a merchant: the types of events, the envelope, and who asked for which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import orjson

from orchestrator.clock import rfc3339
from orchestrator.database.unit import Changes, Row
from orchestrator.errors import Invalid

FILTERS_MAX: Final = 50


class EventType(StrEnum):
    CHECKOUT_SESSION_COMPLETED = "checkout.session.completed"
    CHECKOUT_SESSION_EXPIRED = "checkout.session.expired"
    PAYMENT_PROCESSING = "payment.processing"
    PAYMENT_SETTLED = "payment.settled"
    PAYMENT_FAILED = "payment.failed"
    PAYMENT_REVIEW = "payment.review"
    WALLET_CREDITED = "wallet.credited"
    WALLET_CREDIT_REVERSED = "wallet.credit_reversed"
    WALLET_DEBITED_LOW = "wallet.debited_low"
    WALLET_NEGATIVE = "wallet.negative"
    WALLET_EXPIRED_CREDIT = "wallet.expired_credit"
    WALLET_REVOKED_CREDIT = "wallet.revoked_credit"
    REFUND_CREATED = "refund.created"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    REFUND_REVERSED = "refund.reversed"
    DISPUTE_OPENED = "dispute.opened"
    DISPUTE_UPDATED = "dispute.updated"
    """Its funds moved, its stage changed, or its deadline comes near."""
    DISPUTE_CLOSED = "dispute.closed"
    DISPUTE_RATE_HIGH = "dispute.rate_high"
    DISPUTE_WON = "dispute.won"
    DISPUTE_LOST = "dispute.lost"
    DEPOSIT_DETECTED = "deposit.detected"
    DEPOSIT_PROVISIONAL = "deposit.provisional"
    DEPOSIT_CONFIRMED = "deposit.confirmed"
    DEPOSIT_ORPHANED = "deposit.orphaned"
    DEPOSIT_UNALLOCATED = "deposit.unallocated"
    DEPOSIT_REFUNDED = "deposit.refunded"
    """One that could not be placed went back to the address that its customer confirmed."""
    REVIEW_RESOLVED = "review.resolved"
    PAYOUT_CREATED = "payout.created"
    PAYOUT_PAID = "payout.paid"
    PAYOUT_FAILED = "payout.failed"
    PAYOUT_RETURNED = "payout.returned"
    MANDATE_SAVED = "mandate.saved"
    MANDATE_REVOKED = "mandate.revoked"
    AUTO_TOPUP_FAILED = "auto_topup.failed"
    AUTO_TOPUP_ACTION_REQUIRED = "auto_topup.action_required"
    AUTO_TOPUP_STOPPED = "auto_topup.stopped"
    LEDGER_ANCHORED = "ledger.anchored"
    LEDGER_PROVEN = "ledger.proven"
    LEDGER_ALARM = "ledger.alarm"
    LEDGER_REBUILT = "ledger.rebuilt"
    RAIL_DEGRADED = "rail.degraded"
    RAIL_RECOVERED = "rail.recovered"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint.disabled"
    """Nothing is sent there any more: it failed for days, or answered 410. Told to the merchant's other endpoints."""
    ROUTING_CANARY_ENDED = "routing.canary_ended"
    """The platform's own: a draft of rules was promoted, stopped, or called back by its guards."""


def emit(
    changes: Changes, type_: EventType, object_id: str, shown: Mapping[str, Any], merchant_id: str | None = None
) -> None:
    """Put an event into the outbox of a unit. Amounts in ``shown`` are decimal strings, as in the API."""
    changes.emit(type_, object_id, orjson.dumps(shown).decode(), merchant_id)


def envelope(row: Row) -> dict[str, Any]:
    """Return one ``event`` row as the API and the deliveries show it. Only for ``orjson.dumps``.

    The object's JSON is embedded as it was stored, never parsed: what a merchant reads is what was written with the
    money, to the last byte.
    """
    return {
        "id": row["id"],
        "type": row["type"],
        "created_at": rfc3339(row["created_us"]),
        "livemode": row["mode"] == "live",
        "merchant": row["merchant_id"],
        "object_id": row["object_id"],
        "sequence": row["sequence"],
        "data": {"object": orjson.Fragment(row["body"])},
    }


def envelope_json(row: Row) -> bytes:
    """Return the body of a delivery."""
    return orjson.dumps(envelope(row))


def matches(filters: Iterable[str], type_: str) -> bool:
    """Say whether a type is asked for: ``*`` is every type, ``wallet.*`` every type below ``wallet``."""
    return any(
        wanted in ("*", type_) or (wanted.endswith(".*") and type_.startswith(wanted.removesuffix("*")))
        for wanted in filters
    )


def check_filters(filters: Sequence[str]) -> tuple[str, ...]:
    """Return the filters once each. Raises Invalid where one can never match."""
    if not filters:
        raise Invalid("event_types_are_missing", 'name the event types, or ["*"] for all', pointer="/event_types")
    if len(filters) > FILTERS_MAX:
        raise Invalid("too_many_event_types", f"at most {FILTERS_MAX}; a prefix such as wallet.* names several",
                      pointer="/event_types")  # fmt: skip
    for position, wanted in enumerate(filters):
        if not any(matches((wanted,), known) for known in EventType):
            raise Invalid("event_type_is_unknown", f"no event is called {wanted[:60]!r}",
                          pointer=f"/event_types/{position}", known=[*EventType])  # fmt: skip
    return tuple(dict.fromkeys(filters))
