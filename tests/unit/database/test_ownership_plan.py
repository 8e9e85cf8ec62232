"""How groups are shared out among the processes that are alive."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.database.ownership import group_of, plan
from orchestrator.database.unit import Row

GROUPS = 16
NOW, LATER, BEFORE = 1000, 2000, 999


def _row(number: int, owner: str, expires_us: int = LATER) -> Row:
    return {"group_id": number, "owner": owner, "address": f"http://{owner}", "epoch": 1, "expires_us": expires_us}


def test_a_merchants_group_never_changes() -> None:
    assert [group_of(name, 64) for name in ("mer_1", "mer_2", "platform")] == [44, 63, 7]


def test_groups_are_spread() -> None:
    found = Counter(group_of(f"mer_{number}", 64) for number in range(6400))
    assert set(found) == set(range(64))
    assert max(found.values()) < 150


def test_the_first_process_takes_all_and_gives_half_to_the_second() -> None:
    assert plan([], "a", GROUPS, NOW).take == list(range(GROUPS))
    rows = [_row(-1, "a"), _row(-2, "b"), *(_row(number, "a") for number in range(GROUPS))]
    assert plan(rows, "a", GROUPS, NOW).let_go == list(range(8, 16))
    assert plan(rows, "b", GROUPS, NOW).take == []


def test_what_ran_out_is_taken_and_what_is_held_by_others_is_not() -> None:
    rows = [_row(-1, "a"), _row(-2, "b", BEFORE), *(_row(number, "b", BEFORE) for number in range(8)), _row(8, "c")]
    found = plan(rows, "a", GROUPS, NOW)
    assert found.take == [number for number in range(GROUPS) if number != 8]
    assert found.keep == found.let_go == []


@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=60))
def test_whoever_comes_and_goes_every_group_ends_with_one_owner_and_nobody_has_too_many(
    alive: int, order: list[int]
) -> None:
    rows: dict[int, Row] = {-1 - name: _row(-1 - name, str(name)) for name in range(alive)}
    for name in [*(each % alive for each in order), *list(range(alive)) * 3]:
        found = plan(list(rows.values()), str(name), GROUPS, NOW)
        for number in found.let_go:
            rows[number] = _row(number, str(name), 0)
        for number in found.take:
            assert number not in rows or rows[number]["expires_us"] < NOW
            rows[number] = _row(number, str(name))
    owners = Counter(row["owner"] for number, row in rows.items() if number >= 0 and row["expires_us"] >= NOW)
    assert sum(owners.values()) == GROUPS
    assert max(owners.values()) <= -(-GROUPS // alive)
