"""Maturity, release and payout move money; they never make any."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.database.unit import Entry
from orchestrator.ledger.chart import Account
from orchestrator.ledger.payout_recipes import (
    MerchantSide,
    confirm_payout,
    fail_payout,
    mature,
    release,
    request_payout,
)
from orchestrator.ledger.recipes import DebtState, Holding, Received, top_up
from rates.money import WALLET_USD, Asset, Money

units = st.integers(min_value=-(10**12), max_value=10**12)
from_zero = st.integers(min_value=0, max_value=10**12)
sides = st.builds(MerchantSide, pending=units, available=units, reserve=from_zero, receivable=from_zero)


def gains(entry: Entry | None) -> dict[str, int]:
    """What each account gained for its owner."""
    return {} if entry is None else {line.code: -line.units for line in entry.lines}


@given(units, sides, st.integers(min_value=0, max_value=10_000))
def test_a_maturity_never_moves_more_than_pending_holds(due: int, side: MerchantSide, reserve_bps: int) -> None:
    step = mature("earning:2026-11-23", due, side, reserve_bps)
    gained = gains(step.entry)
    assert sum(gained.values()) == 0
    moved = -gained.get("merchant:pending", 0)
    assert moved == due - step.left
    if moved > 0:
        assert moved <= side.pending
    if moved < 0:
        assert side.pending - moved <= 0  # no more than what it lacks is brought back
    if moved > 0 and side.receivable:
        assert step.repaid == min(moved, side.receivable)
    if step.available < 0:
        assert -step.available <= side.available
    assert gained.get("merchant:available", 0) == step.available
    assert gained.get("merchant:reserve", 0) == step.reserve
    assert gained.get("merchant:receivable", 0) == step.repaid


@given(from_zero, st.integers(min_value=0, max_value=10_000))
def test_the_reserve_is_the_share_rounded_up(due: int, reserve_bps: int) -> None:
    step = mature("f", due, MerchantSide(due, 0, 0, 0), reserve_bps)
    exact = Fraction(due * reserve_bps, 10_000)
    assert exact <= step.reserve < exact + 1
    assert step.available + step.reserve == due


@given(from_zero, sides)
def test_a_release_never_moves_more_than_the_reserve_holds(due: int, side: MerchantSide) -> None:
    step = release("f", due, side)
    gained = gains(step.entry)
    assert sum(gained.values()) == 0
    assert -gained.get("merchant:reserve", 0) == min(due, side.reserve) == due - step.left
    assert step.repaid == min(due - step.left, side.receivable)


@given(
    st.lists(st.tuples(units, st.integers(min_value=0, max_value=10_000)), min_size=1, max_size=20),
    st.integers(min_value=0, max_value=3),
)
def test_whatever_days_bring_nothing_is_stuck_or_invented_once_all_have_matured(
    days: list[tuple[int, int]], delay: int
) -> None:
    side, left = MerchantSide(0, 0, 0, 0), 0
    reserves: list[int] = []
    for number in range(len(days) + delay):
        if number < len(days):
            side = replace(side, pending=side.pending + days[number][0])
        if number >= delay:
            earned, bps = days[number - delay]
            step = mature("f", earned + left, side, bps)
            left = step.left
            reserves.append(step.reserve)
            side = after(side, step.entry)
    assert side.pending == left == 0
    lacking = 0
    for reserve in reserves:
        released = release("f", reserve + lacking, side)
        lacking = released.left
        side = after(side, released.entry)
    assert (side.reserve, lacking) == (0, 0)
    assert side.available - side.receivable == sum(earned for earned, _ in days)
    assert side.available >= 0 <= side.receivable


def after(side: MerchantSide, entry: Entry | None) -> MerchantSide:
    """Return what stands in the accounts once an entry is posted."""
    gained = gains(entry)
    return MerchantSide(
        side.pending + gained.get("merchant:pending", 0),
        side.available + gained.get("merchant:available", 0),
        side.reserve + gained.get("merchant:reserve", 0),
        side.receivable - gained.get("merchant:receivable", 0),
    )


@given(st.integers(min_value=1, max_value=10**15))
def test_a_payout_and_its_end_cancel_out_in_transit(amount: int) -> None:
    asked = gains(request_payout("po_1", amount))
    paid = gains(confirm_payout("po_1", amount))
    failed = gains(fail_payout("po_1", amount))
    assert asked["payout:transit"] == amount == -paid["payout:transit"] == -failed["payout:transit"]
    assert asked["merchant:available"] == -amount == -failed["merchant:available"]
    assert paid["bank"] == amount


def test_fee_and_fx_spread_of_a_top_up_are_postings_of_their_own() -> None:
    def usd(amount: int) -> Money:
        return Money(amount, WALLET_USD)

    received = Received(Money(11_000, Asset("BRL", 2)), usd(20_000), usd(300), usd(200), usd(100), usd(7))
    entry, _ = top_up("cap_1", received, holding=Holding(Account.CLEARING, "adyen/main"), wallet_id="wal_1",
                      payment_id=None, debt=DebtState(usd(0), usd(0)))  # fmt: skip
    gained = gains(entry)
    lines = ("fees:rail_recharged", "fees:platform", "fx:spread", "rounding", "wallet:paid")
    assert [gained[name] for name in lines] == [300, 200, 100, 7, 20_000]
    assert not any(name.startswith("merchant:") for name in gained)
