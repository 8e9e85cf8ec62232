"""PostgreSQL: one pinned connection; rows are locked with FOR UPDATE in one order; writes are arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.database.flush import Result, Steps
from orchestrator.database.schema import COLUMNS, POSTGRES_TYPES, PRIMARY_KEYS
from orchestrator.database.statements import Insert, Select, Statement, Update
from orchestrator.database.unit import Row

if TYPE_CHECKING:
    import asyncpg

STATEMENT_TIMEOUT_S = 30
REPLAN_EVERY = 1024
ANALYZE_ROWS_MIN = 256
ANALYZE_GROWTH = 4
"""A table is analysed by us when it has grown to so many times what the planner knows of; autovacuum does the rest."""


class CommitUnclear(Exception):
    """The connection broke at COMMIT: read the keys again before answering anybody."""


class PostgresBackend:
    """Drives a flush on one connection of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection[Any] | None = None
        self._transactions = 0
        self._growth = _Growth({})

    async def open(self) -> None:
        await self._connect()

    async def _connect(self) -> asyncpg.Connection[Any]:
        import asyncpg

        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=10,
                command_timeout=STATEMENT_TIMEOUT_S,
                server_settings={
                    # A plan that was cached while a table was empty scans it for ever (5 x slower): only trivial
                    # look-ups by index are sent here, so the other plans are switched off for this connection.
                    "enable_seqscan": "off",
                    "enable_hashjoin": "off",
                    "enable_mergejoin": "off",
                    "application_name": "crossrail-writer",
                },
            )
            self._growth = _Growth({row["name"]: row["rows"] for row in await self._connection.fetch(_KNOWN_ROWS)})
        return self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            await connection.close(timeout=5)
        except (OSError, TimeoutError):  # nothing is under way here: a server that hangs is left without a goodbye
            connection.terminate()

    async def transact(self, steps: Steps) -> list[Result]:
        """Run one flush in one transaction. Raises what the database raised, or CommitUnclear."""
        connection = await self._connect()
        await self._help_planner(connection)
        transaction = connection.transaction()
        await transaction.start()
        try:
            results = await _drive(connection, steps, self._growth)
        except BaseException:
            if not connection.is_closed():
                await transaction.rollback()
            raise
        try:
            await transaction.commit()
        except Exception as error:
            if not isinstance(error, _connection_errors()):
                raise  # a deferred constraint or a serialization failure: rolled back, and said so
            connection.terminate()
            raise CommitUnclear(str(error)) from error
        return results

    async def _help_planner(self, connection: asyncpg.Connection[Any]) -> None:
        """See to it that every look-up goes by the primary key, though the tables were empty when it began.

        Of a table that it has no figures of, the planner believes that any index will do whose first columns are asked
        for: it would read all rows of the merchant for each look-up. What is cached is planned again now and then.
        """
        self._transactions += 1
        for table in self._growth.due():
            await connection.execute(f"ANALYZE (SKIP_LOCKED) {table}")  # another process may be at it
        if _replan_due(self._transactions):
            await connection.execute("DISCARD PLANS")


def _replan_due(transactions: int) -> bool:
    """Often at first, while tables grow by multiples; then now and then."""
    return transactions & (transactions - 1) == 0 or transactions % REPLAN_EVERY == 0


class _Growth:
    """Counts what is inserted, to know which tables have outgrown what the planner knows of them."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = dict(known)
        self._rows = dict(known)
        self._due: set[str] = set()

    def inserted(self, table: str, rows: int) -> None:
        """Count rows; those of a flush that is rolled back too: an estimate will do."""
        self._rows[table] = total = self._rows.get(table, 0) + rows
        if total >= ANALYZE_GROWTH * self._known.get(table, 0) + ANALYZE_ROWS_MIN:
            self._due.add(table)

    def due(self) -> list[str]:
        """Return the tables to analyse now, once each."""
        due, self._due = sorted(self._due), set()
        for table in due:
            self._known[table] = self._rows[table]
        return due


_KNOWN_ROWS = (
    "SELECT relname AS name, greatest(reltuples, 0)::bigint AS rows FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
)
"""What the planner believes; -1 is a table that was never analysed."""


def _connection_errors() -> tuple[type[Exception], ...]:
    import asyncpg

    return (
        OSError,
        TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.OperatorInterventionError,
    )


async def _drive(connection: asyncpg.Connection[Any], steps: Steps, growth: _Growth) -> list[Result]:
    answer: list[Row] | None = None
    while True:
        try:
            statement = next(steps) if answer is None else steps.send(answer)
        except StopIteration as end:
            results: list[Result] = end.value
            return results
        answer = await _perform(connection, statement)
        if isinstance(statement, Insert):
            growth.inserted(statement.table, len(statement.rows))


async def _perform(connection: asyncpg.Connection[Any], statement: Statement) -> list[Row]:
    match statement:
        case Select(table, columns, values):
            sql = _select_sql(table, columns)
            arrays = [[key[position] for key in values] for position in range(len(columns))]
            return [dict(record) for record in await connection.fetch(sql, *arrays)]
        case Insert(table, rows):
            names = COLUMNS[table]
            await connection.execute(_insert_sql(table), *[[row[name] for row in rows] for name in names])
        case Update(table, columns, rows):
            names = (*columns, *PRIMARY_KEYS[table])
            await connection.execute(_update_sql(table, columns), *[[row[name] for row in rows] for name in names])
    return []


def _arrays(table: str, names: tuple[str, ...]) -> str:
    types = POSTGRES_TYPES[table]
    return ",".join(f"${position}::{types[name]}[]" for position, name in enumerate(names, 1))


def _select_sql(table: str, columns: tuple[str, ...]) -> str:
    aliases = ",".join(f"k_{name}" for name in columns)
    match = " AND ".join(f"t.{name}=k.k_{name}" for name in columns)
    names = ",".join(f"t.{name}" for name in COLUMNS[table])
    order = ",".join(f"t.{name}" for name in PRIMARY_KEYS[table])
    return (
        f"SELECT {names} FROM unnest({_arrays(table, columns)}) AS k({aliases}) "  # noqa: S608  # names of our own schema
        f"JOIN {table} t ON {match} ORDER BY {order} FOR UPDATE OF t"
    )


def _insert_sql(table: str) -> str:
    names = COLUMNS[table]
    return f"INSERT INTO {table} ({','.join(names)}) SELECT * FROM unnest({_arrays(table, names)})"  # noqa: S608  # names of our own schema


def _update_sql(table: str, columns: tuple[str, ...]) -> str:
    names = (*columns, *PRIMARY_KEYS[table])
    setters = ",".join(f"{name}=k.k_{name}" for name in columns)
    match = " AND ".join(f"t.{name}=k.k_{name}" for name in PRIMARY_KEYS[table])
    aliases = ",".join(f"k_{name}" for name in names)
    return f"UPDATE {table} t SET {setters} FROM unnest({_arrays(table, names)}) AS k({aliases}) WHERE {match}"  # noqa: S608  # names of our own schema
