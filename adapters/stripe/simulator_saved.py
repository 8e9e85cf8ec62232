"""Stripe's PaymentIntents that a merchant creates and confirms with a saved card while the buyer is away.

Sources: https://docs.stripe.com/api/payment_intents/create, https://docs.stripe.com/api/payment_intents/cancel,
https://docs.stripe.com/payments/save-during-payment ("Charge the saved payment method later"),
https://docs.stripe.com/testing#three-ds-cards (4000 0027 6000 3184 asks at every payment), and for the status that a
charge has after the bank asked for the buyer
https://support.stripe.com/questions/manual-confirmation-for-off-session-payments-requiring-strong-customer-authentication-(sca)
"""

from __future__ import annotations

from typing import Final

from adapters.stripe.simulator_objects import TOTAL_MAX, USD_MINIMUM, TestCard, new_charge, payment_error
from adapters.stripe.simulator_state import State
from adapters.stripe.simulator_wire import Declined, Object, Params, Refused, bad_param, integer, missing, new_id

CREATE_PARAMS: Final = frozenset(
    {"allowed_payment_method_types", "amount", "automatic_payment_methods", "confirm", "currency", "customer"}
    | {"description", "expand", "metadata", "off_session", "payment_method", "return_url"}
)
"""What this simulator understands of the parameters of PaymentIntent creation."""
ENDED: Final = frozenset({"succeeded", "canceled"})
AUTHENTICATION: Final = "authentication_required"


def charge_saved(state: State, params: Params) -> Object:
    """Create and confirm. Raises Refused, or Declined once the card was tried."""
    for name in params:
        if name not in CREATE_PARAMS:
            raise bad_param(name, f"Received unknown parameter: {name}", code="parameter_unknown")
    amount, currency = integer(params, "amount"), str(params.get("currency", ""))
    if not 0 < amount <= TOTAL_MAX or len(currency) != 3 or not currency.islower():
        raise bad_param("amount", f"Invalid amount {amount} {currency}")
    if currency == "usd" and amount < USD_MINIMUM:
        raise bad_param("amount", "Amount must be at least $0.50 usd", code="amount_too_small")
    if params.get("confirm") != "true":
        what = "off_session" if "off_session" in params else "confirm"
        raise bad_param(what, "off_session can only be used with confirm=true (this simulator always confirms)")
    redirects = params.get("automatic_payment_methods", {}).get("allow_redirects", "always")
    if "return_url" not in params and redirects != "never":
        raise bad_param("return_url", "A return_url must be provided, or redirects not be allowed.")
    method = _method(state, params)
    intent = _new_intent(state, params, amount, currency, method)
    return _try(state, intent, method, off_session=params.get("off_session") == "true")


def find_intent(state: State, intent_id: str) -> Object:
    intent = state.intents.get(intent_id)
    if intent is None:
        raise missing("payment_intent", intent_id, "intent")
    return intent


def cancel_intent(state: State, intent_id: str) -> Object:
    """Cancel what has not ended. Raises Refused."""
    intent = find_intent(state, intent_id)
    if intent["status"] in ENDED:
        text = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
        raise Refused(400, text, code="payment_intent_unexpected_state")
    intent.update(status="canceled", canceled_at=state.now(), cancellation_reason=None)
    state.emit("payment_intent.canceled", intent)
    return intent


def _method(state: State, params: Params) -> Object:
    customer, wanted = params.get("customer"), str(params.get("payment_method", ""))
    if customer is not None and customer not in state.customers:
        raise missing("customer", str(customer), "customer")
    method = state.used.get(wanted)
    if method is None:
        raise missing("PaymentMethod", wanted, "payment_method")
    if method["customer"] is None or method["customer"] != customer:
        # https://docs.stripe.com/api/payment_methods/attach: what paid once and was not attached cannot be used again
        raise bad_param("payment_method", f"The customer does not have a payment method with the ID {wanted}.")
    return method


def _new_intent(state: State, params: Params, amount: int, currency: str, method: Object) -> Object:
    intent: Object = {
        "id": new_id("pi_"),
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "created": state.now(),
        "currency": currency,
        "customer": params.get("customer"),
        "description": params.get("description"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": params.get("metadata", {}),
        "payment_method": method["id"],
        "payment_method_types": ["card"],
        "setup_future_usage": None,
        "status": "requires_confirmation",
    }
    state.intents[intent["id"]] = intent
    state.emit("payment_intent.created", intent)
    return intent


def _try(state: State, intent: Object, method: Object, *, off_session: bool) -> Object:
    card = _behaviour(state, method, off_session=off_session)
    taken = intent["amount"] + state.switches.wrong_amount
    charge = new_charge(intent, method, taken, card if card.code else None, state.now())
    state.charges[charge["id"]] = charge
    intent["latest_charge"] = charge["id"]
    if card.code:
        error = payment_error(card, charge["id"], method)
        intent.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
        state.emit("charge.failed", charge)
        state.emit("payment_intent.payment_failed", intent)
        raise Declined(error, dict(intent))
    intent.update(status="succeeded", amount_received=taken)
    state.emit("charge.succeeded", charge)
    state.emit("payment_intent.succeeded", intent)
    state.paid(state, charge)
    return intent


def _behaviour(state: State, method: Object, *, off_session: bool) -> TestCard:
    """Return the card as it acts now: by the switch, by the bank that wants to see its owner, or by its number."""
    card = state.cards[method["id"]]
    code = state.switches.decline
    if card.always_3ds and off_session:
        code = AUTHENTICATION
    if not code:
        return card
    return TestCard(card.number, code, AUTHENTICATION if code == AUTHENTICATION else "card_declined", code)
