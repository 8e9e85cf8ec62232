"""What this process remembers of a book's rows, so that a flush need not read again what the flush before it wrote.

Whoever changes a row behind a book's gate (``schema.SUBJECT_OF``) holds the gate, the book's row in ``shard``, until the commit,
and writes its flush's id there. So what was remembered holds as long as the gate, read under its lock, is the row that the
remembering flush left: nobody else wrote since. Nothing else has to be told: a flush that was rolled back, a COMMIT
whose fate is unknown, another owner, a restored backup all leave another row there, and what was remembered is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final, TypeAlias

from orchestrator.database.schema import KEY_OF, SUBJECT_OF
from orchestrator.database.unit import Key, Lock, Row

Book: TypeAlias = tuple[str, str]
"""Merchant and mode."""

SUBJECTS_MAX: Final = 10_000
"""Wallets of all books together; each takes three to four kilobytes."""
ROWS_MAX: Final = 100
"""Of one table and subject."""


class Subject:
    """One wallet's rows behind the gate: those that are here are true, and a known lock has all of its rows here."""

    __slots__ = ("known", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, dict[Key, Row]] = {table: {} for table in SUBJECT_OF}
        self.known: set[Lock] = set()


class BookMemory:
    """The subjects of one book; those that changed last stand last."""

    __slots__ = ("gate", "subjects")

    def __init__(self, gate: Row) -> None:
        self.gate = gate
        """The book's row when all this was true."""
        self.subjects: dict[str, Subject] = {}

    def learn(self, lock: Lock, subject: str, rows: Iterable[Row]) -> None:
        """Remember what a lock found."""
        known = self.subjects.get(subject)
        if known is None:
            known = self.subjects[subject] = Subject()
        known.known.add(lock)
        key_of, here = KEY_OF[lock.table], known.rows[lock.table]
        for row in rows:
            here[key_of(row)] = row

    def change(self, subject: str, table: str, key: Key, row: Row) -> None:
        """Take over a row as it is now. A subject with very many rows (lots that are used up among them) is forgotten."""
        known = self.subjects.pop(subject, None)
        if known is None:
            return
        here = known.rows[table]
        here[key] = row
        if len(here) <= ROWS_MAX:
            self.subjects[subject] = known

    def forget_oldest(self, count: int) -> None:
        for subject in list(islice(self.subjects, count)):
            del self.subjects[subject]


class Memory:
    """The books of one writer."""

    def __init__(self, subjects_max: int = SUBJECTS_MAX) -> None:
        self._subjects_max = subjects_max
        self._books: dict[Book, BookMemory] = {}

    def recall(self, book: Book, gate: Row) -> BookMemory:
        """Take out what is known of a book whose gate is held; nothing where somebody else wrote since.

        It is taken out, so that a flush that fails leaves nothing behind: ``keep`` puts it back.
        """
        known = self._books.pop(book, None)
        return known if known is not None and known.gate == gate else BookMemory(gate)

    def keep(self, book: Book, known: BookMemory, gate: Row) -> None:
        """Remember a book as a flush leaves it, with the gate that it wrote (or found, where it wrote nothing)."""
        known.gate = gate
        self._books[book] = known
        excess = sum(len(one.subjects) for one in self._books.values()) - self._subjects_max
        if excess > 0:
            self._forget_oldest(excess + self._subjects_max // 8)  # more than is needed, so that it is seldom needed

    def forget(self) -> None:
        self._books.clear()

    def _forget_oldest(self, count: int) -> None:
        for book in list(self._books):
            known = self._books[book]
            if count < len(known.subjects):
                known.forget_oldest(count)
                return
            count -= len(known.subjects)
            del self._books[book]
