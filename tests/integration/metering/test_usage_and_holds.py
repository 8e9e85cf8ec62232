"""Usage that names a hold, and what breaks half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.clock import SystemClock
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.ids import new_id
from orchestrator.ledger.holds import HOLD, HoldTerms, expire_hold, hold_locks, make_hold, void_hold
from orchestrator.metering.charging import Rated, UsageBatch
from orchestrator.metering.rating import cost_of_amount
from orchestrator.metering.usage_input import read_event
from tests.integration.metering.desk import CENT, MODE, Desk

SECOND_US = 1_000_000


async def hold(desk: Desk, wallet: str, cents: int, seconds: int = 60) -> str:
    terms = HoldTerms(desk.merchant, MODE, new_id("hold"), wallet, HOLD, cents * CENT, seconds * SECOND_US)

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        return {"id": make_hold(view, changes, terms)["id"]}

    locks = hold_locks(desk.merchant, MODE, wallet, terms.id)
    answer = (await desk.services.writer.submit(Unit(desk.merchant, MODE, None, locks, decide))).answer
    return str(answer["id"])


async def end(desk: Desk, wallet: str, hold_id: str, how: Any) -> None:
    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        how(view, changes, view.one("hold", desk.merchant, hold_id))
        return {}

    locks = hold_locks(desk.merchant, MODE, wallet, hold_id)
    await desk.services.writer.submit(Unit(desk.merchant, MODE, None, locks, decide))


def use(wallet: str, amount: str, hold_id: str | None = None) -> dict[str, Any]:
    return {"id": new_id("use"), "wallet": wallet, "amount": amount, "hold": hold_id}


async def hold_row(desk: Desk, hold_id: str) -> dict[str, Any]:
    return next(row for row in await desk.rows("hold") if row["id"] == hold_id)


async def test_usage_captures_its_hold_and_gives_back_the_rest(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    held = await hold(desk, wallet, 60)
    answer = await desk.use(
        [use(wallet, "0.10", held), use(wallet, "0.30"), use(wallet, "0.15", held), use(wallet, "0.40")]
    )
    words = [(one["status"], one.get("reason")) for one in answer["results"]]
    assert words == [("accepted", None)] * 3 + [("rejected", "insufficient_balance")], "what is held is not for others"
    row = await hold_row(desk, held)
    assert (row["status"], row["captured_units"]) == ("captured", 25 * CENT)
    assert answer["wallets"][wallet]["available"] == "0.45"
    again = await desk.use([use(wallet, "0.45", held), use(wallet, "0.01", held)])
    assert [one["status"] for one in again["results"]] == ["accepted", "rejected"], "a hold ends once"
    await desk.assert_sound()


async def test_usage_beyond_its_hold_is_never_refused(desk: Desk) -> None:
    wallet = await desk.wallet(cents=10)
    held = await hold(desk, wallet, 10)
    assert (await desk.use([use(wallet, "0.25", held)]))["accepted"] == 1
    accounts = {row["code"]: row["balance"] for row in await desk.rows("account") if row["subject"] == wallet}
    assert accounts["wallet:debt"] == 15 * CENT
    await desk.assert_sound()


@pytest.mark.parametrize("booked", [True, False])
async def test_usage_of_a_hold_whose_time_was_over_is_a_plain_debit(desk: Desk, *, booked: bool) -> None:
    wallet = await desk.wallet(cents=20)
    held = await hold(desk, wallet, 20, seconds=1)
    desk.services.clock.ahead_us += 5 * SECOND_US
    if booked:
        await end(desk, wallet, held, expire_hold)
    assert (await desk.use([use(wallet, "0.25", held)]))["accepted"] == 1
    assert (await hold_row(desk, held))["status"] == "captured"
    await desk.assert_sound()


async def test_a_voided_or_strange_hold_changes_nothing(desk: Desk) -> None:
    wallet, other = await desk.wallet(cents=20), await desk.wallet(cents=20)
    voided, strange = await hold(desk, wallet, 20), await hold(desk, other, 5)
    await end(desk, wallet, voided, void_hold)
    answer = await desk.use([use(wallet, "0.15", voided), use(wallet, "0.15", voided), use(wallet, "0.01", strange),
                             use(wallet, "0.01", "hold_none")])  # fmt: skip
    reasons = [one.get("reason") for one in answer["results"]]
    assert reasons == [None, "insufficient_balance", "unknown_hold", "unknown_hold"]
    assert (await hold_row(desk, strange))["status"] == "open"
    await desk.assert_sound()


async def test_a_unit_that_breaks_after_its_decision_leaves_nothing(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    held = await hold(desk, wallet, 10)
    raw = [use(wallet, "0.05", held), {**use(wallet, "0.01"), "id": None, "producer": "p", "sequence": 1, "hold": None}]
    raw[1].pop("id")
    events = [read_event(one) for one in raw]
    now_us = SystemClock().now_us()
    rated = [Rated(event, now_us) for event in events]
    for one in rated:
        one.cost = cost_of_amount(one.event.amount or 0)
    batch = UsageBatch(desk.merchant, MODE, rated, now_us)

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        answer = batch.decide(view, changes)
        assert [one["status"] for one in answer["results"]] == ["accepted"] * 2
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        await desk.services.writer.submit(Unit(desk.merchant, MODE, None, batch.locks(), decide))
    for table in ("usage_event", "usage_producer", "usage_rollup"):
        assert not await desk.rows(table)
    assert (await desk.use(raw))["accepted"] == 2
    assert (await desk.use(raw))["duplicate"] == 2
    await desk.assert_sound()


async def test_a_hot_wallet_pays_exactly_what_it_has(desk: Desk) -> None:
    wallet = await desk.wallet(cents=1)
    batches = [[use(wallet, "0.0003") for _ in range(3)] for _ in range(30)]
    answers = await asyncio.gather(*(desk.use(batch) for batch in batches))
    assert sum(answer["accepted"] for answer in answers) == 33
    assert await desk.paid(wallet) == 100_000
    await desk.assert_sound()


async def test_wallets_with_an_overdraft_go_as_far_as_it_allows(desk: Desk) -> None:
    grace, debt = await desk.wallet(cents=1, overdraft="grace"), await desk.wallet(cents=1, overdraft="debt")
    await desk.set_wallet(grace, overdraft_units=2 * CENT)
    frozen = await desk.wallet(cents=100)
    await desk.set_wallet(frozen, status="frozen")
    answer = await desk.use([use(grace, "0.03"), use(grace, "0.000000001"), use(debt, "5"), use(frozen, "0.01")])
    reasons = [one.get("reason") for one in answer["results"]]
    assert reasons == [None, "insufficient_balance", None, "wallet_frozen"]
    await desk.assert_sound()
