"""The migrations make exactly the tables that the code writes to."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.database.migrate import alembic_config, current_and_head, upgrade
from orchestrator.database.schema import METADATA
from orchestrator.database.sqlite_backend import DatabaseInUse, FileLock


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


UPGRADE = "import sys; from orchestrator.database.migrate import upgrade; upgrade(sys.argv[1])"


async def test_processes_that_start_at_once_do_not_migrate_at_once(database_url: str) -> None:
    """On PostgreSQL the others wait; beside somebody who writes the SQLite file they say so and change nothing."""
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", UPGRADE, database_url, stderr=PIPE) for _ in range(4)
    ]
    said = [(await one.communicate())[1].decode() for one in started]
    codes = [one.returncode for one in started]
    assert 0 in codes
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "already has a writing process" in text, text
    if database_url.startswith("postgresql"):
        assert codes == [0, 0, 0, 0]
    assert len(set(await current_and_head(database_url))) == 1


def test_an_old_file_that_somebody_writes_is_not_migrated(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    lock = FileLock(path)
    lock.take()
    with pytest.raises(DatabaseInUse, match="already has a writing process"):
        upgrade(f"sqlite+aiosqlite:///{path}")
    lock.release()
    upgrade(f"sqlite+aiosqlite:///{path}")


async def test_sessions_that_were_open_before_say_what_they_quoted(database_url: str) -> None:
    """Revision 0016: from the quotes of the time in which sessions are open; an older one stays without."""
    config = alembic_config(database_url)
    await asyncio.to_thread(command.upgrade, config, "0015")
    sessions, quotes = METADATA.tables["checkout_session"], METADATA.tables["quote"]
    names = [column.name for column in sessions.columns if column.name != "quoted"]
    blank = {name: 0 if name in {"amount_units", "save_method", "expires_us"} else "" for name in names}
    session_of = {
        "a": ("open", 50, ["EUR", "BRL", "EUR"]),
        "b": ("open", 60, []),
        "c": ("complete", 20, ["NGN"]),
        "d": ("open", 70, ["USDT"]),
    }
    engine = create_async_engine(database_url)
    try:
        async with engine.begin() as connection:
            for id_, (status, at_us, currencies) in session_of.items():
                key = {"merchant_id": "mer_1", "id": id_, "status": status, "created_us": at_us}
                await connection.execute(insert(sessions).values({**blank, **key}))
                for number, currency in enumerate([*currencies]):
                    await connection.execute(
                        insert(quotes).values(
                            merchant_id="mer_1", id=f"{id_}{number}", mode="", session_id=id_,
                            body=f'{{"quote":"{currency}/2"}}', used_by=None, expires_us=0, created_us=at_us,
                        )
                    )  # fmt: skip
        await asyncio.to_thread(command.upgrade, config, "head")
        async with engine.begin() as connection:
            rows = (await connection.execute(select(sessions.c.id, sessions.c.quoted))).all()
    finally:
        await engine.dispose()
    assert sorted(map(tuple, rows)) == [("a", "BRL EUR EUR"), ("b", ""), ("c", ""), ("d", "USDT")]
