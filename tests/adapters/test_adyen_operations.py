"""Adyen after the money was taken: refunds, disputes, later captures and the settlement report, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adapters.adyen.adapter import AdyenAdapter
from adapters.adyen.wire_operations import UnreadableReport, settlement_lines
from adapters.base import OutcomeUnknown, RailEventKind, RailMisconfigured
from adapters.operations import (
    CaptureOrder,
    DisputeEvent,
    DisputeState,
    Document,
    Evidence,
    Funds,
    LineKind,
    RefundEvent,
    RefundOrder,
    RefundRefused,
    RefundState,
)
from rates.money import Asset, Money
from tests.adapters import rail_adyen
from tests.adapters.contract import RailUnderTest, started_rail

PDF = Document("log.pdf", "application/pdf", b"%PDF-1.4 used")


@pytest.fixture
async def rail() -> AsyncIterator[RailUnderTest]:
    async with started_rail(rail_adyen.RAIL) as started:
        yield started


def adyen_of(rail: RailUnderTest) -> AdyenAdapter:
    assert isinstance(rail.adapter, AdyenAdapter)
    return rail.adapter


async def paid(rail: RailUnderTest, *, disputed: bool = False) -> RefundOrder:
    """Pay, and return the order that would refund all of it."""
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    shown = await rail_adyen.use_page(rail, started, {"outcome": "paid"})
    if disputed:
        await rail_adyen.use_page(rail, started, {"outcome": "chargeback"})
    return RefundOrder(
        f"rfd_{order.attempt_id}", order.attempt_id, shown["psp_reference"], order.amount, datetime.now(UTC)
    )


async def reversals(rail: RailUnderTest, messages: int) -> list[RefundEvent | DisputeEvent]:
    adapter = adyen_of(rail)
    return [
        event for headers, body in await rail.box.wait_for(messages) for event in adapter.parse_reversals(headers, body)
    ]


async def test_a_refund_is_received_and_its_webhook_says_that_it_succeeded(rail: RailUnderTest) -> None:
    adapter, whole = adyen_of(rail), await paid(rail)
    part = replace(whole, amount=Money(1000, whole.amount.asset))
    first, again = await adapter.refund_payment(part), await adapter.refund_payment(part)
    assert (first.state, first.rail_reference) == (RefundState.PENDING, again.rail_reference)
    assert (await adapter.fetch_refund(part) or first).rail_reference == first.rail_reference
    [told] = await reversals(rail, 2)
    assert isinstance(told, RefundEvent)
    assert (told.state, told.refund_id, told.amount) == (RefundState.SUCCEEDED, part.refund_id, part.amount)
    assert (told.money_id, told.rail_reference) == (whole.money_id, first.rail_reference)
    with pytest.raises(RefundRefused):
        await adapter.refund_payment(replace(whole, refund_id="rfd_more"))


async def test_another_refund_under_a_used_key_is_refused(rail: RailUnderTest) -> None:
    adapter, whole = adyen_of(rail), await paid(rail)
    await adapter.refund_payment(replace(whole, amount=Money(1000, whole.amount.asset)))
    with pytest.raises((RefundRefused, OutcomeUnknown)):
        await adapter.refund_payment(replace(whole, amount=Money(2000, whole.amount.asset)))


async def test_a_refund_that_the_bank_does_not_take_is_told_as_failed(rail: RailUnderTest) -> None:
    adapter, whole = adyen_of(rail), await paid(rail)
    await rail.control(refund_fails="Account closed")
    assert (await adapter.refund_payment(whole)).state is RefundState.PENDING
    [told] = await reversals(rail, 2)
    assert isinstance(told, RefundEvent)
    assert (told.state, told.reason) == (RefundState.FAILED, "Account closed")


async def test_a_dispute_is_told_defended_and_its_money_comes_back(rail: RailUnderTest) -> None:
    adapter, order = adyen_of(rail), await paid(rail, disputed=True)
    first, second = [event for event in await reversals(rail, 3) if isinstance(event, DisputeEvent)]
    assert {first.funds, second.funds} == {Funds.UNCHANGED, Funds.WITHDRAWN}
    assert (first.money_id, first.attempt_id, first.amount) == (order.money_id, order.attempt_id, order.amount)
    with pytest.raises(RailMisconfigured, match="PDF"):
        await adapter.submit_evidence(first.dispute_id, Evidence("only words"))
    await adapter.submit_evidence(first.dispute_id, Evidence("log", documents=(PDF,)))
    told = [event for event in await reversals(rail, 5) if isinstance(event, DisputeEvent)]
    assert (DisputeState.UNDER_REVIEW, Funds.RETURNED) in {(event.state, event.funds) for event in told}
    assert {event.dispute_id for event in told} == {first.dispute_id}
    with pytest.raises(RefundRefused):
        await adapter.refund_payment(order)


async def test_a_dispute_can_be_accepted_and_a_strange_one_not(rail: RailUnderTest) -> None:
    adapter, _ = adyen_of(rail), await paid(rail, disputed=True)
    dispute = (await reversals(rail, 3))[0]
    assert isinstance(dispute, DisputeEvent)
    await adapter.accept_dispute(dispute.dispute_id)
    with pytest.raises(RailMisconfigured):
        await adapter.accept_dispute("A" * 16)
    with pytest.raises(RailMisconfigured):
        await adapter.accept_dispute("../../x")


@pytest.mark.parametrize("outcome", ["unannounced_chargeback", "opening_chargeback"])
async def test_a_dispute_that_opens_with_its_chargeback_withdraws_once(rail: RailUnderTest, outcome: str) -> None:
    """Whether CHARGEBACK is sent beside it is not documented: one id for both, so that it cannot count twice."""
    adapter, order = adyen_of(rail), rail.order()
    started = await adapter.create_payment(order)
    await rail_adyen.pay(rail, started)
    await rail_adyen.use_page(rail, started, {"outcome": outcome})
    told = [event for event in await reversals(rail, 2 + (outcome[0] == "u")) if isinstance(event, DisputeEvent)]
    assert {(event.state, event.funds) for event in told} == {(DisputeState.NEEDS_ANSWER, Funds.WITHDRAWN)}
    assert len({event.event_id for event in told}) == 1


async def test_a_capture_that_fails_after_all_is_money_that_was_taken_back(rail: RailUnderTest) -> None:
    adapter, order = adyen_of(rail), rail.order(capture_later=True)
    started = await adapter.create_payment(order)
    await rail_adyen.pay(rail, started)
    [held] = await rail.told(RailEventKind.PENDING)
    await adapter.capture_payment(CaptureOrder(order.attempt_id, held.detail["authorisation"], order.amount))
    [captured] = await rail.told(RailEventKind.CAPTURED)
    await rail_adyen.use_page(rail, started, {"outcome": "capture_failed"})
    [failed] = await reversals(rail, 3)
    assert isinstance(failed, DisputeEvent)
    assert (failed.state, failed.funds, failed.money_id) == (DisputeState.LOST, Funds.WITHDRAWN, captured.money_id)
    assert (failed.amount, failed.attempt_id) == (order.amount, order.attempt_id)
    assert failed.reason.startswith("capture failed: ")
    assert not (await adapter.settlement_page("")).lines, "no report has the money"


async def test_reserved_money_is_no_capture_until_it_is_taken(rail: RailUnderTest) -> None:
    adapter, order = adyen_of(rail), rail.order(capture_later=True)
    await rail_adyen.pay(rail, await adapter.create_payment(order))
    [held] = await rail.told(RailEventKind.PENDING)
    assert held.attempt_id == order.attempt_id
    less = CaptureOrder(order.attempt_id, held.detail["authorisation"], Money(5000, order.amount.asset))
    assert list(await adapter.capture_payment(less)) == []
    [captured] = await rail.told(RailEventKind.CAPTURED)
    assert (captured.attempt_id, captured.amount) == (order.attempt_id, less.amount)
    assert captured.money_id == less.authorisation_id


async def test_the_settlement_report_is_read_batch_by_batch(rail: RailUnderTest) -> None:
    adapter, order = adyen_of(rail), await paid(rail)
    await adapter.refund_payment(replace(order, amount=Money(1000, order.amount.asset)))
    first = await adapter.settlement_page("")
    payment, refund = first.lines
    assert (payment.kind, payment.money_id, payment.attempt_id) == (LineKind.PAYMENT, order.money_id, order.attempt_id)
    assert (payment.gross, payment.fee.units) == (order.amount, 12)
    assert payment.net.units == payment.gross.units - payment.fee.units
    assert (refund.kind, refund.net.units) == (LineKind.REFUND, -1000)
    assert not (await adapter.settlement_page(first.next_cursor)).lines
    await paid(rail, disputed=True)
    second = await adapter.settlement_page(first.next_cursor)
    assert [line.kind for line in second.lines] == [LineKind.PAYMENT, LineKind.DISPUTE]
    assert await adapter.settlement_page("") == first, "a batch never changes"


@pytest.mark.parametrize("change", [("12.34", "NaN"), ("EUR", "EUX"), ("Net Currency", "Currency")])
def test_a_report_that_is_not_as_documented_is_refused(change: tuple[str, str]) -> None:
    head = (
        "Psp Reference,Merchant Reference,Creation Date,TimeZone,Type,Modification Reference,Gross Currency,"
        "Net Currency,Net Debit (NC),Net Credit (NC),Commission (NC),Markup (NC),Scheme Fees (NC),Interchange (NC)"
    )
    text = f"{head}\nP,att_1,2026-11-23 10:00:00,CET,Settled,,EUR,EUR,,12.34,0.10,,0.02,\n"
    [line] = settlement_lines(text, "7")
    assert (line.gross.units, line.fee.units, line.occurred_at.hour) == (1246, 12, 9)
    with pytest.raises(UnreadableReport):
        list(settlement_lines(text.replace(*change), "7"))


@pytest.mark.parametrize(("debit", "credit", "net"), [("", "100.00", ("", "18.02")), ("100.00", "", ("18.54", ""))])
def test_a_conversion_is_read_with_both_amounts_and_its_rate(debit: str, credit: str, net: tuple[str, str]) -> None:
    head = (
        "Psp Reference,Merchant Reference,Creation Date,TimeZone,Type,Modification Reference,Gross Currency,"
        "Gross Debit (GC),Gross Credit (GC),Exchange Rate,Net Currency,Net Debit (NC),Net Credit (NC),Commission (NC),"
        "Markup (NC),Scheme Fees (NC),Interchange (NC)"
    )
    text = (
        f"{head}\nP,att_1,2026-11-23 10:00:00,CET,Settled,,BRL,{debit},{credit},0.1828,USD,{net[0]},{net[1]},0.26,,,\n"
    )
    [line] = settlement_lines(text, "7")
    assert line.original == Money(10_000 if credit else -10_000, Asset("BRL", 2))
    assert (line.gross, line.exchange_rate) == (Money(1828 if credit else -1828, Asset("USD", 2)), "0.1828")
    for rate in ("NaN", "-1", "0", "one"):
        with pytest.raises(UnreadableReport):
            list(settlement_lines(text.replace("0.1828", rate), "7"))
    assert [one.exchange_rate for one in settlement_lines(text.replace("0.1828", ""), "7")] == [""]


async def test_the_account_is_looked_at_and_event_codes_are_named(rail: RailUnderTest) -> None:
    adapter = adyen_of(rail)
    assert "CrossrailBR has 1 methods" in (await adapter.check_account()).said
    await paid(rail)
    [(_, body)] = await rail.box.wait_for(1)
    assert list(adapter.event_types(body)) == [("AUTHORISATION", True)]
    assert list(adapter.event_types(body.replace(b"AUTHORISATION", b"REPORT_AVAILABLE"))) == [
        ("REPORT_AVAILABLE", False)
    ]


async def test_merchant_category_and_statement_go_to_adyen(rail: RailUnderTest) -> None:
    from adapters.adyen.wire import link_request

    body = link_request(rail.order(statement_suffix="Acme <AI> 日本", merchant_category="5734"), "M")
    assert (body["mcc"], body["shopperStatement"]) == ("5734", "Acme AI")
