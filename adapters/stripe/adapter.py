"""Stripe Checkout: the calls. What they say is in wire.py.

No call is repeated here or by the SDK (``max_network_retries=0``): whether it may be repeated depends on the kind of
error, and that is the orchestrator's to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp
import stripe

from adapters.base import (
    CancelOutcome,
    Capability,
    OutcomeUnknown,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RailMisconfigured,
    Redirect,
    SavedMethod,
    WebhookRejected,
)
from adapters.catalogue import offered
from adapters.kit.http import call_timeout
from adapters.operations import DisputeEvent, RefundEvent
from adapters.stripe.errors import in_port_words, unreadable
from adapters.stripe.operations import StripeOperations
from adapters.stripe.options import RAIL, read_options
from adapters.stripe.saved import PAGE_SIZE, PAGES_MAX, SavedCharges, seconds_around
from adapters.stripe.wire import (
    ATTEMPT_KEY,
    EVENTS,
    Event,
    Intent,
    Reader,
    Session,
    UnreadableMessage,
    moment,
    signed_by,
)
from adapters.stripe.wire_amounts import MINIMUM_CHARGE, NotChargeable, can_charge_every_unit, to_wire
from adapters.stripe.wire_declines import WANT_BUYER
from adapters.stripe.wire_operations import Dispute, Refund, dispute_event, refund_event
from adapters.stripe.wire_order import CARD, expiry_candidates, session_params

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams, SessionListParams

API: Final = "https://api.stripe.com"
IDEMPOTENCY_SECONDS: Final = 24 * 3600
"""Keys may be pruned once they are 24 hours old: https://docs.stripe.com/api/idempotent_requests"""
EXPANDED: Final = ["payment_intent", "payment_intent.latest_charge"]
EXPANDED_SAVED: Final = ["payment_intent", "payment_intent.payment_method"]


Parsed = TypeVar("Parsed")
REFUND_EVENTS: Final = frozenset({"refund.created", "refund.updated", "refund.failed"})
REVERSALS: Final = (*REFUND_EVENTS, "charge.dispute.")


def _capability(method: str, card_currencies: tuple[str, ...]) -> Capability:
    """Return what the catalogue says of a method, with Stripe's smallest charges where the method has none of its own."""
    listed = offered(RAIL)[method]
    if method == CARD:
        return replace(listed, currencies=card_currencies, amount_min=MINIMUM_CHARGE)
    least = {code: MINIMUM_CHARGE[code] for code in listed.currencies if code in MINIMUM_CHARGE}
    return replace(listed, amount_min={**least, **listed.amount_min})


def utc_now() -> datetime:
    return datetime.now(UTC)


