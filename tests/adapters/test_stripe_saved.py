"""Stripe's saved cards: the page saves one, and it is charged later while nobody is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.base import (
    CancelOutcome,
    ChargesSaved,
    NoAction,
    OutcomeUnknown,
    PaymentDeclined,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailEvent,
    RailEventKind,
    RailMisconfigured,
    RailUnavailable,
    Severity,
)
from rates.money import Money, display_asset
from tests.adapters.contract import RailUnderTest, started_rail
from tests.adapters.loopback import closed_port
from tests.adapters.rail_stripe import API_KEY, OPTIONS, PAYS, RAIL, use_page

ASKS_ALWAYS = "4000 0027 6000 3184"


@pytest.fixture
async def rail() -> AsyncIterator[RailUnderTest]:
    async with started_rail(RAIL) as started:
        yield started


def charges(rail: RailUnderTest, adapter: object = None) -> ChargesSaved:
    found = adapter or rail.adapter
    assert isinstance(found, ChargesSaved)
    return found


async def saved_reference(rail: RailUnderTest, card: str = PAYS) -> Mapping[str, str]:
    """A buyer pays once and lets the card be saved."""
    order = rail.order(save_method=True)
    started = await rail.adapter.create_payment(order)
    shown = await use_page(rail, started, {"card": card})
    if shown["status"] == "requires_action":
        shown = await use_page(rail, started, {"authenticate": True})
    assert shown["status"] == "succeeded"
    saved = await charges(rail).saved_method(rail.reference(order, started))
    assert saved is not None
    assert saved.label == f"Visa {card[-4:]}"
    await rail.told(RailEventKind.CAPTURED)
    return saved.reference


def again(rail: RailUnderTest, saved: Mapping[str, str], **changes: Any) -> PaymentOrder:
    return rail.order(saved=dict(saved), **changes)


def reference(rail: RailUnderTest, order: PaymentOrder, started: PaymentStarted | str | None) -> PaymentReference:
    found = rail.reference(order, None)
    known = started.rail_reference if isinstance(started, PaymentStarted) else started
    return replace(found, saved=True, rail_reference=known)


async def told_of(rail: RailUnderTest, order: PaymentOrder, kind: RailEventKind) -> RailEvent:
    """Wait for the webhook that says ``kind`` of this order."""
    for _ in range(50):
        for event in rail.read_all(rail.box.received):
            if event.attempt_id == order.attempt_id and event.kind is kind:
                return event
        await asyncio.sleep(0.05)
    raise AssertionError(f"no webhook says {kind} of {order.attempt_id}")


async def test_a_saved_card_is_charged_without_a_page_and_answer_poll_and_webhook_say_one_capture(
    rail: RailUnderTest,
) -> None:
    order = again(rail, await saved_reference(rail))
    started = await charges(rail).charge_saved(order)
    assert isinstance(started.action, NoAction)
    polled = await rail.adapter.fetch_status(reference(rail, order, started))
    told = await told_of(rail, order, RailEventKind.CAPTURED)
    events = [*started.events, *polled, told]
    assert {(event.kind, event.event_id, event.money_id, event.amount, event.attempt_id) for event in events} == {
        (RailEventKind.CAPTURED, told.event_id, started.rail_reference, order.amount, order.attempt_id)
    }


async def test_the_same_order_charges_once_and_another_order_charges_again(rail: RailUnderTest) -> None:
    saved = await saved_reference(rail)
    order = again(rail, saved)
    first, second = await charges(rail).charge_saved(order), await charges(rail).charge_saved(order)
    assert first.rail_reference == second.rail_reference
    assert first.events == second.events
    other = await charges(rail).charge_saved(again(rail, saved))
    assert other.rail_reference != first.rail_reference


async def test_nothing_is_saved_where_the_order_did_not_ask_or_nobody_paid(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await use_page(rail, started, {"card": PAYS})
    assert await charges(rail).saved_method(rail.reference(order, started)) is None
    unpaid = rail.order(save_method=True)
    assert await charges(rail).saved_method(rail.reference(unpaid, await rail.adapter.create_payment(unpaid))) is None
    assert await charges(rail).saved_method(rail.reference(rail.order(), None)) is None


async def test_a_saved_card_is_found_by_our_id_where_the_pages_id_was_lost(rail: RailUnderTest) -> None:
    order = rail.order(save_method=True)
    started = await rail.adapter.create_payment(order)
    await use_page(rail, started, {"card": PAYS})
    assert await charges(rail).saved_method(rail.reference(order, None)) is not None


@pytest.mark.parametrize(
    ("code", "severity", "buyer"),
    [
        ("insufficient_funds", Severity.SOFT, False),
        ("stolen_card", Severity.HARD, False),
        ("authentication_required", Severity.SOFT, True),
        ("brand_new_code", Severity.HARD, False),
    ],
)
async def test_a_refused_charge_is_declined_at_once_and_for_good(
    rail: RailUnderTest, code: str, severity: Severity, buyer: bool
) -> None:
    saved = await saved_reference(rail)
    await rail.control(decline=code)
    order = again(rail, saved)
    with pytest.raises(PaymentDeclined) as caught:
        await charges(rail).charge_saved(order)
    assert (caught.value.decline.code, caught.value.decline.severity) == (code, severity)
    assert charges(rail).wants_buyer(code) is buyer
    [polled] = await rail.adapter.fetch_status(reference(rail, order, caught.value.rail_reference))
    told = await told_of(rail, order, RailEventKind.DECLINED)
    for event in (polled, told):
        assert event.decline == caught.value.decline
        assert event.event_id == told.event_id
        assert not event.still_open
    await rail.control(decline="")
    with pytest.raises(PaymentDeclined):
        await charges(rail).charge_saved(order)  # the same key gives the same answer: no second try by accident
    assert not [e for e in rail.read_all(rail.box.received) if e.attempt_id == order.attempt_id and e.money_id]


async def test_a_bank_that_always_asks_for_the_buyer_declines_with_a_word_that_says_so(rail: RailUnderTest) -> None:
    saved = await saved_reference(rail, ASKS_ALWAYS)
    with pytest.raises(PaymentDeclined) as caught:
        await charges(rail).charge_saved(again(rail, saved))
    assert charges(rail).wants_buyer(caught.value.decline.code)


async def test_a_lost_answer_is_unknown_and_the_charge_is_found_by_our_id(rail: RailUnderTest) -> None:
    order = again(rail, await saved_reference(rail))
    await rail.control(drop_answer=1)
    with pytest.raises(OutcomeUnknown):
        await charges(rail).charge_saved(order)
    [found] = await rail.adapter.fetch_status(reference(rail, order, None))
    assert (found.kind, found.attempt_id, found.amount) == (RailEventKind.CAPTURED, order.attempt_id, order.amount)
    resent = await charges(rail).charge_saved(order)
    assert resent.rail_reference == found.money_id, "sent again under its key it is the same charge"
    late = replace(reference(rail, order, None), created_at=rail.started_at - timedelta(hours=3))
    assert [event.event_id for event in await rail.adapter.fetch_status(late)] == [found.event_id], "by search"
    assert list(await rail.adapter.fetch_status(reference(rail, again(rail, order.saved or {}), None))) == []


async def test_a_lost_answer_of_a_refused_charge_is_found_too(rail: RailUnderTest) -> None:
    order = again(rail, await saved_reference(rail))
    await rail.control(drop_answer=1, decline="authentication_required")
    with pytest.raises(OutcomeUnknown):
        await charges(rail).charge_saved(order)
    [found] = await rail.adapter.fetch_status(reference(rail, order, None))
    assert found.decline is not None
    assert (found.kind, found.decline.code, found.still_open) == (
        RailEventKind.DECLINED,
        "authentication_required",
        False,
    )


async def test_calls_that_did_not_act_are_told_from_those_that_may_have(rail: RailUnderTest) -> None:
    order = again(rail, await saved_reference(rail))
    with pytest.raises(RailUnavailable):
        await charges(rail, rail.adapter_with(base_url=closed_port())).charge_saved(order)
    await rail.control(rate_limited=1)
    with pytest.raises(RailUnavailable):
        await charges(rail).charge_saved(order)
    await rail.control(down=1)
    with pytest.raises(OutcomeUnknown):
        await charges(rail).charge_saved(order)
    with pytest.raises(RailMisconfigured):
        await charges(rail, rail.adapter_with(rail.setup.wrong_key)).charge_saved(order)
    assert (await charges(rail).charge_saved(order)).events[0].kind is RailEventKind.CAPTURED


@pytest.mark.parametrize("saved", [{}, {"customer": "cus_1"}, {"customer": "pm_1", "payment_method": "cus_1"}])
async def test_what_is_no_saved_card_is_never_sent(rail: RailUnderTest, saved: dict[str, str]) -> None:
    with pytest.raises(RailMisconfigured):
        await charges(rail, rail.adapter_with(base_url=closed_port())).charge_saved(again(rail, saved))


async def test_a_card_of_another_customer_and_an_unattached_one_are_refused_before_anything_happens(
    rail: RailUnderTest,
) -> None:
    mine, other = await saved_reference(rail), await saved_reference(rail)
    with pytest.raises(RailMisconfigured):
        await charges(rail).charge_saved(again(rail, {**mine, "payment_method": other["payment_method"]}))
    with pytest.raises(RailMisconfigured):
        await charges(rail).charge_saved(again(rail, {**mine, "customer": "cus_unknown"}))


async def test_an_amount_that_the_rail_cannot_charge_is_not_sent(rail: RailUnderTest) -> None:
    saved = await saved_reference(rail)
    with pytest.raises(RailMisconfigured):
        await charges(rail).charge_saved(again(rail, saved, amount=Money(100, type(RAIL.amount.asset)("XTS", 2))))
    with pytest.raises(RailMisconfigured):  # Stripe's own minimum
        await charges(rail).charge_saved(again(rail, saved, amount=Money(10, display_asset("USD"))))


async def test_an_end_cannot_be_cancelled_and_a_refused_charge_can(rail: RailUnderTest) -> None:
    saved = await saved_reference(rail)
    order = again(rail, saved)
    paid = await charges(rail).charge_saved(order)
    assert await rail.adapter.cancel_payment(reference(rail, order, paid)) is CancelOutcome.TOO_LATE
    await rail.control(decline="insufficient_funds")
    refused = again(rail, saved)
    with pytest.raises(PaymentDeclined):
        await charges(rail).charge_saved(refused)
    assert await rail.adapter.cancel_payment(reference(rail, refused, None)) is CancelOutcome.CANCELED
    assert await rail.adapter.cancel_payment(reference(rail, refused, None)) is CancelOutcome.CANCELED, "safe to repeat"
    [after] = await rail.adapter.fetch_status(reference(rail, refused, None))
    assert after.kind is RailEventKind.CANCELED
    assert await rail.adapter.cancel_payment(reference(rail, again(rail, saved), None)) is CancelOutcome.CANNOT


async def test_a_wrong_amount_is_told_as_stripe_says_it(rail: RailUnderTest) -> None:
    saved = await saved_reference(rail)
    await rail.control(wrong_amount=-1)
    order = again(rail, saved)
    [captured] = (await charges(rail).charge_saved(order)).events
    assert captured.amount == Money(order.amount.units - 1, order.amount.asset)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"amount": "ten"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "49"}, "amount"),
        ({"confirm": "false"}, "off_session"),
        ({"ofsession": "true"}, "ofsession"),
        ({"automatic_payment_methods[allow_redirects]": "always"}, "return_url"),
        ({"payment_method": "pm_unknown"}, "payment_method"),
        ({"customer": ""}, "customer"),
    ],
)
async def test_the_simulator_refuses_a_wrong_parameter_by_name(
    rail: RailUnderTest, changes: dict[str, str], param: str
) -> None:
    saved = await saved_reference(rail)
    form = {
        "amount": "500", "currency": "usd", "confirm": "true", "off_session": "true",
        "automatic_payment_methods[enabled]": "true", "automatic_payment_methods[allow_redirects]": "never",
        **saved, **changes,
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with rail.http.post(f"{rail.base}/v1/payment_intents", data=form, headers=headers) as answer:
        said = await answer.json()
        assert (answer.status // 100, said["error"]["param"]) == (4, param)
    assert OPTIONS["api_key"] not in str(said)
