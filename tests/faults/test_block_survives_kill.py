"""kill -9 at every statement of the transactions that take a block, credit it, and take it back on a fork."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from orchestrator.database import tables
from tests.faults.block_process import UNITS, chain_at, comes_back
from tests.faults.chain_process import BLOCKS, chain_of_payments
from tests.faults.chain_process import UNITS as UNITS_OF_CHAIN
from tests.integration.payments.chain_scene import opened_chain
from tests.support.processes import running

ROOT = Path(__file__).parents[2]
LIVES_S_MAX = 900
"""A hundred processes, one after the other: a minute on two idle cores."""
STATEMENTS_MIN = {"block": 60, "reorg": 80}
"""A round has more; with fewer, something is not watched any more."""


@pytest.mark.parametrize("scenario", ["block", "reorg"])
async def test_death_at_every_statement_of_a_block_loses_and_doubles_nothing(
    migrated_database_url: str, scenario: str
) -> None:
    async with opened_chain(migrated_database_url, chain_at(b"", scenario, 0, begun=False)) as scene:
        address, _ = await scene.awaiting("1000")
    command = [sys.executable, "-m", "tests.faults.block_process", migrated_database_url, address.hex(), scenario]
    async with running(command, folder=ROOT) as process:
        line = await process.wait_for_line("survived", timeout_seconds=LIVES_S_MAX)
    rounds = int(line.split()[-1]) + 1
    assert rounds > STATEMENTS_MIN[scenario]
    async with opened_chain(migrated_database_url, chain_at(address, scenario, rounds, begun=False)) as scene:
        await scene.look()
        found = defaultdict(list)
        for row in await scene.all(tables.Deposit):
            found[row["units"] - UNITS].append((row["ordinal"], row["status"]))
        for number in range(rounds):
            state = "credited" if scenario == "block" or comes_back(number) else "orphaned"
            assert sorted(found[number]) == [(0, state), (1, state)], number
        assert len(found) == rounds
        await scene.assert_sound()


async def test_of_two_processes_that_follow_one_chain_one_is_killed_and_every_transfer_is_credited_once(
    postgres_url: str,
) -> None:
    async with opened_chain(postgres_url) as scene:
        address, _ = await scene.awaiting("1000")
    command = [sys.executable, "-m", "tests.faults.chain_process", postgres_url, address.hex()]
    async with running(command, folder=ROOT) as first, running(command, folder=ROOT) as second:
        await first.wait_for_line("block 12.")
        await first.kill()
        await second.wait_for_line("done")
    async with opened_chain(postgres_url, chain_of_payments(address)) as scene:
        await scene.look()
        deposits = await scene.all(tables.Deposit)
        expected = [UNITS_OF_CHAIN + number for number in range(BLOCKS) for _ in range(1 + number % 2)]
        assert sorted(row["units"] for row in deposits) == sorted(expected)
        assert {row["status"] for row in deposits} == {"credited"}
        await scene.assert_sound()
