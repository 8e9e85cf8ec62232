"""Rows by the thousand, written past the services, and how a database means to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, insert, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from orchestrator.database.tables import table_of

WHOLE = r"(?m)(^SCAN {0}$|Seq Scan on {0}\b)"
"""How SQLite and PostgreSQL say that a whole table is read."""

Rows = list[dict[str, Any]]


def row_of(model: type[SQLModel], **given: Any) -> dict[str, Any]:
    """Return a row with nothing in what is not given."""
    blank = {column.name: "" if column.type.python_type is str else 0 for column in table_of(model).columns}
    return {**blank, **given}


async def fill(url: str, filled: Mapping[type[SQLModel], Sequence[dict[str, Any]]], *, analyse: bool = True) -> None:
    """Write rows; without ``analyse`` as a service leaves them: SQLite plans without statistics then."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for model, rows in filled.items():
            if rows:
                await connection.execute(insert(table_of(model)), list(rows))
        if analyse or engine.dialect.name == "postgresql":  # PostgreSQL does it by itself, a minute later
            await connection.execute(text("ANALYZE"))
    await engine.dispose()


async def plan(url: str, query: Select[Any]) -> str:
    """Return how a query would be carried out."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        written = str(query.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True}))
        how = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        rows = (await connection.exec_driver_sql(f"{how} {written}".replace("%%", "%"))).all()
    await engine.dispose()
    return "\n".join(str(row[-1]) for row in rows)
