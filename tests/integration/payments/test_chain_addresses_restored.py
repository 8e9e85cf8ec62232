"""Money rule 19: after a restore no address that was ever shown is given to another customer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from orchestrator.database import tables
from orchestrator.payments.high_water import AHEAD, HighWater, MarkUnreadable
from tests.integration.payments.chain_scene import ChainScene, ScriptedChain, opened_chain

SCOPES = [("test", "evm")]


def marks(scene: ChainScene, folder: Path) -> HighWater:
    return HighWater(folder / "address-marks.json", scene.writer, scene.reads)


async def indexes(scene: ChainScene) -> list[int]:
    return sorted(row["address_index"] for row in await scene.all(tables.DepositAddress))


async def test_a_clean_end_and_start_skips_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async with opened_chain(sqlite_url) as scene:
        async with marks(scene, tmp_path).kept(SCOPES):
            await scene.awaiting(customer="one")
        async with marks(scene, tmp_path).kept(SCOPES):
            await scene.awaiting(customer="two")
        assert await indexes(scene) == [0, 1]


async def test_after_a_crash_the_indexes_that_were_reserved_are_skipped(sqlite_url: str, tmp_path: Path) -> None:
    async with opened_chain(sqlite_url) as scene:
        await marks(scene, tmp_path).open(SCOPES)
        await scene.awaiting(customer="one")
        await marks(scene, tmp_path).open(SCOPES)  # the first process never said that it ended
        await scene.awaiting(customer="two")
        assert await indexes(scene) == [0, AHEAD]


async def test_a_restored_database_never_issues_an_address_again(sqlite_url: str, tmp_path: Path) -> None:
    path = Path(sqlite_url.removeprefix("sqlite+aiosqlite:///"))
    async with opened_chain(sqlite_url) as scene:
        await scene.awaiting(customer="one")
    backup = tmp_path / "backup.db"
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    async with opened_chain(sqlite_url) as scene, marks(scene, tmp_path).kept(SCOPES):
        lost, _ = await scene.awaiting(customer="lost with the disk")
    async with opened_chain(f"sqlite+aiosqlite:///{backup}") as scene, marks(scene, tmp_path).kept(SCOPES):
        given, _ = await scene.awaiting(customer="after the restore")
        assert given != lost
        assert await indexes(scene) == [0, 2 + AHEAD - 1]


async def test_the_file_stays_ahead_of_what_is_issued(sqlite_url: str, tmp_path: Path) -> None:
    async with opened_chain(sqlite_url, ScriptedChain()) as scene:
        kept = marks(scene, tmp_path)
        await kept.open(SCOPES)
        await scene.awaiting(customer="one")
        assert await kept.look()
        assert not await kept.look()
        mark = kept.marks["test", "evm"]
        assert mark.issued == 1
        assert mark.reserved - mark.issued >= AHEAD // 2


async def test_a_damaged_file_is_no_empty_file(sqlite_url: str, tmp_path: Path) -> None:
    async with opened_chain(sqlite_url) as scene:
        (tmp_path / "address-marks.json").write_text("{")
        with pytest.raises(MarkUnreadable):
            await marks(scene, tmp_path).open(SCOPES)
