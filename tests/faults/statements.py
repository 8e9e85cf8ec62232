"""Every statement that a writer sends to its database, BEGIN and COMMIT among them: places where a process can die."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from tests.faults.boundaries import Fuse

WRITERS = "cached_statements"
"""Only the writer's own connection to SQLite asks for so many: readers do not burn the fuse."""


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Statements:
    """Burns a fuse before each statement, and after each COMMIT, while one is there."""

    def __init__(self) -> None:
        self.fuse: Fuse | None = None
        self.seen = 0

    def step(self) -> None:
        self.seen += 1
        if self.fuse is not None:
            self.fuse.step()

    @contextmanager
    def burning(self, left: int) -> Iterator[None]:
        self.fuse = Fuse(left, kill)
        try:
            yield
        finally:
            self.fuse = None


def watched() -> Statements:
    """Watch both databases' writers, from now on, in this whole process."""
    statements = Statements()
    connect: Any = sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
            statements.step()
            cursor = super().execute(sql, *given)
            if sql == "COMMIT":
                statements.step()
            return cursor

        def executemany(self, sql: str, *given: Any) -> sqlite3.Cursor:
            statements.step()
            return super().executemany(sql, *given)

    def connected(*given: Any, **named: Any) -> Any:
        return connect(*given, **named, **({"factory": Watched} if WRITERS in named else {}))

    setattr(sqlite3, "connect", connected)  # noqa: B010  # mypy would ask for every overload

    for name in ("execute", "fetch", "copy_records_to_table"):
        _watch(name, statements)
    return statements


def _watch(name: str, statements: Statements) -> None:
    plain = getattr(asyncpg.Connection, name)

    async def stepping(self: Any, *given: Any, **named: Any) -> Any:
        statements.step()
        answer = await plain(self, *given, **named)
        if given and str(given[0]).startswith("COMMIT"):
            statements.step()
        return answer

    setattr(asyncpg.Connection, name, stepping)
