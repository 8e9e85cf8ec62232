"""What Stripe says on the wire, and what it means: messages, statuses, event types, signatures.

Only explicit words move money: CAPTURED comes from ``payment_status = paid`` of a session or ``status = succeeded`` of
a PaymentIntent, and always under the PaymentIntent's id, so that session and intent events give one credit.
Sources: https://docs.stripe.com/api/checkout/sessions/object, https://docs.stripe.com/api/payment_intents/object,
https://docs.stripe.com/checkout/fulfillment, https://docs.stripe.com/webhooks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import stripe
from pydantic import BaseModel, Field

from adapters.base import Decline, Mode, RailAccount, RailEvent, RailEventKind
from adapters.stripe.wire_amounts import from_wire
from adapters.stripe.wire_declines import DELAYED_PAYMENT_FAILED, decline_for
from rates.money import Money

ATTEMPT_KEY: Final = "crossrail_attempt"
"""Our attempt id in ``metadata`` of session and PaymentIntent."""
SAVED_KEY: Final = "crossrail_saved"
"""In ``metadata`` of a PaymentIntent that charges a saved card: no page leads to it, so a decline is its end."""

SIGNATURE_TOLERANCE_SECONDS: Final = 300
"""Stripe's default, here in both directions: the SDK's helper lets any time of the future pass."""


class UnreadableMessage(ValueError):
    """Stripe's message has a shape or a meaning that is not in its documents: do not guess, ask or tell a person."""


class Charge(BaseModel):
    id: str
    created: int


class Card(BaseModel):
    brand: str
    last4: str


class PaymentMethod(BaseModel):
    id: str
    card: Card | None = None


class PaymentError(BaseModel):
    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    charge: str | None = None
    payment_method: PaymentMethod | None = None


class Intent(BaseModel):
    """PaymentIntent: Stripe's id of the money."""

    id: str
    status: str
    amount_received: int = 0
    currency: str
    created: int
    livemode: bool
    metadata: dict[str, str] = Field(default_factory=dict)
    last_payment_error: PaymentError | None = None
    latest_charge: Charge | str | None = None
    amount: int | None = None
    customer: str | None = None
    payment_method: PaymentMethod | str | None = None
    setup_future_usage: str | None = None

    @property
    def charges_saved(self) -> bool:
        return SAVED_KEY in self.metadata


class Session(BaseModel):
    """Checkout Session: the hosted page."""

    id: str
    status: str | None = None
    payment_status: str
    amount_total: int | None = None
    currency: str | None = None
    metadata: dict[str, str] | None = None
    created: int
    expires_at: int
    livemode: bool
    url: str | None = None
    payment_intent: Intent | str | None = None

    @property
    def attempt_id(self) -> str | None:
        return (self.metadata or {}).get(ATTEMPT_KEY)

    @property
    def intent(self) -> Intent | None:
        """The PaymentIntent, where it was asked for in full."""
        return self.payment_intent if isinstance(self.payment_intent, Intent) else None


class EventData(BaseModel):
    object: dict[str, Any]


class Event(BaseModel):
    id: str
    type: str
    created: int
    livemode: bool
    account: str | None = None
    """Set for events of a connected account, which is not ours."""
    data: EventData


def moment(unix_seconds: int) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)


