"""Stripe after the money was taken: refunds, disputes, later captures and the balance, against the simulator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.base import PaymentStarted, RailEventKind, RailMisconfigured, RailUnavailable
from adapters.operations import (
    CaptureOrder,
    DisputeEvent,
    DisputeState,
    Evidence,
    Funds,
    LineKind,
    RefundEvent,
    RefundOrder,
    RefundRefused,
    RefundState,
)
from adapters.stripe.adapter import StripeAdapter
from adapters.stripe.wire_operations import BalanceTransaction, settlement_line
from adapters.stripe.wire_order import statement_suffix
from rates.money import Asset, Money
from tests.adapters import rail_stripe
from tests.adapters.contract import RailUnderTest, started_rail


@pytest.fixture
async def rail() -> AsyncIterator[RailUnderTest]:
    async with started_rail(rail_stripe.RAIL) as started:
        yield started


def stripe_of(rail: RailUnderTest) -> StripeAdapter:
    assert isinstance(rail.adapter, StripeAdapter)
    return rail.adapter


async def paid(rail: RailUnderTest, card: str = rail_stripe.PAYS) -> RefundOrder:
    """Pay with a card and return the order that would refund all of it."""
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await rail_stripe.use_page(rail, started, {"card": card})
    [captured] = await rail.adapter.fetch_status(rail.reference(order, started))
    assert captured.money_id is not None
    return RefundOrder(f"rfd_{order.attempt_id}", order.attempt_id, captured.money_id, order.amount, datetime.now(UTC))


def reversals(rail: RailUnderTest) -> list[RefundEvent | DisputeEvent]:
    adapter = stripe_of(rail)
    return [event for headers, body in rail.box.received for event in adapter.parse_reversals(headers, body)]


async def test_parts_are_refunded_up_to_the_whole_and_not_beyond(rail: RailUnderTest) -> None:
    adapter, whole = stripe_of(rail), await paid(rail)
    asset = whole.amount.asset
    part = replace(whole, amount=Money(1000, asset))
    first, again = await adapter.refund_payment(part), await adapter.refund_payment(part)
    assert first == again, "the same order is one refund"
    assert (first.state, first.refund_id, first.amount) == (RefundState.SUCCEEDED, part.refund_id, part.amount)
    assert first.money_id == whole.money_id
    rest = replace(whole, refund_id="rfd_rest", amount=Money(whole.amount.units - 1000, asset))
    with pytest.raises(RefundRefused):
        await adapter.refund_payment(replace(rest, refund_id="rfd_more", amount=whole.amount))
    assert (await adapter.refund_payment(rest)).state is RefundState.SUCCEEDED
    with pytest.raises(RefundRefused, match="already been refunded"):
        await adapter.refund_payment(replace(rest, refund_id="rfd_late", amount=Money(1, asset)))
    found = await adapter.fetch_refund(part)
    assert found is not None
    assert found.rail_reference == first.rail_reference
    assert await adapter.fetch_refund(replace(part, refund_id="rfd_never")) is None


@pytest.mark.parametrize(
    ("card", "first", "end"),
    [
        ("4000000000007726", RefundState.PENDING, RefundState.SUCCEEDED),
        ("4000000000005126", RefundState.SUCCEEDED, RefundState.FAILED),
    ],
)
async def test_a_refund_may_become_another_thing_later(
    rail: RailUnderTest, card: str, first: RefundState, end: RefundState
) -> None:
    """As https://docs.stripe.com/testing has it."""
    adapter, order = stripe_of(rail), await paid(rail, card)
    started = await adapter.refund_payment(order)
    assert started.state is first
    ended = await adapter.fetch_refund(replace(order, rail_reference=started.rail_reference))
    assert ended is not None
    assert ended.state is end
    assert bool(ended.reason) is (end is RefundState.FAILED)
    assert ended.event_id != started.event_id


async def test_an_unknown_key_is_for_a_person_and_no_refusal_of_the_refund(rail: RailUnderTest) -> None:
    order = await paid(rail)
    stranger = rail.adapter_with(rail.setup.wrong_key)
    assert isinstance(stranger, StripeAdapter)
    with pytest.raises(RailMisconfigured):
        await stranger.refund_payment(order)


