"""The hash of a link, computed again by other means: what an auditor would write from the description alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from orchestrator.database.schema import COLUMNS
from orchestrator.database.seal import ENTRY_COLUMNS, LINE_COLUMNS, SealedEntry, seal_hash


def _entry(sequence: int, units: int, **other: Any) -> SealedEntry:
    head = {
        "merchant_id": "mer_1", "mode": "test", "sequence": sequence, "id": f"ent_{sequence}", "kind": "usage",
        "fact": 'flu_"é', "payment_id": None, "created_us": 2**53 + 1,
    }  # fmt: skip
    sides = ((0, "wallet:paid", units), (1, "merchant:pending", -units))
    lines = [
        {"line": n, "code": code, "subject": "w", "asset": "USD/9", "units": side, "balance_after": 2**62 + side}
        for n, code, side in sides
    ]
    return head | other, lines


def _by_hand(previous: str, entries: list[SealedEntry]) -> str:
    text = previous + "\n"
    for head, lines in entries:
        shown = [head[name] for name in ENTRY_COLUMNS] + [[[line[name] for name in LINE_COLUMNS] for line in lines]]
        text += json.dumps(shown, separators=(",", ":"), ensure_ascii=False) + "\n"
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_is_what_the_description_says() -> None:
    entries = [_entry(1, 5), _entry(2, 2**61)]
    assert seal_hash("", entries) == _by_hand("", entries)
    assert seal_hash("ab" * 32, entries) == _by_hand("ab" * 32, entries)


def test_whatever_is_changed_changes_the_hash() -> None:
    first, second = _entry(1, 5), _entry(2, 7)
    changed_line = (first[0], [{**first[1][0], "subject": "v"}, first[1][1]])
    hashes = {
        seal_hash("", [first, second]),
        seal_hash("x", [first, second]),
        seal_hash("", [second, first]),
        seal_hash("", [first]),
        seal_hash("", [first, (second[0], second[1][:1])]),
        seal_hash("", [changed_line, second]),
        *(seal_hash("", [({**first[0], name: "other"}, first[1]), second]) for name in ENTRY_COLUMNS),
        *(seal_hash("", [(first[0], [{**first[1][0], name: 9}, first[1][1]]), second]) for name in LINE_COLUMNS),
    }
    assert len(hashes) == 6 + len(ENTRY_COLUMNS) + len(LINE_COLUMNS)


def test_every_column_of_entries_and_postings_is_sealed() -> None:
    assert set(ENTRY_COLUMNS) == set(COLUMNS["journal_entry"])
    assert set(LINE_COLUMNS) | {"merchant_id", "mode", "sequence"} == set(COLUMNS["posting"])
