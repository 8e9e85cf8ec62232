"""Signatures and event types of Stripe, with messages signed here by an own HMAC."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from adapters.base import Mode, RailAccount, RailEventKind, WebhookRejected
from adapters.stripe.adapter import StripeAdapter

NEW, OLD = "whsec_new_secret", "whsec_old_secret"
OPTIONS = {"api_key": "sk_test_123456", "webhook_secrets": [NEW, OLD]}


@pytest.fixture
async def adapter() -> AsyncIterator[StripeAdapter]:
    async with aiohttp.ClientSession() as http:
        yield StripeAdapter(RailAccount("stripe", "eu", Mode.TEST, OPTIONS), http)


def session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "cs_test_1",
        "object": "checkout.session",
        "amount_total": 2312,
        "created": 1_700_000_000,
        "currency": "eur",
        "expires_at": 1_700_003_600,
        "livemode": False,
        "metadata": {"crossrail_attempt": "att_1"},
        "payment_intent": "pi_1",
        "payment_status": "paid",
        "status": "complete",
        **changes,
    }


def intent(**changes: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 2312,
        "amount_received": 2312,
        "created": 1_700_000_000,
        "currency": "eur",
        "livemode": False,
        "metadata": {"crossrail_attempt": "att_1"},
        "status": "succeeded",
        **changes,
    }


def event(kind: str, subject: dict[str, Any], **changes: Any) -> bytes:
    created = int(time.time())
    whole = {"id": "evt_1", "object": "event", "created": created, "livemode": False, "type": kind}
    return json.dumps({**whole, "data": {"object": subject}, **changes}).encode()


def mac(body: bytes, secret: str, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def signed(body: bytes, *secrets: str, age: int = 0) -> dict[str, str]:
    at = int(time.time()) - age
    return {"stripe-signature": ",".join([f"t={at}", *(f"v1={mac(body, secret, at)}" for secret in secrets)])}


PAID = event("checkout.session.completed", session())


@pytest.mark.parametrize("secrets", [(NEW,), (OLD,), (NEW, OLD), ("whsec_unknown", OLD)])
async def test_either_secret_of_a_rotation_is_enough(adapter: StripeAdapter, secrets: tuple[str, ...]) -> None:
    [captured] = adapter.parse_webhook(signed(PAID, *secrets), PAID)
    assert (captured.event_id, captured.money_id, captured.account) == ("pi_1:captured", "pi_1", "eu")


@pytest.mark.parametrize("age", [-290, 0, 290])
async def test_a_signature_of_the_last_and_the_next_minutes_is_believed(adapter: StripeAdapter, age: int) -> None:
    assert adapter.parse_webhook(signed(PAID, NEW, age=age), PAID)


@pytest.mark.parametrize("age", [310, 86_400, -310, -86_400])
async def test_an_old_signature_and_one_from_the_future_are_rejected(adapter: StripeAdapter, age: int) -> None:
    with pytest.raises(WebhookRejected):
        adapter.parse_webhook(signed(PAID, NEW, age=age), PAID)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1",
        "v1=abc",
        "t=x,v1=abc",
        "t=,v1=",
        "garbage",
        "t=9" + "9" * 30 + ",v1=a",
        "t=1,v1=\u00e9",
        "t=1,v0=a,v1",
    ],
)
async def test_a_broken_signature_header_is_rejected(adapter: StripeAdapter, header: str) -> None:
    with pytest.raises(WebhookRejected):
        adapter.parse_webhook({"stripe-signature": header}, PAID)


async def test_only_the_v1_scheme_counts(adapter: StripeAdapter) -> None:
    head = signed(PAID, NEW)["stripe-signature"].replace("v1=", "v0=")
    with pytest.raises(WebhookRejected):
        adapter.parse_webhook({"stripe-signature": head}, PAID)


async def test_session_intent_and_late_success_name_the_same_money(adapter: StripeAdapter) -> None:
    bodies = [
        event("checkout.session.completed", session()),
        event("checkout.session.async_payment_succeeded", session()),
        event("payment_intent.succeeded", intent()),
    ]
    events = [found for body in bodies for found in adapter.parse_webhook(signed(body, NEW), body)]
    assert {(e.event_id, e.money_id, e.attempt_id, e.kind) for e in events} == {
        ("pi_1:captured", "pi_1", "att_1", RailEventKind.CAPTURED)
    }
    assert len(events) == 3


@pytest.mark.parametrize(
    ("kind", "subject", "wanted"),
    [
        ("checkout.session.completed", session(payment_status="unpaid"), ["pending"]),
        ("checkout.session.completed", session(payment_status="no_payment_required"), ["pending"]),
        ("checkout.session.completed", session(payment_status="a_new_word"), ["pending"]),
        ("checkout.session.expired", session(payment_status="unpaid", status="expired"), ["expired"]),
        ("checkout.session.async_payment_failed", session(payment_status="unpaid"), ["declined"]),
        ("payment_intent.succeeded", intent(status="a_new_word"), []),
        ("payment_intent.succeeded", intent(status="requires_capture"), ["pending"]),
        ("payment_intent.amount_capturable_updated", intent(status="requires_capture"), ["pending"]),
        ("charge.refunded", {"id": "ch_1"}, []),
        ("a.new.type", {}, []),
    ],
)
async def test_only_explicit_words_move_money(
    adapter: StripeAdapter, kind: str, subject: dict[str, Any], wanted: list[str]
) -> None:
    body = event(kind, subject)
    assert [str(found.kind) for found in adapter.parse_webhook(signed(body, NEW), body)] == wanted


@pytest.mark.parametrize(
    "body",
    [
        event("checkout.session.completed", session(), livemode=True),
        event("checkout.session.completed", session(livemode=True)),
        event("payment_intent.succeeded", intent(livemode=True)),
        event("payment_intent.succeeded", intent(amount_received=550, currency="isk")),
        event("payment_intent.succeeded", intent(currency="zzz")),
        event("payment_intent.succeeded", intent(amount_received=10**30)),
        event("payment_intent.payment_failed", {"id": "pi_1"}),
        event("checkout.session.completed", session(payment_intent=None)),
        b'{"object": "event"}',
        b"[]",
    ],
)
async def test_what_is_signed_but_cannot_be_read_is_not_guessed(adapter: StripeAdapter, body: bytes) -> None:
    with pytest.raises(WebhookRejected):
        adapter.parse_webhook(signed(body, NEW), body)


async def test_an_event_of_a_connected_account_is_not_ours(adapter: StripeAdapter) -> None:
    body = event("checkout.session.completed", session(), account="acct_other")
    assert adapter.parse_webhook(signed(body, NEW), body) == ()


async def test_money_without_our_reference_is_still_reported(adapter: StripeAdapter) -> None:
    body = event("payment_intent.succeeded", intent(metadata={}))
    [found] = adapter.parse_webhook(signed(body, NEW), body)
    assert (found.attempt_id, found.money_id) == (None, "pi_1")


async def test_a_verified_message_is_believed_once_more_and_only_with_its_signature(adapter: StripeAdapter) -> None:
    """It is read for payments, then for reversals."""
    head, forged = signed(PAID, NEW), signed(PAID, "whsec_unknown")
    assert adapter.parse_webhook(head, PAID)
    assert not adapter.parse_reversals(head, PAID)
    for read in (adapter.parse_webhook, adapter.parse_reversals):
        with pytest.raises(WebhookRejected):
            read(forged, PAID)
    assert adapter.parse_webhook(head, PAID)
    with pytest.raises(WebhookRejected):
        adapter.parse_reversals(forged, PAID)
    other = PAID.replace(b"evt_1", b"evt_2")
    with pytest.raises(WebhookRejected):
        adapter.parse_reversals(head, other)
