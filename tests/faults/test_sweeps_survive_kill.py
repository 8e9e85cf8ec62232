"""Death at every statement of a sweep: never two transactions for one sweep, never lost bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from orchestrator.database import tables
from tests.faults.boundaries import Fuse, burning
from tests.integration.sweeps.scene import OPERATING, TREASURY, ChainScene, chain_scene, configured
from tests.support.processes import running

pytestmark = pytest.mark.anvil
ROOT = Path(__file__).parents[2]
UNITS = 20_000_000


class Died(Exception):
    """The process, in a test that goes on in the same one: all it knew is forgotten, for all it knew was rows."""


def die() -> None:
    raise Died


async def assert_once(scene: ChainScene, sweeps: int) -> None:
    """Each sweep moved its tokens once, by one transaction, whose bytes are the ones that are stored."""
    assert await scene.tokens(TREASURY) == sweeps * UNITS
    rows = await scene.all(tables.ChainTransaction)
    assert {row["status"] for row in rows} == {"final"}
    assert len(rows) == 2 * sweeps
    assert await scene.network.sender.sent_count(OPERATING, final=True) == sweeps
    for row in rows:
        receipt = await scene.network.sender.receipt(row["tx_hash"])
        assert receipt is not None
        assert receipt.succeeded
        assert scene.network.sender.read_signed(bytes(row["signed"]), bytes(row["unsigned"])) == row["tx_hash"]
    assert len(await scene.all(tables.Sweep, status="done")) == sweeps
    await scene.assert_sound()


async def test_death_at_any_statement_leaves_one_transaction_for_each_thing(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with chain_scene(migrated_database_url, tmp_path, anvil_url) as scene:
        sweeps = deaths = 0
        while True:
            await scene.deposit(f"customer {sweeps}", "20")
            sweeps += 1
            try:
                with burning(Fuse(sweeps, die)):
                    await scene.services.sweeps.build()
                    await scene.finish()
            except Died:
                deaths += 1
            else:
                break
            await scene.services.sweeps.build()
            await scene.finish()
        await assert_once(scene, sweeps)
        assert deaths > 15  # a sweep has so many statements and more


@pytest.mark.parametrize("fuse", [2, 4, 8])
async def test_kill_9_of_a_process_that_sweeps(postgres_url: str, tmp_path: Path, anvil_url: str, fuse: int) -> None:
    """2: the sweep is stored. 4: the fuel is signed, and nobody stored it. 8: the fuel is sent, and nobody noted it."""
    async with chain_scene(postgres_url, tmp_path, anvil_url) as scene:
        await scene.deposit("a", "20")
        usdt, usdc = (scene.network.show_address(one) for one in scene.network.tokens)
        overrides = configured(anvil_url, usdt, usdc, scene.files.socket)
        given = {"database": postgres_url, "folder": str(tmp_path), "overrides": overrides, "fuse": fuse}
        command = [sys.executable, "-m", "tests.faults.sweep_process", json.dumps(given)]
        async with running(command, folder=ROOT) as process:
            assert await process.child.wait() == -9, process.output
        await scene.services.sweeps.build()
        await scene.finish()
        await assert_once(scene, 1)
