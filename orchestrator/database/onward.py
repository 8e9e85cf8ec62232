"""The second step of one unit: what the first one wrote is seen, though nothing of it is in the database yet. Pure."""

from __future__ import annotations

from orchestrator.database.schema import KEY_OF
from orchestrator.database.unit import Changes, Key, Row, View


class Onward(View):
    """The locked rows as the changes so far leave them. Made anew for each step: it sees what was written before it.

    It looks at what the unit locked, and at rows that the unit wrote; who reads another row is told so as ever.
    """

    __slots__ = ("_changed", "_inserted", "_lines", "_under")

    def __init__(self, under: View, changes: Changes) -> None:
        super().__init__(under.now_us, under.flush_id)
        self._under = under
        self._inserted: dict[tuple[str, Key], Row] = {
            (table, KEY_OF[table](row)): row for table, row in changes.inserts
        }
        self._changed: dict[tuple[str, Key], Row] = {}
        for table, key, columns in changes.updates:
            self._changed.setdefault((table, key), {}).update(columns)
        self._lines: dict[tuple[str, str, str], int] = {}
        for entry in changes.entries:
            for line in entry.lines:
                account = (line.code, line.subject, line.asset)
                self._lines[account] = self._lines.get(account, 0) + line.units

    def one(self, table: str, *key: object) -> Row | None:
        """Return one locked row or None. Raises NotLocked."""
        inserted = self._inserted.get((table, key))
        row = inserted if inserted is not None else self._under.one(table, *key)
        return None if row is None else row | self._changed.get((table, key), {})

    def many(self, table: str, columns: tuple[str, ...], values: Key) -> list[Row]:
        """Return the locked rows whose columns equal the values now, in the order of their keys. Raises NotLocked."""
        key_of = KEY_OF[table]
        keys = {key_of(row) for row in self._under.many(table, columns, values)}
        keys |= {key for named, key in (*self._inserted, *self._changed) if named == table}
        rows = (self.one(table, *key) for key in sorted(keys))
        return [row for row in rows if row is not None and tuple(row[name] for name in columns) == values]

    def balance(self, merchant_id: str, mode: str, code: str, subject: str, asset: str) -> int:
        """Return the balance of one locked account with what the unit's entries add to it."""
        before = self._under.balance(merchant_id, mode, code, subject, asset)
        return before + self._lines.get((code, subject, asset), 0)
