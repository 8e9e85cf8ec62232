"""What a flush is going to write: new rows and changed columns, collected row by row, written table by table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from orchestrator.database.schema import COLUMNS, DEFAULTS, KEY_OF, LOCK_ORDER
from orchestrator.database.statements import Insert, Statement, Update
from orchestrator.database.unit import Key, Row, View


class Pending:
    """Keeps the view and what is to be written in step."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._inserted: defaultdict[str, dict[Key, Row]] = defaultdict(dict)
        self._updated: defaultdict[str, dict[Key, tuple[str, ...]]] = defaultdict(dict)
        self._openings: dict[Key, int] = {}

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
            self.touch(table, key, tuple(columns))
        self._view.put(table, key, row, columns.keys())

    def touch(self, table: str, key: Key, columns: tuple[str, ...]) -> None:
        """Remember that columns of a row in the view were changed."""
        if key not in self._inserted[table]:
            updated = self._updated[table]
            before = updated.get(key, columns)
            updated[key] = columns if before == columns else tuple(dict.fromkeys((*before, *columns)))

    def balance(self, account: Key, balance: int) -> None:
        """Set an account's balance."""
        row = self._view.find("account", account)
        if row is None:
            self._openings[account] = 0
            self.insert("account", account, dict(zip(COLUMNS["account"], (*account, balance), strict=True)))
        elif row["balance"] != balance:
            self._openings.setdefault(account, row["balance"])
            self.update("account", account, {"balance": balance})

    def opening(self, account: Key) -> int:
        """Return an account's balance before this flush."""
        opening = self._openings.get(account)
        if opening is None:
            row = self._view.find("account", account)
            opening = 0 if row is None else row["balance"]
        return int(opening)

    def next_number(self, book: tuple[str, str], counter: str) -> int:
        """Return the next number of one of a book's gapless sequences."""
        row = self._gate(book)
        self.touch("shard", book, (counter,))
        row[counter] += 1
        return int(row[counter])

    def stamp(self, book: tuple[str, str]) -> None:
        """Sign a book: rows behind its gate were changed by this flush. See ``memory``."""
        row = self._gate(book)
        self.touch("shard", book, ("flush_id",))
        row["flush_id"] = self._view.flush_id

    def _gate(self, book: tuple[str, str]) -> Row:
        row = self._view.find("shard", book)
        if row is None:
            counters = {"merchant_id": book[0], "mode": book[1], "entry_sequence": 0, "event_sequence": 0}
            row = {**DEFAULTS["shard"], **counters}
            self.insert("shard", book, row)
        return row

    def statements(self) -> Generator[Statement, list[Row], None]:
        for table, rows in sorted(self._inserted.items(), key=lambda item: LOCK_ORDER[item[0]]):
            if rows:
                yield Insert(table, list(rows.values()))
        for table, keys in sorted(self._updated.items(), key=lambda item: LOCK_ORDER[item[0]]):
            by_columns: dict[tuple[str, ...], list[Row]] = {}
            for key, columns in sorted(keys.items()):
                row: Any = self._view.find(table, key)
                by_columns.setdefault(columns, []).append(row)
            for names, changed in by_columns.items():
                yield Update(table, names, changed)

    def written(self, tables: Iterable[str]) -> Iterator[tuple[str, Key, Row]]:
        """Yield the rows that were changed or are new, as they are now."""
        for table in tables:
            for key, row in self._inserted[table].items():
                yield table, key, row
            for key in self._updated[table]:
                changed: Any = self._view.find(table, key)
                yield table, key, changed
