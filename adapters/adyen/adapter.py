"""Adyen: local methods on Adyen's hosted page (Pay by Link).

Why payment links and not /payments: README.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
from pydantic import ValidationError

from adapters.adyen import wire, wire_amounts, wire_operations, wire_webhooks
from adapters.adyen.client import AsyncAdyenClient, Refused, payment_links
from adapters.adyen.operations import AdyenOperations
from adapters.adyen.options import METHODS, read_options
from adapters.base import (
    CancelOutcome,
    Capability,
    Mode,
    OutcomeUnknown,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RailMisconfigured,
    Redirect,
)
from adapters.operations import DisputeEvent, RefundEvent
from rates.money import MoneyError


class AdyenAdapter(AdyenOperations):
    """One merchant account at Adyen."""

    later_methods: Final = frozenset({"vipps", "twint"})
    """Sources: https://docs.adyen.com/payment-methods/vipps, https://docs.adyen.com/payment-methods/twint/web-drop-in (both name
    separate captures); of the other methods here that was not read: they take the money at once."""

    def __init__(self, account: RailAccount, http: aiohttp.ClientSession) -> None:
        options = read_options(account)
        self._hmac_keys = [key.get_secret_value() for key in options.hmac_keys]
        self._capabilities = tuple(METHODS[method] for method in options.methods)
        client = AsyncAdyenClient(
            http,
            api_key=options.api_key.get_secret_value(),
            live=account.mode is Mode.LIVE,
            base_url=account.base_url,
            live_endpoint_prefix=options.live_endpoint_prefix,
            answer_seconds_max=options.answer_seconds_max,
        )
        super().__init__(client, account, options.merchant_account)
        self._links = payment_links(client)

    @property
    def account(self) -> RailAccount:
        return self._account

    @property
    def capabilities(self) -> Sequence[Capability]:
        return self._capabilities

    @property
    def resend_window_seconds(self) -> int:
        return wire.RESEND_WINDOW_SECONDS

    def supports_currency(self, currency: str) -> bool:
        return wire_amounts.supports(currency)

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        """Create a payment link that offers the one method. The attempt id is its reference and Idempotency-Key.

        Source: https://docs.adyen.com/api-explorer/Checkout/latest/post/paymentLinks
        """
        self._check(order)
        try:
            body = wire.link_request(order, self._merchant_account)
        except MoneyError as error:
            raise RailMisconfigured(f"amount: {error}") from error
        answer: wire.Answer = await self._links.payment_links(body, idempotency_key=order.attempt_id)
        try:
            link = wire.Link.model_validate(dict(answer.message))
        except ValidationError as error:
            raise OutcomeUnknown(f"Adyen made a link that cannot be read: {error.errors()[0]['loc']}") from None
        if (field := wire.link_differs(link, body)) is not None:
            raise OutcomeUnknown(f"Adyen's link {link.id} has another {field} than was asked for")
        return PaymentStarted(
            rail_reference=link.id,
            action=Redirect(link.url, link.expiresAt or order.expires_at),
            events=[wire.link_event(link, self._account, answer.answered_at)],
        )

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        """Ask for the link's status. It never names the money: only a webhook captures.

        Adyen has no search by reference: without a link id there is nothing to ask, and nothing is said.
        Source: https://docs.adyen.com/api-explorer/Checkout/latest/get/paymentLinks/(linkId)
        """
        if reference.rail_reference is None:
            return []
        link, answer = await self._fetch(reference.rail_reference)
        return [wire.link_event(link, self._account, answer.answered_at)]

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        """Expire the link, if nobody is paying on it.

        Source: https://docs.adyen.com/api-explorer/Checkout/latest/patch/paymentLinks/(linkId)
        """
        if reference.rail_reference is None:
            return CancelOutcome.CANNOT
        link, _ = await self._fetch(reference.rail_reference)
        if link.status == "active":
            try:
                answer = await self._links.update_payment_link({"status": "expired"}, link.id)
                link = self._link(answer, OutcomeUnknown)
            except Refused:  # somebody began to pay in between: its status says so
                link, _ = await self._fetch(reference.rail_reference)
        return CancelOutcome.CANCELED if link.status == "expired" else CancelOutcome.TOO_LATE

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[RailEvent]:  # noqa: ARG002  # the signature is in the body
        return wire_webhooks.read_webhook(body, self._account, self._merchant_account, self._hmac_keys)

    def parse_reversals(self, headers: Mapping[str, str], body: bytes) -> Sequence[RefundEvent | DisputeEvent]:  # noqa: ARG002  # as above
        items = wire_webhooks.verified_items(body, self._account, self._merchant_account, self._hmac_keys)
        readers = (wire_operations.refund_event, wire_operations.dispute_event)
        return [event for item in items for read in readers if (event := read(item, self._account)) is not None]

    def event_types(self, body: bytes) -> Sequence[tuple[str, bool]]:
        return [(code, wire_operations.is_read(code)) for code in wire_webhooks.event_codes(body)]

    def webhook_answer(self) -> tuple[int, str, str]:
        """Any 2xx is accepted today; older endpoints are accepted by this body. It satisfies both.

        Source: https://www.adyen.com/knowledge-hub/webhooks-accept-2xx
        """
        return 200, "text/plain", "[accepted]"

    def _check(self, order: PaymentOrder) -> None:
        offered = {capability.method: capability for capability in self._capabilities}
        capability = offered.get(order.method)
        if capability is None:
            raise RailMisconfigured(f"method: this account does not offer {order.method!r}")
        if order.amount.asset.code not in capability.currencies:
            raise RailMisconfigured(f"amount: {order.method} is paid in {', '.join(capability.currencies)}")
        if capability.countries is not None and order.country not in capability.countries:
            raise RailMisconfigured(f"country: {order.method} is not offered in {order.country}")
        if order.amount.units <= 0:
            raise RailMisconfigured("amount: it is above zero")
        if not wire.OUR_REFERENCE.fullmatch(order.attempt_id):
            raise RailMisconfigured("attempt_id: 1 to 64 of A-Z a-z 0-9 _ . -")

    async def _fetch(self, link_id: str) -> tuple[wire.Link, wire.Answer]:
        if not re.fullmatch(r"[A-Za-z0-9_\-]{1,64}", link_id):
            raise RailMisconfigured(f"rail_reference: {link_id[:80]!r} is no payment link id")
        answer: wire.Answer = await self._links.get_payment_link(link_id)
        return self._link(answer, RailMisconfigured), answer

    def _link(self, answer: wire.Answer, otherwise: type[Exception]) -> wire.Link:
        try:
            link = wire.Link.model_validate(dict(answer.message))
        except ValidationError as error:
            raise otherwise(f"a payment link of Adyen cannot be read: {error.errors()[0]['loc']}") from None
        if link.merchantAccount != self._merchant_account:
            raise RailMisconfigured(f"link {link.id} belongs to merchant account {link.merchantAccount!r}")
        return link
