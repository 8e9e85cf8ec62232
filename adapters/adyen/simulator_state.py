"""The simulator's links, and the webhooks that Adyen would send about them. State in memory.

Written from Adyen's documents, not from the adapter; nothing of the adapter is imported here.
Sources: https://docs.adyen.com/api-explorer/Checkout/latest/post/paymentLinks (shapes, statuses),
https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures (signature),
https://docs.adyen.com/api-explorer/Webhooks/latest/post/AUTHORISATION (items),
https://docs.adyen.com/development-resources/refusal-reasons (texts of refusals).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from adapters.kit.simulator import BuildMessage, WebhookSender

LINKS_MAX: Final = 10_000
ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
REFUSAL_TEXT: Final = {
    "2": "Refused",
    "4": "Acquirer Error",
    "5": "Blocked Card",
    "9": "Issuer Unavailable",
    "10": "Not supported",
    "12": "Not enough balance",
    "15": "Cancelled",
    "16": "Shopper Cancelled",
    "20": "FRAUD",
    "22": "FRAUD-CANCELLED",
    "23": "Transaction Not Permitted",
    "31": "Issuer Suspected Fraud",
}
"""A decline may be asked for by Adyen's number or by its text."""


def now() -> datetime:
    return datetime.now(UTC)


def new_reference() -> str:
    """Return a pspReference: 16 characters."""
    return "".join(secrets.choice(ALPHABET) for _ in range(16))


@dataclass(slots=True)
class Link:
    """One payment link."""

    id: str
    body: Mapping[str, Any]
    """As it was asked for."""
    url: str
    expires_at: datetime
    status: str = "active"
    updated_at: datetime = field(default_factory=now)
    psp_reference: str = ""
    """Of the try that runs or has succeeded."""

    def become(self, status: str) -> None:
        self.status = status
        self.updated_at = now()

    @property
    def method(self) -> str:
        allowed: list[str] = self.body.get("allowedPaymentMethods") or ["scheme"]
        return allowed[0]

    def refresh(self) -> None:
        """Time runs out for links on which nobody is paying."""
        if self.status == "active" and now() >= self.expires_at:
            self.become("expired")

    def shown(self) -> dict[str, Any]:
        return {
            **self.body,
            "id": self.id,
            "url": self.url,
            "status": self.status,
            "expiresAt": iso(self.expires_at),
            "updatedAt": iso(self.updated_at),
        }


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Payment:
    """Money that a buyer gave, or that is reserved."""

    psp_reference: str
    reference: str
    method: str
    currency: str
    value: int
    captured: int
    refunded: int = 0
    disputed: bool = False
    capture_reference: str = ""
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What the buyer sees after one choice on the hosted page."""

    status: str
    """succeeded, declined, pending, abandoned or closed."""
    message: str
    code: str = ""
    psp_reference: str = ""


@dataclass(slots=True)
class Bank:
    """What happens after the buyer has chosen: statuses change, and Adyen tells us."""

    hmac_key: bytes
    live: bool
    merchant_account: str
    sender: WebhookSender
    links: dict[str, Link] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """By Idempotency-Key: the first answer, given again without acting."""

    payments: dict[str, Payment] = field(default_factory=dict)
    paid: Callable[[Payment], None] = field(default=lambda _payment: None)
    """What happens to money once it is captured (simulator_money.py)."""

    def pay(self, link: Link) -> Step:
        link.psp_reference = link.psp_reference or new_reference()
        link.become("completed")
        amount = link.body["amount"]
        reserved = link.body.get("manualCapture") is True
        payment = Payment(
            link.psp_reference, link.body["reference"], link.method, amount["currency"], amount["value"],
            0 if reserved else amount["value"],
        )  # fmt: skip
        self.payments[payment.psp_reference] = payment
        if not reserved:
            self.paid(payment)
        self._tell(link, "AUTHORISATION", success=True)
        return Step("succeeded", "Paid. Thank you.", psp_reference=link.psp_reference)

    def refuse(self, link: Link, code_or_text: str) -> Step:
        """The link stays open: a shopper may try again."""
        reason = REFUSAL_TEXT.get(code_or_text, code_or_text)
        tried = self._end_try(link, "AUTHORISATION", success=False, reason=reason)
        return Step("declined", "The payment was not accepted. You can try again.", reason, tried)

    def begin(self, link: Link) -> Step:
        """An asynchronous method: the shopper has gone to the bank."""
        link.psp_reference = new_reference()
        link.become("paymentPending")
        return Step("pending", "Waiting for your bank.", psp_reference=link.psp_reference)

    def abandon(self, link: Link) -> Step:
        """The shopper never came back from the bank; the offer made there is closed."""
        tried = self._end_try(link, "OFFER_CLOSED", success=True)
        return Step("abandoned", "The payment was not finished. You can start again.", psp_reference=tried)

    def _end_try(self, link: Link, event: str, *, success: bool, reason: str = "") -> str:
        """Tell of a try without money, and open the link again; return the try's pspReference."""
        tried = link.psp_reference = link.psp_reference or new_reference()
        self._tell(link, event, success=success, reason=reason)
        link.psp_reference = ""
        link.become("active")
        return tried

    def _tell(self, link: Link, event: str, *, success: bool, reason: str = "") -> None:
        amount = dict(link.body["amount"])
        if success and event == "AUTHORISATION":
            amount["value"] += self.sender.switches.wrong_amount
        item: dict[str, Any] = {
            "amount": amount,
            "eventCode": event,
            "eventDate": now().replace(microsecond=0).isoformat(),
            "merchantAccountCode": link.body["merchantAccount"],
            "merchantReference": link.body["reference"],
            "paymentMethod": link.method,
            "pspReference": link.psp_reference,
            "reason": reason,
            "success": "true" if success else "false",
        }
        item["additionalData"] = {"hmacSignature": self.sign(item), "paymentLinkId": link.id}
        self.sender.send(event, self._message(item))

    def tell_of(  # the fields of one notification
        self,
        payment: Payment,
        event: str,
        psp: str,
        reference: str,
        value: int,
        *,
        reason: str = "",
        told: str = "",
        good: bool = False,
    ) -> None:
        """Send an item about money that was taken; a reason means that it did not succeed, unless ``good``."""
        item: dict[str, Any] = {
            "amount": {"currency": payment.currency, "value": value},
            "eventCode": event,
            "eventDate": now().replace(microsecond=0).isoformat(),
            "merchantAccountCode": self.merchant_account,
            "merchantReference": reference,
            "originalReference": payment.psp_reference,
            "paymentMethod": payment.method,
            "pspReference": psp,
            "reason": reason or told,
            "success": "true" if good or not reason else "false",
        }
        item["additionalData"] = {"hmacSignature": self.sign(item)}
        self.sender.send(event, self._message(item))

    def _message(self, item: Mapping[str, Any]) -> BuildMessage:
        body = json.dumps(
            {"live": "true" if self.live else "false", "notificationItems": [{"NotificationRequestItem": item}]}
        ).encode()
        return lambda: (body, {"content-type": "application/json; charset=utf-8"})

    def sign(self, item: Mapping[str, Any]) -> str:
        """HMAC-SHA256 over eight fields joined by colons, key in hex, result in base64."""
        text = ":".join(
            [
                item["pspReference"],
                item.get("originalReference", ""),
                item["merchantAccountCode"],
                item["merchantReference"],
                str(item["amount"]["value"]),
                item["amount"]["currency"],
                item["eventCode"],
                item["success"],
            ]
        )
        return base64.b64encode(hmac.new(self.hmac_key, text.encode(), hashlib.sha256).digest()).decode()
