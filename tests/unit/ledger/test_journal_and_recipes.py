"""Entries balance per asset, or do not exist; the recipe of a top-up pays debt first."""

from __future__ import annotations

import pytest

from orchestrator.database.unit import Line
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import Unbalanced, credit, debit, entry
from orchestrator.ledger.recipes import DebtState, Holding, Received, top_up, unplaced
from rates.money import WALLET_USD, Asset, Money

BRL = Asset("BRL", 2)
CLEARING = Holding(Account.CLEARING, "adyen/main")


def usd(units: int) -> Money:
    return Money(units, WALLET_USD)


def received(principal: int) -> Received:
    return Received(Money(11_000, BRL), usd(principal), usd(70), usd(20), usd(9), usd(1))


def lines(*made: Line) -> dict[tuple[str, str], int]:
    return {(line.code, line.asset): line.units for line in made}


def test_lines_of_nothing_are_left_out_and_what_is_left_sums_to_zero() -> None:
    made = entry(
        "k", "f", debit(Account.BANK, usd(5)), credit(Account.CLEARING, usd(5)), debit(Account.ROUNDING, usd(0))
    )
    assert made.lines == (Line("bank", "", "USD/9", 5), Line("clearing", "", "USD/9", -5))


def test_an_entry_must_balance_in_each_asset_by_itself() -> None:
    with pytest.raises(Unbalanced, match="BRL/2"):
        entry("k", "f", debit(Account.BANK, Money(5, BRL)), credit(Account.CLEARING, usd(5)))
    with pytest.raises(Unbalanced):
        entry("k", "f", debit(Account.BANK, Money(5, Asset("USD", 2))), credit(Account.CLEARING, usd(5)))


def test_an_entry_of_nothing_does_not_exist() -> None:
    with pytest.raises(Unbalanced):
        entry("k", "f", debit(Account.BANK, usd(0)), credit(Account.CLEARING, usd(0)))


def test_a_negative_line_is_refused() -> None:
    with pytest.raises(ValueError, match="swap debit and credit"):
        entry("k", "f", debit(Account.BANK, usd(-5)), credit(Account.CLEARING, usd(-5)))


def test_a_top_up_credits_principal_and_fees_and_leaves_the_exposure_in_fx() -> None:
    made, paid = top_up("cap_1", received(1000), holding=CLEARING, wallet_id="wal_1", payment_id="pay_1")
    assert paid == usd(1000)
    assert lines(*made.lines[:2]) == {("clearing", "BRL/2"): 11_000, ("fx:position", "BRL/2"): -11_000}
    assert lines(*made.lines[2:]) == {
        ("fx:position", "USD/9"): 1100,
        ("wallet:paid", "USD/9"): -1000,
        ("fees:rail_recharged", "USD/9"): -70,
        ("fees:platform", "USD/9"): -20,
        ("fx:spread", "USD/9"): -9,
        ("rounding", "USD/9"): -1,
    }


@pytest.mark.parametrize(
    ("debt", "receivable", "paid", "repaid", "to_receivable", "to_pending"),
    [
        (300, 0, 700, 300, 0, 300),
        (300, 100, 700, 300, 100, 200),
        (300, 900, 700, 300, 300, 0),
        (1000, 400, 0, 1000, 400, 600),
        (5000, 400, 0, 1000, 400, 600),
    ],
)
def test_debt_is_paid_first_and_the_merchants_own_debt_before_its_earnings(
    debt: int, receivable: int, paid: int, repaid: int, to_receivable: int, to_pending: int
) -> None:
    state = DebtState(usd(debt), usd(receivable))
    made, reached = top_up("cap_1", received(1000), holding=CLEARING, wallet_id="wal_1", debt=state, payment_id=None)
    booked = lines(*made.lines[2:])
    assert reached == usd(paid)
    assert booked.get(("wallet:paid", "USD/9"), 0) == -paid
    assert booked[("wallet:debt", "USD/9")] == -repaid
    assert booked[("merchant:unfunded", "USD/9")] == repaid
    assert booked.get(("merchant:receivable", "USD/9"), 0) == -to_receivable
    assert booked.get(("merchant:pending", "USD/9"), 0) == -to_pending


def test_money_without_a_place_stays_in_its_own_currency() -> None:
    made = unplaced("cap_1", Money(5, BRL), holding=CLEARING, payment_id=None)
    assert made.lines == (Line("clearing", "adyen/main", "BRL/2", 5), Line("suspense", "cap_1", "BRL/2", -5))
