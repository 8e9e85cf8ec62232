"""Charging saved cards: PaymentIntents that we create and confirm ourselves, off-session, without any page.

A refused one stays ``requires_payment_method`` at Stripe, but only who holds its client secret could try it again, and
nobody does: its decline is its end. Sources: https://docs.stripe.com/payments/save-during-payment,
https://docs.stripe.com/api/payment_intents
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import stripe

from adapters.base import (
    CancelOutcome,
    NoAction,
    OutcomeUnknown,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailEvent,
    RailMisconfigured,
    SavedMethod,
)
from adapters.stripe.errors import in_port_words, unreadable
from adapters.stripe.wire import ATTEMPT_KEY, Intent, PaymentMethod, Reader, Session
from adapters.stripe.wire_amounts import NotChargeable, to_wire
from adapters.stripe.wire_order import SavedCard, saved_charge_params

if TYPE_CHECKING:
    from stripe.params import PaymentIntentListParams

LOOK_BACK: Final = timedelta(minutes=5)
LOOK_AHEAD: Final = timedelta(minutes=30)
PAGES_MAX: Final = 10
PAGE_SIZE: Final = 100
EXPANDED: Final = ["latest_charge"]


def seconds_around(reference: PaymentReference) -> tuple[int, int]:
    """Return first and last Unix second in which an attempt may have created something."""
    return (
        int((reference.created_at - LOOK_BACK).timestamp()),
        int((reference.created_at + LOOK_AHEAD).timestamp()),
    )


@dataclass(frozen=True, slots=True)
class SavedCharges:
    """The calls about saved cards of one account."""

    client: stripe.StripeClient
    read: Reader
    hidden: tuple[str, ...]

    async def charge(self, order: PaymentOrder) -> PaymentStarted:
        """Charge a saved card. Raises PaymentDeclined with the PaymentIntent's id."""
        try:
            params = saved_charge_params(order, SavedCard.model_validate(order.saved))
        except NotChargeable as error:
            raise RailMisconfigured(str(error)) from None
        except ValueError:  # pydantic's text would show the reference
            raise RailMisconfigured(f"{order.attempt_id}: this is no saved card of Stripe's") from None
        with in_port_words(f"stripe charge saved card for {order.attempt_id}", self.hidden, reading=False):
            made = await self.client.v1.payment_intents.create_async(
                {**params, "expand": EXPANDED}, {"idempotency_key": order.attempt_id}
            )
        intent = _intent(made)
        if (intent.amount, intent.currency) != (to_wire(order.amount), order.amount.asset.code.lower()):
            said = f"{intent.amount} {intent.currency}"
            raise OutcomeUnknown(f"{intent.id} charges {said} in Stripe's units, not {order.amount}")
        return PaymentStarted(intent.id, NoAction(), self._events(intent))

    async def status(self, reference: PaymentReference) -> list[RailEvent]:
        """Read one charge; without an id the account's list is searched, and empty proves nothing.

        Source: https://docs.stripe.com/api/payment_intents/retrieve
        """
        intent_id = reference.rail_reference or await self._find(reference)
        return [] if intent_id is None else self._events(await self._retrieve(intent_id))

    async def _find(self, reference: PaymentReference) -> str | None:
        """List the PaymentIntents of the minutes around an attempt and look for its id.

        Source: https://docs.stripe.com/api/payment_intents/list
        """
        first, last = seconds_around(reference)
        wanted: PaymentIntentListParams = {"created": {"gte": first, "lte": last}, "limit": PAGE_SIZE}
        for _ in range(PAGES_MAX):
            with in_port_words(f"stripe list charges for {reference.attempt_id}", self.hidden, reading=True):
                page = await self.client.v1.payment_intents.list_async(wanted)
            intents = [_intent(found) for found in page.data]
            for intent in intents:
                if intent.charges_saved and intent.metadata.get(ATTEMPT_KEY) == reference.attempt_id:
                    return intent.id
            if not page.has_more or not intents:
                return None
            wanted["starting_after"] = intents[-1].id
        return None

    async def cancel(self, reference: PaymentReference) -> CancelOutcome:
        """Cancel a charge that has not ended. CANNOT where it cannot be found.

        Source: https://docs.stripe.com/api/payment_intents/cancel
        """
        intent_id = reference.rail_reference or await self._find(reference)
        if intent_id is None:
            return CancelOutcome.CANNOT
        with in_port_words(f"stripe cancel {intent_id}", self.hidden, reading=False):
            try:
                intent = _intent(await self.client.v1.payment_intents.cancel_async(intent_id))
            except stripe.InvalidRequestError as error:
                if error.http_status != 400:
                    raise
                intent = None  # it has succeeded, is canceled already, or is being processed: read which
        if intent is None:
            intent = await self._retrieve(intent_id)
        return CancelOutcome.CANCELED if intent.status == "canceled" else CancelOutcome.TOO_LATE

    @staticmethod
    def method_of(session: Session) -> SavedMethod | None:
        """Return what a session saved; None where it is not paid, or the buyer was not asked."""
        intent = session.intent
        if intent is None or intent.status != "succeeded" or intent.setup_future_usage != "off_session":
            return None
        if intent.customer is None or not isinstance(intent.payment_method, PaymentMethod):
            return None
        card = intent.payment_method.card
        label = "Card" if card is None else f"{card.brand.replace('_', ' ').title()} {card.last4}"
        return SavedMethod({"customer": intent.customer, "payment_method": intent.payment_method.id}, label)

    async def _retrieve(self, intent_id: str) -> Intent:
        with in_port_words(f"stripe retrieve {intent_id}", self.hidden, reading=True):
            return _intent(await self.client.v1.payment_intents.retrieve_async(intent_id, {"expand": EXPANDED}))

    def _events(self, intent: Intent) -> list[RailEvent]:
        try:
            return self.read.saved_charge(intent, at=None)
        except ValueError as error:
            raise unreadable(error) from None


def _intent(found: stripe.PaymentIntent) -> Intent:
    try:
        return Intent.model_validate(found.to_dict())
    except ValueError as error:
        raise unreadable(error) from None
