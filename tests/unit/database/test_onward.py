"""The second step of a unit sees what the first one wrote, and nothing that was not locked."""

from __future__ import annotations

import pytest

from orchestrator.database.onward import Onward
from orchestrator.database.unit import Changes, Entry, Line, NotLocked, View


def _locked() -> View:
    view = View(7)
    view.loaded("merchant", ("name",), [("open",)], [{"id": "m1", "name": "open", "created_us": 1}])
    view.loaded("merchant", ("id",), [("m3",)], [{"id": "m3", "name": "closed", "created_us": 1}])
    return view


def test_it_shows_rows_as_they_were_changed_and_made_in_their_groups() -> None:
    changes = Changes()
    changes.insert("merchant", id="m2", name="open", created_us=2)
    changes.update("merchant", ("m2",), created_us=3)
    changes.update("merchant", ("m1",), name="closed")
    changes.update("merchant", ("m3",), name="open")
    view = _locked()
    onward = Onward(view, changes)
    assert [(row["id"], row["created_us"]) for row in onward.many("merchant", ("name",), ("open",))] == [
        ("m2", 3),
        ("m3", 1),
    ]
    assert onward.one("merchant", "m1") == {"id": "m1", "name": "closed", "created_us": 1}
    assert view.one("merchant", "m1") == {"id": "m1", "name": "open", "created_us": 1}, (
        "the rows in hand stay as they were"
    )


def test_it_adds_what_entries_moved_to_a_balance_and_looks_at_nothing_that_was_not_locked() -> None:
    changes = Changes()
    key = ("m1", "test", "clearing", "s", "EUR/2")
    view = _locked()
    view.loaded("account", ("merchant_id", "mode", "code", "subject", "asset"), [key], [])
    changes.post(Entry("kind", "fact", (Line("clearing", "s", "EUR/2", 5), Line("bank", "", "EUR/2", -5))))
    onward = Onward(view, changes)
    assert onward.balance(*key) == 5
    assert onward.now_us == 7
    with pytest.raises(NotLocked):
        onward.balance("m1", "test", "bank", "", "EUR/2")
    with pytest.raises(NotLocked):
        onward.one("merchant", "m9")
