"""kill -9 of a writing process, in the middle of its flushes, again and again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator.database.sqlite_backend import DatabaseInUse
from orchestrator.database.tables import JournalEntry, MoneyClaim, UnitKey, table_of
from orchestrator.database.unit import Applied
from orchestrator.ledger.check import check
from tests.integration.database.chain import sealed_entries
from tests.integration.database.units import MERCHANT, opened_reads, opened_writer, top_up
from tests.support.processes import Process, running

ROOT = Path(__file__).parents[2]


def command(url: str, first: int) -> list[str]:
    return [sys.executable, "-m", "tests.faults.writer_process", url, str(first)]


def _acknowledged(process: Process) -> set[int]:
    return {int(line.split()[1]) for line in process.output if line.startswith("ack ") and line.count(" ") == 1}


async def test_what_was_acknowledged_before_a_kill_is_there_exactly_once(migrated_database_url: str) -> None:
    acknowledged: set[int] = set()
    for life in range(3):
        # Each life begins with numbers of the one before: a caller that got no answer asks again under the same key.
        first = max(acknowledged, default=60) - 60
        async with running(command(migrated_database_url, first), folder=ROOT) as process:
            await process.wait_for_line(f"ack {first + 100 + 37 * life}")
            await process.kill()
        acknowledged |= _acknowledged(process)
    async with opened_reads(migrated_database_url) as reads:
        report = await check(reads)
        assert report.ok, report.findings
        assert await sealed_entries(reads) == report.entries
        claims = {row["rail_id"] for row in await reads.all(select(table_of(MoneyClaim)))}
        entries = [row["fact"] for row in await reads.all(select(table_of(JournalEntry)))]
        keys = {row["key"] for row in await reads.all(select(table_of(UnitKey)))}
    assert {f"m{number}" for number in acknowledged} <= claims
    assert sorted(entries) == sorted(f"cap_{MERCHANT}_{name}" for name in claims)
    assert {f"k{name[1:]}" for name in claims} == keys

    # What was sent and not acknowledged is asked for again: nothing of it is doubled either.
    highest = max(int(name[1:]) for name in claims)
    async with opened_writer(migrated_database_url) as writer:
        again: list[Applied] = await asyncio.gather(
            *(writer.submit(top_up(f"m{n}", key=f"k{n}")) for n in range(highest + 30))
        )
    assert sum(not one.duplicate for one in again) == highest + 30 - len(claims)
    async with opened_reads(migrated_database_url) as reads:
        report = await check(reads)
        assert report.ok, report.findings
        assert report.entries == highest + 30
        assert await sealed_entries(reads) == highest + 30


async def test_the_lock_file_keeps_a_second_process_out_until_the_first_is_killed(sqlite_url: str) -> None:
    async with running(command(sqlite_url, 0), folder=ROOT) as process:
        await process.wait_for_line("ack 10")
        with pytest.raises(DatabaseInUse, match="already has a writing process"):
            async with opened_writer(sqlite_url):
                pass
        async with running(command(sqlite_url, 1000), folder=ROOT) as second:
            await second.wait_for_line("DatabaseInUse")
        assert not _acknowledged(second)
        await process.kill()
    async with opened_writer(sqlite_url) as writer:
        assert (await writer.submit(top_up("m5", key="k5"))).duplicate


async def test_a_second_writer_in_the_same_process_is_kept_out_as_well(sqlite_url: str) -> None:
    async with opened_writer(sqlite_url) as writer:
        with pytest.raises(DatabaseInUse):
            async with opened_writer(sqlite_url):
                pass
        await writer.submit(top_up("m"))
