"""Stripe's objects as its API shows them, with the fields that its documents call required and a few more.

Sources: https://docs.stripe.com/api/checkout/sessions/object, https://docs.stripe.com/api/payment_intents/object,
https://docs.stripe.com/api/charges/object, https://docs.stripe.com/testing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from adapters.stripe.simulator_wire import (
    THREE_DECIMALS,
    TWO_DECIMALS_ALWAYS_00,
    Object,
    Params,
    bad_param,
    integer,
    new_id,
)

CREATE_PARAMS: Final = frozenset(
    {"adaptive_pricing", "allowed_payment_method_types", "cancel_url", "client_reference_id", "customer_email"}
    | {"customer_creation"}
    | {"excluded_payment_method_types", "expand", "expires_at", "line_items", "locale", "metadata", "mode"}
    | {"payment_intent_data", "payment_method_options", "submit_type", "success_url", "ui_mode"}
)
"""What this simulator understands of the parameters of session creation."""

LIFE_SECONDS_MIN: Final = 30 * 60
LIFE_SECONDS_MAX: Final = 24 * 3600
CLOCK_SKEW_SECONDS: Final = 5
TOTAL_MAX: Final = 999_999_999_999
USD_MINIMUM: Final = 50


@dataclass(frozen=True, slots=True)
class TestCard:
    """What a card number of Stripe's testing page does."""

    number: str
    shown: str
    code: str = ""
    """Error code; empty = the payment succeeds."""
    decline_code: str = ""
    asks_3ds: bool = False
    always_3ds: bool = False
    """However it was saved: a charge without the buyer is declined."""


def _card(
    number: str, shown: str, code: str = "", decline_code: str = "", *, asks_3ds: bool = False, always_3ds: bool = False
) -> TestCard:
    return TestCard(number, shown, code, decline_code, asks_3ds or always_3ds, always_3ds)


CARDS: Final[Mapping[str, TestCard]] = {
    card.number: card
    for card in (
        _card("4242424242424242", "Succeeds"),
        _card("4000002500003155", "Asks for 3-D Secure, then succeeds", asks_3ds=True),
        _card("4000002760003184", "Asks for 3-D Secure at every payment", always_3ds=True),
        _card("4000000000000002", "Declined", "card_declined", "generic_decline"),
        _card("4000000000009995", "Too little money", "card_declined", "insufficient_funds"),
        _card("4100000000000019", "Blocked as fraud", "card_declined", "fraudulent"),
        _card("4000000000009987", "Reported lost", "card_declined", "lost_card"),
        _card("4000000000009979", "Reported stolen", "card_declined", "stolen_card"),
        _card("4000000000000069", "Expired", "expired_card", "expired_card"),
        _card("4000000000000127", "Wrong CVC", "incorrect_cvc", "incorrect_cvc"),
        _card("4000000000000259", "Succeeds, and is disputed as fraud"),
        _card("4000000000001976", "Succeeds, and the bank asks about it"),
        _card("4000000000007726", "Succeeds; a refund succeeds later"),
        _card("4000000000005126", "Succeeds; a refund fails later"),
        _card("4000000000000119", "Processing error", "processing_error", "processing_error"),
    )
}


def new_session(params: Params, base_url: str, now: int) -> Object:
    """Check the parameters and build an open session. Raises Refused."""
    if "payment_method_types" in params:
        # https://docs.stripe.com/changelog/endive/2026-09-30/remove-payment-method-types-checkout-sessions
        raise bad_param("payment_method_types", "This API version no longer takes payment_method_types.")
    for name in params:
        if name not in CREATE_PARAMS:
            raise bad_param(name, f"Received unknown parameter: {name}", code="parameter_unknown")
    if params.get("mode") != "payment":
        raise bad_param("mode", f"Invalid mode: {params.get('mode')} (this simulator takes payment)")
    if not params.get("success_url"):
        raise bad_param("success_url", "Missing required param: success_url.", code="parameter_missing")
    total, currency = _total(params.get("line_items"))
    kinds = params.get("allowed_payment_method_types", ["card"])
    if "wechat_pay" in kinds and params.get("payment_method_options", {}).get("wechat_pay", {}).get("client") != "web":
        raise bad_param("payment_method_options[wechat_pay][client]", "Missing required param: client.")
    expires_at = integer(params, "expires_at") if "expires_at" in params else now + LIFE_SECONDS_MAX
    if not LIFE_SECONDS_MIN - CLOCK_SKEW_SECONDS <= expires_at - now <= LIFE_SECONDS_MAX + CLOCK_SKEW_SECONDS:
        raise bad_param("expires_at", "The `expires_at` timestamp must be 30 minutes to 24 hours from now.")
    future = params.get("payment_intent_data", {}).get("setup_future_usage")
    if future not in {None, "off_session", "on_session"}:
        raise bad_param("payment_intent_data[setup_future_usage]", f"Invalid setup_future_usage: {future}")
    creation = params.get("customer_creation", "if_required")
    if creation not in {"always", "if_required"}:
        raise bad_param("customer_creation", f"Invalid customer_creation: {creation}")
    session_id = new_id("cs_test_", 58)
    return {
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": params.get("adaptive_pricing") and {"enabled": _is_true(params["adaptive_pricing"])},
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "status": None},
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": now,
        "currency": currency,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": None,
        "customer_creation": creation,
        "customer_email": params.get("customer_email"),
        "expires_at": expires_at,
        "livemode": False,
        "locale": params.get("locale"),
        "metadata": params.get("metadata", {}),
        "mode": "payment",
        "payment_intent": None,
        "payment_method_types": params.get("allowed_payment_method_types", ["card"]),
        "payment_status": "unpaid",
        "shipping_options": [],
        "status": "open",
        "success_url": params["success_url"],
        "ui_mode": "hosted_page",
        "url": f"{base_url}/c/pay/{session_id}",
    }


