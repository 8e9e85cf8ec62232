"""Reading, beside the writer: SQLAlchemy Core, plain rows, no ORM objects, no locks.

What is read here may be old by the time it is used: a decision about money reads its rows again inside its unit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Select, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.database.unit import Row

READ_TIMEOUT_S = 30


class Snapshot:
    """Queries that see one state of the database."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self, query: Select[Any]) -> list[Row]:
        return [dict(row) for row in (await self._connection.execute(query)).mappings()]

    async def stream(self, query: Select[Any], batch: int = 5000) -> AsyncIterator[Sequence[Row]]:
        """Yield the rows of a long query in batches."""
        result = await self._connection.stream(query)
        async for rows in result.mappings().partitions(batch):
            yield [dict(row) for row in rows]


class Reads:
    """A pool of reading connections."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)

    async def all(self, query: Select[Any]) -> list[Row]:
        """Return every row as a dict by column name."""
        async with asyncio.timeout(READ_TIMEOUT_S), self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def one(self, query: Select[Any]) -> Row | None:
        """Return the first row, or None."""
        async with asyncio.timeout(READ_TIMEOUT_S), self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
            return None if row is None else dict(row)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Give several queries one view of the database, whatever is written meanwhile."""
        async with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                await connection.exec_driver_sql("BEGIN")
            yield Snapshot(connection)
            await connection.rollback()

    async def ping(self) -> None:
        """Raise where the database does not answer."""
        async with asyncio.timeout(5), self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._engine.dispose()


def _engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True)
    engine = create_async_engine(url, pool_size=4, max_overflow=4)

    @event.listens_for(engine.sync_engine, "connect")
    def only_read(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA query_only = ON")
        cursor.execute("PRAGMA busy_timeout = 5000")
        cursor.close()

    return engine
