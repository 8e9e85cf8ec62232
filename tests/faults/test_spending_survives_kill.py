"""kill -9 of the process, and an immediate stop of PostgreSQL, in the middle of usage, holds and captures."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator.database.migrate import upgrade
from orchestrator.database.tables import Account, Hold, UsageEvent, table_of
from orchestrator.ledger.check import check
from tests.faults.spending_process import CENTS, HELD, Spender, captured_of, units_of
from tests.integration.database.units import CENT, opened_reads, opened_writer
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.processes import Process, running

ROOT = Path(__file__).parents[2]


def command(url: str, first: int) -> list[str]:
    return [sys.executable, "-m", "tests.faults.spending_process", url, str(first)]


def _acknowledged(process: Process, word: str) -> set[int]:
    return {int(line.split()[1]) for line in process.output if line.startswith(word + " ") and line.count(" ") == 1}


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that a test may crash."""
    server = start_postgres()
    yield server
    server.stop()


async def test_what_was_spent_before_a_kill_is_spent_exactly_once(migrated_database_url: str) -> None:
    used: set[int] = set()
    captured: set[int] = set()
    for life in range(3):
        # Each life begins with numbers of the one before, as callers do that got no answer.
        first = max(used, default=40) - 40
        async with running(command(migrated_database_url, first), folder=ROOT) as process:
            await process.wait_for_line(f"capture {first + 60 + 31 * life}")
            await process.kill()
        used |= _acknowledged(process, "use")
        captured |= _acknowledged(process, "capture")
    await _assert_spent(migrated_database_url, used, captured)
    await _assert_the_rest_can_be_asked_for(migrated_database_url)


async def test_what_was_spent_before_postgres_stops_at_once_is_spent_exactly_once(own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.create())
    await asyncio.to_thread(upgrade, url)
    async with running(command(url, 0), folder=ROOT) as process:
        for crash in range(2):
            await process.wait_for_line(f"capture {100 + 150 * crash}")
            await asyncio.to_thread(own_postgres.crash)
            await asyncio.to_thread(own_postgres.start_again)
        await process.wait_for_line("capture 400")
        await process.kill()
    used, captured = _acknowledged(process, "use"), _acknowledged(process, "capture")
    await _assert_spent(url, used, captured)
    await _assert_the_rest_can_be_asked_for(url)


async def _assert_spent(url: str, used: set[int], captured: set[int]) -> None:
    """Every acknowledged effect is there once, at its amount, and nothing is there that nobody asked for."""
    async with opened_reads(url) as reads:
        report = await check(reads)
        assert report.ok, report.findings
        events = {row["event_id"]: row for row in await reads.all(select(table_of(UsageEvent)))}
        holds = {row["id"]: row for row in await reads.all(select(table_of(Hold)))}
        accounts = await reads.all(select(table_of(Account)))
    assert {f"u{number}" for number in used} <= events.keys()
    assert all((row["status"], row["units"]) == ("accepted", units_of(int(id_[1:]))) for id_, row in events.items())
    assert all(holds[f"hold_{number}"]["status"] == "captured" for number in captured)
    open_holds = [row for row in holds.values() if row["status"] == "open"]
    ended = {id_: row for id_, row in holds.items() if row["status"] == "captured"}
    assert len(open_holds) + len(ended) == len(holds)
    assert all(row["captured_units"] == captured_of(int(id_[5:])) for id_, row in ended.items())
    spent = sum(row["units"] for row in events.values()) + sum(row["captured_units"] for row in ended.values())
    left = {row["code"]: -row["balance"] for row in accounts}
    assert left["merchant:pending"] == spent
    assert left["wallet:paid"] == CENTS * CENT - spent - HELD * len(open_holds)


async def _assert_the_rest_can_be_asked_for(url: str) -> None:
    """Ask again for everything, acknowledged or not, and for more: in the end each number counts once."""
    async with opened_writer(url) as writer, opened_reads(url) as reads:
        seen = {int(row["event_id"][1:]) for row in await reads.all(select(table_of(UsageEvent)))}
        seen |= {int(row["id"][5:]) for row in await reads.all(select(table_of(Hold)))}
        end = max(seen) + 30
        spender = Spender(writer, reads)
        await spender.open()
        statuses = await asyncio.gather(*(spender.use(number) for number in range(end)))
        assert set(statuses) == {"accepted", "duplicate"}
        await asyncio.gather(*(spender.hold_and_capture(number) for number in range(end)))
        report = await check(reads)
        assert report.ok, report.findings
        accounts = {row["code"]: -row["balance"] for row in await reads.all(select(table_of(Account)))}
    spent = sum(units_of(number) + captured_of(number) for number in range(end))
    assert accounts["merchant:pending"] == spent
    assert accounts["wallet:paid"] == CENTS * CENT - spent