def _is_true(params: Any) -> bool:
    return isinstance(params, dict) and params.get("enabled") == "true"


def _total(items: Any) -> tuple[int, str]:
    if not isinstance(items, list) or not items:
        raise bad_param("line_items", "Missing required param: line_items.", code="parameter_missing")
    total, currency = 0, ""
    for index, item in enumerate(items):
        at = f"line_items[{index}]"
        price = item.get("price_data") if isinstance(item, dict) else None
        if not isinstance(price, dict):
            raise bad_param(f"{at}[price_data]", "Missing required param: price_data.", code="parameter_missing")
        if not isinstance(price.get("product_data"), dict) or not price["product_data"].get("name"):
            raise bad_param(f"{at}[price_data][product_data][name]", "Missing required param: name.")
        currency = str(price.get("currency", ""))
        if len(currency) != 3 or not currency.islower():
            raise bad_param(f"{at}[price_data][currency]", f"Invalid currency: {currency}")
        unit = integer(price, "unit_amount", shown=f"{at}[price_data][unit_amount]")
        step = 100 if currency.upper() in TWO_DECIMALS_ALWAYS_00 else 10 if currency.upper() in THREE_DECIMALS else 1
        if unit < 0 or unit % step:
            raise bad_param(f"{at}[price_data][unit_amount]", f"Invalid amount {unit} for {currency}")
        total += unit * integer(item, "quantity", shown=f"{at}[quantity]")
    if total > TOTAL_MAX:
        raise bad_param("line_items", "Amount must be no more than 12 digits.", code="amount_too_large")
    if currency == "usd" and total < USD_MINIMUM:
        raise bad_param("line_items", "The total must be at least $0.50 usd.", code="amount_too_small")
    return total, currency


def new_intent(session: Object, intent_data: Params, now: int) -> Object:
    return {
        "id": new_id("pi_"),
        "object": "payment_intent",
        "amount": session["amount_total"],
        "amount_capturable": 0,
        "amount_received": 0,
        "capture_method": intent_data.get("capture_method", "automatic_async"),
        "confirmation_method": "automatic",
        "created": now,
        "currency": session["currency"],
        "customer": session["customer"],
        "description": intent_data.get("description"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": intent_data.get("metadata", {}),
        "payment_method": None,
        "payment_method_types": session["payment_method_types"],
        "setup_future_usage": intent_data.get("setup_future_usage"),
        "status": "requires_payment_method",
    }


def new_payment_method(number: str, now: int) -> Object:
    """Only the last four digits are kept."""
    card = {"brand": "visa", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": number[-4:]}
    return {
        "id": new_id("pm_"),
        "object": "payment_method",
        "billing_details": _no_details(),
        "card": {**card, "country": "US"},
        "created": now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def new_local_method(kind: str, now: int) -> Object:
    """Return a payment method that is no card; what is inside its own object differs by kind and is left out."""
    return {
        "id": new_id("pm_"),
        "object": "payment_method",
        "billing_details": _no_details(),
        "created": now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": kind,
    }


def new_customer(email: str | None, now: int) -> Object:
    return {
        "id": new_id("cus_", 14),
        "object": "customer",
        "created": now,
        "email": email,
        "livemode": False,
        "metadata": {},
    }


def new_charge(intent: Object, method: Object, amount: int, error: TestCard | None, now: int) -> Object:
    return {
        "id": new_id("ch_"),
        "object": "charge",
        "amount": amount,
        "amount_captured": 0 if error else amount,
        "amount_refunded": 0,
        "billing_details": _no_details(),
        "captured": error is None,
        "created": now,
        "currency": intent["currency"],
        "disputed": False,
        "failure_code": error.code if error else None,
        "livemode": False,
        "metadata": intent["metadata"],
        "paid": error is None,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "refunded": False,
        "status": "failed" if error else "succeeded",
    }


def new_dispute(charge: Object, reason: str, status: str, now: int) -> Object:
    return {
        "id": new_id("du_"),
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + 7 * 24 * 3600,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": status.startswith("warning_"),
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": status,
    }


def new_balance_line(kind: str, amount: int, subject: Object, fee: int, category: str, now: int) -> Object:
    fees = [
        {"amount": fee, "application": None, "currency": subject["currency"], "description": None, "type": "stripe_fee"}
    ]
    return {
        "id": new_id("txn_"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now + 2 * 24 * 3600,
        "balance_type": "payments",
        "created": now,
        "currency": subject["currency"],
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": fees if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": subject["id"],
        "status": "pending",
        "type": kind,
    }


def convert_balance_line(line: Object, currency: str, rate: Decimal) -> None:
    """Hold a line in another currency of two decimals: amount, fee and net are in it, the source keeps its own."""
    amount, fee = (int((Decimal(line[name]) * rate).to_integral_value()) for name in ("amount", "fee"))
    line.update(currency=currency, exchange_rate=float(rate), amount=amount, fee=fee, net=amount - fee)
    for detail in line["fee_details"]:
        detail.update(amount=fee, currency=currency)


def payment_error(error: TestCard, charge_id: str | None, method: Object) -> Object:
    said: Object = {
        "type": "card_error",
        "code": error.code,
        "message": f"Your card was declined ({error.shown.lower()}).",
        "payment_method": method,
        "payment_method_type": method["type"],
    }
    if error.decline_code:
        said["decline_code"] = error.decline_code
    if charge_id:
        said["charge"] = charge_id
    return said


def _no_details() -> Object:
    return {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}
