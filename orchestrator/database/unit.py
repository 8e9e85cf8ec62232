"""What the writer executes: a unit decides from locked rows, wholly or not at all. Pure: no I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from orchestrator.database.schema import DEFAULTS, PRIMARY_KEYS

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[Any, ...]


class NotLocked(AssertionError):
    """A decision read or posted to a row that its unit did not lock: name it in ``locks``."""


class RowExists(Exception):
    """A row with this key is there already."""


class RowMissing(Exception):
    """The row to change is not there."""


class EntryRefused(Exception):
    """An entry that the books cannot take. ``code`` names the refusal."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Lock:
    """Rows to read and lock before deciding: those whose ``columns`` equal ``values`` (none is fine)."""

    table: str
    columns: tuple[str, ...]
    values: Key


def row_lock(table: str, *key: Any) -> Lock:
    """Lock one row by its primary key."""
    return Lock(table, PRIMARY_KEYS[table], key)


def account_lock(merchant_id: str, mode: str, code: str, subject: str, asset: str) -> Lock:
    return row_lock("account", merchant_id, mode, code, subject, asset)


@dataclass(frozen=True, slots=True)
class Line:
    """One posting: debit positive, credit negative, in units of ``asset``."""

    code: str
    subject: str
    asset: str
    units: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A balanced set of lines and the business fact that caused it. Built and checked by ``ledger.journal``."""

    kind: str
    fact: str
    lines: tuple[Line, ...]
    payment_id: str | None = None
    merge: str | None = None
    """Such as a wallet's id: the entries of one flush with the same book, kind, payment and ``merge`` become one entry,
    lines summed per account, whose fact is ``View.flush_id``: a thousand charges of one wallet are one entry."""


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    type: str
    object_id: str
    body: str
    """JSON of ``data.object``."""
    merchant_id: str | None = None
    """Whose event it is, where the unit is the platform's (a block holds transfers to many merchants)."""


@dataclass(slots=True)
class Changes:
    """What one decision wants written."""

    inserts: list[tuple[str, Row]] = field(default_factory=list)
    updates: list[tuple[str, Key, Mapping[str, Any]]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    events: list[OutgoingEvent] = field(default_factory=list)

    def insert(self, table: str, **row: Any) -> None:
        """Write a new row; what may be empty or has a default may be left out."""
        self.inserts.append((table, {**DEFAULTS[table], **row}))

    def update(self, table: str, key: Key, **columns: Any) -> None:
        self.updates.append((table, key, columns))

    def post(self, entry: Entry) -> None:
        self.entries.append(entry)

    def emit(self, type_: str, object_id: str, body: str, merchant_id: str | None = None) -> None:
        self.events.append(OutgoingEvent(type_, object_id, body, merchant_id))


Decide: TypeAlias = Callable[["View", Changes], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One money transition. ``key`` makes it happen once for ever: a second submission gets the first one's answer.

    ``decide`` is pure: it may run more than once (a flush that fails is run again unit by unit). It raises to refuse;
    then nothing of the unit is written and the caller gets the exception.
    """

    merchant_id: str
    mode: str
    key: str | None
    locks: Sequence[Lock]
    decide: Decide


@dataclass(frozen=True, slots=True)
class Applied:
    answer: Mapping[str, Any]
    duplicate: bool = False
    """True: the key was executed before, and ``answer`` is what it said then."""


class View:
    """The locked rows as the units before this one in the flush left them."""

    __slots__ = ("_groups", "_rows", "flush_id", "now_us")

    def __init__(self, now_us: int, flush_id: str = "") -> None:
        self.now_us = now_us
        self.flush_id = flush_id
        """The fact of the merged entries: what a decision stores in its own rows, so that both sides can be compared."""
        self._rows: dict[str, dict[Key, Row]] = {}
        self._groups: dict[str, dict[tuple[str, ...], dict[Key, dict[Key, None]]]] = {}

    def one(self, table: str, *key: Any) -> Row | None:
        """Return one locked row (do not change it) or None. Raises NotLocked."""
        found = self._rows.get(table, {}).get(key)
        if found is None and key not in self._groups.get(table, {}).get(PRIMARY_KEYS[table], {}):
            raise NotLocked(f"{table}{key}")
        return found

    def many(self, table: str, columns: tuple[str, ...], values: Key) -> list[Row]:
        """Return the locked rows whose columns equal the values, in the order of their keys. Raises NotLocked."""
        try:
            keys = self._groups[table][columns][values]
        except KeyError:
            raise NotLocked(f"{table}{columns}={values}") from None
        rows = (self._rows[table][key] for key in sorted(keys))
        # A unit before this one may have changed a column that the group was found by.
        return [row for row in rows if tuple(row[name] for name in columns) == values]

    def balance(self, merchant_id: str, mode: str, code: str, subject: str, asset: str) -> int:
        """Return the balance of one locked account, debit positive; 0 where it was never posted to."""
        row = self.one("account", merchant_id, mode, code, subject, asset)
        return 0 if row is None else int(row["balance"])

    # What follows is for the flush.

    def loaded(self, lock: Lock, rows: Iterable[Row]) -> None:
        table = self._rows.setdefault(lock.table, {})
        group = self._groups.setdefault(lock.table, {}).setdefault(lock.columns, {}).setdefault(lock.values, {})
        names = PRIMARY_KEYS[lock.table]
        for row in rows:
            key = tuple(row[name] for name in names)
            table.setdefault(key, row)
            group[key] = None

    def known(self, table: str, key: Key) -> bool:
        return key in self._rows.get(table, {})

    def find(self, table: str, key: Key) -> Row | None:
        return self._rows.get(table, {}).get(key)

    def is_locked(self, table: str, key: Key) -> bool:
        return self.known(table, key) or key in self._groups.get(table, {}).get(PRIMARY_KEYS[table], {})

    def put(self, table: str, key: Key, row: Row) -> None:
        self._rows.setdefault(table, {})[key] = row
        for columns, groups in self._groups.get(table, {}).items():
            group = groups.get(tuple(row[name] for name in columns))
            if group is not None:
                group[key] = None
