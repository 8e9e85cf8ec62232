"""The service's own role on a real PostgreSQL server: it writes all that the product writes, and changes no history."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from orchestrator.database import migrate
from orchestrator.database.roles import BadRole, rights_too_many, roles_sql
from orchestrator.database.schema import APPEND_ONLY, METADATA
from tests.integration.ledger_proof.books import QUERY_S_MAX, USD, opened_books
from tests.support.postgres import PostgresServer

ROLE = "crossrail_app_of_tests"


@pytest.fixture
def role_url(postgres_server: PostgresServer, postgres_url: str) -> Iterator[str]:
    """The same database, as the role that the printed SQL makes."""
    database = postgres_url.rpartition("@/")[2].partition("?")[0]
    for _ in range(2):  # safe to repeat
        postgres_server.sql(roles_sql(ROLE), database)
    yield postgres_url.replace("//postgres@", f"//{ROLE}@")
    postgres_server.sql(f"DROP OWNED BY {ROLE}", database)
    postgres_server.sql(f"DROP ROLE {ROLE}")


async def test_the_role_can_do_all_that_the_service_does(role_url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, role_url)  # at the newest already: nothing to alter
    async with opened_books(role_url) as books:
        await books.merchant()
        await asyncio.gather(*(books.earn(USD) for _ in range(40)))
        await books.days(9)
        first = await books.ask(by="key:k")
        assert await books.ask(by="key:k", id_=first["id"]) == first  # a key that is there is read again
        await books.payouts.approve(first["id"], "operator:eve")
        await books.payouts.confirm(first["id"], "FT1")
        await books.assert_sound()
    assert await rights_too_many(role_url) == []


async def test_the_role_changes_no_history_even_where_there_are_no_triggers(role_url: str, postgres_url: str) -> None:
    async with opened_books(role_url) as books:
        await books.earn(USD)
    owner = await asyncpg.connect(postgres_url.replace("+asyncpg", "", 1), timeout=QUERY_S_MAX)
    service = await asyncpg.connect(role_url.replace("+asyncpg", "", 1), timeout=QUERY_S_MAX)
    try:
        for table in APPEND_ONLY:
            await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            column = next(iter(METADATA.tables[table].columns)).name
            for statement in (
                f"UPDATE {table} SET {column} = {column}",  # noqa: S608  # names of our own schema
                f"DELETE FROM {table}",  # noqa: S608  # names of our own schema
                f"TRUNCATE {table}",
                f"ALTER TABLE {table} ADD COLUMN x BIGINT",
                f"DROP TABLE {table}",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await service.execute(statement, timeout=QUERY_S_MAX)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute("SET session_replication_role = replica", timeout=QUERY_S_MAX)
    finally:
        await service.close()
        await owner.close()


async def test_an_owner_has_too_many_rights_and_is_told_which(postgres_url: str) -> None:
    found = await rights_too_many(postgres_url)
    assert len(found) == 4 * len(APPEND_ONLY)
    assert "UPDATE on posting" in found


@pytest.mark.parametrize("name", ["", "x; DROP TABLE posting", "Upper", "a" * 64, "1a"])
def test_only_plain_names_become_roles(name: str) -> None:
    with pytest.raises(BadRole):
        roles_sql(name)
