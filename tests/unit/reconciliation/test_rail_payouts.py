"""Which lines of a report a payout is made of."""

from __future__ import annotations

from typing import Any

from orchestrator.reconciliation.matching import State
from orchestrator.reconciliation.rail_payouts import parts_of, parts_returned, returned_by


def line(name: str, units: int, at: int, **more: Any) -> dict[str, Any]:
    kind = "payout" if name.startswith("po") else "payment"
    usual = {"kind": kind, "state": "matched", "payout": "", "batch": "", "reference": None}
    return {"line_id": name, "net_units": units, "gross_units": units, "occurred_us": at, **usual, **more}


def names(payout: dict[str, Any], others: list[dict[str, Any]], *named: str) -> tuple[State, list[str]]:
    parts = parts_of(payout, others, frozenset(named) if named else None)
    return parts.state, [row["line_id"] for row in parts.lines]


def test_a_payout_is_the_oldest_lines_that_add_up_to_it() -> None:
    others = [line("c", 5, 3), line("a", 7, 1), line("b", -2, 2)]
    assert names(line("po", -5, 9), others) == (State.MATCHED, ["a", "b"])
    assert names(line("po", -10, 9), others) == (State.MATCHED, ["a", "b", "c"])
    assert names(line("po", -6, 9), others) == (State.OPEN, [])


def test_lines_of_one_moment_are_in_the_order_of_their_numbers() -> None:
    others = [line("line-10", 7, 1), line("line-9", 3, 1)]
    assert names(line("po-11", -3, 1), others) == (State.MATCHED, ["line-9"])


def test_what_came_after_a_payout_is_no_part_of_it() -> None:
    assert names(line("po", -5, 2), [line("a", 3, 1), line("b", 2, 3)]) == (State.OPEN, [])


def test_a_payout_waits_for_its_lines_and_the_later_one_for_the_earlier_though_the_sum_would_fit() -> None:
    """Seed 6174 of the simulation: 10 was paid out last, and the first line is 10 too."""
    first, late, new = line("a", 10, 1), line("b", 5, 2, state="waiting"), line("c", 10, 4)
    early, later = line("po-1", -15, 3), line("po-2", -10, 5)
    assert names(early, [first, late, new, later]) == (State.WAITING, [])
    assert names(later, [first, late, new, {**early, "state": "waiting"}]) == (State.WAITING, [])
    late["state"] = "matched"
    assert names(early, [first, late, new, later]) == (State.MATCHED, ["a", "b"])
    taken = [{**row, "payout": "po-1"} for row in (first, late)]
    assert names(later, [*taken, new, early]) == (State.MATCHED, ["c"])


def test_a_batch_stands_alone() -> None:
    others = [
        line("1:1", 5, 1, batch="1"),
        line("2:1", 7, 2, batch="2"),
        line("po 1:2", -9, 1, batch="1", state="open"),
    ]
    assert names(line("po 2:2", -7, 3, batch="2"), others) == (State.MATCHED, ["2:1"])
    assert names(line("po 2:2", -12, 3, batch="2"), others) == (State.OPEN, [])


def test_what_the_rail_names_is_believed_if_it_adds_up() -> None:
    others = [line("a", 5, 1), line("b", 7, 2), line("c", 1, 8)]
    payout = line("po", -8, 5)
    assert names(payout, others, "b", "c") == (State.MATCHED, ["b", "c"])
    assert names(payout, others, "a", "b") == (State.OPEN, [])
    assert names(payout, others, "b", "c", "unread") == (State.WAITING, [])
    assert names(payout, [*others[:2], {**others[2], "state": "open"}], "b", "c") == (State.WAITING, [])
    assert names(payout, [*others[:2], {**others[2], "payout": "po-0"}], "b", "c") == (State.OPEN, []), "paid already"


def test_a_payout_that_came_back_sets_its_lines_free_for_the_next_one() -> None:
    paid, other = line("a", 5, 1, payout="po-1"), line("b", 7, 2, payout="po-0")
    first, back = line("po-1", -5, 3, reference="po_x"), line("po-2", 5, 4, reference="po_x")
    assert returned_by(back, [paid, other, first]) is first
    assert returned_by({**back, "reference": "po_y"}, [paid, other, first]) is None
    assert returned_by({**back, "reference": None}, [paid, other, {**first, "reference": None}]) is None
    assert returned_by({**back, "gross_units": 6}, [paid, other, first]) is None
    parts = parts_returned(first, [paid, other, first])
    assert (parts.state, parts.lines) == (State.MATCHED, [paid])
    assert parts_returned({**first, "state": "open"}, [paid, other, first]).state is State.WAITING
    assert parts_returned(None, [paid, other, first]).state is State.OPEN
    freed, new = {**paid, "payout": "returned po-2"}, line("c", 2, 5)
    again = line("po-3", -7, 6)
    assert names(again, [freed, other, new, first, back]) == (State.MATCHED, ["a", "c"])
    assert names(again, [freed, other, new, first, back], "po-2", "c") == (State.MATCHED, ["a", "c"])
    assert names(again, [freed, other, new, first, {**back, "state": "open"}]) == (State.WAITING, [])
    assert names(again, [freed, other, new, first, {**back, "state": "waiting"}], "po-2", "c") == (State.WAITING, [])