class StripeAdapter(StripeOperations):
    """One Stripe account."""

    resend_window_seconds: Final = IDEMPOTENCY_SECONDS
    saveable_methods: Final = frozenset({CARD})
    later_methods: Final = frozenset({CARD})
    """Source: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (of what is offered here, cards only)."""

    def __init__(
        self, account: RailAccount, http: aiohttp.ClientSession, now: Callable[[], datetime] = utc_now
    ) -> None:
        options = read_options(account)
        self._secrets = tuple(secret.get_secret_value() for secret in options.webhook_secrets)
        self._verified: tuple[bytes, str] | None = None
        self._latest: tuple[bytes, Event] | None = None
        key = options.api_key.get_secret_value()
        client = stripe.StripeClient(
            key,
            base_addresses={"api": (account.base_url or API).rstrip("/")},
            http_client=stripe.AIOHTTPClient(session=http, timeout=call_timeout(options.answer_seconds_max)),
            max_network_retries=0,
        )
        super().__init__(client, account, (key, *self._secrets), now)
        self._saved = SavedCharges(self._stripe, self._read, self._hidden)
        self.capabilities: Final[Sequence[Capability]] = tuple(
            _capability(method, options.currencies) for method in options.methods
        )

    def supports_currency(self, currency: str) -> bool:
        """Say whether Stripe charges every amount of this currency that a buyer can be shown."""
        return can_charge_every_unit(currency)

    # --- calls ----------------------------------------------------------------------------------------------------

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        """Create a Checkout Session.

        Source: https://docs.stripe.com/api/checkout/sessions/create
        """
        self._check(order)
        try:
            base = session_params(order)
        except NotChargeable as error:
            raise RailMisconfigured(str(error)) from None
        attempts = expiry_candidates(order.expires_at, self._now())
        with in_port_words(f"stripe create session for {order.attempt_id}", self._hidden, reading=False):
            created = await self._create(base, attempts, order.attempt_id)
        session = _session(created)
        if (session.amount_total, session.currency) != (to_wire(order.amount), order.amount.asset.code.lower()):
            said = f"{session.amount_total} {session.currency}"
            raise OutcomeUnknown(f"{session.id} asks for {said} in Stripe's units, not for {order.amount}")
        if session.url is None:
            raise OutcomeUnknown(f"{session.id} is {session.status} already and has no page: ask for its status")
        return PaymentStarted(session.id, Redirect(session.url, moment(session.expires_at)))

    def _check(self, order: PaymentOrder) -> None:
        capability = next((one for one in self.capabilities if one.method == order.method), None)
        if capability is None:
            raise RailMisconfigured(f"method: this Stripe account does not offer {order.method!r}")
        if capability.countries is not None and order.country not in capability.countries:
            raise RailMisconfigured(f"country: {order.method} is not offered in {order.country}")
        currencies, code = capability.currencies, order.amount.asset.code
        if order.method != CARD and code not in currencies:
            raise RailMisconfigured(f"amount: {order.method} is paid in {', '.join(currencies)}")

    async def _create(
        self, base: SessionCreateParams, expiries: Sequence[int | None], key: str
    ) -> stripe.checkout.Session:
        """Send until Stripe does not object that this key was used with another expiry: then it was ours, earlier."""
        *earlier, last = expiries
        for expiry in earlier:
            try:
                return await self._send(base, expiry, key)
            except stripe.IdempotencyError:
                continue
        return await self._send(base, last, key)

    async def _send(self, base: SessionCreateParams, expiry: int | None, key: str) -> stripe.checkout.Session:
        params = base if expiry is None else {**base, "expires_at": expiry}
        return await self._stripe.v1.checkout.sessions.create_async(params, {"idempotency_key": key})

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        """Read session and PaymentIntent. Without an id the account is searched, see ``_find``; empty proves nothing.

        Source: https://docs.stripe.com/api/checkout/sessions/retrieve
        """
        if reference.saved:
            return await self._saved.status(reference) or await self._search(reference)
        session_id = reference.rail_reference or await self._find(reference)
        if session_id is None:
            return await self._search(reference)
        session = await self._retrieve(session_id)
        try:
            return self._read.session(session, at=None, now=self._now())
        except ValueError as error:
            raise unreadable(error) from None

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        """Expire the session. CANNOT where it cannot be found.

        Source: https://docs.stripe.com/api/checkout/sessions/expire
        """
        if reference.saved:
            return await self._saved.cancel(reference)
        session_id = reference.rail_reference or await self._find(reference)
        if session_id is None:
            return CancelOutcome.CANNOT  # nobody has its page, but an empty search proves nothing: watch on
        with in_port_words(f"stripe expire {session_id}", self._hidden, reading=False):
            try:
                expired = await self._stripe.v1.checkout.sessions.expire_async(session_id)
            except stripe.InvalidRequestError as error:
                if error.http_status != 400:
                    raise
                expired = None  # "only sessions with a status in ["open"] can be expired": read what it is
        session = await self._retrieve(session_id) if expired is None else _session(expired)
        paid = session.payment_status == "paid" or (session.intent is not None and session.intent.status == "succeeded")
        return CancelOutcome.CANCELED if session.status == "expired" and not paid else CancelOutcome.TOO_LATE

    async def _retrieve(self, session_id: str, expand: list[str] = EXPANDED) -> Session:
        with in_port_words(f"stripe retrieve {session_id}", self._hidden, reading=True):
            found = await self._stripe.v1.checkout.sessions.retrieve_async(session_id, {"expand": expand})
        return _session(found)

    async def _find(self, reference: PaymentReference) -> str | None:
        """List the sessions of the minutes around the attempt and look for its id.

        Sessions cannot be searched by metadata, but lists show what was just written (search does not). The list has
        a bound, and a session that was sent again later lies outside the window: not found proves nothing.
        Source: https://docs.stripe.com/api/checkout/sessions/list
        """
        first, last = seconds_around(reference)
        wanted: SessionListParams = {"created": {"gte": first, "lte": last}, "limit": PAGE_SIZE}
        for _ in range(PAGES_MAX):
            with in_port_words(f"stripe list sessions for {reference.attempt_id}", self._hidden, reading=True):
                page = await self._stripe.v1.checkout.sessions.list_async(wanted)
            for found in page.data:
                if found.client_reference_id == reference.attempt_id:
                    return found.id
            if not page.has_more or not page.data:
                return None
            wanted["starting_after"] = page.data[-1].id
        return None

    async def _search(self, reference: PaymentReference) -> Sequence[RailEvent]:
        """Search PaymentIntents by our metadata: finds money of a session that the list did not show.

        Seconds to an hour behind, and not offered to accounts in India. Source: https://docs.stripe.com/search
        """
        query = f"metadata['{ATTEMPT_KEY}']:'{reference.attempt_id}'"
        with in_port_words(f"stripe search {reference.attempt_id}", self._hidden, reading=True):
            found = await self._stripe.v1.payment_intents.search_async({"query": query, "limit": PAGE_SIZE})
        try:
            intents = [Intent.model_validate(intent.to_dict()) for intent in found.data]
            return [event for intent in intents for event in self._read.intent(intent, at=None)]
        except ValueError as error:
            raise unreadable(error) from None

    # --- saved cards ----------------------------------------------------------------------------------------------

    async def saved_method(self, reference: PaymentReference) -> SavedMethod | None:
        """Read Customer and card of a paid session that asked to save it.

        Source: https://docs.stripe.com/payments/save-during-payment
        """
        session_id = None if reference.saved else reference.rail_reference or await self._find(reference)
        if session_id is None:
            return None
        return self._saved.method_of(await self._retrieve(session_id, EXPANDED_SAVED))

    async def charge_saved(self, order: PaymentOrder) -> PaymentStarted:
        """Create and confirm a PaymentIntent off-session.

        Source: https://docs.stripe.com/api/payment_intents/create
        """
        return await self._saved.charge(order)

    def wants_buyer(self, decline_code: str) -> bool:
        return decline_code in WANT_BUYER

    # --- webhooks -------------------------------------------------------------------------------------------------

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[RailEvent]:
        """Verify with every secret of this account, then read.

        Source: https://docs.stripe.com/webhooks#verify-events
        """
        return self._parse(headers, body, lambda event: _payment_events(self._read, event, self._now()))

    def parse_reversals(self, headers: Mapping[str, str], body: bytes) -> Sequence[RefundEvent | DisputeEvent]:
        """Read ``refund.*`` and ``charge.dispute.*``.

        Source: https://docs.stripe.com/api/events/types
        """
        return self._parse(headers, body, lambda event: _reversal_events(self.account, event))

    def event_types(self, body: bytes) -> Sequence[tuple[str, bool]]:
        kind = self._event(body).type
        return ((kind, kind in EVENTS or kind.startswith(REVERSALS)),)

    def _parse(
        self, headers: Mapping[str, str], body: bytes, read: Callable[[Event], Sequence[Parsed]]
    ) -> Sequence[Parsed]:
        self._believe(body, headers.get("stripe-signature", ""))
        try:
            event = self._event(body)
            if event.account is not None:
                return ()
            if event.livemode is not (self.account.mode.value == "live"):
                raise UnreadableMessage("an event of the other mode")
            return read(event)
        except ValueError as error:
            raise WebhookRejected(f"signed by Stripe, but not as its documents say ({type(error).__name__})") from None

    def _believe(self, body: bytes, signature: str) -> None:
        """Raise WebhookRejected where nobody signed these bytes.

        A message is read for payments, then for reversals: what was verified for the first reading is believed in the
        second, once. The very same object in memory, not one that is equal.
        """
        verified, self._verified = self._verified, None
        if verified is not None and verified[0] is body and verified[1] == signature:
            return
        if not signed_by(body, signature, self._secrets, self._now()):
            raise WebhookRejected("no secret of this account signed these bytes within five minutes of now")
        self._verified = (body, signature)

    def _event(self, body: bytes) -> Event:
        """Read a message; the one that was read last is not read again. Raises ValueError."""
        if self._latest is None or self._latest[0] is not body:
            self._latest = (body, Event.model_validate_json(body))
        return self._latest[1]

    def webhook_answer(self) -> tuple[int, str, str]:
        """Any 2xx will do."""
        return 200, "application/json", "{}"


def _payment_events(reader: Reader, event: Event, now: datetime) -> Sequence[RailEvent]:
    read = EVENTS.get(event.type)
    return () if read is None else read(reader, event, now)


def _reversal_events(account: RailAccount, event: Event) -> Sequence[RefundEvent | DisputeEvent]:
    if event.type.startswith("charge.dispute."):
        dispute = Dispute.model_validate(event.data.object)
        return (dispute_event(dispute, account, event.type, moment(event.created)),)
    if event.type in REFUND_EVENTS:
        return (refund_event(Refund.model_validate(event.data.object), account, moment(event.created)),)
    return ()


def _session(found: stripe.checkout.Session) -> Session:
    try:
        return Session.model_validate(found.to_dict())
    except ValueError as error:
        raise unreadable(error) from None
