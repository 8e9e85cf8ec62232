"""ONE contract that every redirect rail keeps, over real sockets against its simulator. See README.md."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.base import (
    CancelOutcome,
    ChargesSaved,
    NoAction,
    OutcomeUnknown,
    PaymentDeclined,
    PaymentStarted,
    RailEventKind,
    RailMisconfigured,
    RailUnavailable,
    Redirect,
    Severity,
    WebhookRejected,
)
from rates.money import Money
from tests.adapters.contract import RailSetup, RailUnderTest, setups, started_rail
from tests.adapters.loopback import closed_port


@pytest.fixture(params=setups(), ids=lambda setup: setup.rail)
async def rail(request: pytest.FixtureRequest) -> AsyncIterator[RailUnderTest]:
    setup: RailSetup = request.param
    async with started_rail(setup) as started:
        yield started


# --- creating -----------------------------------------------------------------------------------------------------


async def test_the_same_order_gives_the_same_payment_and_another_order_another(rail: RailUnderTest) -> None:
    order = rail.order()
    first, again = await rail.adapter.create_payment(order), await rail.adapter.create_payment(order)
    assert first.rail_reference == again.rail_reference
    assert isinstance(first.action, Redirect)
    assert first.action == again.action
    assert (await rail.adapter.create_payment(rail.order())).rail_reference != first.rail_reference


async def test_a_payment_that_nobody_paid_is_not_captured(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    for event in [*started.events, *await rail.adapter.fetch_status(rail.reference(order, started))]:
        assert event.kind in {RailEventKind.ACTION_REQUIRED, RailEventKind.PENDING}
        assert event.rail_reference == started.rail_reference


async def test_an_amount_that_the_rail_cannot_charge_is_refused_before_anything_is_sent(rail: RailUnderTest) -> None:
    elsewhere = rail.adapter_with(base_url=closed_port())
    with pytest.raises(RailMisconfigured):
        await elsewhere.create_payment(rail.order(amount=Money(100, type(rail.setup.amount.asset)("XTS", 2))))
    assert not rail.adapter.supports_currency("XTS")


# --- money --------------------------------------------------------------------------------------------------------


async def test_webhook_and_poll_say_the_same_capture_in_the_same_words(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    before = datetime.now(UTC) - timedelta(seconds=2)
    await rail.setup.pay(rail, started)
    told = await rail.told(RailEventKind.CAPTURED)
    polled = await rail.adapter.fetch_status(rail.reference(order, started))
    captures = [event for event in [*told, *polled] if event.kind is RailEventKind.CAPTURED]
    assert len({event.event_id for event in captures}) == 1
    assert len({event.money_id for event in captures}) == 1
    for event in captures:
        assert event.money_id
        assert event.amount == order.amount
        assert event.attempt_id == order.attempt_id
        assert event.rail_reference in {started.rail_reference, None}
        assert before <= event.occurred_at <= datetime.now(UTC) + timedelta(seconds=2)
        assert (event.rail, event.account, event.mode) == (rail.setup.rail, "main", rail.adapter.account.mode)
    assert rail.setup.captures_by_poll is any(event.kind is RailEventKind.CAPTURED for event in polled)


async def test_a_webhook_that_comes_twice_says_the_same_event_twice(rail: RailUnderTest) -> None:
    await rail.control(duplicate_webhooks=1)
    await rail.setup.pay(rail, await rail.adapter.create_payment(rail.order()))
    captures = await rail.told(RailEventKind.CAPTURED, count=2)
    assert len({(event.event_id, event.money_id, event.amount) for event in captures}) == 1


async def test_a_wrong_amount_is_reported_as_the_rail_says_it(rail: RailUnderTest) -> None:
    await rail.control(wrong_amount=-1)
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await rail.setup.pay(rail, started)
    told = await rail.told(RailEventKind.CAPTURED)
    polled = await rail.adapter.fetch_status(rail.reference(order, started))
    captures = [event for event in [*told, *polled] if event.kind is RailEventKind.CAPTURED]
    assert {event.amount for event in captures} == {Money(order.amount.units - 1, order.amount.asset)}


# --- signatures ---------------------------------------------------------------------------------------------------


async def captured_message(rail: RailUnderTest) -> tuple[str, dict[str, str], bytes]:
    order = rail.order()
    await rail.setup.pay(rail, await rail.adapter.create_payment(order))
    headers, body = await rail.message_of(RailEventKind.CAPTURED)
    return order.attempt_id, headers, body


async def test_a_webhook_signed_with_another_secret_is_rejected(rail: RailUnderTest) -> None:
    _, headers, body = await captured_message(rail)
    stranger = rail.adapter_with(rail.setup.other_secret)
    with pytest.raises(WebhookRejected):
        stranger.parse_webhook(headers, body)  # type: ignore[attr-defined]  # RailAdapter and ReceivesWebhooks


async def test_a_webhook_whose_body_was_changed_is_rejected(rail: RailUnderTest) -> None:
    attempt_id, headers, body = await captured_message(rail)
    changed = body.replace(attempt_id.encode(), f"{attempt_id[:-4]}0000".encode())
    assert changed != body
    with pytest.raises(WebhookRejected):
        rail.hooks.parse_webhook(headers, changed)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"object":"event"}', b"x" * 100_000])
async def test_bytes_that_are_no_message_of_the_rail_are_rejected(rail: RailUnderTest, body: bytes) -> None:
    _, headers, _ = await captured_message(rail)
    for head in ({}, headers):
        with pytest.raises(WebhookRejected):
            rail.hooks.parse_webhook(head, body)


async def test_an_account_with_an_empty_secret_is_not_built(rail: RailUnderTest) -> None:
    for options in rail.setup.empty_secrets:
        with pytest.raises(RailMisconfigured):
            rail.adapter_with(options)


# --- declines and cancelling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", list(Severity))
async def test_a_decline_is_typed_and_the_buyer_is_told_in_words(rail: RailUnderTest, severity: Severity) -> None:
    order = rail.order()
    await rail.setup.decline(rail, await rail.adapter.create_payment(order), severity)
    event = (await rail.told(RailEventKind.DECLINED))[0]
    assert event.decline is not None
    assert event.decline.severity is severity
    assert event.decline.listed
    assert event.decline.message.endswith(".")
    assert event.attempt_id == order.attempt_id
    assert event.amount is None
    assert event.money_id is None


async def test_a_code_that_is_in_no_document_is_hard_and_counted(rail: RailUnderTest) -> None:
    await rail.control(decline=rail.setup.unlisted_code)
    await rail.setup.pay(rail, await rail.adapter.create_payment(rail.order()))
    event = (await rail.told(RailEventKind.DECLINED))[0]
    assert event.decline is not None
    assert event.decline.severity is Severity.HARD
    assert not event.decline.listed


async def test_after_a_decline_the_page_still_takes_money_and_it_is_heard(rail: RailUnderTest) -> None:
    started = await rail.adapter.create_payment(rail.order())
    await rail.setup.decline(rail, started, Severity.SOFT)
    assert (await rail.told(RailEventKind.DECLINED))[0].still_open
    await rail.setup.pay(rail, started)
    assert (await rail.told(RailEventKind.CAPTURED))[0].amount == rail.setup.amount


async def test_what_was_cancelled_takes_no_money(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    reference = rail.reference(order, started)
    assert await rail.adapter.cancel_payment(reference) is CancelOutcome.CANCELED
    assert await rail.adapter.cancel_payment(reference) is CancelOutcome.CANCELED, "safe to repeat"
    await rail.setup.pay(rail, started)
    await rail.never_told(RailEventKind.CAPTURED)
    kinds = {event.kind for event in await rail.adapter.fetch_status(reference)}
    assert kinds
    assert kinds <= {RailEventKind.CANCELED, RailEventKind.EXPIRED}


async def test_what_is_paid_can_no_longer_be_cancelled(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await rail.setup.pay(rail, started)
    await rail.told(RailEventKind.CAPTURED)
    assert await rail.adapter.cancel_payment(rail.reference(order, started)) is CancelOutcome.TOO_LATE


# --- faults -------------------------------------------------------------------------------------------------------


async def test_an_answer_that_was_lost_is_unknown_and_the_payment_is_found_again(rail: RailUnderTest) -> None:
    order = rail.order()
    await rail.control(drop_answer=1)
    with pytest.raises(OutcomeUnknown):
        await rail.adapter.create_payment(order)
    found = await rail.adapter.fetch_status(rail.reference(order, None))
    again: PaymentStarted = await rail.adapter.create_payment(order)
    assert {event.rail_reference for event in found} == (
        {again.rail_reference} if rail.setup.finds_by_attempt_id else set()
    )
    assert RailEventKind.CAPTURED not in {event.kind for event in found}


async def test_a_refused_connection_never_left(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    elsewhere = rail.adapter_with(base_url=closed_port())
    with pytest.raises(RailUnavailable):
        await elsewhere.create_payment(order)
    with pytest.raises(RailUnavailable):
        await elsewhere.fetch_status(rail.reference(order, started))
    with pytest.raises(RailUnavailable):
        await elsewhere.cancel_payment(rail.reference(order, started))


async def test_a_rail_that_is_down_is_unavailable_to_read_and_unknown_to_write(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await rail.control(down=1)
    with pytest.raises(RailUnavailable):
        await rail.adapter.fetch_status(rail.reference(order, started))
    await rail.control(down=1)
    with pytest.raises(OutcomeUnknown):
        await rail.adapter.create_payment(rail.order())


async def test_too_many_requests_means_not_taken(rail: RailUnderTest) -> None:
    await rail.control(rate_limited=1)
    order = rail.order()
    with pytest.raises(RailUnavailable):
        await rail.adapter.create_payment(order)
    assert (await rail.adapter.create_payment(order)).rail_reference


async def test_a_key_that_the_rail_does_not_know_is_for_a_person_to_mend(rail: RailUnderTest) -> None:
    with pytest.raises(RailMisconfigured):
        await rail.adapter_with(rail.setup.wrong_key).create_payment(rail.order())


async def test_no_error_shows_a_secret(rail: RailUnderTest) -> None:
    order = rail.order()
    _, headers, body = await captured_message(rail)
    reference = rail.reference(order, await rail.adapter.create_payment(order))

    async def refused() -> object:
        return await rail.adapter_with(base_url=closed_port()).create_payment(order)

    async def wrong_key() -> object:
        return await rail.adapter_with(rail.setup.wrong_key).create_payment(order)

    async def down() -> object:
        await rail.control(down=1)
        return await rail.adapter.fetch_status(reference)

    async def dropped() -> object:
        await rail.control(drop_answer=1)
        return await rail.adapter.create_payment(order)

    async def tampered() -> object:
        return rail.hooks.parse_webhook(headers, body[:-10] + b"          ")

    async def misconfigured() -> object:
        return rail.adapter_with(rail.setup.empty_secrets[0])

    for fail in (refused, wrong_key, down, dropped, tampered, misconfigured):
        with pytest.raises(Exception, match=r".") as caught:
            await fail()
        texts = [repr(caught.value), str(caught.value), "".join(traceback.format_exception(caught.value))]
        assert not [secret for secret in rail.setup.secrets for text in texts if secret in text], fail.__name__
    assert not [secret for secret in rail.setup.secrets if secret in repr(rail.adapter)]


# --- saved methods ------------------------------------------------------------------------------------------------


def saving(rail: RailUnderTest) -> ChargesSaved:
    assert isinstance(rail.adapter, ChargesSaved)
    return rail.adapter


@pytest.fixture(params=[setup for setup in setups() if setup.saves_methods], ids=lambda setup: setup.rail)
async def saver(request: pytest.FixtureRequest) -> AsyncIterator[tuple[RailUnderTest, dict[str, str]]]:
    """A rail where a buyer has paid once and let the method be saved."""
    async with started_rail(request.param) as rail:
        order = rail.order(save_method=True)
        started = await rail.adapter.create_payment(order)
        await rail.setup.pay(rail, started)
        await rail.told(RailEventKind.CAPTURED)
        saved = await saving(rail).saved_method(rail.reference(order, started))
        assert saved is not None
        assert saved.label
        yield rail, dict(saved.reference)


async def test_a_rail_says_whether_it_charges_saved_methods(rail: RailUnderTest) -> None:
    assert isinstance(rail.adapter, ChargesSaved) is rail.setup.saves_methods
    assert not rail.setup.saves_methods or rail.setup.method in saving(rail).saveable_methods


async def test_a_saved_method_is_charged_once_for_one_order(saver: tuple[RailUnderTest, dict[str, str]]) -> None:
    rail, saved = saver
    order = rail.order(saved=saved)
    first, second = await saving(rail).charge_saved(order), await saving(rail).charge_saved(order)
    assert first.rail_reference == second.rail_reference
    assert isinstance(first.action, NoAction)
    told = await rail.told(RailEventKind.CAPTURED, count=2)
    captures = [event for event in [*told, *first.events] if event.attempt_id == order.attempt_id]
    assert {(event.kind, event.amount) for event in captures} == {(RailEventKind.CAPTURED, order.amount)}
    assert len({(event.event_id, event.money_id) for event in captures}) == 1


async def test_a_saved_charge_whose_answer_was_lost_is_unknown_and_found(
    saver: tuple[RailUnderTest, dict[str, str]],
) -> None:
    rail, saved = saver
    order = rail.order(saved=saved)
    await rail.control(drop_answer=1)
    with pytest.raises(OutcomeUnknown):
        await saving(rail).charge_saved(order)
    [found] = await rail.adapter.fetch_status(replace(rail.reference(order, None), saved=True))
    assert (found.kind, found.attempt_id) == (RailEventKind.CAPTURED, order.attempt_id)


async def test_a_refused_saved_charge_is_over(saver: tuple[RailUnderTest, dict[str, str]]) -> None:
    rail, saved = saver
    await rail.control(decline=rail.setup.unlisted_code)
    order = rail.order(saved=saved)
    with pytest.raises(PaymentDeclined) as caught:
        await saving(rail).charge_saved(order)
    assert caught.value.decline.severity is Severity.HARD
    [declined] = await rail.adapter.fetch_status(replace(rail.reference(order, None), saved=True))
    assert (declined.kind, declined.still_open) == (RailEventKind.DECLINED, False)
