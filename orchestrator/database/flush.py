"""One flush: many units, one transaction, decided in order from locked rows.

The algorithm is a generator of trivial statements, so that SQLite (its own thread) and PostgreSQL (one pinned
connection) run the same one. It locks in one order, lets every unit decide, then writes a few set-based statements.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from orchestrator.database.schema import APPEND_ONLY, COLUMNS, DEFAULTS, LOCK_ORDER, PRIMARY_KEYS
from orchestrator.database.seal import SealedEntry, seal_hash
from orchestrator.database.unit import (
    Applied,
    Changes,
    Entry,
    EntryRefused,
    Key,
    Line,
    Lock,
    NotLocked,
    OutgoingEvent,
    Row,
    RowExists,
    RowMissing,
    Unit,
    View,
    row_lock,
)
from orchestrator.ids import new_id

UNITS_MAX = 2**63 - 1


def _key_reader(names: tuple[str, ...]) -> Callable[[Row], Key]:
    """Return what takes a row's primary key, always as a tuple."""
    if len(names) == 1:
        return lambda row: (row[names[0]],)
    return operator.itemgetter(*names)


_KEY_OF: Final = {table: _key_reader(names) for table, names in PRIMARY_KEYS.items()}
_NAMES: Final = {table: frozenset(names) for table, names in COLUMNS.items()}


@dataclass(frozen=True, slots=True)
class Select:
    """Read and lock the rows of one table whose columns equal any of the values, in the order of their keys."""

    table: str
    columns: tuple[str, ...]
    values: Sequence[Key]


