"""What a decision may look at: the rows it locked, as the units before it in the flush left them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.database import flush
from orchestrator.database.flush import Insert, Result, Select, Statement, Update
from orchestrator.database.schema import LOCK_ORDER
from orchestrator.database.unit import Applied, Changes, NotLocked, Row, Unit, View, row_lock


def merchant(name: str, shown: str = "x") -> Row:
    return {"id": name, "name": shown, "created_us": 1}


def test_a_row_that_was_not_locked_cannot_be_looked_at() -> None:
    view = View(0)
    with pytest.raises(NotLocked):
        view.one("merchant", "m1")
    with pytest.raises(NotLocked):
        view.many("attempt", ("merchant_id", "payment_id"), ("m1", "p1"))
    view.loaded("merchant", ("id",), [("m1",)], [])
    assert view.one("merchant", "m1") is None


def test_a_group_follows_its_rows_in_and_out() -> None:
    view = View(0)
    view.loaded("merchant", ("name",), [("open",)], [merchant("m2", "open"), merchant("m1", "open")])
    assert [row["id"] for row in view.many("merchant", ("name",), ("open",))] == ["m1", "m2"]
    view.put("merchant", ("m1",), merchant("m1", "closed"))
    view.put("merchant", ("m3",), merchant("m3", "open"))
    assert [row["id"] for row in view.many("merchant", ("name",), ("open",))] == ["m2", "m3"]


def _run(units: list[Unit], rows: list[Row]) -> tuple[list[Result], list[Statement]]:
    """Drive one flush against merchants in memory."""
    steps, said, answer = flush.run(units, 7), [], None
    try:
        while True:
            statement = next(steps) if answer is None else steps.send(answer)
            said.append(statement)
            wanted = isinstance(statement, Select) and statement.table == "merchant"
            answer = [dict(row) for row in rows] if wanted else []
    except StopIteration as end:
        results: list[Result] = end.value
        return results, said


def _rename(key: str | None, **columns: Any) -> Unit:
    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = view.one("merchant", "m1")
        assert row is not None
        changes.update("merchant", ("m1",), **columns)
        return {"was": row["name"]}

    return Unit("m1", "test", key, (row_lock("merchant", "m1"),), decide)


def test_units_of_one_flush_see_each_others_changes_and_write_a_row_once() -> None:
    results, said = _run([_rename(None, name="a"), _rename(None, name="b")], [merchant("m1", "old")])
    assert [one.answer for one in results if isinstance(one, Applied)] == [{"was": "old"}, {"was": "a"}]
    (update,) = [one for one in said if isinstance(one, Update)]
    assert (update.columns, [row["name"] for row in update.rows]) == (("name",), ["b"])


def test_a_key_twice_in_one_flush_is_executed_once_and_stored_with_its_answer() -> None:
    results, said = _run([_rename("k", name="a"), _rename("k", name="b")], [merchant("m1", "old")])
    assert results == [Applied({"was": "old"}), Applied({"was": "old"}, duplicate=True)]
    (insert,) = [one for one in said if isinstance(one, Insert)]
    assert insert.table == "unit_key"
    assert [(row["key"], row["answer"], row["created_us"]) for row in insert.rows] == [("k", '{"was":"old"}', 7)]


def test_tables_are_locked_in_one_order_whatever_order_a_unit_names_them_in() -> None:
    locks = (row_lock("wallet", "m1", "w"), row_lock("payment", "m1", "p"), row_lock("money_claim", *"abcde"))
    unit = Unit("m1", "test", "k", locks, lambda _view, _changes: {})
    _, said = _run([unit], [])
    tables = [one.table for one in said if isinstance(one, Select)]
    assert tables == ["money_claim", "payment", "shard", "wallet", "unit_key"]
    assert tables == sorted(tables, key=LOCK_ORDER.__getitem__)


def test_an_answer_that_cannot_be_stored_refuses_its_unit_alone() -> None:
    bad = Unit("m1", "test", "bad", (), lambda _view, _changes: {"x": object()})
    results, said = _run([bad, _rename("good", name="a")], [merchant("m1")])
    assert isinstance(results[0], TypeError)
    assert isinstance(results[1], Applied)
    (insert,) = [one for one in said if isinstance(one, Insert)]
    assert [row["key"] for row in insert.rows] == ["good"]
