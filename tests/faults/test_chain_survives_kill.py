"""kill -9 of a process that follows a chain, again and again: every transfer is credited once."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.database import tables
from tests.faults.chain_process import BLOCKS, UNITS, chain_of_payments
from tests.integration.payments.chain_scene import opened_chain
from tests.support.processes import running

ROOT = Path(__file__).parents[2]


async def test_every_transfer_is_credited_once_however_often_the_process_dies(migrated_database_url: str) -> None:
    async with opened_chain(migrated_database_url) as scene:
        address, _attempt = await scene.awaiting("1000")
    for last in ("block 12.", "block 23.", None):
        command = [sys.executable, "-m", "tests.faults.chain_process", migrated_database_url, address.hex()]
        async with running(command, folder=ROOT) as process:
            await process.wait_for_line(last or "done")
            await process.kill()
    async with opened_chain(migrated_database_url, chain_of_payments(address)) as scene:
        deposits = await scene.all(tables.Deposit)
        expected = [UNITS + number for number in range(BLOCKS) for _ in range(1 + number % 2)]
        assert sorted(row["units"] for row in deposits) == sorted(expected)
        assert {row["status"] for row in deposits} == {"credited"}
        assert len(await scene.all(tables.JournalEntry)) == len(expected)
        await scene.assert_sound()