@dataclass(frozen=True, slots=True)
class Insert:
    table: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Update:
    """Set ``columns`` of rows found by their primary key."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[Row]


Statement: TypeAlias = Select | Insert | Update
Result: TypeAlias = Applied | Exception
Steps: TypeAlias = Generator[Statement, list[Row], list[Result]]


def run(units: Sequence[Unit], now_us: int) -> Steps:
    """Yield the statements of one transaction; return one result per unit, in order."""
    flush = _Flush(now_us)
    yield from flush.lock(_all_locks(units))
    results = [flush.execute(unit) for unit in units]
    yield from flush.lock(flush.unlocked_accounts())
    yield from flush.lock(flush.shards())
    flush.sequence()
    yield from flush.statements()
    return results


def _all_locks(units: Sequence[Unit]) -> list[Lock]:
    locks = {lock: None for unit in units for lock in unit.locks}
    for unit in units:
        if unit.key is not None:
            locks[row_lock("unit_key", unit.merchant_id, unit.mode, unit.key)] = None
    return list(locks)


def merged(entries: Sequence[tuple[Unit, Entry]], flush_id: str) -> Iterator[tuple[str, str, Entry]]:
    """Yield merchant, mode and entry; those to be merged become one, in the place of the first of them.

    What cancels out leaves no line, and an entry without lines is none.
    """
    groups: dict[Key, dict[tuple[str, str, str], int]] = {}
    places: list[tuple[Unit, Entry, dict[tuple[str, str, str], int] | None]] = []
    for unit, entry in entries:
        if entry.merge is None:
            places.append((unit, entry, None))
            continue
        group = (unit.merchant_id, unit.mode, entry.kind, entry.payment_id, entry.merge)
        sums = groups.get(group)
        if sums is None:
            sums = groups[group] = {}
            places.append((unit, entry, sums))
        for line in entry.lines:
            account = (line.code, line.subject, line.asset)
            sums[account] = sums.get(account, 0) + line.units
    for unit, entry, sums in places:
        if sums is None:
            yield unit.merchant_id, unit.mode, entry
            continue
        lines = tuple(Line(*account, units) for account, units in sums.items() if units)
        if lines:
            yield unit.merchant_id, unit.mode, Entry(entry.kind, flush_id, lines, entry.payment_id)


class _Flush:
    def __init__(self, now_us: int) -> None:
        self.view = View(now_us, new_id("flu"))
        self.now_us = now_us
        self.inserted: dict[str, dict[Key, Row]] = {}
        self.updated: dict[str, dict[Key, set[str]]] = {}
        self.entries: list[tuple[Unit, Entry]] = []
        self.events: list[tuple[Unit, OutgoingEvent]] = []

    def lock(self, locks: Sequence[Lock]) -> Generator[Statement, list[Row], None]:
        by_query: dict[tuple[str, tuple[str, ...]], set[Key]] = {}
        for lock in locks:
            by_query.setdefault((lock.table, lock.columns), set()).add(lock.values)
        for (table, columns), values in sorted(by_query.items(), key=lambda item: (LOCK_ORDER[item[0][0]], item[0][1])):
            ordered = sorted(values)
            rows = yield Select(table, columns, ordered)
            grouped: dict[Key, list[Row]] = {key: [] for key in ordered}
            for row in rows:
                grouped[tuple(row[name] for name in columns)].append(row)
            for key, found in grouped.items():
                self.view.loaded(Lock(table, columns, key), found)

    def execute(self, unit: Unit) -> Result:
        """Let one unit decide; merge what it wants, or nothing of it."""
        try:
            if unit.key is not None:
                done = self.view.one("unit_key", unit.merchant_id, unit.mode, unit.key)
                if done is not None:
                    return Applied(orjson.loads(done["answer"]), duplicate=True)
            changes = Changes()
            answer = unit.decide(self.view, changes)
            if unit.key is not None:
                changes.insert(
                    "unit_key",
                    merchant_id=unit.merchant_id,
                    mode=unit.mode,
                    key=unit.key,
                    answer=orjson.dumps(answer).decode(),
                    created_us=self.now_us,
                )
            balances = self._check(unit, changes)
            self._merge(unit, changes, balances)
        except StopIteration as error:  # a ``next`` that found nothing: no future takes it, and the writer would die
            return RuntimeError(f"the decision of unit {unit.key!r} raised {error!r}")
        except Exception as error:  # noqa: BLE001  # a refusal (or a bug) rejects that unit alone; its caller gets it
            return error
        return Applied(answer)

    def _check(self, unit: Unit, changes: Changes) -> dict[Key, int]:
        fresh: set[tuple[str, Key]] = set()
        for table, row in changes.inserts:
            if row.keys() != _NAMES[table]:
                raise RowMissing(f"{table}: columns {sorted(_NAMES[table] ^ row.keys())}")
            key = _KEY_OF[table](row)
            if (table, key) in fresh or self.view.known(table, key):
                raise RowExists(f"{table}{key}")
            fresh.add((table, key))
        for table, key, columns in changes.updates:
            if table in APPEND_ONLY:
                raise RowExists(f"{table} is append-only")
            if (table, key) not in fresh and not self.view.known(table, key):
                raise RowMissing(f"{table}{key} is not locked or not there")
            if any(name not in COLUMNS[table] for name in columns):
                raise RowMissing(f"{table} has no column {sorted(set(columns) - set(COLUMNS[table]))}")
        return self._check_entries(unit, changes.entries)

    def _check_entries(self, unit: Unit, entries: Sequence[Entry]) -> dict[Key, int]:
        """Refuse what the books cannot take; return the new balances of the accounts that this unit locked."""
        balances: dict[Key, int] = {}
        for entry in entries:
            sums: dict[str, int] = {}
            for line in entry.lines:
                sums[line.asset] = sums.get(line.asset, 0) + line.units
                account = (unit.merchant_id, unit.mode, line.code, line.subject, line.asset)
                if self.view.is_locked("account", account):
                    row = self.view.find("account", account)
                    before = balances.get(account, row["balance"] if row else 0)
                    balances[account] = before + line.units
                elif line.code.startswith("wallet:"):
                    raise NotLocked(f"account{account}")
            if len(entry.lines) < 2 or any(sums.values()):
                raise EntryRefused("entry_is_unbalanced", f"{entry.kind} {entry.fact}: {sums}")
        for account, balance in balances.items():
            code = account[2]
            # wallet:debt is an asset (the customer owes); every other part of a wallet is owed to the customer.
            if code.startswith("wallet:") and (balance < 0 if code == "wallet:debt" else balance > 0):
                raise EntryRefused("wallet_would_be_overdrawn", f"{code} {account[3]}")
            if abs(balance) > UNITS_MAX:
                raise EntryRefused("balance_does_not_fit", f"{code} {account[3]}")
        return balances

    def _merge(self, unit: Unit, changes: Changes, balances: dict[Key, int]) -> None:
        for table, row in changes.inserts:
            key = _KEY_OF[table](row)
            self.inserted.setdefault(table, {})[key] = row
            self.view.put(table, key, row)
        for table, key, columns in changes.updates:
            if not columns:
                continue  # nothing to set is no statement
            row = {**(self.view.find(table, key) or {}), **columns}
            if key in self.inserted.get(table, {}):
                self.inserted[table][key] = row
            else:
                self.updated.setdefault(table, {}).setdefault(key, set()).update(columns)
            self.view.put(table, key, row)
        for account, balance in balances.items():
            self._set_balance(account, balance)
        self.entries += [(unit, entry) for entry in changes.entries]
        self.events += [(unit, event) for event in changes.events]

    def _set_balance(self, account: Key, balance: int) -> None:
        row = self.view.find("account", account)
        if row is None:
            row = dict(zip(PRIMARY_KEYS["account"], account, strict=True)) | {"balance": 0, "opening": 0}
            self.inserted.setdefault("account", {})[account] = row
            self.view.put("account", account, row)
        self._touch("account", account, "balance")
        row.setdefault("opening", row["balance"])
        row["balance"] = balance

    def unlocked_accounts(self) -> list[Lock]:
        """Accounts that no decision needed to see (clearing, fees): locked after the decisions, in order."""
        keys = {
            (unit.merchant_id, unit.mode, line.code, line.subject, line.asset)
            for unit, entry in self.entries
            for line in entry.lines
        }
        return [row_lock("account", *key) for key in keys if not self.view.is_locked("account", key)]

    def shards(self) -> list[Lock]:
        touched = {(unit.merchant_id, unit.mode) for unit, _ in self.entries}
        touched |= {(event.merchant_id or unit.merchant_id, unit.mode) for unit, event in self.events}
        return [row_lock("shard", *key) for key in touched]

    def sequence(self) -> None:
        """Give entries and events their gapless numbers, every line the balance after it, every book its seal."""
        running: dict[Key, Any] = {}
        sealed: dict[tuple[str, str], list[SealedEntry]] = {}
        for merchant_id, mode, entry in merged(self.entries, self.view.flush_id):
            number = self._next(merchant_id, mode, "entry_sequence")
            scope = {"merchant_id": merchant_id, "mode": mode, "sequence": number}
            head = scope | {
                "id": new_id("ent"), "kind": entry.kind, "fact": entry.fact, "payment_id": entry.payment_id,
                "created_us": self.now_us,
            }  # fmt: skip
            lines: list[Row] = []
            for position, line in enumerate(entry.lines):
                account = (merchant_id, mode, line.code, line.subject, line.asset)
                if account not in running:
                    row = self.view.find("account", account)
                    running[account] = row.get("opening", row["balance"]) if row else 0
                running[account] += line.units
                lines.append(scope | {
                    "line": position, "code": line.code, "subject": line.subject, "asset": line.asset,
                    "units": line.units, "balance_after": running[account],
                })  # fmt: skip
            self._insert("journal_entry", head)
            for posting in lines:
                self._insert("posting", posting)
            sealed.setdefault((merchant_id, mode), []).append((head, lines))
        for account, balance in running.items():
            self._set_balance(account, balance)
        for book, entries in sealed.items():
            self._seal(book, entries)
        self._sequence_events()

    def _seal(self, book: tuple[str, str], entries: Sequence[SealedEntry]) -> None:
        """Add one link to a book's hash chain: its head stands in the shard, which is locked."""
        number = self._next(*book, "seal_number")
        shard: Any = self.view.find("shard", book)
        previous, shard["seal_hash"] = shard["seal_hash"], seal_hash(shard["seal_hash"], entries)
        self._touch("shard", book, "seal_hash")
        self._insert("seal", {
            "merchant_id": book[0], "mode": book[1], "number": number,
            "first_sequence": entries[0][0]["sequence"], "last_sequence": entries[-1][0]["sequence"],
            "previous_hash": previous, "hash": shard["seal_hash"], "created_us": self.now_us,
        })  # fmt: skip

    def _sequence_events(self) -> None:
        for unit, event in self.events:
            merchant_id = event.merchant_id or unit.merchant_id
            self._insert("event", {
                "merchant_id": merchant_id, "mode": unit.mode,
                "sequence": self._next(merchant_id, unit.mode, "event_sequence"),
                "id": new_id("evt"), "type": event.type, "object_id": event.object_id, "body": event.body,
                "created_us": self.now_us,
            })  # fmt: skip

    def _next(self, merchant_id: str, mode: str, counter: str) -> int:
        key = (merchant_id, mode)
        row = self.view.find("shard", key)
        if row is None:
            row = {**DEFAULTS["shard"], "merchant_id": key[0], "mode": key[1], "entry_sequence": 0, "event_sequence": 0}
            self.inserted.setdefault("shard", {})[key] = row
            self.view.put("shard", key, row)
        self._touch("shard", key, counter)
        row[counter] += 1
        return int(row[counter])

    def _touch(self, table: str, key: Key, column: str) -> None:
        """Remember that a column of a row changed, unless the row is new."""
        if key not in self.inserted.get(table, {}):
            self.updated.setdefault(table, {}).setdefault(key, set()).add(column)

    def _insert(self, table: str, row: Row) -> None:
        self.inserted.setdefault(table, {})[_KEY_OF[table](row)] = row

    def statements(self) -> Generator[Statement, list[Row], None]:
        for table, rows in sorted(self.inserted.items(), key=lambda item: LOCK_ORDER[item[0]]):
            yield Insert(table, list(rows.values()))
        for table, keys in sorted(self.updated.items(), key=lambda item: LOCK_ORDER[item[0]]):
            by_columns: dict[tuple[str, ...], list[Row]] = {}
            for key, columns in sorted(keys.items()):
                row: Any = self.view.find(table, key)
                by_columns.setdefault(tuple(sorted(columns)), []).append(row)
            for names, changed in by_columns.items():
                yield Update(table, names, changed)