def signed_by(body: bytes, header: str, secrets: Sequence[str], now: datetime) -> bool:
    """Say whether one of the account's secrets (two while one is rotated) signed these bytes within the tolerance."""
    try:
        signed_at = next(int(part[2:]) for part in header.split(",") if part.startswith("t="))
        text = body.decode()
    except (StopIteration, ValueError):
        return False
    if not header.isascii() or signed_at > now.timestamp() + SIGNATURE_TOLERANCE_SECONDS:
        return False
    for secret in secrets:
        try:
            # The helper measures the age by the machine's own clock.
            stripe.WebhookSignature.verify_header(text, header, secret, SIGNATURE_TOLERANCE_SECONDS)
        except stripe.SignatureVerificationError:
            continue
        return True
    return False


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns Stripe's objects into the port's events for one account."""

    account: RailAccount

    def session(self, session: Session, *, at: datetime | None, now: datetime) -> list[RailEvent]:
        """Read a session, from a webhook (``at`` = the event's time) or an answer (``at`` = None)."""
        self._same_mode(session.livemode, session.id)
        intent = session.intent
        if session.payment_status == "paid" or (intent is not None and intent.status == "succeeded"):
            return [self._captured_session(session, at)]
        if session.status == "expired":
            ended = at or min(moment(session.expires_at), now)
            return [self._said(session, "expired", RailEventKind.EXPIRED, ended)]
        if session.status == "complete":
            if intent is not None and intent.status in {"requires_payment_method", "canceled"}:
                return [self.delayed_payment_failed(session, at or moment(intent.created))]
            said = self._said(session, "pending", RailEventKind.PENDING, at or moment(session.created))
            if intent is not None and intent.status == "requires_capture":
                said = self._reserved(said, intent, at)
            return [said]
        if session.status == "open":
            opened = self._said(session, "open", RailEventKind.ACTION_REQUIRED, at or moment(session.created))
            declined = intent is not None and intent.last_payment_error is not None
            return [opened, *(self.declined(intent, at=at, session=session) if intent and declined else ())]
        return [self._said(session, str(session.status), RailEventKind.PENDING, at or moment(session.created))]

    def delayed_payment_failed(self, session: Session, at: datetime) -> RailEvent:
        """Read the end of a payment method that answers days later (none is offered now; an old session may have)."""
        self._same_mode(session.livemode, session.id)
        error = session.intent.last_payment_error if session.intent else None
        decline = decline_for(error.decline_code, error.code, error.advice_code) if error else DELAYED_PAYMENT_FAILED
        return self._said(session, "payment_failed", RailEventKind.DECLINED, at, decline=decline)

    def intent(self, intent: Intent, *, at: datetime | None) -> list[RailEvent]:
        """Read a PaymentIntent alone, as events and search give it: it does not name its session."""
        if intent.charges_saved:
            return self.saved_charge(intent, at=at)
        self._same_mode(intent.livemode, intent.id)
        if intent.status == "succeeded":
            amount = from_wire(intent.amount_received, intent.currency)
            attempt = intent.metadata.get(ATTEMPT_KEY)
            return [self._captured(intent.id, amount, attempt, None, at or _paid_at(intent))]
        if intent.status == "requires_capture":
            pending = RailEvent(
                rail=self.account.rail, account=self.account.account, mode=self.account.mode, event_id="",
                kind=RailEventKind.PENDING, attempt_id=intent.metadata.get(ATTEMPT_KEY), rail_reference=None,
                occurred_at=at or _paid_at(intent), detail={"status": intent.status},
            )  # fmt: skip
            return [self._reserved(pending, intent, at)]
        if intent.last_payment_error is not None:
            return self.declined(intent, at=at, session=None)
        return []

    @staticmethod
    def _reserved(said: RailEvent, intent: Intent, at: datetime | None) -> RailEvent:
        """Name what was reserved, and when. A statement of its own: a session that is pending says less."""
        detail = {**said.detail, "authorisation": intent.id}
        return replace(said, event_id=f"{intent.id}:reserved", occurred_at=at or _paid_at(intent), detail=detail)

    def saved_charge(self, intent: Intent, *, at: datetime | None) -> list[RailEvent]:
        """Read a PaymentIntent that charges a saved card: nobody can try again on it, whatever its status allows."""
        self._same_mode(intent.livemode, intent.id)
        if intent.status == "succeeded":
            amount = from_wire(intent.amount_received, intent.currency)
            return [
                self._captured(intent.id, amount, intent.metadata.get(ATTEMPT_KEY), intent.id, at or _paid_at(intent))
            ]
        if intent.status == "requires_payment_method" and intent.last_payment_error is not None:
            [declined] = self.declined(intent, at=at, session=None)
            return [replace(declined, rail_reference=intent.id, still_open=False)]
        kind = RailEventKind.CANCELED if intent.status == "canceled" else RailEventKind.PENDING
        return [
            RailEvent(
                rail=self.account.rail,
                account=self.account.account,
                mode=self.account.mode,
                event_id=f"{intent.id}:{intent.status}",
                kind=kind,
                attempt_id=intent.metadata.get(ATTEMPT_KEY),
                rail_reference=intent.id,
                occurred_at=at or moment(intent.created),
                detail={"status": intent.status},
            )
        ]

    def declined(self, intent: Intent, *, at: datetime | None, session: Session | None) -> list[RailEvent]:
        """Read the last refused try. The page stays open: the buyer may take another card."""
        error = intent.last_payment_error
        if error is None:
            raise UnreadableMessage(f"{intent.id} failed without an error")
        tried = error.charge or f"{intent.id}:{error.payment_method.id if error.payment_method else 'try'}"
        return [
            RailEvent(
                rail=self.account.rail,
                account=self.account.account,
                mode=self.account.mode,
                event_id=f"{tried}:declined",
                kind=RailEventKind.DECLINED,
                attempt_id=intent.metadata.get(ATTEMPT_KEY) or (session.attempt_id if session else None),
                rail_reference=session.id if session else None,
                occurred_at=at or _paid_at(intent),
                decline=decline_for(error.decline_code, error.code, error.advice_code),
                still_open=True,
                detail={"payment_intent": intent.id, "status": intent.status},
            )
        ]

    def _captured_session(self, session: Session, at: datetime | None) -> RailEvent:
        intent = session.intent
        if intent is not None:
            money_id, amount = intent.id, from_wire(intent.amount_received, intent.currency)
            at = at or _paid_at(intent)
        elif isinstance(session.payment_intent, str) and session.amount_total is not None and session.currency:
            money_id, amount = session.payment_intent, from_wire(session.amount_total, session.currency)
        else:
            raise UnreadableMessage(f"{session.id} is paid but names no PaymentIntent or amount")
        when = at or moment(session.created)
        return self._captured(money_id, amount, session.attempt_id, session.id, when)

    def _captured(
        self, money_id: str, amount: Money, attempt_id: str | None, reference: str | None, at: datetime
    ) -> RailEvent:
        return RailEvent(
            rail=self.account.rail,
            account=self.account.account,
            mode=self.account.mode,
            event_id=f"{money_id}:captured",
            kind=RailEventKind.CAPTURED,
            attempt_id=attempt_id,
            rail_reference=reference,
            occurred_at=at,
            money_id=money_id,
            amount=amount,
        )

    def _said(
        self, session: Session, word: str, kind: RailEventKind, at: datetime, decline: Decline | None = None
    ) -> RailEvent:
        return RailEvent(
            rail=self.account.rail,
            account=self.account.account,
            mode=self.account.mode,
            event_id=f"{session.id}:{word}",
            kind=kind,
            attempt_id=session.attempt_id,
            rail_reference=session.id,
            occurred_at=at,
            decline=decline,
            detail={"status": session.status, "payment_status": session.payment_status},
        )

    def _same_mode(self, livemode: bool, what: str) -> None:
        if livemode is not (self.account.mode is Mode.LIVE):
            raise UnreadableMessage(f"{what} is of the other mode than this account ({self.account.mode})")


def _paid_at(intent: Intent) -> datetime:
    charge = intent.latest_charge
    return moment(charge.created if isinstance(charge, Charge) else intent.created)


EventReader = Callable[[Reader, Event, datetime], Sequence[RailEvent]]


def _session_event(reader: Reader, event: Event, now: datetime) -> Sequence[RailEvent]:
    return reader.session(Session.model_validate(event.data.object), at=moment(event.created), now=now)


def _session_failed(reader: Reader, event: Event, _now: datetime) -> Sequence[RailEvent]:
    return [reader.delayed_payment_failed(Session.model_validate(event.data.object), moment(event.created))]


def _intent_event(reader: Reader, event: Event, _now: datetime) -> Sequence[RailEvent]:
    return reader.intent(Intent.model_validate(event.data.object), at=moment(event.created))


EVENTS: Final[Mapping[str, EventReader]] = {
    "checkout.session.completed": _session_event,
    "checkout.session.expired": _session_event,
    "checkout.session.async_payment_succeeded": _session_event,
    "checkout.session.async_payment_failed": _session_failed,
    "payment_intent.succeeded": _intent_event,
    "payment_intent.payment_failed": _intent_event,
    "payment_intent.amount_capturable_updated": _intent_event,
}
"""The event types to choose for the webhook endpoint at Stripe; all others are read as nothing."""
