"""How a wallet is spent: order, policies, holds, what is posted and told."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from orchestrator.errors import NotFound
from orchestrator.ledger.purse import Allocation, AllocationUnknown, Charged, Purse
from orchestrator.ledger.refusals import InsufficientBalance, WalletFrozen
from tests.unit.ledger.desk import NOW_US, Desk


def posted(desk: Desk) -> dict[str, int]:
    """Return the sum of what was posted, by account."""
    sums: dict[str, int] = {}
    for row in desk.tables["posting"].values():
        sums[row["code"]] = sums.get(row["code"], 0) + row["units"]
    return {code: units for code, units in sums.items() if units}


def test_free_credit_that_expires_first_goes_first_then_paid_oldest_first_then_provisional() -> None:
    desk = Desk()
    desk.lot("lot_provisional", 10, "provisional")
    desk.lot("lot_new", 10, created_us=9)
    desk.lot("lot_old", 10, created_us=5)
    desk.lot("lot_forever", 10, "promotional")
    desk.lot("lot_forever_preferred", 10, "compensation", priority=-1)
    desk.lot("lot_late", 10, "promotional", expires_us=NOW_US + 20)
    desk.lot("lot_soon", 10, "compensation", expires_us=NOW_US + 10)
    order = []
    for _ in range(7):
        before = desk.lots()
        desk.spend(lambda purse: purse.charge(10))
        order += [lot for lot, left in desk.lots().items() if left != before[lot]]
    assert order == [
        "lot_soon", "lot_late", "lot_forever_preferred", "lot_forever", "lot_old", "lot_new", "lot_provisional",
    ]  # fmt: skip


def test_only_used_paid_credit_becomes_the_merchants() -> None:
    desk = Desk(overdraft="debt")
    desk.lot("lot_1", 10, "promotional")
    desk.lot("lot_2", 20)
    desk.lot("lot_3", 30, "provisional")
    charged = desk.spend(lambda purse: purse.charge(100))
    assert charged == Charged(100, paid=20, promotional=10, provisional=30, debt=40)
    assert posted(desk) == {
        "wallet:promo": 10, "wallet:paid": 20, "wallet:provisional": 30, "wallet:debt": 40,
        "promo:funding": -10, "merchant:pending": -20, "merchant:unfunded": -70,
    }  # fmt: skip


def test_a_lot_of_which_nothing_remains_is_closed() -> None:
    desk = Desk()
    desk.lot("lot_1", 10)
    desk.spend(lambda purse: purse.charge(10))
    assert [row["open"] for row in desk.tables["lot"].values()] == [0]


def test_a_lot_whose_time_is_over_is_not_spent_even_before_its_expiry_was_booked() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, "promotional", expires_us=NOW_US)
    desk.lot("lot_2", 4)
    with pytest.raises(InsufficientBalance):
        desk.spend(lambda purse: purse.charge(5))
    assert desk.lots() == {"lot_1": (10, 0), "lot_2": (4, 0)}


def test_what_a_dispute_set_aside_is_not_spent() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, frozen_units=7)
    assert desk.spend(lambda purse: (purse.available, purse.charge(3))) == (3, Charged(3, paid=3))
    with pytest.raises(InsufficientBalance):
        desk.spend(lambda purse: purse.charge(1))


def test_thousands_of_charges_on_one_purse_are_one_entry_and_one_row_per_lot() -> None:
    desk = Desk()
    desk.lot("lot_1", 700, created_us=1)
    desk.lot("lot_2", 500, created_us=2)

    def work(purse: Purse) -> int:
        return sum(purse.charge(1).paid for _ in range(1000))

    assert desk.spend(work, merge=True) == 1000
    assert desk.lots() == {"lot_1": (0, 0), "lot_2": (200, 0)}
    assert posted(desk) == {"wallet:paid": 1000, "merchant:pending": -1000}
    assert len(desk.tables["journal_entry"]) == 1


def test_a_refused_charge_changes_nothing_and_the_purse_goes_on() -> None:
    desk = Desk()
    desk.lot("lot_1", 10)

    def work(purse: Purse) -> int:
        with pytest.raises(InsufficientBalance, match="insufficient_balance") as refused:
            purse.charge(11)
        assert refused.value.extra["spendable"] == {"amount": "0.00000001", "currency": "USD"}
        purse.charge(10)
        return purse.available

    assert desk.spend(work) == 0
    assert posted(desk) == {"wallet:paid": 10, "merchant:pending": -10}


def test_a_charge_of_nothing_posts_nothing_and_a_negative_one_does_not_exist() -> None:
    desk = Desk()
    assert desk.spend(lambda purse: purse.charge(0)) == Charged(0)
    assert not desk.tables["journal_entry"]
    with pytest.raises(ValueError, match="never negative"):
        desk.spend(lambda purse: purse.charge(-1))


@pytest.mark.parametrize(
    ("policy", "limit", "most"), [("hard", 50, 10), ("grace", 50, 60), ("grace", 0, 10), ("debt", 0, 10**15)]
)
def test_the_overdraft_goes_as_far_as_the_policy_says(policy: str, limit: int, most: int) -> None:
    desk = Desk(overdraft=policy, overdraft_units=limit)
    desk.lot("lot_1", 10)
    if policy != "debt":
        with pytest.raises(InsufficientBalance):
            desk.spend(lambda purse: purse.charge(most + 1))
    assert desk.spend(lambda purse: purse.charge(most)).debt == most - 10
    if policy == "grace":
        with pytest.raises(InsufficientBalance):
            desk.spend(lambda purse: purse.charge(1))


def test_what_was_used_already_is_never_refused_and_becomes_debt_whatever_the_policy() -> None:
    desk = Desk(status="frozen")
    desk.lot("lot_1", 10)
    assert desk.spend(lambda purse: purse.charge(25, must=True)) == Charged(25, paid=10, debt=15)
    assert desk.balance("wallet:debt") == 15
    assert desk.balance("merchant:unfunded", "") == -15


@pytest.mark.parametrize("status", ["frozen", "closed"])
def test_a_wallet_that_is_not_active_pays_nothing(status: str) -> None:
    desk = Desk(status=status)
    desk.lot("lot_1", 10)
    for work in (lambda purse: purse.charge(1), lambda purse: purse.hold(1)):
        with pytest.raises(WalletFrozen) as refused:
            desk.spend(work)
        assert refused.value.code == f"wallet_{status}"


def test_a_wallet_of_the_other_mode_does_not_exist() -> None:
    with pytest.raises(NotFound, match="wallet_not_found"):
        Desk(mode="live").spend(lambda purse: purse.available)


# --- holds ------------------------------------------------------------------------------------------------------------


def test_a_hold_sets_parts_of_lots_aside_in_their_order() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, created_us=1)
    desk.lot("lot_2", 10, "promotional")
    allocation = desk.spend(lambda purse: purse.hold(15))
    assert allocation == Allocation((("lot_2", "promotional", 10), ("lot_1", "paid", 5)))
    assert desk.lots() == {"lot_1": (10, 5), "lot_2": (10, 10)}
    assert posted(desk) == {
        "wallet:paid": 5, "wallet:held_paid": -5, "wallet:promo": 10, "wallet:held_promo": -10,
    }  # fmt: skip
    with pytest.raises(InsufficientBalance):
        desk.spend(lambda purse: purse.charge(6))
    desk.spend(lambda purse: purse.release(allocation))
    assert posted(desk) == {}
    assert desk.lots() == {"lot_1": (10, 0), "lot_2": (10, 0)}


def test_a_capture_takes_what_was_set_aside_first_and_gives_the_rest_back() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, created_us=1)
    desk.lot("lot_2", 10, created_us=2)
    allocation = desk.spend(lambda purse: purse.hold(15))
    assert desk.spend(lambda purse: purse.capture(allocation, 12)) == Charged(12, paid=12)
    assert desk.lots() == {"lot_1": (0, 0), "lot_2": (8, 0)}
    assert posted(desk) == {"wallet:paid": 12, "merchant:pending": -12}


def test_a_capture_beyond_the_hold_takes_other_credit_then_debt_and_drops_nothing() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, "promotional")
    desk.lot("lot_2", 10)
    allocation = desk.spend(lambda purse: purse.hold(15))
    charged = desk.spend(lambda purse: purse.capture(allocation, 32))
    assert charged == Charged(32, paid=10, promotional=10, debt=12)
    assert desk.lots() == {"lot_1": (0, 0), "lot_2": (0, 0)}
    assert desk.balance("wallet:held_paid") == desk.balance("wallet:held_promo") == 0


def test_a_hold_within_the_overdraft_keeps_its_room_until_it_is_captured() -> None:
    desk = Desk(overdraft="grace", overdraft_units=20)
    desk.lot("lot_1", 10)
    allocation = desk.spend(lambda purse: purse.hold(25))
    assert (allocation.uncovered, allocation.units) == (15, 25)
    assert desk.wallet["held_uncovered_units"] == 15
    with pytest.raises(InsufficientBalance):
        desk.spend(lambda purse: purse.charge(6))
    desk.spend(lambda purse: purse.charge(5))
    assert desk.spend(lambda purse: purse.capture(allocation, 25)) == Charged(25, paid=10, debt=15)
    assert desk.wallet["held_uncovered_units"] == 0
    assert desk.balance("wallet:debt") == 20


def test_provisional_credit_backs_a_hold_without_being_set_aside() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, "provisional")
    allocation = desk.spend(lambda purse: purse.hold(6))
    assert allocation == Allocation((), uncovered=6)
    assert desk.spend(lambda purse: purse.available) == 4
    with pytest.raises(InsufficientBalance):
        desk.spend(lambda purse: purse.charge(5))
    assert desk.spend(lambda purse: purse.capture(allocation, 6)) == Charged(6, provisional=6)


def test_what_a_hold_gives_back_to_a_lot_whose_time_is_over_is_not_spent() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, "promotional", expires_us=NOW_US + 5)
    allocation = desk.spend(lambda purse: purse.hold(10))
    desk.now_us = NOW_US + 5

    def late(purse: Purse) -> int:
        purse.release(allocation)
        return purse.available

    assert desk.spend(late) == 0
    assert desk.lots() == {"lot_1": (10, 0)}


def test_what_was_set_aside_in_time_is_captured_though_the_lot_expired_meanwhile() -> None:
    desk = Desk()
    desk.lot("lot_1", 10, "promotional", expires_us=NOW_US + 5)
    allocation = desk.spend(lambda purse: purse.hold(10))
    desk.now_us = NOW_US + 5
    assert desk.spend(lambda purse: purse.capture(allocation, 4)) == Charged(4, promotional=4)
    assert desk.lots() == {"lot_1": (6, 0)}


@pytest.mark.parametrize("again", [Purse.release, lambda purse, allocation: purse.capture(allocation, 1)])
def test_a_hold_cannot_be_ended_twice(again: Any) -> None:
    desk = Desk(overdraft="grace", overdraft_units=5)
    desk.lot("lot_1", 10)
    for units in (5, 15):
        allocation = desk.spend(partial(Purse.hold, units=units))
        desk.spend(partial(Purse.release, allocation=allocation))
        with pytest.raises(AllocationUnknown):
            desk.spend(partial(again, allocation=allocation))


def test_an_allocation_survives_its_row() -> None:
    allocation = Allocation((("lot_1", "paid", 5), ("lot_2", "promotional", 7)), uncovered=3)
    row = {"allocations": allocation.to_json(), "uncovered_units": 3}
    assert Allocation.of(row) == allocation


# --- what else is written ---------------------------------------------------------------------------------------------


def test_the_merchant_is_told_once_per_crossing_of_the_threshold() -> None:
    desk = Desk(low_balance_units=50)
    desk.lot("lot_1", 100)
    desk.spend(lambda purse: purse.charge(50))
    assert desk.events() == []
    desk.spend(lambda purse: purse.charge(1))
    desk.spend(lambda purse: purse.charge(1))
    assert desk.events() == ["wallet.debited_low"]
    desk.lot("lot_2", 100)
    desk.spend(lambda purse: purse.charge(90))
    assert desk.wallet["low_told_us"] is None
    desk.spend(lambda purse: purse.charge(10))
    assert desk.events() == ["wallet.debited_low"] * 2
    assert desk.wallet["low_told_us"] == NOW_US


def test_a_wallet_that_a_credit_lifted_and_one_debit_lowered_again_is_told_again() -> None:
    desk = Desk(low_balance_units=50)
    desk.lot("lot_1", 60)
    desk.spend(lambda purse: purse.charge(20))
    desk.lot("lot_2", 20)
    desk.spend(lambda purse: purse.hold(20))
    assert desk.events() == ["wallet.debited_low"] * 2


def test_the_merchant_is_told_once_that_a_wallet_went_into_debt() -> None:
    desk = Desk(overdraft="debt")
    desk.lot("lot_1", 10)
    for units in (10, 5, 5):
        desk.spend(partial(Purse.charge, units=units))
    assert desk.events() == ["wallet.negative"]
    assert desk.balance("wallet:debt") == 10


def test_the_rating_remainder_is_carried_and_stays_below_one_nano_dollar() -> None:
    desk = Desk()

    def carry(purse: Purse) -> None:
        purse.rating_remainder = 10**13 - 1

    desk.spend(carry)
    assert desk.wallet["rating_remainder"] == 10**13 - 1
    assert desk.spend(lambda purse: purse.rating_remainder) == 10**13 - 1

    def too_much(purse: Purse) -> None:
        purse.rating_remainder = 10**13

    with pytest.raises(ValueError, match="remainder"):
        desk.spend(too_much)
