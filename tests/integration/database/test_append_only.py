"""Raw SQL beside the product: what is append-only is refused by the database itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import asyncpg
import pytest

from orchestrator.database.schema import APPEND_ONLY, COLUMNS, PRIMARY_KEYS
from orchestrator.database.sqlite_backend import PRAGMAS
from tests.integration.database.units import opened_writer, top_up

FILLED = ("journal_entry", "posting", "money_claim", "unit_key", "event")
"""What one keyed top-up writes."""


def test_every_table_of_money_facts_is_append_only() -> None:
    assert {"journal_entry", "posting", "payment_fact", "money_claim", "unit_key", "event"} <= set(APPEND_ONLY)


@pytest.fixture
async def filled_sqlite(sqlite_url: str) -> str:
    async with opened_writer(sqlite_url) as writer:
        await writer.submit(top_up("m", key="k"))
    return sqlite_url.partition(":///")[2]


@pytest.fixture
async def filled_postgres(postgres_url: str) -> str:
    async with opened_writer(postgres_url) as writer:
        await writer.submit(top_up("m", key="k"))
    return postgres_url.replace("+asyncpg", "")


def _replacements(table: str) -> Iterator[str]:
    names = ",".join(COLUMNS[table])
    for verb in ("REPLACE", "INSERT OR REPLACE"):
        yield f"{verb} INTO {table} ({names}) SELECT {names} FROM {table}"  # noqa: S608  # names of our own schema


def _upsert(table: str) -> str:
    names, key, last = ",".join(COLUMNS[table]), ",".join(PRIMARY_KEYS[table]), COLUMNS[table][-1]
    return (
        f"INSERT INTO {table} ({names}) SELECT {names} FROM {table} "  # noqa: S608  # names of our own schema
        f"ON CONFLICT ({key}) DO UPDATE SET {last} = excluded.{last}"
    )


def _attacks(table: str) -> Iterator[str]:
    name = COLUMNS[table][-1]
    yield f"UPDATE {table} SET {name} = {name}"  # noqa: S608  # names of our own schema
    yield f"DELETE FROM {table}"  # noqa: S608  # the same


async def test_sqlite_refuses_to_change_delete_or_replace_a_money_fact(filled_sqlite: str) -> None:
    with closing(sqlite3.connect(filled_sqlite, isolation_level=None)) as connection:
        for pragma in PRAGMAS:  # as the writer's own connection has them
            connection.execute(pragma).fetchall()
        for table in FILLED:
            before = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # names of our own schema
            assert before
            for attack in (*_attacks(table), *_replacements(table)):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(attack)
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == before  # noqa: S608  # the same


async def test_postgres_refuses_to_change_delete_truncate_or_upsert_a_money_fact(
    filled_postgres: str,
) -> None:
    connection = await asyncpg.connect(filled_postgres, timeout=10)
    try:
        for table in FILLED:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  # names of our own schema
            for attack in (*_attacks(table), f"TRUNCATE {table}", f"TRUNCATE {table} CASCADE", _upsert(table)):
                with pytest.raises(asyncpg.RaiseError, match="append-only"):
                    await connection.execute(attack)
    finally:
        await connection.close()


async def test_sqlite_tables_take_no_value_of_another_type(filled_sqlite: str) -> None:
    with closing(sqlite3.connect(filled_sqlite)) as connection:
        loose = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%STRICT%'")
        assert [name for (name,) in loose if name != "alembic_version"] == []
        with pytest.raises(sqlite3.IntegrityError, match="cannot store"):
            connection.execute("UPDATE account SET balance = 'much'")
