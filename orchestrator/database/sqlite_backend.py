"""SQLite: one thread owns the writing connection; WAL, synchronous=FULL, BEGIN IMMEDIATE; a lock file keeps others out."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.database.flush import Result, Steps
from orchestrator.database.schema import COLUMNS, PRIMARY_KEYS, ROW_OF
from orchestrator.database.statements import Insert, Select, Statement, Update
from orchestrator.database.unit import Row


class DatabaseInUse(Exception):
    """Another process writes to this SQLite file: stop it, or let the command go through its API."""


PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",  # else REPLACE walks around the triggers that refuse a delete
    "PRAGMA cache_size = -65536",  # 64 MiB: with 2, a flush spills into the WAL and reads pages back (half the speed)
    "PRAGMA wal_autocheckpoint = 8000",  # 32 MiB of WAL: hot pages are copied into the file 8 times less often
)

ROWS_MAX = 32
"""Rows in one statement; times the columns of the widest table it stays far below SQLite's 32,766 values."""


class FileLock:
    """An advisory lock beside the database file; the kernel drops it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._file: int | None = None

    def take(self) -> None:
        """Raise DatabaseInUse where another process (or writer) has it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise DatabaseInUse(f"{self._path.name} is held: this SQLite file already has a writing process") from None
        self._file = handle

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class SqliteBackend:
    """Drives a flush on the writer's thread. Every failure is clear here: COMMIT either returned or rolled back."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = FileLock(self._path)
        self._thread = ThreadPoolExecutor(1, "crossrail-writer")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connect)

    def _connect(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None, cached_statements=512)
        for pragma in PRAGMAS:
            self._connection.execute(pragma).fetchall()

    async def close(self) -> None:
        def shut() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        await asyncio.get_running_loop().run_in_executor(self._thread, shut)
        self._thread.shutdown()
        self._lock.release()

    async def transact(self, steps: Steps) -> list[Result]:
        """Run one flush in one transaction. Raises what the database raised, after rolling back."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, steps)

    def _transact(self, steps: Steps) -> list[Result]:
        connection = self._connection
        assert connection is not None, "the backend is open"
        connection.execute("BEGIN IMMEDIATE")
        try:
            answer: list[Row] | None = None
            while True:
                try:
                    statement = next(steps) if answer is None else steps.send(answer)
                except StopIteration as end:
                    connection.execute("COMMIT")
                    results: list[Result] = end.value
                    return results
                answer = _perform(connection, statement)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _perform(connection: sqlite3.Connection, statement: Statement) -> list[Row]:
    match statement:
        case Select(table, columns, values):
            return _select(connection, table, columns, values)
        case Insert(table, rows):
            _insert(connection, table, rows)
        case Update(table, columns, rows):
            key = PRIMARY_KEYS[table]
            setters = ",".join(f"{name}=?" for name in columns)
            where = " AND ".join(f"{name}=?" for name in key)
            sql = f"UPDATE {table} SET {setters} WHERE {where}"  # noqa: S608  # names of our own schema
            connection.executemany(sql, [tuple(row[name] for name in (*columns, *key)) for row in rows])
    return []


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    take = ROW_OF[table]
    for start, count in _portions(len(rows)):
        connection.execute(
            _insert_sql(table, count), [value for row in rows[start : start + count] for value in take(row)]
        )


def _select(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], values: Sequence[tuple[Any, ...]]
) -> list[Row]:
    names = COLUMNS[table]
    rows: list[Row] = []
    for start, count in _portions(len(values)):
        asked = [value for key in values[start : start + count] for value in key]
        found = connection.execute(_select_sql(table, columns, count), asked).fetchall()
        rows += [dict(zip(names, row, strict=True)) for row in found]
    return rows


def _portions(total: int) -> Iterator[tuple[int, int]]:
    """Cut a count into powers of two, so that few statements are prepared and many rows go into each.

    Every step of a statement lets go of the interpreter's lock; another thread takes it, and this one waits.
    """
    start = 0
    while start < total:
        count = min(ROWS_MAX, 1 << (total - start).bit_length() - 1)
        yield start, count
        start += count


@cache
def _insert_sql(table: str, count: int) -> str:
    names = COLUMNS[table]
    marks = ",".join([f"({','.join('?' * len(names))})"] * count)
    return f"INSERT INTO {table} ({','.join(names)}) VALUES {marks}"  # noqa: S608  # names of our own schema


@cache
def _select_sql(table: str, columns: tuple[str, ...], count: int) -> str:
    names = ",".join(f"t.{name}" for name in COLUMNS[table])
    marks = ",".join([f"({','.join('?' * len(columns))})"] * count)
    match = " AND ".join(f"t.{name}=k.column{number}" for number, name in enumerate(columns, 1))
    # CROSS: SQLite keeps the order of the join, so each key is looked up in the table's index.
    return f"SELECT {names} FROM (VALUES {marks}) AS k CROSS JOIN {table} AS t ON {match}"  # noqa: S608  # names of our own schema
