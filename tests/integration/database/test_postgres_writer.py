"""What only PostgreSQL can do to the writer: several writers, a COMMIT in doubt, plans of empty tables."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select

from orchestrator.database.postgres_backend import PostgresBackend
from orchestrator.database.schema import COLUMNS, POSTGRES_TYPES, PRIMARY_KEYS
from orchestrator.database.tables import JournalEntry, Merchant, table_of
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.database.writer import OutcomeUnclear, backend_for
from orchestrator.ledger.check import check
from tests.integration.database.broken_wire import Cut, broken_wire
from tests.integration.database.units import CENT, MERCHANT, MODE, opened_reads, opened_writer, top_up


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cr-") as name:
        yield Path(name)


async def _entries(url: str) -> int:
    async with opened_reads(url) as reads:
        report = await check(reads)
        assert report.ok, report.findings
        return len(await reads.all(select(table_of(JournalEntry))))


async def test_two_writers_execute_a_key_once(postgres_url: str) -> None:
    async with opened_writer(postgres_url) as one, opened_writer(postgres_url) as two:
        applied = await asyncio.gather(
            *(writer.submit(top_up(f"m{n}", key=f"k{n}")) for n in range(100) for writer in (one, two))
        )
    assert sum(not done.duplicate for done in applied) == 100
    assert all(done.answer["credited"] == 100 * CENT for done in applied)
    assert await _entries(postgres_url) == 100


async def test_two_writers_on_one_wallet_lose_no_update(postgres_url: str) -> None:
    async with opened_writer(postgres_url) as one, opened_writer(postgres_url) as two:
        await one.submit(top_up("first"))
        for start in range(0, 60, 10):  # small flushes, so that the two really meet
            await asyncio.gather(
                *(writer.submit(top_up(f"m{n}")) for n in range(start, start + 5) for writer in (one,)),
                *(writer.submit(top_up(f"m{n}")) for n in range(start + 5, start + 10) for writer in (two,)),
            )
    assert await _entries(postgres_url) == 61


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_whose_answer_was_lost_is_resolved_by_its_keys(
    postgres_url: str, short_folder: Path, cut: Cut
) -> None:
    async with broken_wire(postgres_url, short_folder) as (url, wire), opened_writer(url) as writer:
        await writer.submit(top_up("first", key="first"))
        wire.cuts += [cut]
        applied = await asyncio.gather(*(writer.submit(top_up(f"m{n}", key=f"k{n}")) for n in range(10)))
        assert wire.was_cut == 1
    # The answer is right either way; whether it says "duplicate" tells which of the two happened.
    assert {done.duplicate for done in applied} == {cut == "after"}
    assert {done.answer["credited"] for done in applied} == {100 * CENT}
    assert await _entries(postgres_url) == 11


async def test_commits_in_doubt_one_after_another_still_credit_once(postgres_url: str, short_folder: Path) -> None:
    async with broken_wire(postgres_url, short_folder) as (url, wire), opened_writer(url) as writer:
        wire.cuts += ["after", "before", "after"]
        applied = await asyncio.gather(*(writer.submit(top_up(f"m{n}", key=f"k{n}")) for n in range(5)))
        assert wire.was_cut == 3
    assert len(applied) == 5
    assert await _entries(postgres_url) == 5


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_unit_without_a_key_is_not_run_again_once_its_commit_is_in_doubt(
    postgres_url: str, short_folder: Path, cut: Cut
) -> None:
    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        changes.insert("merchant", id="m1", name="x", created_us=view.now_us)
        return {}

    async with broken_wire(postgres_url, short_folder) as (url, wire), opened_writer(url) as writer:
        wire.cuts += [cut]
        with pytest.raises(OutcomeUnclear):
            await writer.submit(Unit(MERCHANT, MODE, None, (row_lock("merchant", "m1"),), decide))
        await writer.submit(top_up("m", key="k"))
    async with opened_reads(postgres_url) as reads:
        assert len(await reads.all(select(table_of(Merchant)))) == (cut == "after")


async def test_a_server_that_ends_our_session_in_the_middle_costs_no_unit(postgres_url: str) -> None:
    dsn = postgres_url.replace("+asyncpg", "")
    other = await asyncpg.connect(dsn, timeout=10)
    try:
        async with opened_writer(postgres_url) as writer:
            await writer.submit(top_up("m0", key="k0"))
            sessions_ended = 0
            for round_ in range(3):
                calls = [writer.submit(top_up(f"m{round_}-{n}", key=f"k{round_}-{n}")) for n in range(10)]
                ended, *_ = await asyncio.gather(
                    other.fetchval(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                        "WHERE application_name = 'crossrail-writer' AND datname = current_database()"
                    ),
                    *calls,
                )
                sessions_ended += ended  # none, where the one before was ended while idle and nobody has noticed yet
            assert sessions_ended >= 1
    finally:
        await other.close()
    assert await _entries(postgres_url) == 31


async def test_a_waiting_flush_sees_what_the_other_writer_committed(postgres_url: str) -> None:
    """Two decisions on one row: the second reads the row again after it waited for the lock."""

    def take(name: str) -> Unit:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("merchant", "m1")
            assert row is not None
            if row["name"] != "free":
                return {"got": False}
            changes.update("merchant", ("m1",), name=name)
            return {"got": True}

        return Unit(MERCHANT, MODE, None, (row_lock("merchant", "m1"),), decide)

    def make(view: View, changes: Changes) -> Mapping[str, Any]:
        changes.insert("merchant", id="m1", name="free", created_us=view.now_us)
        return {}

    async with opened_writer(postgres_url) as one, opened_writer(postgres_url) as two:
        await one.submit(Unit(MERCHANT, MODE, None, (row_lock("merchant", "m1"),), make))
        got = await asyncio.gather(one.submit(take("one")), two.submit(take("two")), one.submit(take("three")))
    assert sum(done.answer["got"] for done in got) == 1


async def test_plans_made_while_a_table_was_empty_are_not_kept_when_it_has_grown(postgres_url: str) -> None:
    """Eight flushes pin plans for an empty table; 20,000 rows of one merchant later they must find by primary key."""
    backend = backend_for(postgres_url)
    assert isinstance(backend, PostgresBackend)
    looked_up = ("attempt", "lot", "account")

    def look(view: View, _changes: Changes) -> Mapping[str, Any]:
        return {"found": [view.one(table, *key) is not None for table, key in keys]}

    # Fifty rows at once: for arrays of that length PostgreSQL keeps one plan instead of planning each time.
    keys = [
        (table, tuple(MERCHANT if name == "merchant_id" else f"x{n}" for name in PRIMARY_KEYS[table]))
        for table in looked_up
        for n in range(50)
    ]
    unit = Unit(MERCHANT, MODE, None, tuple(row_lock(table, *key) for table, key in keys), look)
    async with opened_writer(postgres_url, backend) as writer:
        for _ in range(8):
            await writer.submit(unit)
        connection = backend._connection
        assert connection is not None
        for table in looked_up:
            values = ",".join(_value(table, name) for name in COLUMNS[table])
            await connection.execute(f"INSERT INTO {table} SELECT {values} FROM generate_series(1, 20000) n")  # noqa: S608  # our own schema
        for _ in range(8):
            await writer.submit(unit)
        checked = set()
        for row in await connection.fetch(_PREPARED):
            found = re.search(r"JOIN (\w+) t ", row["statement"])
            if found is None or found[1] not in looked_up:
                continue
            explained = await connection.fetch(f"EXPLAIN EXECUTE {row['name']}({_arguments(row['types'])})")
            plan = "\n".join(line[0] for line in explained)
            assert f"using {found[1]}_pkey" in plan or "using account_subject" in plan, plan
            assert "Filter" not in plan, plan
            checked.add(found[1])
    assert checked == set(looked_up)


async def test_a_table_that_grows_under_the_writer_is_looked_up_by_its_primary_key(postgres_url: str) -> None:
    """Another index begins with the same columns, and nobody has analysed the table: see PostgresBackend._help_planner."""

    def use(number: int) -> Unit:
        key = (MERCHANT, MODE, 7, "", f"e{number:06}")
        names = ("merchant_id", "mode", "day", "source", "event_id")
        others = {name: "" for name in COLUMNS["usage_event"] if POSTGRES_TYPES["usage_event"][name] == "text"}
        numbers = {name: 0 for name in COLUMNS["usage_event"] if POSTGRES_TYPES["usage_event"][name] == "bigint"}

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            assert view.one("usage_event", *key) is None
            changes.insert("usage_event", **{**others, **numbers, **dict(zip(names, key, strict=True))})
            return {}

        return Unit(MERCHANT, MODE, None, (row_lock("usage_event", *key),), decide)

    backend = backend_for(postgres_url)
    assert isinstance(backend, PostgresBackend)
    async with opened_writer(postgres_url, backend) as writer:
        for start in range(0, 3000, 250):
            await asyncio.gather(*(writer.submit(use(number)) for number in range(start, start + 250)))
        connection = backend._connection
        assert connection is not None
        (row,) = await connection.fetch(
            _PREPARED + " WHERE cardinality(parameter_types) > 0 AND statement LIKE '%JOIN usage_event t ON %'"
        )
        explained = await connection.fetch(f"EXPLAIN EXECUTE {row['name']}({_arguments(row['types'])})")
        plan = "\n".join(line[0] for line in explained)
        assert "using usage_event_pkey" in plan, plan
        assert "Filter" not in plan, plan


async def test_no_statement_of_a_flush_joins_two_tables_or_scans_one(postgres_url: str) -> None:
    """The pin makes clever SQL quadratic (array against array): every statement finds its rows by an index, one by one."""
    backend = backend_for(postgres_url)
    assert isinstance(backend, PostgresBackend)
    async with opened_writer(postgres_url, backend) as writer:
        for number in range(20):
            await asyncio.gather(*(writer.submit(top_up(f"m{number}-{n}", key=f"k{number}-{n}")) for n in range(9)))
        connection = backend._connection
        assert connection is not None
        prepared = [row for row in await connection.fetch(_PREPARED) if "unnest" in row["statement"]]
        assert len(prepared) > 5
        for row in prepared:
            explained = await connection.fetch(f"EXPLAIN EXECUTE {row['name']}({_arguments(row['types'])})")
            plan = "\n".join(line[0] for line in explained)
            for word in ("Seq Scan", "Hash Join", "Merge Join", "Materialize", "Disabled"):
                assert word not in plan, f"{row['statement']}\n{plan}"


_PREPARED = "SELECT name, statement, parameter_types::text[] AS types FROM pg_prepared_statements"


def _arguments(types: list[str]) -> str:
    """Return parameters that a plan can be shown for: one value for all rows, or an array of them."""
    return ",".join("NULL" if one.endswith("[]") else "'1'" for one in types)


def _value(table: str, column: str) -> str:
    if column == "merchant_id":
        return f"'{MERCHANT}'"
    if POSTGRES_TYPES[table][column] == "bigint":
        return "0"
    return "'x' || n" if column in PRIMARY_KEYS[table] or column == "payment_id" else "'x'"