@pytest.mark.parametrize(
    ("text", "state", "funds"),
    [("winning_evidence", DisputeState.WON, Funds.RETURNED), ("losing_evidence", DisputeState.LOST, Funds.WITHDRAWN)],
)
async def test_a_dispute_is_heard_answered_and_decided(
    rail: RailUnderTest, text: str, state: DisputeState, funds: Funds
) -> None:
    adapter, order = stripe_of(rail), await paid(rail, "4000000000000259")
    moved, dispute = await adapter.list_disputes(datetime.now(UTC) - timedelta(hours=1))
    assert (moved.funds, dispute.funds) == (Funds.WITHDRAWN, Funds.UNCHANGED)
    assert (dispute.state, dispute.inquiry, dispute.money_id) == (DisputeState.NEEDS_ANSWER, False, order.money_id)
    assert dispute.amount == order.amount
    assert dispute.answer_by is not None
    with pytest.raises(RefundRefused, match="charged back"):
        await adapter.refund_payment(order)
    await adapter.submit_evidence(dispute.dispute_id, Evidence(text, usage_log="2026-11-23 12:00 used 1 USD"))
    *listed, ended = await adapter.list_disputes(datetime.now(UTC) - timedelta(hours=1))
    assert ended.state is state
    assert [one.funds for one in listed] == ([Funds.RETURNED] if state is DisputeState.WON else []) + [Funds.WITHDRAWN]
    await rail.box.wait_for(2 + 4)
    told = [event for event in reversals(rail) if isinstance(event, DisputeEvent)]
    assert Funds.WITHDRAWN in {event.funds for event in told}
    moves = {event.event_id for event in told if event.funds is not Funds.UNCHANGED}
    assert moves == {event.event_id for event in listed}, "one id, whatever way it is told"
    assert funds in {event.funds for event in told}
    assert state in {event.state for event in told}


async def test_an_inquiry_moves_no_money_and_a_dispute_can_be_accepted(rail: RailUnderTest) -> None:
    adapter, _ = stripe_of(rail), await paid(rail, "4000000000001976")
    [inquiry] = await adapter.list_disputes(datetime.now(UTC) - timedelta(hours=1))
    assert inquiry.inquiry
    await paid(rail, "4000000000000259")
    dispute, *_ = await adapter.list_disputes(datetime.now(UTC) - timedelta(hours=1))
    await adapter.accept_dispute(dispute.dispute_id)
    await adapter.accept_dispute(dispute.dispute_id)
    states = {one.dispute_id: one.state for one in await adapter.list_disputes(datetime.now(UTC) - timedelta(hours=1))}
    assert states[dispute.dispute_id] is DisputeState.LOST
    page = await adapter.settlement_page("")
    assert [line.kind for line in page.lines].count(LineKind.DISPUTE) == 1


async def reserved(rail: RailUnderTest) -> tuple[PaymentStarted, CaptureOrder]:
    order = rail.order(capture_later=True)
    started = await rail.adapter.create_payment(order)
    await rail_stripe.use_page(rail, started, {"card": rail_stripe.PAYS})
    [event] = await rail.adapter.fetch_status(rail.reference(order, started))
    assert event.kind is RailEventKind.PENDING
    return started, CaptureOrder(order.attempt_id, event.detail["authorisation"], order.amount)


async def test_reserved_money_is_no_capture_until_it_is_taken(rail: RailUnderTest) -> None:
    adapter, (_, order) = stripe_of(rail), await reserved(rail)
    await rail.never_told(RailEventKind.CAPTURED)
    less = replace(order, amount=Money(1500, order.amount.asset))
    [event], again = await adapter.capture_payment(less), await adapter.capture_payment(less)
    assert (event.kind, event.amount, event.attempt_id) == (RailEventKind.CAPTURED, less.amount, order.attempt_id)
    assert [event] == list(again)
    assert (await rail.told(RailEventKind.CAPTURED))[0].money_id == event.money_id


async def test_released_money_cannot_be_taken(rail: RailUnderTest) -> None:
    adapter, (_, order) = stripe_of(rail), await reserved(rail)
    await adapter.release_payment(order)
    with pytest.raises(RailMisconfigured):
        await adapter.capture_payment(order)


async def test_the_balance_is_read_line_by_line_and_from_a_cursor_on(rail: RailUnderTest) -> None:
    adapter, order = stripe_of(rail), await paid(rail)
    first = await adapter.settlement_page("")
    [line] = first.lines
    assert (line.kind, line.money_id, line.attempt_id) == (LineKind.PAYMENT, order.money_id, order.attempt_id)
    assert line.net.units == line.gross.units - line.fee.units
    assert line.gross == order.amount
    await adapter.refund_payment(order)
    second = await adapter.settlement_page(first.next_cursor)
    assert [(one.kind, one.gross) for one in second.lines] == [(LineKind.REFUND, -order.amount)]
    assert not (await adapter.settlement_page(second.next_cursor)).lines
    assert len((await adapter.settlement_page("")).lines) == 2


