"""What Stripe remembers in the simulator, and what a buyer on the hosted page does to it.

Sources: https://docs.stripe.com/payments/paymentintents/lifecycle, https://docs.stripe.com/api/events/types
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from adapters.kit.simulator import Switches, WebhookSender
from adapters.stripe.simulator_objects import (
    CARDS,
    TestCard,
    convert_balance_line,
    new_balance_line,
    new_charge,
    new_customer,
    new_intent,
    new_local_method,
    new_payment_method,
    new_session,
    payment_error,
)
from adapters.stripe.simulator_wire import Object, Params, Refused, missing, new_id, signature

API_VERSION: Final = "2026-10-28.endive"
ENABLED_EVENTS: Final = frozenset(
    {"checkout.session.completed", "checkout.session.expired"}
    | {"checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed"}
    | {"payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.amount_capturable_updated"}
    | {"refund.created", "refund.updated", "refund.failed", "charge.dispute.created", "charge.dispute.updated"}
    | {"charge.dispute.closed", "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"}
)
"""The types that the webhook endpoint is configured for at Stripe; the others are only listed by /v1/events."""


CHOICES: Final = ("paid", "refused", "pending")
"""Of a buyer whose page is not for cards."""


@dataclass(slots=True)
class StripeSwitches(Switches):
    search_lag_ms: int = 0
    """What is younger is not found by search yet: search is no read-after-write (https://docs.stripe.com/search)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the buyer sees after one step on the hosted page."""

    status: str
    """succeeded, declined, requires_action, complete or expired."""
    message: str = ""
    code: str = ""
    payment_intent: str | None = None
    redirect: str | None = None


@dataclass(slots=True)
class State:
    """Everything in memory. Each method runs without awaiting, so that two requests never meet inside one."""

    base_url: str
    signing_secrets: Sequence[str]
    switches: StripeSwitches
    sender: WebhookSender
    clock: Callable[[], float] = time.time
    sessions: dict[str, Object] = field(default_factory=dict)
    intents: dict[str, Object] = field(default_factory=dict)
    charges: dict[str, Object] = field(default_factory=dict)
    events: dict[str, Object] = field(default_factory=dict)
    intent_data: dict[str, Params] = field(default_factory=dict)
    methods: dict[str, Object] = field(default_factory=dict)
    """The payment method that waits for 3-D Secure, by session."""
    asks_3ds: set[str] = field(default_factory=set)
    """Sessions whose merchant wants 3-D Secure: https://docs.stripe.com/payments/3d-secure/authentication-flow."""
    customers: dict[str, Object] = field(default_factory=dict)
    used: dict[str, Object] = field(default_factory=dict)
    """Payment methods that paid, by id; ``customer`` says to whom one is attached."""
    cards: dict[str, TestCard] = field(default_factory=dict)
    """How each payment method behaves, by its id."""

    refunds: dict[str, Object] = field(default_factory=dict)
    disputes: dict[str, Object] = field(default_factory=dict)
    balance: dict[str, Object] = field(default_factory=dict)
    """Balance transactions, oldest first."""
    payouts: dict[str, Object] = field(default_factory=dict)
    paid_out: dict[str, str] = field(default_factory=dict)
    """The payout of each balance transaction that is in one."""
    settles: dict[str, tuple[str, Decimal]] = field(default_factory=dict)
    """By the currency of a charge: in which one the account holds it, and at which rate; others are held as they are."""
    paid: Callable[[State, Object], None] = field(default=lambda _state, _charge: None)
    """What happens to a charge after it was captured (simulator_money.py)."""

    def book(self, kind: str, amount: int, subject: Object, *, fee: int = 0, category: str = "") -> Object:
        """Add one line to the balance, in the smallest units of the subject's currency or of that it is held in."""
        line = new_balance_line(kind, amount, subject, fee, category or kind, self.now())
        held = self.settles.get(subject["currency"])
        if held is not None:
            convert_balance_line(line, *held)
        self.balance[line["id"]] = line
        return line

    def now(self) -> int:
        return int(self.clock())

    def create_session(self, params: Params) -> Object:
        session = new_session(params, self.base_url, self.now())
        self.sessions[session["id"]] = session
        self.intent_data[session["id"]] = params.get("payment_intent_data", {})
        asked = params.get("payment_method_options", {}).get("card", {}).get("request_three_d_secure", "automatic")
        if asked in {"any", "challenge"}:
            self.asks_3ds.add(session["id"])
        return session

    def session(self, session_id: str) -> Object:
        session = self.sessions.get(session_id)
        if session is None:
            raise missing("checkout.session", session_id, "session")
        if session["status"] == "open" and self.now() >= session["expires_at"]:
            self._expire(session)
        return session

    def expire_session(self, session_id: str) -> Object:
        session = self.session(session_id)
        if session["status"] != "open":
            raise Refused(
                400,
                'Only Checkout Sessions with a status in ["open"] can be expired. '
                f"This Checkout Session has a status of `{session['status']}`.",
            )
        self._expire(session)
        return session

    def _expire(self, session: Object) -> None:
        session.update(status="expired", url=None)
        if session["payment_intent"]:
            intent = self.intents[session["payment_intent"]]
            intent.update(status="canceled", canceled_at=self.now(), cancellation_reason="automatic")
            self.emit("payment_intent.canceled", intent)
        self.emit("checkout.session.expired", session)

    # --- the buyer ------------------------------------------------------------------------------------------------

    def pay(self, session_id: str, number: str) -> Outcome:
        """Try one card."""
        session = self.session(session_id)
        if session["status"] != "open":
            return self._closed(session)
        card = CARDS.get("".join(number.split()))
        if card is None:
            return Outcome("declined", "Use one of the listed test cards: no real card works here.", "incorrect_number")
        if self.switches.decline == "authentication_required" and session_id in self.asks_3ds:
            card = replace(card, asks_3ds=True)  # what the bank asked for is given to it
        elif self.switches.decline:
            card = TestCard(card.number, self.switches.decline, "card_declined", self.switches.decline)
        intent = self._intent_of(session)
        method = new_payment_method(card.number, self.now())
        self.cards[method["id"]] = card
        if card.code:
            return self._decline(session, intent, card, method)
        if card.asks_3ds:
            self.methods[session_id] = method
            intent.update(status="requires_action", payment_method=method["id"])
            self.emit("payment_intent.requires_action", intent)
            return Outcome("requires_action", "Your bank asks you to confirm.", payment_intent=intent["id"])
        return self._succeed(session, intent, method)

    def choose(self, session_id: str, choice: str) -> Outcome:
        """Use a method that is no card: ``paid``, ``refused``, ``pending`` (gone to the bank, or a voucher was made).

        Once it is pending, ``paid`` and ``refused`` are what the bank or the shop says days later.
        Source: https://docs.stripe.com/payments/checkout/fulfill-orders#handle-payment-methods-which-delay
        """
        session = self.session(session_id)
        waits = session["status"] == "complete" and session["payment_status"] == "unpaid"
        kind = session["payment_method_types"][0]
        if kind == "card" or choice not in CHOICES or (waits and choice == "pending"):
            raise Refused(400, f"choose one of {', '.join(CHOICES)} on a page that is not for cards")
        if session["status"] != "open" and not waits:
            return self._closed(session)
        intent = self._intent_of(session)
        method = self.methods.pop(session_id, None) or new_local_method(kind, self.now())
        if choice == "refused" or (self.switches.decline and not waits):
            return self._refuse_local(session, intent, method, waits=waits)
        if choice == "paid":
            done = "checkout.session.async_payment_succeeded" if waits else "checkout.session.completed"
            return self._succeed(session, intent, method, done)
        self.methods[session_id] = method
        intent.update(status="processing", payment_method=method["id"])
        self.used[method["id"]] = method
        session.update(status="complete", url=None)
        self.emit("payment_intent.processing", intent)
        self.emit("checkout.session.completed", session)
        return Outcome(
            "complete", "Waiting for your bank.", payment_intent=intent["id"], redirect=session["success_url"]
        )

    def _refuse_local(self, session: Object, intent: Object, method: Object, *, waits: bool) -> Outcome:
        code = self.switches.decline or "payment_intent_payment_attempt_failed"
        refused = TestCard("", "the payment was refused", code)
        outcome = self._decline(session, intent, refused, method)
        if waits:
            self.emit("checkout.session.async_payment_failed", session)
        return outcome

    def authenticate(self, session_id: str, *, confirmed: bool) -> Outcome:
        """End the 3-D Secure step."""
        session = self.session(session_id)
        method = self.methods.pop(session_id, None)
        if session["status"] != "open" or method is None:
            return self._closed(session)
        intent = self._intent_of(session)
        if confirmed:
            return self._succeed(session, intent, method)
        failed = TestCard("", "authentication failed", "payment_intent_authentication_failure")
        return self._decline(session, intent, failed, method)

    def _intent_of(self, session: Object) -> Object:
        if session["payment_intent"] is None:
            intent = new_intent(session, self.intent_data[session["id"]], self.now())
            self.intents[intent["id"]] = intent
            session["payment_intent"] = intent["id"]
            self.emit("payment_intent.created", intent)
        return self.intents[session["payment_intent"]]

    def _succeed(
        self, session: Object, intent: Object, method: Object, done: str = "checkout.session.completed"
    ) -> Outcome:
        taken = intent["amount"] + self.switches.wrong_amount
        charge = new_charge(intent, method, taken, None, self.now())
        self.charges[charge["id"]] = charge
        if intent["capture_method"] == "manual":
            return self._reserve(session, intent, method, charge)
        intent.update(
            status="succeeded",
            amount_received=taken,
            latest_charge=charge["id"],
            payment_method=method["id"],
            last_payment_error=None,
        )
        session.update(status="complete", payment_status="paid", amount_total=taken, url=None)
        self._save(session, intent, method)
        self.emit("charge.succeeded", charge)
        self.emit("payment_intent.succeeded", intent)
        self.emit(done, session)
        self.paid(self, charge)
        return self._closed(session)

    def _reserve(self, session: Object, intent: Object, method: Object, charge: Object) -> Outcome:
        """Hold the money for a later capture.

        Source: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
        """
        charge.update(captured=False, amount_captured=0)
        intent.update(
            status="requires_capture",
            amount_capturable=intent["amount"],
            latest_charge=charge["id"],
            payment_method=method["id"],
            last_payment_error=None,
        )
        self.used[method["id"]] = method
        session.update(status="complete", url=None)
        self.emit("payment_intent.amount_capturable_updated", intent)
        self.emit("checkout.session.completed", session)
        return Outcome("complete", "Reserved.", payment_intent=intent["id"], redirect=session["success_url"])

    def _save(self, session: Object, intent: Object, method: Object) -> None:
        """Create the session's customer and attach the card, where the session asked for it."""
        if session["customer_creation"] == "always" and session["customer"] is None:
            customer = new_customer(session["customer_email"], self.now())
            self.customers[customer["id"]] = customer
            session["customer"] = intent["customer"] = customer["id"]
        if intent["setup_future_usage"] and session["customer"]:
            method["customer"] = session["customer"]
        self.used[method["id"]] = method

    def _decline(self, session: Object, intent: Object, card: TestCard, method: Object) -> Outcome:
        charge_id = None
        if card.number:  # a failed authentication never becomes a charge
            charge = new_charge(intent, method, intent["amount"], card, self.now())
            charge_id = charge["id"]
            self.charges[charge["id"]] = charge
            intent["latest_charge"] = charge["id"]
            self.emit("charge.failed", charge)
        error = payment_error(card, charge_id, method)
        intent.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
        self.emit("payment_intent.payment_failed", intent)
        code = card.decline_code or card.code
        return Outcome("declined", error["message"], code, intent["id"], session["cancel_url"])

    def _closed(self, session: Object) -> Outcome:
        if session["payment_status"] == "paid":
            back = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
            return Outcome("succeeded", payment_intent=session["payment_intent"], redirect=back)
        return Outcome(session["status"], "This page cannot be used any more.", redirect=session["cancel_url"])

    # --- events ---------------------------------------------------------------------------------------------------

    def emit(self, event_type: str, subject: Object) -> None:
        event: dict[str, Any] = {
            "id": new_id("evt_"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": {"object": copy.deepcopy(subject)},
            "livemode": False,
            "pending_webhooks": 1 if event_type in ENABLED_EVENTS else 0,
            "request": {"id": None, "idempotency_key": None},
            "type": event_type,
        }
        self.events[event["id"]] = event
        if event_type in ENABLED_EVENTS:
            body = json.dumps(event, indent=2).encode()
            self.sender.send(event_type, lambda: (body, self._headers(body)))

    def _headers(self, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self.signing_secrets, self.now()),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
