"""One flush: many units, one transaction, decided in order from locked rows.

The algorithm is a generator of trivial statements, so that SQLite (its own thread) and PostgreSQL (one pinned
connection) run the same one. It locks in one order, lets every unit decide, then writes a few set-based statements.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Final, NamedTuple, TypeAlias

import orjson

from orchestrator.database.journal_rows import book_entries, write_events
from orchestrator.database.pending import Pending
from orchestrator.database.schema import APPEND_ONLY, COLUMNS, KEY_OF, LOCK_ORDER
from orchestrator.database.statements import Insert, Select, Statement, Update
from orchestrator.database.unit import (
    Applied,
    Changes,
    Claim,
    Entry,
    EntryRefused,
    Key,
    Lock,
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


def run(units: Sequence[Unit], now_us: int, claims: Sequence[Claim | None] = ()) -> Steps:
    """Yield the statements of one transaction; return one result per unit, in order.

    ``claims`` (one per unit, or none at all): a unit whose claim is over by now is not executed; its result is NotOwner.
    """
    flush = _Flush(now_us)
    lost = yield from _lost(claims)
    absent = {number for number, claim in enumerate(claims) if claim in lost} if lost else set()
    yield from flush.lock(_all_locks([unit for number, unit in enumerate(units) if number not in absent]))
    results = [
        NotOwner(f"group {claims[number]}") if number in absent else flush.execute(unit)
        for number, unit in enumerate(units)
    ]
    yield from flush.lock(flush.unlocked_accounts())
    yield from flush.lock(flush.shards())
    yield from flush.statements()
    return results


def _lost(claims: Sequence[Claim | None]) -> Generator[Statement, list[Row], set[Claim | None]]:
    """Read the leases under a lock that keeps them until the commit; return the claims that are over."""
    wanted = {claim for claim in claims if claim is not None}
    if not wanted:
        return set()
    rows = yield Select("writer_lease", ("group_id",), sorted({(claim.group,) for claim in wanted}), share=True)
    epochs = {row["group_id"]: row["epoch"] for row in rows}
    return {claim for claim in wanted if epochs.get(claim.group) != claim.epoch}


def _all_locks(units: Sequence[Unit]) -> set[Lock]:
    locks = {lock for unit in units for lock in _settled(unit.locks)}
    locks.update(row_lock("unit_key", unit.merchant_id, unit.mode, unit.key) for unit in units if unit.key is not None)
    # The gate of a book, before any of its accounts: some are locked before the decisions and some after them, so that
    # no order of accounts alone could keep two processes from waiting for each other.
    locks.update(row_lock("shard", *book) for book in {(unit.merchant_id, unit.mode) for unit in units})
    return locks


def _settled(locks: Sequence[Lock] | Callable[[], Sequence[Lock]]) -> Sequence[Lock]:
    assert not callable(locks), "the writer settles them when it takes a unit"
    return locks


class _Checked(NamedTuple):
    """What one decision wants, found to be possible."""

    inserts: Sequence[tuple[str, Key, Row]]
    balances: dict[Key, int]


class _Flush:
    def __init__(self, now_us: int) -> None:
        self.view = View(now_us, new_id("flu"))
        self.pending = Pending(self.view)
        self.entries: list[tuple[Unit, Entry]] = []
        self.events: list[tuple[Unit, OutgoingEvent]] = []

    def lock(self, locks: set[Lock]) -> Generator[Statement, list[Row], None]:
        by_query: dict[tuple[str, tuple[str, ...]], list[Key]] = {}
        for table, columns, values in locks:
            by_query.setdefault((table, columns), []).append(values)
        for (table, columns), asked in sorted(by_query.items(), key=lambda item: (LOCK_ORDER[item[0][0]], item[0][1])):
            asked.sort()
            rows = yield Select(table, columns, asked)
            self.view.loaded(table, columns, asked, rows)

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
        known = self.view.known
        inserts: list[tuple[str, Key, Row]] = []
        fresh: set[tuple[str, Key]] = set()
        for table, row in changes.inserts:
            if row.keys() != _NAMES[table]:
                raise RowMissing(f"{table}: columns {sorted(_NAMES[table] ^ row.keys())}")
            key = KEY_OF[table](row)
            if (table, key) in fresh or known(table, key):
                raise RowExists(f"{table}{key}")
            fresh.add((table, key))
            inserts.append((table, key, row))
        for table, key, columns in changes.updates:
            if table in APPEND_ONLY:
                raise RowExists(f"{table} is append-only")
            if not known(table, key) and (table, key) not in fresh:
                raise RowMissing(f"{table}{key} is not locked or not there")
            if not columns.keys() <= _NAMES[table]:
                raise RowMissing(f"{table} has no column {sorted(columns.keys() - _NAMES[table])}")
        return _Checked(inserts, self._check_entries(unit, changes.entries))

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
                if before is None and view.is_locked("account", account):
                    row = view.find("account", account)
                    before = row["balance"] if row else 0
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

    def unlocked_accounts(self) -> set[Lock]:
        """Accounts that no decision needed to see (clearing, fees): locked after the decisions, in order."""
        keys = {
            (unit.merchant_id, unit.mode, code, subject, asset)
            for unit, entry in self.entries
            for code, subject, asset, _ in entry.lines
        }
        return {row_lock("account", *key) for key in keys if not self.view.is_locked("account", key)}

    def shards(self) -> set[Lock]:
        touched = {(unit.merchant_id, unit.mode) for unit, _ in self.entries}
        touched |= {(event.merchant_id or unit.merchant_id, unit.mode) for unit, event in self.events}
        return {row_lock("shard", *key) for key in touched if not self.view.is_locked("shard", key)}

    def statements(self) -> Generator[Statement, list[Row], None]:
        book_entries(self.pending, self.view, self.entries)
        write_events(self.pending, self.view, self.events)
        yield from self.pending.statements()
