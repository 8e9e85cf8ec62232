"""A thousand charges in one flush are one entry, and nobody's money is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.database.journal_rows import LINES_MAX, merged
from orchestrator.database.unit import Changes, Entry, Line, Unit, View

USD = "USD/9"


def _refuse(_view: View, _changes: Changes) -> Mapping[str, Any]:
    raise AssertionError("nothing is decided here")


def _unit(merchant: str = "mer_1", mode: str = "test") -> Unit:
    return Unit(merchant, mode, None, (), _refuse)


def _usage(wallet: str, units: int, *, kind: str = "usage", merge: bool = True) -> Entry:
    lines = (Line("wallet:paid", wallet, USD, units), Line("merchant:pending", "", USD, -units))
    return Entry(kind, "u", lines, None, wallet if merge else None)


def _shape(found: list[tuple[str, str, Entry]]) -> list[tuple[str, str, str, int]]:
    return [(merchant, entry.kind, entry.fact, entry.lines[0].units) for merchant, _, entry in found]


def test_entries_of_one_wallet_and_kind_become_one_whose_fact_is_the_flush() -> None:
    unit = _unit()
    entries = [(unit, _usage("w", 1)), (unit, _usage("w", 2)), (unit, _usage("v", 4)), (unit, _usage("w", 8))]
    found = list(merged(entries, "flu_1"))
    assert _shape(found) == [("mer_1", "usage", "flu_1", 11), ("mer_1", "usage", "flu_1", 4)]
    assert found[0][2].lines == (Line("wallet:paid", "w", USD, 11), Line("merchant:pending", "", USD, -11))


def test_other_books_kinds_and_entries_that_stand_alone_are_kept_apart_and_in_order() -> None:
    entries = [
        (_unit(), _usage("w", 1)),
        (_unit(mode="live"), _usage("w", 2)),
        (_unit("mer_2"), _usage("w", 4)),
        (_unit(), _usage("w", 8, merge=False)),
        (_unit(), _usage("w", 16, kind="correction")),
        (_unit(), _usage("w", 32)),
    ]
    assert _shape(list(merged(entries, "flu_1"))) == [
        ("mer_1", "usage", "flu_1", 33),
        ("mer_1", "usage", "flu_1", 2),
        ("mer_2", "usage", "flu_1", 4),
        ("mer_1", "usage", "u", 8),
        ("mer_1", "correction", "flu_1", 16),
    ]


def test_a_merged_entry_takes_in_so_many_lines_and_then_another_begins() -> None:
    wallets = [f"w{number}" for number in range(LINES_MAX + 5)]
    entries = [(_unit(), _usage(wallet, 1)._replace(merge="usage")) for wallet in wallets]
    found = [entry for _, _, entry in merged(entries, "flu_1")]
    assert [len(entry.lines) for entry in found] == [LINES_MAX, 7]
    assert all(sum(line.units for line in entry.lines) == 0 and entry.fact == "flu_1" for entry in found)


def test_what_cancels_out_is_no_entry() -> None:
    assert not list(merged([(_unit(), _usage("w", 5)), (_unit(), _usage("w", -5))], "flu_1"))


@given(st.lists(st.tuples(st.sampled_from("vw"), st.integers(-9, 9).filter(bool), st.booleans()), max_size=30))
def test_merging_changes_no_sum_and_every_entry_balances(charges: list[tuple[str, int, bool]]) -> None:
    entries = [(_unit(), _usage(wallet, units, merge=merge)) for wallet, units, merge in charges]
    before: dict[tuple[str, str], int] = {}
    after: dict[tuple[str, str], int] = {}
    for sums, lists in ((before, [entry for _, entry in entries]), (after, [e for _, _, e in merged(entries, "f")])):
        for entry in lists:
            assert sum(line.units for line in entry.lines) == 0
            for line in entry.lines:
                sums[line.code, line.subject] = sums.get((line.code, line.subject), 0) + line.units
    assert {k: v for k, v in before.items() if v} == {k: v for k, v in after.items() if v}
    assert sum(1 for _, _, entry in merged(entries, "f") if entry.fact == "f") <= 2
