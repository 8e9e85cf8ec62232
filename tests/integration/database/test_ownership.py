"""Two processes on one PostgreSQL: who owns a merchant's group, and what happens to one that slept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from orchestrator.clock import SystemClock
from orchestrator.database import postgres_backend
from orchestrator.database.ownership import Ownership
from orchestrator.database.postgres_backend import PostgresBackend
from orchestrator.database.unit import NotOwner
from orchestrator.database.writer import FORWARDABLE, Forwardable, Writer, backend_for
from orchestrator.ledger.check import check
from tests.integration.database.chain import sealed_entries
from tests.integration.database.units import CENT, MERCHANT, opened_reads, top_up

GROUPS = 4


def _ownership(url: str, name: str, *, lease_s: float = 30.0) -> Ownership:
    return Ownership(url, name, f"http://{name}", groups=GROUPS, lease_s=lease_s)


@asynccontextmanager
async def _process(url: str, name: str) -> AsyncIterator[tuple[Writer, Ownership]]:
    """A writer and what it owns; the leases are looked at when the test says so."""
    ownership = _ownership(url, name)
    writer = Writer(backend_for(url), SystemClock(), ownership)
    await writer.open()
    try:
        yield writer, ownership
    finally:
        await writer.close()
        await ownership.close()


async def expire(url: str, owner: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=10)
    try:
        await connection.execute("UPDATE writer_lease SET expires_us = 1 WHERE owner = $1", owner)
    finally:
        await connection.close()


async def _entries(url: str) -> int:
    async with opened_reads(url) as reads:
        report = await check(reads)
        assert report.ok, report.findings
        assert await sealed_entries(reads) == report.entries
        return report.entries


async def test_two_processes_share_the_groups_and_know_where_the_other_is(postgres_url: str) -> None:
    one, two = _ownership(postgres_url, "one"), _ownership(postgres_url, "two")
    try:
        for each in (one, two, one, two):
            await each.look()
        assert len(one.held) == len(two.held) == GROUPS // 2
        assert set(one.held) | set(two.held) == set(range(GROUPS))
        for merchant in (f"mer_{number}" for number in range(20)):
            assert (one.claim(merchant) is None) == (two.claim(merchant) is not None)
        await one.look()
        mine = next(name for name in (f"mer_{number}" for number in range(20)) if one.claim(name))
        assert (one.elsewhere(mine), two.elsewhere(mine)) == (None, "http://one")
        await one.close()
        await two.look()
        assert set(two.held) == set(range(GROUPS))
        assert two.elsewhere(mine) is None
    finally:
        await one.close()
        await two.close()


async def test_an_owner_that_slept_writes_nothing_by_its_old_claim(postgres_url: str) -> None:
    async with _process(postgres_url, "one") as (one, owning), _process(postgres_url, "two") as (two, taking):
        await owning.look()
        assert (await one.submit(top_up("a", key="a"))).answer == {"credited": 100 * CENT}
        await expire(postgres_url, "one")  # "one" sleeps, and its lease runs out
        await taking.look()
        assert owning.claim(MERCHANT) is not None, "it does not know yet"

        request = Forwardable()
        token = FORWARDABLE.set(request)
        try:
            results = await asyncio.gather(
                *(one.submit(top_up(f"m{n}", key=f"m{n}")) for n in range(5)), return_exceptions=True
            )
        finally:
            FORWARDABLE.reset(token)
        assert [type(result) for result in results] == [NotOwner] * 5
        assert not request.written
        assert await _entries(postgres_url) == 1
        # Sent to the new owner, each has its effect once; a unit of a worker runs where it is, by row locks.
        await asyncio.gather(*(two.submit(top_up(f"m{n}", key=f"m{n}")) for n in range(5)))
        assert (await one.submit(top_up("m1", key="m1"))).duplicate
        assert not (await one.submit(top_up("w", key="w"))).duplicate
    assert await _entries(postgres_url) == 7


async def test_a_worker_of_an_owner_that_slept_gets_its_answer_all_the_same(postgres_url: str) -> None:
    async with _process(postgres_url, "one") as (one, owning), _process(postgres_url, "two") as (_, taking):
        await owning.look()
        await expire(postgres_url, "one")
        await taking.look()
        applied = await asyncio.gather(*(one.submit(top_up(f"m{n}")) for n in range(5)))
        assert [done.answer["credited"] for done in applied] == [100 * CENT] * 5
    assert await _entries(postgres_url) == 5


async def test_a_takeover_waits_for_a_flush_that_has_read_the_lease(postgres_url: str) -> None:
    one, two = _ownership(postgres_url, "one"), _ownership(postgres_url, "two", lease_s=1.0)
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""), timeout=10)
    try:
        await one.look()
        await expire(postgres_url, "one")
        flush = connection.transaction()
        await flush.start()
        await connection.fetch("SELECT * FROM writer_lease WHERE group_id >= 0 ORDER BY group_id FOR SHARE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await two.look()
        assert not two.held
        await flush.commit()
        await two.look()
        assert len(two.held) == GROUPS
    finally:
        await connection.close()
        await one.close()
        await two.close()


async def _rows_that_never_come() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def _asleep_in_copy(connection: asyncpg.Connection[Any]) -> asyncio.Task[str]:
    """Do what a flush does, as far as its long insert, and stop there: the server waits for rows, its locks are held."""
    await connection.execute("BEGIN")
    await connection.fetch("SELECT * FROM writer_lease WHERE group_id >= 0 ORDER BY group_id FOR SHARE")
    await connection.fetch("SELECT * FROM account FOR UPDATE")
    copying = asyncio.create_task(connection.copy_to_table("unit_key", source=_rows_that_never_come(), format="csv"))
    await asyncio.sleep(0.3)
    assert not copying.done()
    return copying


@asynccontextmanager
async def _sleeping_writer(url: str) -> AsyncIterator[None]:
    name = {"application_name": "crossrail-writer", "idle_in_transaction_session_timeout": "200"}
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=10, server_settings=name)
    copying = await _asleep_in_copy(connection)
    try:
        yield
    finally:
        copying.cancel()
        connection.terminate()
        await asyncio.gather(copying, return_exceptions=True)


async def test_an_owner_that_sleeps_in_the_middle_of_a_copy_is_replaced(postgres_url: str) -> None:
    one, two = _ownership(postgres_url, "one"), _ownership(postgres_url, "two", lease_s=1.0)
    try:
        await one.look()
        await expire(postgres_url, "one")
        async with _sleeping_writer(postgres_url):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await two.look()
            assert not two.held, "a flush that is under way is waited for"
            await asyncio.sleep(1.0)
            await two.look()
            assert len(two.held) == GROUPS
    finally:
        await one.close()
        await two.close()


async def test_a_writer_without_leases_is_freed_from_one_that_sleeps_in_the_middle_of_a_copy(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_backend, "STATEMENT_TIMEOUT_S", 1.0)
    backend = PostgresBackend(postgres_url.replace("+asyncpg", ""), pause_s_max=0.5)
    writer = Writer(backend, SystemClock())
    await writer.open()
    try:
        await writer.submit(top_up("before", key="before"))
        async with _sleeping_writer(postgres_url):
            applied = await asyncio.wait_for(writer.submit(top_up("behind", key="behind")), 10)
            assert not applied.duplicate
    finally:
        await writer.close()
    assert await _entries(postgres_url) == 2
