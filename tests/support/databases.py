"""Databases for tests: empty or migrated, SQLite or PostgreSQL, each its own and quick to get.

Migrations run once per session and kind; every test then gets a copy (a file, or a PostgreSQL TEMPLATE).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Literal

from tests.support.postgres import PostgresServer, start_postgres

DatabaseKind = Literal["sqlite", "postgres"]


def sqlite_url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


class Databases:
    """The session's servers and templates. ``stop`` ends what was started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: PostgresServer | None = None
        self._sqlite_template: Path | None = None
        self._postgres_template: str | None = None

    @property
    def server(self) -> PostgresServer:
        """The PostgreSQL server, started by the first test that needs it."""
        if self._server is None:
            self._server = start_postgres()
        return self._server

    def empty(self, kind: DatabaseKind, folder: Path) -> tuple[str, Callable[[], None]]:
        """A new database and what removes it."""
        if kind == "sqlite":
            return sqlite_url(folder / "crossrail.db"), _nothing
        return self._postgres(template=None)

    def migrated(self, kind: DatabaseKind, folder: Path) -> tuple[str, Callable[[], None]]:
        """A new database at the newest migration, and what removes it."""
        if kind == "sqlite":
            file = folder / "crossrail.db"
            shutil.copyfile(self._sqlite_at_head(), file)
            return sqlite_url(file), _nothing
        return self._postgres(template=self._postgres_at_head())

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def _postgres(self, template: str | None) -> tuple[str, Callable[[], None]]:
        server = self.server
        name = server.create(template)
        return server.url(name), lambda: server.drop(name)

    def _sqlite_at_head(self) -> Path:
        if self._sqlite_template is None:
            file = self._folder / "template.db"
            _upgrade(sqlite_url(file))
            with closing(sqlite3.connect(file)) as connection:  # all of it into the one file that is copied
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._sqlite_template = file
        return self._sqlite_template

    def _postgres_at_head(self) -> str:
        if self._postgres_template is None:
            name = self.server.create()
            _upgrade(self.server.url(name))
            self._postgres_template = name
        return self._postgres_template


def _upgrade(url: str) -> None:
    from orchestrator.database.migrate import upgrade  # heavy: only tests that need a database pay for it

    # In a thread: a migration runs an event loop of its own, and pytest-asyncio owns this thread's.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(upgrade, url).result()


def _nothing() -> None:
    """An SQLite file goes with the test's folder."""
