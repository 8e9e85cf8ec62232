"""Every append-only table has its triggers, on both databases: none was forgotten by a migration."""

from __future__ import annotations

from sqlalchemy import column, literal_column, select, table

from orchestrator.database.schema import APPEND_ONLY
from tests.integration.ledger_proof.books import Books


async def test_every_append_only_table_is_guarded_by_the_database(books: Books) -> None:
    if books.url.startswith("sqlite"):
        master = table("sqlite_master", column("type"), column("name"))
        query = select(master.c.name).where(master.c.type == "trigger")
        wanted = {f"{name}_no_{verb}" for name in APPEND_ONLY for verb in ("update", "delete")}
    else:
        triggers = table("pg_trigger", column("tgname"), column("tgenabled"))
        query = select(triggers.c.tgname.label("name")).where(triggers.c.tgenabled != literal_column("'D'"))
        wanted = {f"{name}_{what}" for name in APPEND_ONLY for what in ("append_only", "no_truncate")}
    assert wanted <= {row["name"] for row in await books.reads.all(query)}
