"""What the writer executes: a unit decides from locked rows, wholly or not at all. Pure: no I/O here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from orchestrator.database.schema import DEFAULTS, KEY_OF, PRIMARY_KEYS, reader

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


class Lock(NamedTuple):
    """Rows to read and lock before deciding: those whose ``columns`` equal ``values`` (none is fine)."""

    table: str
    columns: tuple[str, ...]
    values: Key


def row_lock(table: str, *key: Any) -> Lock:
    """Lock one row by its primary key."""
    return Lock(table, PRIMARY_KEYS[table], key)


def account_lock(merchant_id: str, mode: str, code: str, subject: str, asset: str) -> Lock:
    return row_lock("account", merchant_id, mode, code, subject, asset)


def accounts_lock(merchant_id: str, mode: str, subject: str) -> Lock:
    """Lock every account of a subject, those too that are not there yet."""
    return Lock("account", ("merchant_id", "mode", "subject"), (merchant_id, mode, subject))


class Claim(NamedTuple):
    """A process's belief that it owns a group of merchants; checked inside the flush. See ``ownership``."""

    group: int
    epoch: int


class NotOwner(Exception):
    """The group has another owner by now. Nothing was written: whoever asked goes there."""


class Line(NamedTuple):
    """One posting: debit positive, credit negative, in units of ``asset``."""

    code: str
    subject: str
    asset: str
    units: int


class Entry(NamedTuple):
    """A balanced set of lines and the business fact that caused it. Built and checked by ``ledger.journal``."""

    kind: str
    fact: str
    lines: tuple[Line, ...]
    payment_id: str | None = None
    merge: str | None = None
    """The entries of one flush with the same book, kind, payment and ``merge`` become one entry, lines summed per account,
    whose fact is ``View.flush_id``: a thousand charges of a hundred wallets are one entry with a line for each."""


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
    updates: list[tuple[str, Key, dict[str, Any]]] = field(default_factory=list)
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
    locks: Sequence[Lock] | Callable[[], Sequence[Lock]]
    """A function is asked on the event loop when the flush takes the unit: until then the unit may grow."""
    decide: Decide


@dataclass(frozen=True, slots=True)
class Applied:
    answer: Mapping[str, Any]
    duplicate: bool = False
    """True: the key was executed before, and ``answer`` is what it said then."""


class View:
    """The locked rows as the units before this one in the flush left them."""

    __slots__ = ("_groups", "_keys", "_rows", "flush_id", "now_us")

    def __init__(self, now_us: int, flush_id: str = "") -> None:
        self.now_us = now_us
        self.flush_id = flush_id
        """The fact of the merged entries: what a decision stores in its own rows, so that both sides can be compared."""
        self._rows: defaultdict[str, dict[Key, Row]] = defaultdict(dict)
        self._keys: defaultdict[str, set[Key]] = defaultdict(set)
        """Locked by primary key, there or not."""
        self._groups: defaultdict[str, dict[tuple[str, ...], _Groups]] = defaultdict(dict)
        """Locked by other columns."""

    def one(self, table: str, *key: Any) -> Row | None:
        """Return one locked row (do not change it) or None. Raises NotLocked."""
        found = self._rows[table].get(key)
        if found is None and not self._is_known_absent(table, key):
            raise NotLocked(f"{table}{key}")
        return found

    def many(self, table: str, columns: tuple[str, ...], values: Key) -> list[Row]:
        """Return the locked rows whose columns equal the values, in the order of their keys. Raises NotLocked."""
        if columns == PRIMARY_KEYS[table]:
            row = self.one(table, *values)
            return [] if row is None else [row]
        try:
            keys = self._groups[table][columns].keys_by_values[values]
        except KeyError:
            raise NotLocked(f"{table}{columns}={values}") from None
        rows = self._rows[table]
        return [rows[key] for key in (sorted(keys) if len(keys) > 1 else keys)]

    def balance(self, merchant_id: str, mode: str, code: str, subject: str, asset: str) -> int:
        """Return the balance of one locked account, debit positive; 0 where it was never posted to."""
        row = self.one("account", merchant_id, mode, code, subject, asset)
        return 0 if row is None else int(row["balance"])

    # What follows is for the flush.

    def loaded(self, table: str, columns: tuple[str, ...], asked: Sequence[Key], rows: Sequence[Row]) -> None:
        """Take the rows that were found and locked by ``asked``, the values of ``columns``."""
        key_of, known = KEY_OF[table], self._rows[table]
        if columns == PRIMARY_KEYS[table]:
            self._keys[table].update(asked)
            for row in rows:
                known.setdefault(key_of(row), row)
            return
        groups = self._groups[table].setdefault(columns, _Groups(table, columns))
        for values in asked:
            groups.keys_by_values.setdefault(values, {})
        for row in rows:
            key = key_of(row)
            row = known.setdefault(key, row)  # noqa: PLW2901  # the row as the units before this one left it
            keys = groups.keys_by_values.get(groups.values_of(row))
            if keys is not None:
                keys[key] = None

    def known(self, table: str, key: Key) -> bool:
        return key in self._rows[table]

    def find(self, table: str, key: Key) -> Row | None:
        return self._rows[table].get(key)

    def is_locked(self, table: str, key: Key) -> bool:
        return key in self._rows[table] or self._is_known_absent(table, key)

    def _is_known_absent(self, table: str, key: Key) -> bool:
        """Say of a key without a row whether it was locked: by itself, or with a whole group of keys."""
        return key in self._keys[table] or any(groups.has_key(key) for groups in self._groups[table].values())

    def put(self, table: str, key: Key, row: Row, changed: AbstractSet[str] | None = None) -> None:
        """Show a row as it is now (``changed``: in these columns): it may have left one group and entered another."""
        rows = self._rows[table]
        before = rows.get(key)
        rows[key] = row
        for columns, groups in self._groups[table].items():
            if changed is None or not changed.isdisjoint(columns):
                groups.move(key, before, row)


class _Groups:
    """Locked rows by the values of some columns."""

    __slots__ = ("_places", "keys_by_values", "values_of")

    def __init__(self, table: str, columns: tuple[str, ...]) -> None:
        self.values_of = reader(columns)
        self.keys_by_values: dict[Key, dict[Key, None]] = {}
        names = PRIMARY_KEYS[table]
        self._places = [names.index(name) for name in columns] if set(columns) <= set(names) else None
        """Where the columns stand in the primary key, if they all do."""

    def has_key(self, key: Key) -> bool:
        """Say whether a row of this key would be of a locked group: where the key alone can tell."""
        return self._places is not None and tuple(key[place] for place in self._places) in self.keys_by_values

    def move(self, key: Key, before: Row | None, row: Row) -> None:
        now = self.values_of(row)
        was = None if before is None else self.values_of(before)
        if was == now:
            return
        if was is not None and was in self.keys_by_values:
            self.keys_by_values[was].pop(key, None)
        if now in self.keys_by_values:
            self.keys_by_values[now][key] = None
