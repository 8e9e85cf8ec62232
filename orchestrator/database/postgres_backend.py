"""PostgreSQL: one pinned connection; rows are locked with FOR UPDATE in one order; writes are arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.database.flush import Result, Steps
from orchestrator.database.postgres_sql import Prepared, Shape, Write, prepared, select, write_sql
from orchestrator.database.schema import COLUMNS, ROW_OF
from orchestrator.database.sleepers import PAUSE_S_MAX, WRITER_NAME, end_sleepers
from orchestrator.database.statements import Insert, Select
from orchestrator.database.unit import Row

if TYPE_CHECKING:
    import asyncpg

STATEMENT_TIMEOUT_S = 30
REPLAN_EVERY = 1024
COPY_ROWS_MIN = 8
"""Rows from which COPY is cheaper than an INSERT of arrays, on both sides."""
USUAL_AFTER = 8
SHAPES_MAX = 1000
STATEMENTS_KEPT = 500
ANALYZE_ROWS_MIN = 256
ANALYZE_GROWTH = 4
"""A table is analysed by us when it has grown to so many times what the planner knows of; autovacuum does the rest."""


class CommitUnclear(Exception):
    """The connection broke at COMMIT: read the keys again before answering anybody."""


class PostgresBackend:
    """Drives a flush on one connection of its own."""

    def __init__(self, dsn: str, *, pause_s_max: float = PAUSE_S_MAX) -> None:
        self._dsn = dsn
        self._pause_s_max = pause_s_max
        self._connection: asyncpg.Connection[Any] | None = None
        self._transactions = 0
        self._memory = _Memory({})

    async def open(self) -> None:
        await self._connect()

    async def _connect(self) -> asyncpg.Connection[Any]:
        import asyncpg

        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=10,
                command_timeout=STATEMENT_TIMEOUT_S,
                statement_cache_size=STATEMENTS_KEPT,
                max_cached_statement_lifetime=0,
                max_cacheable_statement_size=0,
                server_settings={
                    # A plan that was cached while a table was empty scans it for ever (5 x slower): only trivial
                    # look-ups by index are sent here, so the other plans are switched off for this connection.
                    "enable_seqscan": "off",
                    "enable_hashjoin": "off",
                    "enable_mergejoin": "off",
                    "jit": "off",
                    # For our own ANALYZE: a tenth of the usual sample says enough, and nobody waits half a second for it.
                    "default_statistics_target": "10",
                    "idle_in_transaction_session_timeout": str(int(self._pause_s_max * 1000)),
                    "application_name": WRITER_NAME,
                },
            )
            self._memory = _Memory({row["name"]: row["rows"] for row in await self._connection.fetch(_KNOWN_ROWS)})
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
            results = await _drive(connection, steps, self._memory)
        except BaseException as error:
            if not connection.is_closed():
                await transaction.rollback()
                if isinstance(error, TimeoutError):  # perhaps it waited for the locks of a process that sleeps
                    await end_sleepers(connection, self._pause_s_max)
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
        for table in self._memory.growth.due():
            await connection.execute(f"ANALYZE (SKIP_LOCKED) {table}")  # another process may be at it
        if _replan_due(self._transactions):
            await connection.execute("DISCARD PLANS")


def _replan_due(transactions: int) -> bool:
    """Often at first, while tables grow by multiples; then now and then."""
    return transactions & (transactions - 1) == 0 or transactions % REPLAN_EVERY == 0


class _Memory:
    """What one connection has seen."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self.growth = _Growth(known)
        self._seen: Counter[tuple[Shape, ...]] = Counter()

    def usual(self, writes: Sequence[Prepared]) -> bool:
        """Say whether these writes came together often enough for a statement of their own to be worth planning."""
        if len(writes) < 2:
            return False
        if len(self._seen) > SHAPES_MAX:
            self._seen.clear()
        shapes = tuple(write.shape for write in writes)
        self._seen[shapes] += 1
        return self._seen[shapes] > USUAL_AFTER


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


async def _drive(connection: asyncpg.Connection[Any], steps: Steps, memory: _Memory) -> list[Result]:
    """Answer what a flush asks. What it writes is kept back until it reads again or ends: a round trip less each."""
    answer: list[Row] | None = None
    writes: list[Write] = []
    while True:
        try:
            statement = next(steps) if answer is None else steps.send(answer)
        except StopIteration as end:
            await _write(connection, writes, memory)
            results: list[Result] = end.value
            return results
        if not isinstance(statement, Select):
            writes.append(statement)
            answer = []
            continue
        await _write(connection, writes, memory)
        writes = []
        sql, parameters = select(statement)
        found = await connection.fetch(sql, *parameters)
        answer = [dict(record) for record in found]


async def _write(connection: asyncpg.Connection[Any], writes: Sequence[Write], memory: _Memory) -> None:
    """Write in the order given: long inserts by COPY, the rest one by one, or all at once where that is usual."""
    short: list[Prepared] = []
    for write in writes:
        if isinstance(write, Insert):
            memory.growth.inserted(write.table, len(write.rows))
            if len(write.rows) >= COPY_ROWS_MIN:
                await connection.copy_records_to_table(
                    write.table,
                    records=map(ROW_OF[write.table], write.rows),
                    columns=COLUMNS[write.table],
                    timeout=STATEMENT_TIMEOUT_S,
                )
                continue
        short.append(prepared(write))
    for portion in [short] if memory.usual(short) else [[write] for write in short]:
        sql = write_sql(tuple(write.shape for write in portion))
        await connection.execute(sql, *[value for write in portion for value in write.parameters])
