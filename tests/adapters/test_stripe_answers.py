"""Answers that the simulator does not give: each must become the right word of the port, and no secret may show."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.base import (
    CancelOutcome,
    Mode,
    OutcomeUnknown,
    PaymentDeclined,
    PaymentOrder,
    PaymentReference,
    RailAccount,
    RailError,
    RailEventKind,
    RailMisconfigured,
    RailUnavailable,
    Severity,
)
from adapters.stripe.adapter import StripeAdapter
from rates.money import Money, display_asset
from tests.adapters.loopback import address, listen, serving

KEY = "sk_test_very_secret_key"
NOW = datetime.now(UTC)
ORDER = PaymentOrder(
    attempt_id="att_1",
    method="card",
    amount=Money(2312, display_asset("EUR")),
    country="DE",
    description="Top-up",
    return_url="http://127.0.0.1:9/",
    expires_at=NOW + timedelta(hours=1),
)
SENT = PaymentReference("att_1", "cs_test_1", "card", ORDER.amount, NOW)
LOST = PaymentReference("att_1", None, "card", ORDER.amount, NOW)


@dataclass
class Scripted:
    """A server that answers what it is told, in order, and keeps what it was asked."""

    adapter: StripeAdapter
    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((f"{request.method} {request.path}", dict(request.query)))
        status, body = self.answers.pop(0)
        if body == "cut":
            answer = web.StreamResponse(status=status, headers={"Content-Length": "100"})
            await answer.prepare(request)
            await answer.write(b'{"id": "cs_')
            assert request.transport is not None
            request.transport.close()
            return answer
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json")


@pytest.fixture
async def stripe() -> AsyncIterator[Scripted]:
    bound, app = listen(), web.Application()
    async with aiohttp.ClientSession() as http:
        options = {"api_key": KEY, "webhook_secrets": ["whsec_secret"]}
        account = RailAccount("stripe", "eu", Mode.TEST, options, address(bound))
        scripted = Scripted(StripeAdapter(account, http))
        app.router.add_route("*", "/{path:.*}", scripted.handle)
        async with serving(app, bound):
            yield scripted


def session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "cs_test_1",
        "object": "checkout.session",
        "amount_total": 2312,
        "client_reference_id": "att_1",
        "created": int(NOW.timestamp()),
        "currency": "eur",
        "expires_at": int(NOW.timestamp()) + 3600,
        "livemode": False,
        "metadata": {"crossrail_attempt": "att_1"},
        "payment_intent": None,
        "payment_status": "unpaid",
        "status": "open",
        "url": "https://checkout.stripe.com/c/pay/cs_test_1",
        **changes,
    }


def intent(**changes: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount_received": 2312,
        "created": int(NOW.timestamp()),
        "currency": "eur",
        "livemode": False,
        "metadata": {"crossrail_attempt": "att_1"},
        "status": "succeeded",
        **changes,
    }


def error(**fields: str) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": f"No, {KEY}.", **fields}}


@pytest.mark.parametrize(
    ("status", "body", "creating", "reading"),
    [
        (400, error(), RailMisconfigured, RailMisconfigured),
        (400, error(code="rate_limit"), RailUnavailable, RailUnavailable),
        (400, error(type="idempotency_error"), OutcomeUnknown, OutcomeUnknown),
        (401, error(), RailMisconfigured, RailMisconfigured),
        (403, error(), RailMisconfigured, RailMisconfigured),
        (404, error(), RailMisconfigured, RailMisconfigured),
        (409, error(), OutcomeUnknown, RailUnavailable),
        (424, error(), OutcomeUnknown, RailUnavailable),
        (429, error(), RailUnavailable, RailUnavailable),
        (500, error(type="api_error"), OutcomeUnknown, RailUnavailable),
        (502, "<html>Bad gateway</html>", OutcomeUnknown, RailUnavailable),
        (200, "not JSON", OutcomeUnknown, RailUnavailable),
        (200, "cut", OutcomeUnknown, RailUnavailable),
        (200, {"id": "cs_test_1"}, OutcomeUnknown, OutcomeUnknown),
    ],
)
async def test_each_answer_says_what_may_be_done_next(
    stripe: Scripted, status: int, body: Any, creating: type[RailError], reading: type[RailError]
) -> None:
    for act, wanted in ((stripe.adapter.create_payment(ORDER), creating), (stripe.adapter.fetch_status(SENT), reading)):
        stripe.answers = [(status, body)] * 2  # two: the order's end may have been sent in another form before
        with pytest.raises(RailError) as caught:
            await act
        assert type(caught.value) is wanted
        assert KEY not in repr(caught.value)
        assert caught.value.__suppress_context__, "the SDK's error carries bodies and headers"


async def test_a_refusal_at_once_is_a_decline(stripe: Scripted) -> None:
    stripe.answers = [(402, error(type="card_error", code="card_declined", decline_code="stolen_card"))]
    with pytest.raises(PaymentDeclined) as caught:
        await stripe.adapter.create_payment(ORDER)
    assert (caught.value.decline.severity, caught.value.decline.code) == (Severity.HARD, "stolen_card")


@pytest.mark.parametrize(
    "changes", [{"amount_total": 2313}, {"currency": "usd"}, {"amount_total": None}, {"url": None}]
)
async def test_a_session_over_another_amount_or_without_a_page_is_not_shown(
    stripe: Scripted, changes: dict[str, Any]
) -> None:
    stripe.answers = [(200, session(**changes))]
    with pytest.raises(OutcomeUnknown):
        await stripe.adapter.create_payment(ORDER)


async def test_a_session_of_the_other_mode_is_not_believed(stripe: Scripted) -> None:
    stripe.answers = [(200, session(livemode=True))]
    with pytest.raises(OutcomeUnknown):
        await stripe.adapter.fetch_status(SENT)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (session(status="expired"), CancelOutcome.CANCELED),
        (session(status="complete", payment_status="paid", payment_intent="pi_1"), CancelOutcome.TOO_LATE),
        (session(status="complete"), CancelOutcome.TOO_LATE),
        (session(status="open"), CancelOutcome.TOO_LATE),
        (session(status="a_new_word"), CancelOutcome.TOO_LATE),
        (session(status="expired", payment_intent=intent()), CancelOutcome.TOO_LATE),
    ],
)
async def test_what_cannot_be_expired_is_cancelled_only_if_stripe_says_so(
    stripe: Scripted, found: dict[str, Any], outcome: CancelOutcome
) -> None:
    stripe.answers = [(400, error()), (200, found)]
    assert await stripe.adapter.cancel_payment(SENT) is outcome


async def test_money_in_an_expired_session_is_still_money(stripe: Scripted) -> None:
    stripe.answers = [(200, session(status="expired", payment_intent=intent()))]
    [event] = await stripe.adapter.fetch_status(SENT)
    assert (event.kind, event.money_id) == (RailEventKind.CAPTURED, "pi_1")


async def test_a_delayed_payment_that_failed_is_a_decline_and_its_page_is_closed(stripe: Scripted) -> None:
    failed = intent(status="requires_payment_method", amount_received=0, last_payment_error={"code": "expired_card"})
    stripe.answers = [(200, session(status="complete", payment_intent=failed))]
    [event] = await stripe.adapter.fetch_status(SENT)
    assert (event.kind, event.event_id, event.still_open) == (RailEventKind.DECLINED, "cs_test_1:payment_failed", False)


async def test_a_decline_is_named_by_its_charge(stripe: Scripted) -> None:
    tried = {"code": "card_declined", "charge": "ch_7", "payment_method": {"id": "pm_1"}}
    open_intent = intent(status="requires_payment_method", last_payment_error=tried, latest_charge="ch_7")
    stripe.answers = [(200, session(payment_intent=open_intent))]
    _, declined = await stripe.adapter.fetch_status(SENT)
    assert declined.event_id == "ch_7:declined"


async def test_a_list_is_followed_from_its_last_entry_to_a_bound_and_then_searched(stripe: Scripted) -> None:
    def page(number: int) -> dict[str, Any]:
        ids = (f"cs_test_{number}_{place}" for place in range(2))
        others = [session(id=name, client_reference_id="att_other") for name in ids]
        return {"object": "list", "url": "/v1/checkout/sessions", "has_more": True, "data": others}

    nothing = {"object": "search_result", "url": "/", "has_more": False, "next_page": None, "data": []}
    stripe.answers = [*((200, page(number)) for number in range(10)), (200, nothing)]
    assert list(await stripe.adapter.fetch_status(LOST)) == []
    followed = [query.get("starting_after") for _, query in stripe.asked[:-1]]
    assert followed == [None, *(f"cs_test_{number}_1" for number in range(9))]
    assert stripe.asked[-1] == (
        "GET /v1/payment_intents/search",
        {"query": "metadata['crossrail_attempt']:'att_1'", "limit": "100"},
    )
