"""What a flush is going to write: new rows and changed columns, collected row by row, written table by table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable
from typing import Any

from orchestrator.database.schema import DEFAULTS, KEY_OF, LOCK_ORDER, PRIMARY_KEYS
from orchestrator.database.statements import Insert, Statement, Update
from orchestrator.database.unit import Key, Row, View


class Pending:
    """Keeps the view and what is to be written in step."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._inserted: defaultdict[str, dict[Key, Row]] = defaultdict(dict)
        self._updated: defaultdict[str, defaultdict[Key, set[str]]] = defaultdict(lambda: defaultdict(set))

    def insert(self, table: str, key: Key, row: Row) -> None:
        """Write a new row that later decisions see."""
        self._inserted[table][key] = row
        self._view.put(table, key, row)

    def append(self, table: str, row: Row) -> None:
        """Write a new row that nobody looks at in this flush."""
        self._inserted[table][KEY_OF[table](row)] = row

    def update(self, table: str, key: Key, columns: dict[str, Any]) -> None:
        # A new dict: whoever got the row to see keeps what it saw.
        row = (self._view.find(table, key) or {}) | columns
        inserted = self._inserted[table]
        if key in inserted:
            inserted[key] = row
        else:
            self._updated[table][key].update(columns)
        self._view.put(table, key, row)

    def touch(self, table: str, key: Key, columns: Iterable[str]) -> None:
        """Remember that columns of a row in the view were changed in place."""
        if key not in self._inserted[table]:
            self._updated[table][key].update(columns)

    def balance(self, account: Key, balance: int) -> None:
        """Set an account's balance; ``opening`` beside it (no column) is what it was before this flush."""
        row = self._view.find("account", account)
        if row is None:
            row = dict(zip(PRIMARY_KEYS["account"], account, strict=True)) | {"balance": 0, "opening": 0}
            self.insert("account", account, row)
        else:
            self.touch("account", account, ("balance",))
            if "opening" not in row:
                row["opening"] = row["balance"]
        row["balance"] = balance

    def next_number(self, book: tuple[str, str], counter: str) -> int:
        """Return the next number of one of a book's gapless sequences."""
        row = self._view.find("shard", book)
        if row is None:
            row = {
                **DEFAULTS["shard"],
                "merchant_id": book[0],
                "mode": book[1],
                "entry_sequence": 0,
                "event_sequence": 0,
            }
            self.insert("shard", book, row)
        self.touch("shard", book, (counter,))
        row[counter] += 1
        return int(row[counter])

    def statements(self) -> Generator[Statement, list[Row], None]:
        for table, rows in sorted(self._inserted.items(), key=lambda item: LOCK_ORDER[item[0]]):
            if rows:
                yield Insert(table, list(rows.values()))
        for table, keys in sorted(self._updated.items(), key=lambda item: LOCK_ORDER[item[0]]):
            by_columns: dict[tuple[str, ...], list[Row]] = {}
            for key, columns in sorted(keys.items()):
                row: Any = self._view.find(table, key)
                by_columns.setdefault(tuple(sorted(columns)), []).append(row)
            for names, changed in by_columns.items():
                yield Update(table, names, changed)
