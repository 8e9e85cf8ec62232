"""What our adapter sends, and what our simulator answers and delivers, is what Stripe's OpenAPI document describes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from ruamel.yaml import YAML

from adapters.base import (
    Mode,
    OutcomeUnknown,
    PaymentDeclined,
    RailAccount,
    RailEventKind,
    RailMisconfigured,
    SimulatorSettings,
)
from adapters.operations import CaptureOrder, Evidence, RefundOrder, RefundRefused
from adapters.stripe.adapter import StripeAdapter
from adapters.stripe.simulator import build
from tests.adapters import rail_stripe
from tests.adapters.contract import RailUnderTest
from tests.adapters.loopback import address, inbox, listen, serving
from tests.adapters.openapi.check import Checker, Recorder
from tests.adapters.openapi.documents import stripe_document

LISTED = Path(__file__).parent / "openapi" / "differences_stripe.yaml"


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker(stripe_document())


@pytest.fixture
async def recorded() -> AsyncIterator[tuple[RailUnderTest, Recorder]]:
    """The rail of the contract suite, with a recorder in front of its API."""
    recorder, bound = Recorder(), listen()
    base = address(bound)
    async with inbox() as (url, box), aiohttp.ClientSession() as http:
        app = build(SimulatorSettings(rail_stripe.OPTIONS, base, url))
        app.middlewares.append(recorder.middleware)
        adapter = StripeAdapter(RailAccount("stripe", "main", Mode.TEST, rail_stripe.OPTIONS, base), http)
        async with serving(app, bound):
            yield RailUnderTest(rail_stripe.RAIL, http, base, box, adapter), recorder


async def use_everything(rail: RailUnderTest) -> None:
    """Run each operation of the adapter, in each state that changes the answer's shape."""
    order = rail.order(email="buyer@example.com", locale="pt-BR")
    started = await rail.adapter.create_payment(order)
    reference = rail.reference(order, started)
    await rail.adapter.fetch_status(reference)
    await rail_stripe.use_page(rail, started, {"card": "4000 0000 0000 9995"})
    await rail.adapter.fetch_status(reference)
    await rail_stripe.use_page(rail, started, {"card": "4000 0025 0000 3155"})
    await rail_stripe.use_page(rail, started, {"authenticate": False})
    await rail.adapter.fetch_status(reference)
    await rail_stripe.use_page(rail, started, {"card": rail_stripe.PAYS})
    await rail.adapter.fetch_status(reference)
    await rail.adapter.cancel_payment(reference)
    await rail.adapter.fetch_status(replace(reference, rail_reference=None))
    await rail.adapter.fetch_status(rail.reference(rail.order(), None))
    other = rail.order()
    await rail.adapter.cancel_payment(rail.reference(other, await rail.adapter.create_payment(other)))
    with pytest.raises(OutcomeUnknown):
        await rail.adapter.create_payment(replace(order, amount=order.amount + order.amount))
    with pytest.raises(RailMisconfigured):
        await rail.adapter.fetch_status(replace(reference, rail_reference="cs_test_unknown"))
    with pytest.raises(RailMisconfigured):
        await rail.adapter_with(rail.setup.wrong_key).create_payment(rail.order())
    await use_saved_card(rail)
    await use_operations(rail)
    for path in ("/v1/events?limit=3", "/v1/payment_intents?limit=3"):
        headers = {"Authorization": f"Bearer {rail_stripe.API_KEY}"}
        async with rail.http.get(f"{rail.base}{path}", headers=headers) as answer:
            assert (await answer.json())["data"]


async def use_saved_card(rail: RailUnderTest) -> None:
    """Save a card, charge it, have it refused, look for it and cancel it."""
    adapter = rail.adapter
    assert isinstance(adapter, StripeAdapter)
    first = rail.order(save_method=True, email="buyer@example.com")
    page = await adapter.create_payment(first)
    await rail_stripe.use_page(rail, page, {"card": rail_stripe.PAYS})
    saved = await adapter.saved_method(rail.reference(first, page))
    assert saved is not None
    paid, refused = rail.order(saved=saved.reference), rail.order(saved=saved.reference)
    await adapter.charge_saved(paid)
    await rail.control(decline="authentication_required")
    with pytest.raises(PaymentDeclined):
        await adapter.charge_saved(refused)
    shown = rail.order(step_up=True)
    stepped = await adapter.create_payment(shown)
    assert (await rail_stripe.use_page(rail, stepped, {"card": rail_stripe.PAYS}))["status"] == "requires_action"
    await rail.control(decline="")
    assert (await rail_stripe.use_page(rail, stepped, {"authenticate": True}))["status"] == "succeeded"
    for order in (paid, refused):
        lost = replace(rail.reference(order, None), saved=True)
        await adapter.fetch_status(lost)
        await adapter.cancel_payment(lost)


