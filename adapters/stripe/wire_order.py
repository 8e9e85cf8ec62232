"""An order of ours as the parameters of a Checkout Session.

Source: https://docs.stripe.com/api/checkout/sessions/create
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field

from adapters.base import PaymentOrder
from adapters.catalogue import word_of
from adapters.stripe.options import RAIL
from adapters.stripe.wire import ATTEMPT_KEY, SAVED_KEY
from adapters.stripe.wire_amounts import to_wire

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCreateParams
    from stripe.params.checkout import SessionCreateParams

CARD: Final = "card"
SUFFIX_CHARS_MAX: Final = 10
"""22 in all, less the account's own prefix of up to 10 and the "* " that Stripe puts between."""
SESSION_LIFE_MIN: Final = timedelta(minutes=30)
SESSION_LIFE_MAX: Final = timedelta(hours=24)
CLOCK_MARGIN: Final = timedelta(minutes=1)

_LOCALES: Final = (
    "bg cs da de el en en-GB es es-419 et fi fil fr fr-CA hr hu id it ja ko lt lv ms mt nb nl pl pt pt-BR ro ru sk sl "
    "sv th tr vi zh zh-HK zh-TW"
)
LOCALES: Final = frozenset(_LOCALES.split())


class SavedCard(BaseModel):
    """``SavedMethod.reference`` of this rail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    customer: str = Field(pattern="^cus_")
    payment_method: str = Field(pattern="^pm_")


def session_params(order: PaymentOrder) -> SessionCreateParams:
    """Build what is sent, without the expiry: the same order gives the same parameters. Raises NotChargeable."""
    word = word_of(RAIL, order.method, order.country)
    ours = {ATTEMPT_KEY: order.attempt_id}
    params: SessionCreateParams = {
        "mode": "payment",
        # Else Stripe offers what its dashboard says, under a method of ours that is another one.
        "allowed_payment_method_types": [word],
        "adaptive_pricing": {"enabled": False},  # else Stripe converts once more, and the buyer sees another price
        "client_reference_id": order.attempt_id,
        "metadata": ours,
        "payment_intent_data": {"metadata": ours, "description": order.description},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": order.amount.asset.code.lower(),
                    "unit_amount": to_wire(order.amount),
                    "product_data": {"name": order.description},
                },
            }
        ],
        "success_url": order.return_url,
        "cancel_url": order.return_url,
        "locale": _locale(order.locale),
    }
    if order.email:
        params["customer_email"] = order.email
    if word == "wechat_pay":
        params["payment_method_options"] = {"wechat_pay": {"client": "web"}}  # required by the document
    if order.step_up and order.method == CARD:
        # https://docs.stripe.com/payments/3d-secure/authentication-flow#manual-three-ds
        params["payment_method_options"] = {"card": {"request_three_d_secure": "any"}}
    if order.capture_later:
        params["payment_intent_data"]["capture_method"] = "manual"
    if suffix := statement_suffix(order):
        params["payment_intent_data"]["statement_descriptor_suffix"] = suffix
    if order.merchant_category:
        ours["merchant_category"] = order.merchant_category  # Stripe takes no code per payment: kept for reports
    if order.save_method and order.method == CARD:
        # https://docs.stripe.com/payments/save-during-payment: the page says so, and attaches the card to a Customer.
        params["customer_creation"] = "always"
        params["payment_intent_data"]["setup_future_usage"] = "off_session"
    return params


def statement_suffix(order: PaymentOrder) -> str:
    """Return what Stripe lets stand on a statement after the account's own name; "" = nothing.

    Cards only; printable ASCII without quotes, brackets, stars and backslashes, with a letter.
    Source: https://docs.stripe.com/get-started/account/statement-descriptors
    """
    if order.method != CARD:
        return ""
    said = order.statement_suffix
    kept = "".join(letter for letter in said if letter.isascii() and letter.isprintable() and letter not in "<>\\'\"*")
    kept = kept[:SUFFIX_CHARS_MAX].strip()
    return kept if any(letter.isalpha() for letter in kept) else ""


def saved_charge_params(order: PaymentOrder, saved: SavedCard) -> PaymentIntentCreateParams:
    """Build the charge of a saved card: the same order gives the same parameters. Raises NotChargeable.

    Source: https://docs.stripe.com/api/payment_intents/create
    """
    ours = {ATTEMPT_KEY: order.attempt_id, SAVED_KEY: "1"}
    if order.merchant_category:
        ours["merchant_category"] = order.merchant_category
    params: PaymentIntentCreateParams = {
        "amount": to_wire(order.amount),
        "currency": order.amount.asset.code.lower(),
        "customer": saved.customer,
        "payment_method": saved.payment_method,
        "off_session": True,
        "confirm": True,
        # Without, Stripe asks for a return_url: nobody would follow it.
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "description": order.description,
        "metadata": ours,
    }
    if suffix := statement_suffix(order):
        params["statement_descriptor_suffix"] = suffix
    return params


def expiry_candidates(expires_at: datetime, now: datetime) -> list[int | None]:
    """Return the ``expires_at`` to send, followed by those that an earlier send of this order may have used.

    Stripe takes 30 minutes to 24 hours from creation, so a sooner end is sent 31 minutes late (the orchestrator ends
    the payment itself, by cancel_payment) and a later one not at all (Stripe's default is 24 hours). Which of the
    three applies changes as time passes, while the same key takes the same parameters only.
    """
    exact, late = int(expires_at.timestamp()), int((expires_at + SESSION_LIFE_MIN + CLOCK_MARGIN).timestamp())
    left = expires_at - now
    if left > SESSION_LIFE_MAX - CLOCK_MARGIN:
        return [None]
    if left >= SESSION_LIFE_MIN + CLOCK_MARGIN:
        return [exact, None]
    return [late, exact, None]


def _locale(wanted: str) -> str:
    tag = wanted.replace("_", "-")
    return next((locale for locale in (tag, tag.partition("-")[0]) if locale in LOCALES), "auto")
