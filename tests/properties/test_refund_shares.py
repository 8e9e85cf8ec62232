"""Whatever parts a payment is refunded in, they add up to the whole, and nobody is given more than was paid."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.database.unit import Row
from orchestrator.payments.pricing import FeeSchedule, Rate, price
from orchestrator.payments.refund_terms import FEE_LINES, Share, Whole, take
from rates.money import WALLET_USD, Asset, Money

PRINCIPALS = st.integers(10**9, 10**13)
PARTS = st.lists(st.integers(1, 1000), min_size=1, max_size=12)
RETURNED = st.sets(st.sampled_from(FEE_LINES))
ASSETS = st.sampled_from([Asset("BRL", 2), Asset("JPY", 0), Asset("KWD", 3), Asset("USDT", 6)])


def whole_of(principal: int, asset: Asset, mid: Fraction, returned: set[str]) -> tuple[Whole, Money]:
    fees = FeeSchedule(119, Money(130_000_000, WALLET_USD), Money.zero(WALLET_USD), 100)
    priced = price(Money(principal, WALLET_USD), fees, Rate(mid, 120), asset)
    return Whole.of(priced, returned), priced.total


@given(PRINCIPALS, ASSETS, st.fractions("0.01", "30000"), RETURNED, PARTS)
def test_parts_of_a_refund_add_up_to_the_whole(
    principal: int, asset: Asset, mid: Fraction, returned: set[str], weights: list[int]
) -> None:
    whole, total = whole_of(principal, asset, mid, returned)
    assert whole.local.units <= total.units
    if returned == set(FEE_LINES):
        assert whole.local == total  # everything that was paid, the rounding too
    before: list[Share] = []
    left = principal
    for number, weight in enumerate(weights):
        last = number == len(weights) - 1
        units = left if last else min(left, principal * weight // (sum(weights) + 1))
        if units <= 0:
            continue
        before.append(whole.share(units, before))
        left -= units
    assert sum(one.units for one in before) == principal
    assert sum(one.local.units for one in before) == whole.local.units
    for name, line in whole.lines.items():
        assert sum(one.lines[name] for one in before) == line
    assert all(one.local.units >= 0 for one in before)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=6), st.integers(1, 400), st.integers(0, 200),
       st.booleans())  # fmt: skip
def test_the_credit_of_a_refund_comes_from_somewhere_to_the_last_unit(
    free: list[tuple[int, bool]], units: int, available: int, used_too: bool
) -> None:
    lots: list[Row] = [
        {"id": f"lot_{number}", "kind": "paid", "source": "cap_1" if own else f"cap_{number + 2}", "created_us": number,
         "remaining_units": left, "held_units": 0, "frozen_units": 0}
        for number, (left, own) in enumerate(free)
    ]  # fmt: skip
    sources = take(units, "cap_1", lots, available, used_too=used_too)
    own = sum(left for left, mine in free if mine)
    if sources is None:
        assert not used_too
        assert own < units
        return
    assert sources.credit + sources.available + sources.receivable == units
    assert sources.available <= available
    by_lot = dict(sources.lots)
    assert all(part <= lots[int(lot_id.removeprefix("lot_"))]["remaining_units"] for lot_id, part in by_lot.items())
    if not used_too:
        assert sources.available == sources.receivable == 0
