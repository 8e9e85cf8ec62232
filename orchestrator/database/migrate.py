"""Bring a database to the newest schema (alembic). Safe to repeat."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.database.sqlite_backend import FileLock

MIGRATIONS = Path(__file__).with_name("migrations")


def alembic_config(url: str) -> Config:
    """Return what alembic has to know: where our revisions are, and the database."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Upgrade to head. Call it outside a running event loop (or in a thread).

    One process at a time: on PostgreSQL the others wait (an advisory lock, in ``env.py``); beside a process that writes the
    SQLite file nothing is changed: raises DatabaseInUse, unless the file is at head already.
    """
    if not url.startswith("sqlite"):
        command.upgrade(alembic_config(url), "head")
        return
    path = Path(url.partition(":///")[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    current, head = asyncio.run(current_and_head(url))
    if current == head:
        return
    lock = FileLock(path)
    lock.take()
    try:
        command.upgrade(alembic_config(url), "head")
    finally:
        lock.release()


async def current_and_head(url: str) -> tuple[str | None, str | None]:
    """Return the revision that the database has and the one that the code wants."""
    engine = create_async_engine(url)

    def read(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    try:
        async with asyncio.timeout(10), engine.connect() as connection:
            current = await connection.run_sync(read)
    finally:
        await engine.dispose()
    return current, ScriptDirectory.from_config(alembic_config(url)).get_current_head()
