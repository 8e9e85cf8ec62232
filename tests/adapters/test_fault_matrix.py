"""Each operation of each rail under each fault of its simulator, as the rail's ``quality.yaml`` says it ends.

A cell that is missing fails, and so does one that no operation or fault stands for. After a write whose answer was lost
the same call is made again: it must give what the lost one made, and one thing only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from adapters.base import ChargesSaved, OutcomeUnknown, RailAdapter, RailEventKind, RailUnavailable
from adapters.operations import (
    AnswersDisputes,
    CaptureOrder,
    CapturesLater,
    ChecksAccount,
    DisputeEvent,
    ListsDisputes,
    NamesPayoutLines,
    RefundOrder,
    Refunds,
    ReportsReversals,
    ReportsSettlement,
)
from tests.adapters.contract import RailSetup, RailUnderTest, setups, started_rail
from tests.adapters.loopback import closed_port

FAULTS: Final = ("unreachable", "rate_limited", "down", "broken", "conflict", "drop_answer", "hang")
ENDS: Final = {"unavailable": RailUnavailable, "unknown": OutcomeUnknown}
IMPATIENT: Final = {"answer_seconds_max": 0.3}

Call = Callable[[RailAdapter], Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    """One ability of the port: ``prepare`` brings a rail to where ``call`` makes sense, and returns the call."""

    name: str
    writes: bool
    prepare: Callable[[RailUnderTest], Awaitable[Call]]
    once: bool = True
    """What it answers the second time equals what it answered the first time."""


async def _create(rail: RailUnderTest) -> Call:
    order = rail.order()

    async def call(adapter: RailAdapter) -> str:
        return (await adapter.create_payment(order)).rail_reference

    return call


async def _status(rail: RailUnderTest) -> Call:
    order = rail.order()
    reference = rail.reference(order, await rail.adapter.create_payment(order))
    return lambda adapter: adapter.fetch_status(reference)


async def _find(rail: RailUnderTest) -> Call:
    order = rail.order()
    await rail.adapter.create_payment(order)
    return lambda adapter: adapter.fetch_status(rail.reference(order, None))


async def _cancel(rail: RailUnderTest) -> Call:
    order = rail.order()
    reference = rail.reference(order, await rail.adapter.create_payment(order))
    return lambda adapter: adapter.cancel_payment(reference)


async def _saved(rail: RailUnderTest) -> Call:
    order = rail.order(save_method=True)
    started = await rail.adapter.create_payment(order)
    await rail.setup.pay(rail, started)
    await rail.told(RailEventKind.CAPTURED)
    reference = rail.reference(order, started)

    async def call(adapter: RailAdapter) -> Any:
        assert isinstance(adapter, ChargesSaved)
        return await adapter.saved_method(reference)

    return call


async def _charge(rail: RailUnderTest) -> Call:
    saved = await (await _saved(rail))(rail.adapter)
    order = rail.order(saved=dict(saved.reference))

    async def call(adapter: RailAdapter) -> str:
        assert isinstance(adapter, ChargesSaved)
        return (await adapter.charge_saved(order)).rail_reference

    return call


# --- money that was taken -----------------------------------------------------------------------------------------


async def _paid(rail: RailUnderTest) -> RefundOrder:
    order = rail.order()
    await rail.setup.pay(rail, await rail.adapter.create_payment(order))
    captured = (await rail.told(RailEventKind.CAPTURED))[0]
    assert captured.money_id is not None
    return RefundOrder(f"rfd_{order.attempt_id}", order.attempt_id, captured.money_id, order.amount, rail.started_at)


async def _refund(rail: RailUnderTest) -> Call:
    refund = await _paid(rail)

    async def call(adapter: RailAdapter) -> str:
        assert isinstance(adapter, Refunds)
        return (await adapter.refund_payment(refund)).rail_reference

    return call


async def _fetch_refund(rail: RailUnderTest) -> Call:
    refund = await _paid(rail)
    assert isinstance(rail.adapter, Refunds)
    await rail.adapter.refund_payment(refund)

    async def call(adapter: RailAdapter) -> Any:
        assert isinstance(adapter, Refunds)
        return await adapter.fetch_refund(refund)

    return call


async def _capture(rail: RailUnderTest) -> Call:
    order = rail.order(capture_later=True)
    started = await rail.adapter.create_payment(order)
    await rail.setup.pay(rail, started)
    held = [*await rail.told(RailEventKind.PENDING), *await rail.adapter.fetch_status(rail.reference(order, started))]
    name = next(event.detail["authorisation"] for event in held if "authorisation" in event.detail)

    async def call(adapter: RailAdapter) -> Any:
        assert isinstance(adapter, CapturesLater)
        return await adapter.capture_payment(CaptureOrder(order.attempt_id, name, order.amount))

    return call


async def _settlement(rail: RailUnderTest) -> Call:
    await _paid(rail)

    async def call(adapter: RailAdapter) -> Any:
        assert isinstance(adapter, ReportsSettlement)
        return await adapter.settlement_page("")

    return call


async def _payout(rail: RailUnderTest) -> Call:
    await _paid(rail)
    assert rail.setup.pay_out is not None
    payout = await rail.setup.pay_out(rail)

    async def call(adapter: RailAdapter) -> Any:
        assert isinstance(adapter, NamesPayoutLines)
        return await adapter.payout_lines(payout["id"])

    return call


async def _check(_rail: RailUnderTest) -> Call:
    async def call(adapter: RailAdapter) -> str:
        assert isinstance(adapter, ChecksAccount)
        return (await adapter.check_account()).said

    return call


async def _disputes(rail: RailUnderTest) -> Call:
    async def call(adapter: RailAdapter) -> Any:
        assert isinstance(adapter, ListsDisputes)
        return await adapter.list_disputes(rail.started_at)

    return call


async def _accept(rail: RailUnderTest) -> Call:
    assert rail.setup.dispute is not None
    await rail.setup.dispute(rail, await rail.adapter.create_payment(rail.order()))
    assert isinstance(rail.adapter, ReportsReversals)
    dispute_id = None
    for headers, body in await rail.box.wait_for(3):
        for event in rail.adapter.parse_reversals(headers, body):
            dispute_id = event.dispute_id if isinstance(event, DisputeEvent) else dispute_id
    assert dispute_id is not None

    async def call(adapter: RailAdapter) -> None:
        assert isinstance(adapter, AnswersDisputes)
        await adapter.accept_dispute(dispute_id)

    return call


OPERATIONS: Final = {
    operation.name: operation
    for operation in (
        Operation("create_payment", writes=True, prepare=_create),
        Operation("fetch_status", writes=False, prepare=_status),
        Operation("find_by_attempt_id", writes=False, prepare=_find),
        Operation("cancel_payment", writes=True, prepare=_cancel),
        Operation("charge_saved", writes=True, prepare=_charge),
        Operation("saved_method", writes=False, prepare=_saved),
        Operation("refund_payment", writes=True, prepare=_refund),
        Operation("fetch_refund", writes=False, prepare=_fetch_refund),
        Operation("capture_payment", writes=True, prepare=_capture),
        Operation("settlement_page", writes=False, prepare=_settlement),
        Operation("payout_lines", writes=False, prepare=_payout),
        Operation("check_account", writes=False, prepare=_check),
        Operation("list_disputes", writes=False, prepare=_disputes),
        Operation("accept_dispute", writes=True, prepare=_accept),
    )
}


def card_of(setup: RailSetup) -> dict[str, Any]:
    path = Path(__file__).parents[2] / "adapters" / setup.rail / "quality.yaml"
    faults: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))["faults"]
    return faults


def cells() -> list[Any]:
    return [
        pytest.param(setup, OPERATIONS[name], fault, word, id=f"{setup.rail}-{name}-{fault}")
        for setup in setups()
        for name, row in card_of(setup).items()
        if "status" not in row
        for fault, word in row.items()
    ]


@pytest.mark.parametrize("setup", setups(), ids=lambda setup: setup.rail)
def test_a_card_answers_every_operation_under_every_fault(setup: RailSetup) -> None:
    card = card_of(setup)
    assert set(card) == set(OPERATIONS)
    for name, row in card.items():
        if "status" in row:
            assert row["status"] == "exempt", name
            assert len(row["reason"]) > 15, name
        else:
            assert set(row) == set(FAULTS), name
            assert set(row.values()) <= set(ENDS), name


@pytest.fixture
async def rail(setup: RailSetup) -> AsyncIterator[RailUnderTest]:
    async with started_rail(setup) as started:
        yield started


def _calls_of(rail: RailUnderTest, operation: Operation) -> str:
    """Which HTTP calls the fault waits for: Adyen reads its methods with a POST."""
    posts = operation.writes or (rail.setup.rail, operation.name) == ("adyen", "check_account")
    return "write" if posts else "read"


@pytest.mark.parametrize(("setup", "operation", "fault", "word"), cells())
async def test_an_operation_under_a_fault_ends_as_the_card_says(
    rail: RailUnderTest, operation: Operation, fault: str, word: str
) -> None:
    call = await operation.prepare(rail)
    adapter = rail.adapter
    if fault == "unreachable":
        adapter = rail.adapter_with(base_url=closed_port())
    else:
        # aiohttp itself repeats a GET whose kept connection was closed: two lost answers are one lost call
        times = 1 if operation.writes else 2
        await rail.control(**{fault: times, "faults_on": _calls_of(rail, operation)})
        if fault == "hang":
            adapter = rail.adapter_with({**rail.setup.options, **IMPATIENT})
    with pytest.raises(ENDS[word]) as caught:
        await call(adapter)
    assert type(caught.value) is ENDS[word]
    await rail.control(**({fault: 0} if fault != "unreachable" else {}))
    first, second = await call(rail.adapter), await call(rail.adapter)
    assert first == second, "asking again finds one thing"


@pytest.mark.parametrize("setup", setups(), ids=lambda setup: setup.rail)
async def test_a_rest_that_the_rail_asks_for_is_handed_on(rail: RailUnderTest) -> None:
    for asked, expected in ((7, 7.0), (0, None)):
        await rail.control(rate_limited=1, retry_after_s=asked)
        with pytest.raises(RailUnavailable) as caught:
            await rail.adapter.create_payment(rail.order())
        assert caught.value.retry_after_seconds == expected


@pytest.mark.parametrize("setup", [one for one in setups() if one.finds_by_attempt_id], ids=lambda setup: setup.rail)
@pytest.mark.parametrize("fault", ["broken", "conflict", "drop_answer"])
async def test_what_a_lost_answer_made_is_found_by_our_id_and_is_what_the_same_key_gives(
    rail: RailUnderTest, fault: str
) -> None:
    order = rail.order()
    await rail.control(**{fault: 1, "faults_on": "write"})
    with pytest.raises(OutcomeUnknown):
        await rail.adapter.create_payment(order)
    found = await rail.adapter.fetch_status(rail.reference(order, None))
    again = await rail.adapter.create_payment(replace(order))
    assert {event.rail_reference for event in found} == {again.rail_reference}
