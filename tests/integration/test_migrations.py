"""The migrations make exactly the tables that the code writes to."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.database.migrate import current_and_head
from orchestrator.database.schema import METADATA


async def test_a_migrated_database_has_the_tables_of_the_code_and_no_others(migrated_database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    engine = create_async_engine(migrated_database_url)
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()
    current, head = await current_and_head(migrated_database_url)
    assert current == head
