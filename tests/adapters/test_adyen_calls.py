"""The adapter against Adyen's side over real sockets: calls, faults, and what each failure may be believed to mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.adyen import ADAPTER, SIMULATOR
from adapters.base import (
    CancelOutcome,
    Mode,
    OutcomeUnknown,
    PaymentOrder,
    PaymentReference,
    RailAccount,
    RailAdapter,
    RailError,
    RailEvent,
    RailEventKind,
    RailMisconfigured,
    RailUnavailable,
    ReceivesWebhooks,
    Redirect,
    SimulatorSettings,
)
from rates.money import Money, display_asset
from tests.adapters.loopback import Inbox, address, inbox, listen, serving

OPTIONS = {"api_key": "AQE_sandbox_key", "merchant_account": "CrossrailTest", "hmac_keys": ["A1" * 32, "B2" * 32]}


def order(**changes: Any) -> PaymentOrder:
    values: dict[str, Any] = {
        "attempt_id": "att_01",
        "method": "ideal",
        "amount": Money(2150, display_asset("EUR")),
        "country": "NL",
        "description": "Top-up of 20.00 USD",
        "return_url": "https://shop.test/back",
        "expires_at": datetime.now(UTC) + timedelta(hours=1),
    }
    return PaymentOrder(**{**values, **changes})


@dataclass(frozen=True)
class Bench:
    """One adapter, its simulator, and the receiver of its webhooks."""

    adapter: RailAdapter
    http: aiohttp.ClientSession
    base: str
    box: Inbox

    async def fault(self, **switches: Any) -> None:
        async with self.http.post(f"{self.base}/_control", json=switches) as answer:
            assert answer.status == 200, await answer.text()

    async def buyer(self, url: str, outcome: str, **more: str) -> dict[str, Any]:
        async with self.http.post(url, json={"outcome": outcome, **more}) as answer:
            shown: dict[str, Any] = await answer.json()
            return shown

    async def heard(self, count: int) -> list[RailEvent]:
        assert isinstance(self.adapter, ReceivesWebhooks)
        return [event for message in await self.box.wait_for(count) for event in self.adapter.parse_webhook(*message)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with inbox() as (hook, box), aiohttp.ClientSession() as http:
        bound = listen()
        base = address(bound)
        async with serving(SIMULATOR(SimulatorSettings(OPTIONS, base, hook)), bound):
            yield Bench(ADAPTER(RailAccount("adyen", "main", Mode.TEST, OPTIONS, base), http), http, base, box)


async def started(bench: Bench, **changes: Any) -> tuple[PaymentReference, str]:
    asked = order(**changes)
    answer = await bench.adapter.create_payment(asked)
    assert isinstance(answer.action, Redirect)
    reference = PaymentReference(asked.attempt_id, answer.rail_reference, asked.method, asked.amount, datetime.now(UTC))
    return reference, answer.action.url


async def status(bench: Bench, reference: PaymentReference) -> RailEventKind:
    (event,) = await bench.adapter.fetch_status(reference)
    return event.kind


@pytest.mark.parametrize(
    ("method", "country", "currency"), [("pix", "BR", "BRL"), ("ideal", "NL", "EUR"), ("gcash", "PH", "PHP")]
)
async def test_each_method_is_paid_on_the_hosted_page_and_captured_by_webhook(
    bench: Bench, method: str, country: str, currency: str
) -> None:
    amount = Money(123456, display_asset(currency))
    reference, url = await started(bench, method=method, country=country, amount=amount)
    async with bench.http.get(url) as page:
        text = await page.text()
        assert "SIMULATOR" in text
        assert "1234.56" in text
    assert await status(bench, reference) is RailEventKind.ACTION_REQUIRED
    await bench.buyer(url, "paid")
    (event,) = await bench.heard(1)
    assert (event.kind, event.attempt_id, event.amount) == (RailEventKind.CAPTURED, "att_01", amount)
    assert event.money_id is not None
    assert await status(bench, reference) is RailEventKind.PENDING  # paid, but only the webhook names the money


async def test_a_refused_buyer_may_pay_on_the_same_page_afterwards(bench: Bench) -> None:
    reference, url = await started(bench)
    await bench.buyer(url, "refused", reason="12")
    (refused,) = await bench.heard(1)
    assert refused.decline is not None
    assert (refused.decline.code, refused.still_open) == ("12 Not enough balance", True)
    assert await status(bench, reference) is RailEventKind.ACTION_REQUIRED
    await bench.buyer(url, "paid")
    assert (await bench.heard(2))[1].kind is RailEventKind.CAPTURED


async def test_a_page_that_is_paid_cannot_be_paid_again(bench: Bench) -> None:
    _, url = await started(bench)
    await bench.buyer(url, "paid")
    assert (await bench.buyer(url, "paid"))["message"] == "This payment link is completed."


async def test_a_buyer_who_leaves_the_bank_can_start_again(bench: Bench) -> None:
    _, url = await started(bench)
    await bench.buyer(url, "abandoned")
    (event,) = await bench.heard(1)
    assert (event.kind, event.still_open) == (RailEventKind.DECLINED, True)


async def test_the_page_speaks_html_to_a_person(bench: Bench) -> None:
    _, url = await started(bench)
    async with bench.http.post(url, data={"outcome": "paid", "bank": "ING"}) as answer:
        text = await answer.text()
    assert "Paid. Thank you." in text
    assert 'href="https://shop.test/back"' in text


async def test_a_lost_answer_is_unknown_and_the_same_order_finds_the_same_link(bench: Bench) -> None:
    await bench.fault(drop_answer=1)
    asked = order()
    with pytest.raises(OutcomeUnknown):
        await bench.adapter.create_payment(asked)
    nameless = PaymentReference(asked.attempt_id, None, asked.method, asked.amount, datetime.now(UTC))
    assert await bench.adapter.fetch_status(nameless) == []
    assert await bench.adapter.cancel_payment(nameless) is CancelOutcome.CANNOT
    first = await bench.adapter.create_payment(asked)
    again = await bench.adapter.create_payment(asked)
    assert first.rail_reference == again.rail_reference


async def test_another_amount_under_a_used_key_is_noticed(bench: Bench) -> None:
    await bench.adapter.create_payment(order())
    with pytest.raises(OutcomeUnknown, match="amount"):
        await bench.adapter.create_payment(order(amount=Money(9900, display_asset("EUR"))))


async def test_a_link_is_cancelled_and_cancelling_again_says_the_same(bench: Bench) -> None:
    reference, url = await started(bench)
    assert await bench.adapter.cancel_payment(reference) is CancelOutcome.CANCELED
    assert await bench.adapter.cancel_payment(reference) is CancelOutcome.CANCELED
    assert await status(bench, reference) is RailEventKind.EXPIRED
    assert "expired" in (await bench.buyer(url, "paid"))["message"]


@pytest.mark.parametrize("outcome", ["paid", "pending"])
async def test_what_is_paid_or_being_paid_cannot_be_cancelled(bench: Bench, outcome: str) -> None:
    reference, url = await started(bench)
    await bench.buyer(url, outcome)
    assert await bench.adapter.cancel_payment(reference) is CancelOutcome.TOO_LATE


async def test_a_payment_that_began_in_time_is_captured_after_the_link_ran_out(bench: Bench) -> None:
    reference, url = await started(bench, expires_at=datetime.now(UTC) + timedelta(seconds=1.3))
    await bench.buyer(url, "pending")
    await asyncio.sleep(1.35)
    assert await status(bench, reference) is RailEventKind.PENDING
    await bench.buyer(url, "paid")
    assert (await bench.heard(1))[0].kind is RailEventKind.CAPTURED


async def test_the_older_key_of_a_rotation_still_fits(bench: Bench) -> None:
    _, url = await started(bench)
    await bench.buyer(url, "paid")
    ((headers, body),) = await bench.box.wait_for(1)
    rotated = {**OPTIONS, "hmac_keys": ["C3" * 32, "A1" * 32]}
    adapter = ADAPTER(RailAccount("adyen", "main", Mode.TEST, rotated, bench.base), bench.http)
    assert isinstance(adapter, ReceivesWebhooks)
    assert adapter.parse_webhook(headers, body)[0].kind is RailEventKind.CAPTURED


async def test_reading_during_an_outage_is_safe_to_repeat(bench: Bench) -> None:
    reference, _ = await started(bench)
    await bench.fault(down=1)
    with pytest.raises(RailUnavailable):
        await bench.adapter.fetch_status(reference)
    await bench.fault(drop_answer=2)  # aiohttp itself repeats a GET once on a kept connection, never POST or PATCH
    with pytest.raises(RailUnavailable):
        await bench.adapter.fetch_status(reference)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"method": "card"}, "method"),
        ({"amount": Money(2150, display_asset("USD"))}, "amount"),
        ({"amount": Money(0, display_asset("EUR"))}, "amount"),
        ({"attempt_id": "att:1"}, "attempt_id"),
        ({"attempt_id": "a" * 65}, "attempt_id"),
    ],
)
async def test_an_order_that_adyen_could_not_take_is_not_sent(
    bench: Bench, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(RailMisconfigured, match=field):
        await bench.adapter.create_payment(order(**changes))


async def test_an_expiry_that_adyen_refuses_is_named(bench: Bench) -> None:
    with pytest.raises(RailMisconfigured, match="422 702 expiresAt"):
        await bench.adapter.create_payment(order(expires_at=datetime.now(UTC) - timedelta(hours=1)))


@pytest.mark.parametrize(("option", "value"), [("api_key", "AQE_other_key"), ("merchant_account", "Other")])
async def test_a_wrong_key_or_account_is_ours_to_mend_and_the_key_is_not_told(
    bench: Bench, option: str, value: str
) -> None:
    account = RailAccount("adyen", "main", Mode.TEST, {**OPTIONS, option: value}, bench.base)
    with pytest.raises(RailMisconfigured) as caught:
        await ADAPTER(account, bench.http).create_payment(order())
    assert "AQE_" not in str(caught.value)


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[RailAdapter]:
    """An Adyen that gives one answer to everything."""
    app, bound = web.Application(), listen()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with serving(app, bound), aiohttp.ClientSession() as http:
        yield ADAPTER(RailAccount("adyen", "main", Mode.TEST, OPTIONS, address(bound)), http)


TRANSIENT = {"transient-error": "true"}


@pytest.mark.parametrize(
    ("code", "headers", "error", "on_create", "on_read"),
    [
        (500, {}, "905", OutcomeUnknown, RailUnavailable),
        (503, {}, "999", OutcomeUnknown, RailUnavailable),
        (503, TRANSIENT, "703", RailUnavailable, RailUnavailable),
        (422, TRANSIENT, "704", OutcomeUnknown, RailUnavailable),
        (409, TRANSIENT, "704", OutcomeUnknown, RailUnavailable),
        (429, {}, "010", RailUnavailable, RailUnavailable),
        (400, {}, "702", RailMisconfigured, RailMisconfigured),
        (422, {}, "14030", RailMisconfigured, RailMisconfigured),
        (404, {}, "400", RailMisconfigured, RailMisconfigured),
        (401, {}, "000", RailMisconfigured, RailMisconfigured),
        (403, {}, "901", RailMisconfigured, RailMisconfigured),
        (302, {"location": "http://127.0.0.1:9/"}, "", RailMisconfigured, RailMisconfigured),
        (200, {}, "", OutcomeUnknown, RailMisconfigured),
    ],
)
async def test_every_answer_of_adyen_has_its_word(
    code: int, headers: dict[str, str], error: str, on_create: type[RailError], on_read: type[RailError]
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        said = {"status": code, "errorCode": error, "message": "said", "errorType": "x"}
        return web.json_response(said, status=code, headers=headers)

    asked = order()
    reference = PaymentReference("att_01", "PL1", "ideal", asked.amount, datetime.now(UTC))
    async with answering(answer) as adapter:
        with pytest.raises(on_create):
            await adapter.create_payment(asked)
        with pytest.raises(on_read):
            await adapter.fetch_status(reference)


def link_answer(status: str) -> web.Response:
    said = {"id": "PL1", "status": status, "reference": "att_01", "url": "http://127.0.0.1/pay/PL1"}
    return web.json_response({**said, "merchantAccount": "CrossrailTest", "amount": {"currency": "EUR", "value": 2150}})


LINK_1 = PaymentReference("att_01", "PL1", "ideal", Money(2150, display_asset("EUR")), datetime(2026, 3, 1, tzinfo=UTC))


async def test_a_buyer_who_begins_to_pay_while_we_cancel_wins() -> None:
    begun = False

    async def answer(request: web.Request) -> web.Response:
        nonlocal begun
        if request.method == "GET":
            return link_answer("paymentPending" if begun else "active")
        begun = True
        return web.json_response({"errorCode": "702", "message": "being paid"}, status=422)

    async with answering(answer) as adapter:
        assert await adapter.cancel_payment(LINK_1) is CancelOutcome.TOO_LATE


async def test_a_cancellation_without_an_answer_is_unknown() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "PATCH" and request.transport is not None:
            request.transport.abort()
        return link_answer("active")

    async with answering(answer) as adapter:
        with pytest.raises(OutcomeUnknown):
            await adapter.cancel_payment(LINK_1)


async def test_a_link_of_another_merchant_account_is_not_believed() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return link_answer("active")

    async with answering(answer) as adapter:
        other = RailAccount(
            "adyen", "main", Mode.TEST, {**OPTIONS, "merchant_account": "Other"}, adapter.account.base_url
        )
        async with aiohttp.ClientSession() as http:
            with pytest.raises(RailMisconfigured, match="CrossrailTest"):
                await ADAPTER(other, http).fetch_status(LINK_1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"x" * 1_200_000])
async def test_a_success_that_cannot_be_read_is_unknown(body: bytes) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=201)

    async with answering(answer) as adapter:
        with pytest.raises(OutcomeUnknown):
            await adapter.create_payment(order())


async def test_a_key_that_adyen_echoes_is_redacted() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"errorCode": "1", "message": f"bad key {OPTIONS['api_key']}"}, status=401)

    async with answering(answer) as adapter:
        with pytest.raises(RailMisconfigured) as caught:
            await adapter.create_payment(order())
    assert str(OPTIONS["api_key"]) not in str(caught.value)


async def test_a_reference_that_could_change_the_url_is_not_asked_for(bench: Bench) -> None:
    reference = PaymentReference("att_01", "../payments?x=", "ideal", order().amount, datetime.now(UTC))
    with pytest.raises(RailMisconfigured, match="rail_reference"):
        await bench.adapter.fetch_status(reference)


async def test_the_answer_to_a_webhook_satisfies_old_and_new_endpoints(bench: Bench) -> None:
    assert isinstance(bench.adapter, ReceivesWebhooks)
    assert bench.adapter.webhook_answer() == (200, "text/plain", "[accepted]")
