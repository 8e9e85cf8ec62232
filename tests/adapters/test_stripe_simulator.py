"""What the simulator refuses, as Stripe's documents say it does: a mistake of the adapter must not pass here."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.kit.simulator import WebhookSender
from adapters.stripe.simulator_state import State, StripeSwitches
from adapters.stripe.simulator_wire import shown_amount
from tests.adapters.contract import RailUnderTest, started_rail
from tests.adapters.rail_stripe import API_KEY, RAIL, use_page

GOOD = {
    "mode": "payment",
    "success_url": "http://127.0.0.1:9/",
    "line_items[0][quantity]": "1",
    "line_items[0][price_data][currency]": "usd",
    "line_items[0][price_data][unit_amount]": "2000",
    "line_items[0][price_data][product_data][name]": "Top-up",
}
AMOUNT, CURRENCY = "line_items[0][price_data][unit_amount]", "line_items[0][price_data][currency]"


@pytest.fixture
async def rail() -> AsyncIterator[RailUnderTest]:
    async with started_rail(RAIL) as started:
        yield started


async def call(rail: RailUnderTest, method: str, path: str, **how: Any) -> tuple[int, Any]:
    how.setdefault("headers", {"Authorization": f"Bearer {API_KEY}"})
    async with rail.http.request(method, f"{rail.base}{path}", **how) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"mode": "subscription"}, "mode"),
        ({"success_url": ""}, "success_url"),
        ({"sucess_url": "x"}, "sucess_url"),
        ({"payment_method_types[0]": "card"}, "payment_method_types"),
        ({AMOUNT: "49"}, "line_items"),
        ({AMOUNT: "ten"}, AMOUNT),
        ({AMOUNT: "-1"}, AMOUNT),
        ({AMOUNT: "9" * 13}, "line_items"),
        ({AMOUNT: "550", CURRENCY: "isk"}, AMOUNT),
        ({AMOUNT: "5124", CURRENCY: "kwd"}, AMOUNT),
        ({CURRENCY: "USD"}, CURRENCY),
        ({"line_items[0][price_data][product_data][name]": ""}, "line_items[0][price_data][product_data][name]"),
        ({"line_items[0][quantity]": "one"}, "line_items[0][quantity]"),
        ({"expires_at": str(int(time.time()) + 29 * 60)}, "expires_at"),
        ({"expires_at": str(int(time.time()) + 25 * 3600)}, "expires_at"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_name_and_the_key_stays_free(
    rail: RailUnderTest, changes: dict[str, str], param: str
) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": "key_1"}
    status, answer = await call(rail, "POST", "/v1/checkout/sessions", data={**GOOD, **changes}, headers=headers)
    assert (status, answer["error"]["param"]) == (400, param)
    status, _ = await call(rail, "POST", "/v1/checkout/sessions", data=GOOD, headers=headers)
    assert status == 200, "what was refused before it began is not kept under its key"


@pytest.mark.parametrize("missing", ["line_items", "success_url", "mode"])
async def test_a_missing_parameter_is_refused(rail: RailUnderTest, missing: str) -> None:
    data = {name: value for name, value in GOOD.items() if not name.startswith(missing)}
    status, answer = await call(rail, "POST", "/v1/checkout/sessions", data=data)
    assert (status, answer["error"]["param"]) == (400, missing)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/payment_intents/pi_unknown", 404),
        ("/v1/events/evt_unknown", 404),
        ("/v1/checkout/sessions/cs_unknown", 404),
        ("/v1/checkout/sessions?limit=0", 400),
        ("/v1/checkout/sessions?starting_after=cs_unknown", 404),
        ("/v1/payment_intents/search?query=amount%3E5", 400),
    ],
)
async def test_what_is_not_there_and_what_cannot_be_read_is_refused(
    rail: RailUnderTest, path: str, status: int
) -> None:
    assert (await call(rail, "GET", path))[0] == status


async def test_the_key_may_come_in_either_of_stripes_two_ways_and_must_be_right(rail: RailUnderTest) -> None:
    basic = base64.b64encode(f"{API_KEY}:".encode()).decode()
    heads = [{"Authorization": f"Basic {basic}"}, {"Authorization": "Basic !"}, {}]
    statuses = [(await call(rail, "GET", "/v1/events", headers=head))[0] for head in heads]
    assert statuses == [200, 401, 401]


async def test_objects_and_events_can_be_read_by_their_ids(rail: RailUnderTest) -> None:
    started = await rail.adapter.create_payment(rail.order())
    shown = await use_page(rail, started, {"card": "4242424242424242"})
    _, intent = await call(rail, "GET", f"/v1/payment_intents/{shown['payment_intent']}?expand[]=latest_charge")
    assert (intent["status"], intent["latest_charge"]["paid"]) == ("succeeded", True)
    _, page = await call(rail, "GET", "/v1/events?type=charge.succeeded")
    [charged] = page["data"]
    assert (await call(rail, "GET", f"/v1/events/{charged['id']}"))[1] == charged
    status, answer = await call(rail, "GET", f"/v1/checkout/sessions/{started.rail_reference}?expand[]=customer")
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


async def test_a_page_answers_to_a_body_that_is_no_object_and_to_an_unknown_card(rail: RailUnderTest) -> None:
    page = (await rail.adapter.create_payment(rail.order())).rail_reference
    for body in (b"{", b"[]"):
        async with rail.http.post(
            f"{rail.base}/c/pay/{page}", data=body, headers={"Content-Type": "application/json"}
        ) as answer:
            assert answer.status == 400
    started = await rail.adapter.create_payment(rail.order())
    assert (await use_page(rail, started, {"card": "5555"}))["code"] == "incorrect_number"
    assert (await use_page(rail, started, {"authenticate": True}))["status"] == "open", "nothing waits for 3-D Secure"


def test_a_session_ends_when_its_time_is_over() -> None:
    clock = [1_700_000_000.0]
    switches = StripeSwitches()
    state = State("http://127.0.0.1:9", ["whsec_1"], switches, WebhookSender(None, switches), clock=lambda: clock[0])
    price = {"currency": "eur", "unit_amount": "100", "product_data": {"name": "Top-up"}}
    params = {"mode": "payment", "success_url": "x", "line_items": [{"quantity": "1", "price_data": price}]}
    session = state.create_session(params)
    clock[0] += 24 * 3600 - 1
    assert state.session(session["id"])["status"] == "open"
    clock[0] += 1
    assert state.pay(session["id"], "4242424242424242").status == "expired"
    assert [event["type"] for event in state.events.values()] == ["checkout.session.expired"]


@pytest.mark.parametrize(
    ("units", "currency", "shown"),
    [
        (2312, "eur", "23.12 EUR"),
        (5, "usd", "0.05 USD"),
        (250000, "vnd", "250,000 VND"),
        (500, "isk", "5 ISK"),
        (5120, "kwd", "5.120 KWD"),
    ],
)
def test_the_page_shows_the_amount_as_people_write_it(units: int, currency: str, shown: str) -> None:
    assert shown_amount(units, currency) == shown
