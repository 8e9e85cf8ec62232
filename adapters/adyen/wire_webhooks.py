"""Standard webhooks: each item is verified by itself, then read.

Sources: https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures,
https://docs.adyen.com/api-explorer/Webhooks/latest/post/AUTHORISATION, .../CANCELLATION, .../OFFER_CLOSED, .../EXPIRE.
The SDK's helper looks at the first item only, answers None without ``additionalData`` and raises KeyError without
``hmacSignature``: here it gets one item at a time, whose shape was looked at before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final, Literal

from Adyen.util import is_valid_hmac_notification
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from adapters.adyen import wire_amounts, wire_declines
from adapters.adyen.wire import LATER, OUR_REFERENCE, Amount
from adapters.base import Decline, Mode, RailAccount, RailEvent, RailEventKind, WebhookRejected
from rates.money import Money, MoneyError

ITEMS_MAX: Final = 500
"""Adyen documents up to six items a message; a limit far above it keeps a stranger's body cheap."""
SIGNED: Final = (
    "pspReference",
    "originalReference",
    "merchantAccountCode",
    "merchantReference",
    "eventCode",
    "success",
)
"""With amount.value and amount.currency, what the signature covers. Nothing else of an item may move money."""


class Item(BaseModel):
    """What of a NotificationRequestItem is read."""

    model_config = ConfigDict(extra="ignore", strict=True)

    pspReference: str = Field(min_length=1, max_length=64)  # noqa: N815  # Adyen's name
    merchantAccountCode: str  # noqa: N815  # Adyen's name
    eventCode: str  # noqa: N815  # Adyen's name
    success: Literal["true", "false"]
    amount: Amount
    eventDate: AwareDatetime = Field(strict=False)  # noqa: N815  # Adyen's name
    merchantReference: str = ""  # noqa: N815  # Adyen's name
    originalReference: str = ""  # noqa: N815  # Adyen's name
    paymentMethod: str | None = None  # noqa: N815  # Adyen's name
    reason: str | None = None


def read_webhook(body: bytes, account: RailAccount, merchant_account: str, keys: Sequence[str]) -> list[RailEvent]:
    """Verify every item, then read them. One bad item rejects all. Raises WebhookRejected."""
    items = verified_items(body, account, merchant_account, keys)
    return [event for item in items if (event := _event(item, account)) is not None]


def event_codes(body: bytes) -> list[str]:
    """Return the eventCode of each item of a message that was verified before."""
    items = json.loads(body)["notificationItems"]
    return [str(item["NotificationRequestItem"]["eventCode"]) for item in items]


def verified_items(body: bytes, account: RailAccount, merchant_account: str, keys: Sequence[str]) -> list[Item]:
    """Return the items of a message, every one signed for this account and mode. Raises WebhookRejected."""
    try:
        message = json.loads(body)
    except ValueError:
        raise WebhookRejected("the body is not JSON") from None
    if not isinstance(message, dict):
        raise WebhookRejected("the body is not a JSON object")
    if message.get("live") != ("true" if account.mode is Mode.LIVE else "false"):
        raise WebhookRejected(f"live is {message.get('live')!r}, and this account is {account.mode}")
    wrapped = message.get("notificationItems")
    if not isinstance(wrapped, list) or not 0 < len(wrapped) <= ITEMS_MAX:
        raise WebhookRejected(f"notificationItems is a list of 1 to {ITEMS_MAX}")
    items = [_verified(one, keys, place) for place, one in enumerate(wrapped)]
    for item in items:
        if item.merchantAccountCode != merchant_account:
            raise WebhookRejected(f"an item is for merchant account {item.merchantAccountCode!r}")
    return items


