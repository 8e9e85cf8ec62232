"""Tally's calls and messages: one page of a vendor that takes one method in one currency.

``POST /payments`` (our attempt id is its key), ``GET /payments/{id}``, ``POST /payments/{id}/cancel``; webhooks carry the
same object and ``x-tally-signature``, the hex HMAC-SHA256 of the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from adapters.base import (
    CancelOutcome,
    Capability,
    Flow,
    OutcomeUnknown,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RailEventKind,
    RailMisconfigured,
    Redirect,
    WebhookRejected,
)
from adapters.kit.http import call_timeout, from_status, from_transport
from rates.money import Money, display_asset

MEANS: Final = {
    "open": RailEventKind.ACTION_REQUIRED,
    "paid": RailEventKind.CAPTURED,
    "cancelled": RailEventKind.CANCELED,
}
"""A word that is not here means pending: wait, do not guess."""


class TallyAdapter:
    """One account at Tally."""

    resend_window_seconds: Final = 3600
    capabilities: Final = (Capability("tally", Flow.REDIRECT, None, ("EUR",), expected_seconds=5),)

    def __init__(self, account: RailAccount, http: aiohttp.ClientSession) -> None:
        if not account.options.get("key") or not account.options.get("webhook_secret"):
            raise RailMisconfigured(f"tally account {account.account!r}: key and webhook_secret are needed")
        self.account: Final = account
        self._http = http

    def supports_currency(self, currency: str) -> bool:
        return currency == "EUR"

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        body = {"reference": order.attempt_id, "cents": order.amount.units, "back": order.return_url}
        made = await self._call("POST", "/payments", body)
        if (made.get("cents"), made.get("reference")) != (order.amount.units, order.attempt_id):
            raise OutcomeUnknown(f"Tally made another payment than {order.attempt_id}")
        return PaymentStarted(made["id"], Redirect(made["page"]), [self._event(made)])

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        if reference.rail_reference is None:
            return []
        return [self._event(await self._call("GET", f"/payments/{reference.rail_reference}"))]

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        if reference.rail_reference is None:
            return CancelOutcome.CANNOT
        said = await self._call("POST", f"/payments/{reference.rail_reference}/cancel", {})
        return CancelOutcome.CANCELED if said["status"] == "cancelled" else CancelOutcome.TOO_LATE

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[RailEvent]:
        secret = str(self.account.options["webhook_secret"]).encode()
        mac = hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac.encode(), headers.get("x-tally-signature", "").encode()):
            raise WebhookRejected("not signed with this account's secret")
        return [self._event(json.loads(body))]

    def webhook_answer(self) -> tuple[int, str, str]:
        return 200, "text/plain", "ok"

    def _event(self, said: Mapping[str, Any]) -> RailEvent:
        kind = MEANS.get(said["status"], RailEventKind.PENDING)
        captured = kind is RailEventKind.CAPTURED
        return RailEvent(
            rail=self.account.rail,
            account=self.account.account,
            mode=self.account.mode,
            event_id=f"{said['id']}:{said['status']}",
            kind=kind,
            attempt_id=said["reference"],
            rail_reference=said["id"],
            occurred_at=datetime.fromtimestamp(said["at"], UTC),
            money_id=said["id"] if captured else None,
            amount=Money(said["cents"], display_asset("EUR")) if captured else None,
        )

    async def _call(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        doing, reading = f"tally {verb} {path}", verb == "GET"
        headers = {"Authorization": f"Bearer {self.account.options['key']}"}
        url = (self.account.base_url or "https://tally.invalid") + path
        try:
            async with self._http.request(verb, url, json=body, headers=headers, timeout=call_timeout()) as answer:
                status, text = answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise from_transport(error, doing=doing, reading=reading) from None
        if status == 200:
            said: dict[str, Any] = json.loads(text)
            return said
        raise from_status(status, doing=doing, reading=reading) or RailMisconfigured(f"{doing}: {status}")
