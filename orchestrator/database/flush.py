"""One flush: many units, one transaction, decided in order from locked rows.

The algorithm is a generator of trivial statements, so that SQLite (its own thread) and PostgreSQL (one pinned
connection) run the same one. It locks in one order, lets every unit decide, then writes a few set-based statements.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, NamedTuple, TypeAlias

import orjson

from orchestrator.database.journal_rows import book_entries, write_events
from orchestrator.database.memory import Book, Memory
from orchestrator.database.pending import Pending
from orchestrator.database.reading import Reading, Wanted, all_locks
from orchestrator.database.schema import APPEND_ONLY, COLUMNS, KEY_OF, PRIMARY_KEYS, SUBJECT_OF
from orchestrator.database.statements import Insert, Select, Statement, Update
from orchestrator.database.unit import (
    Applied,
    Changes,
    Claim,
    Entry,
    EntryRefused,
    Key,
    NotLocked,
    NotOwner,
    OutgoingEvent,
    Row,
    RowExists,
    RowMissing,
    Unit,
    View,
    row_lock,
)
from orchestrator.ids import new_id

__all__ = ["UNITS_MAX", "Insert", "Result", "Select", "Statement", "Steps", "Update", "run"]

UNITS_MAX = 2**63 - 1
_NAMES: Final = {table: frozenset(names) for table, names in COLUMNS.items()}

Result: TypeAlias = Applied | Exception
Steps: TypeAlias = Generator[Statement, list[Row], list[Result]]


def run(units: Sequence[Unit], now_us: int, claims: Sequence[Claim | None] = (), memory: Memory | None = None) -> Steps:
    """Yield the statements of one transaction; return one result per unit, in order.

    ``claims`` (one per unit, or none at all): a unit whose claim is over by now is not executed; its result is NotOwner.
    ``memory``: what the writer's flushes before this one left.
    """
    flush = _Flush(now_us, memory or Memory())
    lost = yield from _lost(claims)
    absent = {number for number, claim in enumerate(claims) if claim in lost} if lost else set()
    yield from flush.reading.lock(all_locks([unit for number, unit in enumerate(units) if number not in absent]))
    results = [
        NotOwner(f"group {claims[number]}") if number in absent else flush.execute(unit)
        for number, unit in enumerate(units)
    ]
    yield from flush.reading.lock(flush.unlocked_accounts())
    yield from flush.reading.lock(flush.shards())
    yield from flush.statements()
    flush.reading.remember(flush.pending.written(SUBJECT_OF))
    return results


def _lost(claims: Sequence[Claim | None]) -> Generator[Statement, list[Row], set[Claim | None]]:
    """Read the leases under a lock that keeps them until the commit; return the claims that are over."""
    wanted = {claim for claim in claims if claim is not None}
    if not wanted:
        return set()
    rows = yield Select("writer_lease", ("group_id",), sorted({(claim.group,) for claim in wanted}), hold="share")
    epochs = {row["group_id"]: row["epoch"] for row in rows}
    return {claim for claim in wanted if epochs.get(claim.group) != claim.epoch}


class _Checked(NamedTuple):
    """What one decision wants, found to be possible."""

    inserts: Sequence[tuple[str, Key, Row]]
    balances: dict[Key, int]
    behind_gate: bool
    """Whether it changes rows behind the gate, beside accounts."""


class _Flush:
    def __init__(self, now_us: int, memory: Memory) -> None:
        self.view = View(now_us, new_id("flu"))
        self.pending = Pending(self.view)
        self.entries: list[tuple[Unit, Entry]] = []
        self.events: list[tuple[Unit, OutgoingEvent]] = []
        self.reading = Reading(self.view, memory)
        self.changed: set[Book] = set()
        """Books of which rows behind the gate changed."""

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
                    created_us=self.view.now_us,
                )
            self._merge(unit, changes, self._check(unit, changes))
        except StopIteration as error:  # a ``next`` that found nothing: no future takes it, and the writer would die
            return RuntimeError(f"the decision of unit {unit.key!r} raised {error!r}")
        except Exception as error:  # noqa: BLE001  # a refusal (or a bug) rejects that unit alone; its caller gets it
            return error
        return Applied(answer)

    def _check(self, unit: Unit, changes: Changes) -> _Checked:
        """Refuse what cannot be written, before anything of the unit is."""
        view, behind_gate = self.view, False
        inserts: list[tuple[str, Key, Row]] = []
        fresh: set[tuple[str, Key]] = set()
        for table, row in changes.inserts:
            if tuple(row) != COLUMNS[table] and row.keys() != _NAMES[table]:
                raise RowMissing(f"{table}: columns {sorted(_NAMES[table] ^ row.keys())}")
            key = KEY_OF[table](row)
            if (table, key) in fresh or view.known(table, key):
                raise RowExists(f"{table}{key}")
            if table in SUBJECT_OF:
                behind_gate = True
                self._check_book(unit, table, row)
            fresh.add((table, key))
            inserts.append((table, key, row))
        for table, key, columns in changes.updates:
            if table in APPEND_ONLY:
                raise RowExists(f"{table} is append-only")
            there = view.find(table, key)
            if there is None and (table, key) not in fresh:
                raise RowMissing(f"{table}{key} is not locked or not there")
            if not columns.keys() <= _NAMES[table]:
                raise RowMissing(f"{table} has no column {sorted(columns.keys() - _NAMES[table])}")
            if table in SUBJECT_OF:
                behind_gate = True
                if there is not None:
                    self._check_book(unit, table, there)
        return _Checked(inserts, self._check_entries(unit, changes.entries), behind_gate)

    @staticmethod
    def _check_book(unit: Unit, table: str, row: Row) -> None:
        """Refuse to write behind a gate that the unit does not hold."""
        if row["merchant_id"] != unit.merchant_id or row["mode"] != unit.mode:
            raise NotLocked(f"{table} of {row['merchant_id']} {row['mode']} is behind another book's gate")

    def _check_entries(self, unit: Unit, entries: Sequence[Entry]) -> dict[Key, int]:
        """Refuse what the books cannot take; return the new balances of the accounts that this unit locked."""
        view = self.view
        balances: dict[Key, int] = {}
        for entry in entries:
            sums: dict[str, int] = {}
            for code, subject, asset, units in entry.lines:
                sums[asset] = sums.get(asset, 0) + units
                account = (unit.merchant_id, unit.mode, code, subject, asset)
                before = balances.get(account)
                if before is None:
                    row = view.find("account", account)
                    before = row["balance"] if row is not None else 0 if view.is_locked("account", account) else None
                if before is not None:
                    balances[account] = before + units
                elif code.startswith("wallet:"):
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

    def _merge(self, unit: Unit, changes: Changes, checked: _Checked) -> None:
        pending = self.pending
        for table, key, row in checked.inserts:
            pending.insert(table, key, row)
        for table, key, columns in changes.updates:
            if columns:  # nothing to set is no statement
                pending.update(table, key, columns)
        for account, balance in checked.balances.items():
            pending.balance(account, balance)
        for entry in changes.entries:
            self.entries.append((unit, entry))
        for event in changes.events:
            self.events.append((unit, event))
        if checked.behind_gate or changes.entries:
            self.changed.add((unit.merchant_id, unit.mode))

    def unlocked_accounts(self) -> Wanted:
        """Accounts that no decision needed to see (clearing, fees): locked after the decisions, in order."""
        keys = {
            (unit.merchant_id, unit.mode, code, subject, asset)
            for unit, entry in self.entries
            for code, subject, asset, _ in entry.lines
        }
        is_locked = self.view.is_locked
        wanted = {row_lock("account", *key): (key[0], key[1]) for key in keys if not is_locked("account", key)}
        return {("account", PRIMARY_KEYS["account"]): wanted} if wanted else {}

    def shards(self) -> Wanted:
        """The heads of books that events go to, though no unit is theirs."""
        books = {(event.merchant_id or unit.merchant_id, unit.mode) for unit, event in self.events}
        wanted = {row_lock("shard", *book): book for book in books if not self.view.is_locked("shard", book)}
        return {("shard", PRIMARY_KEYS["shard"]): wanted} if wanted else {}

    def statements(self) -> Generator[Statement, list[Row], None]:
        book_entries(self.pending, self.view, self.entries)
        write_events(self.pending, self.view, self.events)
        for book in self.changed:
            self.pending.stamp(book)
        yield from self.pending.statements()