def _verified(wrapped: object, keys: Sequence[str], place: int) -> Item:
    raw = wrapped.get("NotificationRequestItem") if isinstance(wrapped, dict) else None
    if not isinstance(raw, dict):
        raise WebhookRejected(f"item {place} has no NotificationRequestItem")
    extra = raw.get("additionalData")
    signature = extra.get("hmacSignature") if isinstance(extra, dict) else None
    if not isinstance(signature, str) or not signature or not signature.isascii():
        raise WebhookRejected(f"item {place} has no hmacSignature")
    if any(not isinstance(raw.get(name, ""), str) for name in SIGNED):
        raise WebhookRejected(f"item {place}: a signed field is not text")
    try:
        item = Item.model_validate(raw)
    except ValidationError as error:
        raise WebhookRejected(f"item {place}: {error.errors()[0]['loc']} {error.errors()[0]['msg']}") from None
    alone = {"notificationItems": [{"NotificationRequestItem": raw}]}
    # every key is tried, so that the time taken does not tell which one fitted
    fitting = [key for key in keys if is_valid_hmac_notification(alone, key) is True]
    if not fitting:
        raise WebhookRejected(f"item {place} was not signed with a key of this account")
    return item


def _event(item: Item, account: RailAccount) -> RailEvent | None:
    """Return what one verified item says, or None where it is not about a payment of ours."""
    if any(":" in getattr(item, name) for name in SIGNED) or not OUR_REFERENCE.fullmatch(item.merchantReference):
        return None  # not a reference of ours; and the signature does not say where a field with a colon ends
    meaning = _meaning(item)
    if meaning is None:
        return None
    kind, decline, captured = meaning
    return RailEvent(
        rail=account.rail,
        account=account.account,
        mode=account.mode,
        # Adyen: a duplicate has the same eventCode and pspReference; success may turn from false to true later
        event_id=f"{item.eventCode}:{item.pspReference}:{item.success}",
        kind=kind,
        attempt_id=item.merchantReference.removesuffix(LATER),
        rail_reference=None,  # paymentLinkId stands in additionalData, which is not signed
        occurred_at=item.eventDate.astimezone(UTC),
        money_id=_money_id(item) if captured is not None else None,
        amount=captured,
        decline=decline,
        still_open=decline is not None,
        detail=_detail(item),
    )


def _meaning(item: Item) -> tuple[RailEventKind, Decline | None, Money | None] | None:
    """Return kind, decline and captured amount. Only the words below mean anything; a new one gives None."""
    match item.eventCode, item.success:
        case "AUTHORISATION" | "CAPTURE", "true":
            return _money_word(item)
        case "AUTHORISATION", "false":
            return RailEventKind.DECLINED, wire_declines.read_reason(item.reason or ""), None
        case "OFFER_CLOSED", "true":
            return RailEventKind.DECLINED, wire_declines.OFFER_CLOSED, None
        case "CANCELLATION", "true":
            return RailEventKind.CANCELED, None, None
        case "EXPIRE", "true":
            return RailEventKind.EXPIRED, None, None
        case _:
            return None


def _money_word(item: Item) -> tuple[RailEventKind, Decline | None, Money | None] | None:
    """Say what AUTHORISATION and CAPTURE mean: the money itself, unless the reference says that it was only reserved."""
    later = item.merchantReference.endswith(LATER)
    if item.eventCode == "AUTHORISATION" and later:
        return RailEventKind.PENDING, None, None
    if item.eventCode == "CAPTURE" and not (later and item.originalReference):
        return None
    # captured at once, because each other link says manualCapture false and captureDelayHours 0
    return RailEventKind.CAPTURED, None, amount_of(item)


def _money_id(item: Item) -> str:
    """Return the payment's own reference, which a CAPTURE names as the original."""
    return item.originalReference if item.eventCode == "CAPTURE" else item.pspReference


def amount_of(item: Item) -> Money:
    try:
        return wire_amounts.from_wire(item.amount.currency, item.amount.value)
    except MoneyError as error:
        raise WebhookRejected(f"an amount that cannot be read: {error}") from None


def _detail(item: Item) -> Mapping[str, Any]:
    detail = {"event_code": item.eventCode, "psp_reference": item.pspReference, "success": item.success}
    if item.eventCode == "AUTHORISATION" and item.success == "true" and item.merchantReference.endswith(LATER):
        detail["authorisation"] = item.pspReference
    if item.originalReference:
        detail["original_reference"] = item.originalReference
    if item.paymentMethod:
        detail["payment_method"] = item.paymentMethod[:40]
    if item.success == "false" and item.reason:
        detail["reason"] = item.reason[:200]
    return detail
