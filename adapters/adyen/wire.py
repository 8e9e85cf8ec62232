"""The shapes of a payment link, and what its words mean.

Source: Checkout API, https://docs.adyen.com/api-explorer/Checkout/latest/post/paymentLinks and .../get/paymentLinks/(linkId);
https://docs.adyen.com/unified-commerce/pay-by-link/create-payment-links/api.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt

from adapters.adyen import wire_amounts
from adapters.adyen.options import RAIL
from adapters.base import PaymentOrder, RailAccount, RailEvent, RailEventKind
from adapters.catalogue import word_of

REFERENCE_CHARS_MAX: Final = 64
"""The attempt id is the Idempotency-Key (64 characters) and the reference (80)."""
DESCRIPTION_CHARS_MAX: Final = 280
RESEND_WINDOW_SECONDS: Final = 7 * 24 * 3600
"""Keys live at least 7 days. Source: https://docs.adyen.com/development-resources/api-idempotency."""

OUR_REFERENCE: Final = re.compile(rf"[A-Za-z0-9_.\-]{{1,{REFERENCE_CHARS_MAX}}}")
"""No colon: the webhook's signature joins its fields with colons, and a colon inside would make it ambiguous."""

LATER: Final = ".later"
"""Ends the reference of an order with ``capture_later``: the webhook's signed fields then say that an AUTHORISATION of it
is a reservation only."""

LINK_STATUS_MEANS: Final = {
    "active": RailEventKind.ACTION_REQUIRED,
    "paymentPending": RailEventKind.PENDING,
    "completed": RailEventKind.PENDING,
    "paid": RailEventKind.PENDING,
    "expired": RailEventKind.EXPIRED,
}
"""``completed`` and ``paid`` carry no pspReference, so they cannot name the money: the webhook captures, not this.
A word that is not here means PENDING: wait, do not guess."""

LOCALES: Final = {"en": "en-US", "nl": "nl-NL", "pt": "pt-BR"}
"""Languages of the countries served here. Adyen wants language and country; for others the field is left out.
Source: https://docs.adyen.com/unified-commerce/pay-by-link/payment-links/api#language."""


class Amount(BaseModel):
    """An amount in Adyen's minor units."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    value: StrictInt


class Link(BaseModel):
    """What of a payment link is read."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(pattern=r"^[A-Za-z0-9_\-]{1,64}$")
    """Stands in a URL afterwards, hence the pattern."""
    status: str
    reference: str
    merchantAccount: str  # noqa: N815  # Adyen's name
    amount: Amount
    url: str = Field(pattern=r"^https?://")
    expiresAt: AwareDatetime | None = None  # noqa: N815  # Adyen's name
    updatedAt: AwareDatetime | None = None  # noqa: N815  # Adyen's name


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer: its JSON, and Adyen's own clock when it was given."""

    message: Mapping[str, Any]
    answered_at: datetime


def link_request(order: PaymentOrder, merchant_account: str) -> dict[str, Any]:
    """Build the body of POST /paymentLinks. Raises MoneyError.

    Capture is asked for at once, whatever the account's setting, so that an AUTHORISATION is the money itself.
    """
    body: dict[str, Any] = {
        "merchantAccount": merchant_account,
        "reference": order.attempt_id + (LATER if order.capture_later else ""),
        "amount": wire_amounts.to_wire(order.amount),
        "countryCode": order.country,
        "allowedPaymentMethods": [word_of(RAIL, order.method, order.country)],
        "description": order.description[:DESCRIPTION_CHARS_MAX],
        "returnUrl": order.return_url,
        "expiresAt": order.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reusable": False,
        "manualCapture": order.capture_later,
    }
    if not order.capture_later:
        body["captureDelayHours"] = 0
    if order.merchant_category:
        body["mcc"] = order.merchant_category
    if order.statement_suffix:
        # https://docs.adyen.com/api-explorer/Checkout/latest/post/paymentLinks: 22 letters, digits and a few marks
        body["shopperStatement"] = re.sub(r"[^A-Za-z0-9.,'_?+* /-]", "", order.statement_suffix)[:22].strip()
    language = order.locale.partition("-")[0].lower()
    if language in LOCALES:
        body["shopperLocale"] = LOCALES[language]
    if len(order.customer_reference) >= 3:  # Adyen refuses shorter ones
        body["shopperReference"] = order.customer_reference
    if order.email is not None:
        body["shopperEmail"] = order.email
    return body


def link_differs(link: Link, asked: Mapping[str, Any]) -> str | None:
    """Name the field in which a new link is not the one that was asked for, or None."""
    got = {
        "reference": link.reference,
        "merchantAccount": link.merchantAccount,
        "amount": link.amount.model_dump(),
    }
    return next((name for name, value in got.items() if value != asked[name]), None)


def link_event(link: Link, account: RailAccount, answered_at: datetime) -> RailEvent:
    """Return what a link's status says. Not a capture, ever: see LINK_STATUS_MEANS."""
    return RailEvent(
        rail=account.rail,
        account=account.account,
        mode=account.mode,
        event_id=f"{link.id}:{link.status}",
        kind=LINK_STATUS_MEANS.get(link.status, RailEventKind.PENDING),
        attempt_id=link.reference.removesuffix(LATER),
        rail_reference=link.id,
        occurred_at=(link.updatedAt or answered_at).astimezone(UTC),
        detail={"link_status": link.status, "status_known": link.status in LINK_STATUS_MEANS},
    )
