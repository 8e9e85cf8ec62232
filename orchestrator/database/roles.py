"""A PostgreSQL role for the service that can add to the append-only tables and change nothing in them.

The triggers refuse a change whoever makes it, but an owner may drop them. This role is not the owner: it has no right to
UPDATE, DELETE or TRUNCATE there, none to alter anything, and none to delete anywhere (the product deletes nothing).
Migrations are run by the owner: ``crossrail db upgrade`` with the owner's address.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.database.schema import APPEND_ONLY, METADATA

ROLE: Final = "crossrail_app"
NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
QUERY_S_MAX: Final = 30


class BadRole(ValueError):
    """Not a plain name: lower-case letters, digits and underscores."""


def roles_sql(role: str = ROLE, schema: str = "public") -> str:
    """Return the statements, for psql as the owner of the tables. Safe to repeat; again after each migration."""
    for name in (role, schema):
        if NAME.fullmatch(name) is None:
            raise BadRole(f"{name[:80]!r} is not a plain name of a role or schema")
    changed = sorted(set(METADATA.tables) - set(APPEND_ONLY))
    lines = [
        "-- Run as the owner of the tables, after every migration. Set the password yourself: ALTER ROLE ... PASSWORD.",
        "DO $$ BEGIN",
        f"  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} LOGIN; END IF;",
        "END $$;",
        f"ALTER ROLE {role} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;",
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC;",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};",
        f"GRANT USAGE ON SCHEMA {schema} TO {role};",
        f"GRANT SELECT ON {schema}.alembic_version TO {role};",
        "-- append-only: added to, never changed",
        *(f"GRANT SELECT, INSERT ON {schema}.{table} TO {role};" for table in sorted(APPEND_ONLY)),
        "-- the rest: changed, never deleted",
        *(f"GRANT SELECT, INSERT, UPDATE ON {schema}.{table} TO {role};" for table in changed),
    ]
    return "\n".join(lines) + "\n"


async def rights_too_many(url: str) -> list[str]:
    """Return what the role of this address may do to append-only tables beyond adding: nothing, where all is well."""
    engine = create_async_engine(url)
    query = text(
        "SELECT t.name AS name, p.verb AS verb FROM unnest(CAST(:tables AS text[])) AS t(name), "
        "unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS p(verb) "
        "WHERE has_table_privilege(current_user, t.name, p.verb) "
        "OR (p.verb = 'UPDATE' AND has_any_column_privilege(current_user, t.name, 'UPDATE')) ORDER BY 1, 2"
    ).bindparams(bindparam("tables"))
    try:
        async with asyncio.timeout(QUERY_S_MAX), engine.connect() as connection:
            rows = (await connection.execute(query, {"tables": sorted(APPEND_ONLY)})).all()
    finally:
        await engine.dispose()
    return [f"{verb} on {name}" for name, verb in rows]
