"""The reading half of a flush: rows are locked in the one order, and what is remembered behind a held gate is not read."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import TypeAlias

from orchestrator.database.memory import Book, BookMemory, Memory
from orchestrator.database.schema import LOCK_ORDER, PRIMARY_KEYS, SUBJECT_OF, reader
from orchestrator.database.statements import Hold, Select, Statement
from orchestrator.database.unit import Key, Lock, NotLocked, Row, Unit, View, row_lock

Wanted: TypeAlias = dict[tuple[str, tuple[str, ...]], dict[Lock, Book]]
"""Locks by table and columns, each with the book whose gate it stands behind."""


def all_locks(units: Sequence[Unit]) -> Wanted:
    """Return what the units lock, each with the book of a unit that wants it."""
    wanted: Wanted = {}
    for unit in units:
        book = (unit.merchant_id, unit.mode)
        own = [row_lock("shard", *book)]  # the gate
        if unit.key is not None:
            own.append(row_lock("unit_key", *book, unit.key))
        for lock in chain(own, _settled(unit.locks)):
            query = lock[:2]
            same = wanted.get(query)
            if same is None:
                same = wanted[query] = {}
            if lock.table in SUBJECT_OF and (same.get(lock, book) != book or lock.values[0] != unit.merchant_id):
                raise NotLocked(f"{lock} is behind the gate of another book than {book}")
            same[lock] = book
    return wanted


def _settled(locks: Sequence[Lock] | Callable[[], Sequence[Lock]]) -> Sequence[Lock]:
    assert not callable(locks), "the writer settles them when it takes a unit"
    return locks


@cache
def _subject_place(table: str, columns: tuple[str, ...]) -> int | None:
    """Return where a lock's values name the subject; None where they do not."""
    return columns.index(SUBJECT_OF[table]) if SUBJECT_OF[table] in columns else None


class Reading:
    """Fills the view of one flush."""

    def __init__(self, view: View, memory: Memory) -> None:
        self.view = view
        self.memory = memory
        self.recalled: dict[Book, BookMemory] = {}
        """By the book whose gate is held; one whose first flush this is has none yet."""
        self.learned: list[tuple[Lock, str, BookMemory]] = []

    def lock(self, wanted: Wanted) -> Generator[Statement, list[Row], None]:
        """Read rows into the view, in the one order; what is remembered of those behind a held gate is not read."""
        for (table, columns), asked in sorted(wanted.items(), key=lambda item: (LOCK_ORDER[item[0][0]], item[0][1])):
            if table in SUBJECT_OF:
                yield from self._lock_behind_gate(table, columns, asked)
                continue
            values = sorted(lock.values for lock in asked)
            rows = yield Select(table, columns, values)
            self.view.loaded(table, columns, values, rows)
            if table == "shard" and not self.recalled:
                self._recall(values)

    def _recall(self, books: Sequence[Key]) -> None:
        for merchant_id, mode in books:
            gate = self.view.find("shard", (merchant_id, mode))
            if gate is not None:
                self.recalled[merchant_id, mode] = self.memory.recall((merchant_id, mode), dict(gate))

    def _lock_behind_gate(
        self, table: str, columns: tuple[str, ...], asked: dict[Lock, Book]
    ) -> Generator[Statement, list[Row], None]:
        place = _subject_place(table, columns)
        rows: list[Row] = []
        unknown: list[Key] = []
        hold: Hold = "none"
        values_of = None if columns == PRIMARY_KEYS[table] else reader(columns)
        for lock, book in asked.items():
            values = lock.values
            remembered = self.recalled.get(book)
            subject = None if remembered is None or place is None else remembered.subjects.get(values[place])
            if subject is None or lock not in subject.known:
                unknown.append(values)
                if remembered is None:
                    hold = "update"
                elif place is not None:
                    self.learned.append((lock, values[place], remembered))
            elif values_of is not None:
                rows += [row for row in subject.rows[table].values() if values_of(row) == values]
            elif (row := subject.rows[table].get(values)) is not None:
                rows.append(row)
        if unknown:
            rows += yield Select(table, columns, sorted(unknown), hold)
        self.view.loaded(table, columns, [lock.values for lock in asked], rows)

    def remember(self, written: Iterable[tuple[str, Key, Row]]) -> None:
        """Leave to the next flush what this one knows, with what it writes. It is believed only once this one is committed."""
        for lock, subject, remembered in self.learned:
            rows = self.view.many(*lock)
            if all(row["mode"] == remembered.gate["mode"] for row in rows):
                remembered.learn(lock, subject, rows)
        for table, key, row in written:
            known = self.recalled.get((row["merchant_id"], row["mode"]))
            if known is not None:
                known.change(row[SUBJECT_OF[table]], table, key, row)
        for book, known in self.recalled.items():
            gate = self.view.find("shard", book)
            assert gate is not None, "it was there when it was locked"
            self.memory.keep(book, known, dict(gate))