async def use_operations(rail: RailUnderTest) -> None:
    """Refund, dispute, reserve, take, release, and read the balance."""
    adapter = rail.adapter
    assert isinstance(adapter, StripeAdapter)
    for card in (rail_stripe.PAYS, "4000 0000 0000 5126", "4000 0000 0000 0259", "4000 0000 0000 1976"):
        order = rail.order(statement_suffix="Acme AI", merchant_category="5734")
        started = await adapter.create_payment(order)
        await rail_stripe.use_page(rail, started, {"card": card})
        [paid] = await adapter.fetch_status(rail.reference(order, started))
        refund = RefundOrder(
            f"rfd_{order.attempt_id}", order.attempt_id, paid.money_id or "", order.amount, rail.started_at
        )
        with suppress(RefundRefused):
            await adapter.refund_payment(refund)
        made = await adapter.fetch_refund(refund)
        if made is not None:
            await adapter.fetch_refund(replace(refund, rail_reference=made.rail_reference))
    listed = await adapter.list_disputes(rail.started_at)
    asked, disputed = dict.fromkeys(one.dispute_id for one in listed)
    await adapter.submit_evidence(asked, Evidence("losing_evidence", product="API credit", usage_log="log"))
    await adapter.accept_dispute(disputed)
    for _ in range(2):
        order = rail.order(capture_later=True)
        started = await adapter.create_payment(order)
        await rail_stripe.use_page(rail, started, {"card": rail_stripe.PAYS})
        [held] = await adapter.fetch_status(rail.reference(order, started))
        capture = CaptureOrder(order.attempt_id, held.detail["authorisation"], order.amount)
        with suppress(RailMisconfigured):
            await adapter.capture_payment(capture)
            await adapter.release_payment(capture)
    first = await adapter.settlement_page("")
    await adapter.settlement_page(first.lines[0].line_id)
    for automatic in (True, False):
        payout = await rail_stripe.pay_out(rail, "eur", automatic=automatic)
        await adapter.payout_lines(payout["id"])
        await rail_stripe.pay_out(rail, "eur", fail=payout["id"])
    await adapter.settlement_page("")
    await adapter.check_account()


def listed_differences() -> set[str]:
    entries = YAML(typ="safe").load(LISTED.read_text(encoding="utf-8"))
    assert all(entry["reason"] for entry in entries)
    return {entry["difference"] for entry in entries}


async def test_every_exchange_is_as_the_document_says_but_for_the_reviewed_list(
    recorded: tuple[RailUnderTest, Recorder], checker: Checker
) -> None:
    rail, recorder = recorded
    await use_everything(rail)
    exchanges = [exchange for exchange in recorder.exchanges if exchange.path.startswith("/v1/")]
    operations = {(e.method, (checker.operation(e.method, e.path) or ("?",))[0]) for e in exchanges}
    assert operations == {
        ("POST", "/v1/checkout/sessions"),
        ("GET", "/v1/checkout/sessions"),
        ("GET", "/v1/checkout/sessions/{session}"),
        ("POST", "/v1/checkout/sessions/{session}/expire"),
        ("POST", "/v1/payment_intents"),
        ("GET", "/v1/payment_intents"),
        ("GET", "/v1/payment_intents/search"),
        ("GET", "/v1/payment_intents/{intent}"),
        ("POST", "/v1/payment_intents/{intent}/cancel"),
        ("GET", "/v1/events"),
        ("POST", "/v1/payment_intents/{intent}/capture"),
        ("POST", "/v1/refunds"),
        ("GET", "/v1/refunds"),
        ("GET", "/v1/refunds/{refund}"),
        ("GET", "/v1/disputes"),
        ("POST", "/v1/disputes/{dispute}"),
        ("POST", "/v1/disputes/{dispute}/close"),
        ("GET", "/v1/balance_transactions"),
        ("GET", "/v1/balance"),
        ("GET", "/v1/payouts/{payout}"),
    }
    assert {exchange.status for exchange in exchanges} == {200, 400, 401, 402, 404}
    found = {difference for exchange in exchanges for difference in checker.differences(exchange)}
    assert found == listed_differences(), "mend the code, or review the difference and list it with its reason"


async def test_every_webhook_is_an_event_about_an_object_of_the_document(
    recorded: tuple[RailUnderTest, Recorder], checker: Checker
) -> None:
    rail, _ = recorded
    await use_everything(rail)
    await rail.told(RailEventKind.EXPIRED)
    events = [json.loads(body) for _, body in rail.box.received]
    faults = [
        (event["type"], fault)
        for event in events
        for value, schema in ((event, "event"), (event["data"]["object"], event["data"]["object"]["object"]))
        for fault in checker.faults(value, checker.schema(schema))
        if not fault.startswith("$.data.object")  # the event's own schema calls it any object; it is checked by itself
    ]
    assert {event["type"] for event in events} >= {"checkout.session.completed", "payment_intent.payment_failed"}
    assert faults == []


async def test_a_misspelt_parameter_and_a_wrong_type_are_differences(
    recorded: tuple[RailUnderTest, Recorder], checker: Checker
) -> None:
    rail, recorder = recorded
    await rail.adapter.create_payment(rail.order())
    [exchange] = recorder.exchanges
    misspelt = [(name.replace("success_url", "sucess_url"), value) for name, value in exchange.form]
    wrong = [(name, "ten" if "unit_amount" in name else value) for name, value in misspelt]
    found = set(checker.differences(replace(exchange, form=wrong, answer={**exchange.answer, "created": "now"})))
    texts = "\n".join(found - listed_differences())
    assert "unknown name sucess_url" in texts
    assert "unit_amount" in texts
    assert "$.created" in texts