async def test_an_automatic_payout_names_its_lines_and_one_made_by_hand_does_not(rail: RailUnderTest) -> None:
    adapter, order = stripe_of(rail), await paid(rail)
    await adapter.refund_payment(order)
    await paid(rail)
    before = frozenset(line.line_id for line in (await adapter.settlement_page("")).lines)
    payout = await rail_stripe.pay_out(rail, "eur", ready=False)
    with pytest.raises(RailUnavailable, match="in_progress"):
        await adapter.payout_lines(payout["id"])
    sent_back = await rail_stripe.pay_out(rail, "eur", fail=payout["id"])
    assert await adapter.payout_lines(payout["id"]) == before
    again = await rail_stripe.pay_out(rail, "eur")
    lines = (await adapter.settlement_page("")).lines
    assert [(line.kind, line.reference, line.net.units) for line in lines[-3:]] == [
        (LineKind.PAYOUT, payout["id"], -payout["amount"]),
        (LineKind.PAYOUT, payout["id"], payout["amount"]),
        (LineKind.PAYOUT, again["id"], -payout["amount"]),
    ]
    assert await adapter.payout_lines(again["id"]) == frozenset({sent_back["failure_balance_transaction"]})
    await paid(rail)
    by_hand = await rail_stripe.pay_out(rail, "eur", automatic=False)
    assert await adapter.payout_lines(by_hand["id"]) is None


async def test_the_account_is_looked_at_with_its_clock(rail: RailUnderTest) -> None:
    looked = await stripe_of(rail).check_account()
    assert looked.clock_ahead_seconds is not None
    assert abs(looked.clock_ahead_seconds) < 5
    stranger = rail.adapter_with(rail.setup.wrong_key)
    assert isinstance(stranger, StripeAdapter)
    with pytest.raises(RailMisconfigured):
        await stranger.check_account()


async def test_unknown_event_types_are_named_and_not_read(rail: RailUnderTest) -> None:
    await paid(rail)
    await rail.told(RailEventKind.CAPTURED)
    adapter = stripe_of(rail)
    kinds = [kind for _, body in rail.box.received for kind in adapter.event_types(body)]
    assert ("checkout.session.completed", True) in kinds
    body = json.loads(rail.box.received[0][1]) | {"type": "climate.order.created"}
    assert adapter.event_types(json.dumps(body).encode()) == (("climate.order.created", False),)


async def test_the_statement_shows_a_suffix_that_stripe_takes(rail: RailUnderTest) -> None:
    order = rail.order(statement_suffix='Acme "AI" 日本 <gateway>', merchant_category="5734")
    started = await rail.adapter.create_payment(order)
    assert started.rail_reference
    # With a prefix of ten and "* " between, 22 characters are full.
    assert statement_suffix(order) == "Acme AI  g"
    assert statement_suffix(replace(order, statement_suffix="2026-11-27")) == ""  # Stripe asks for a letter
    assert statement_suffix(replace(order, method="oxxo")) == ""  # cards only


@pytest.mark.parametrize(
    ("source", "original"),
    [
        ({"amount": 1000, "amount_captured": 1000, "currency": "eur"}, 1000),
        ({"amount": 1500, "amount_captured": 1000, "currency": "eur"}, 1000),
        ({"amount": 1000, "currency": "eur"}, 1000),
        ({"amount": 1000, "currency": "usd"}, None),
        ({"currency": "eur"}, None),
    ],
)
def test_a_conversion_is_read_from_both_objects(source: dict[str, object], original: int | None) -> None:
    """The example of Stripe's documents: 10.00 EUR became 12.34 USD at 1.234."""
    for sign in (1, -1):
        line = settlement_line(
            BalanceTransaction.model_validate(
                {"id": "txn_1", "amount": 1234 * sign, "fee": 66, "net": 1234 * sign - 66, "currency": "usd",
                 "created": 1, "exchange_rate": 1.234, "type": "charge", "reporting_category": "charge",
                 "source": {"id": "ch_1", "payment_intent": "pi_1", **source}}
            )
        )  # fmt: skip
        assert line.original == (None if original is None else Money(original * sign, Asset("EUR", 2)))
        assert (line.gross, line.exchange_rate) == (Money(1234 * sign, Asset("USD", 2)), "1.234")


async def test_what_names_no_time_of_its_own_is_told_at_the_adapter_s_clock(rail: RailUnderTest) -> None:
    """A dispute in the list and a refund that is read as failed: their words are weighed by time against others."""
    whole = await paid(rail, "4000000000005126")
    then = datetime.now(UTC) + timedelta(days=3)
    later = StripeAdapter(rail.adapter.account, rail.http, now=lambda: then)
    await paid(rail, "4000000000000259")
    told = await later.list_disputes(datetime.now(UTC) - timedelta(hours=1))
    assert told
    assert {event.occurred_at for event in told if event.funds is Funds.UNCHANGED} == {then}
    made = await later.refund_payment(whole)
    failed = await later.fetch_refund(replace(whole, rail_reference=made.rail_reference))
    assert failed is not None
    assert (failed.state, failed.occurred_at) == (RefundState.FAILED, then)
