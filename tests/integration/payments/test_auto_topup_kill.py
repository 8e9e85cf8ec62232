"""kill -9 between any two steps of a charge: after the restart the card was charged once, and the wallet credited once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from orchestrator.bootstrap import opened, simulators
from orchestrator.services import Services
from tests.faults.payment_process import configured
from tests.integration.payments.auto_topup_process import STEPS
from tests.integration.payments.standing_scene import NANO, Later, Standing
from tests.support.ports import free_port, served_on
from tests.support.processes import running
from tests.support.world import World, _webhook_door

ROOT = Path(__file__).parents[3]


@dataclass
class House:
    """The simulators, which live on while the service is killed and started again."""

    database: str
    folder: Path
    public_port: int
    sandbox_url: str
    clock: Later

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.public_port}"

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Standing]:
        settings, document = configured(self.database, self.folder, self.public_url)
        async with (
            opened(settings, document, sandbox_url=self.sandbox_url, clock=self.clock) as services,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
        ):
            app = web.Application()
            app.router.add_post("/webhooks/{rail}/{account}", _webhook_door(services))
            async with served_on(app, self.public_port):
                yield Standing(World(services, self.public_url, self.sandbox_url, http, ()), self.clock)


async def _works(services: Services) -> None:
    await services.inbox.run_once()
    await services.watch.run_once()
    await services.auto_topups.run_once()


@pytest.mark.parametrize("step", list(STEPS))
async def test_a_charge_survives_its_process(migrated_database_url: str, tmp_path: Path, step: str) -> None:
    sandbox_port = free_port()
    clock = Later()
    house = House(migrated_database_url, tmp_path, free_port(), f"http://127.0.0.1:{sandbox_port}", clock)
    settings, _ = configured(migrated_database_url, tmp_path, house.public_url)
    async with served_on(simulators(settings, house.sandbox_url, house.public_url), sandbox_port):
        async with house.service() as standing:
            await standing.save()
            await standing.order()
            await standing.drain()
            wallet_id = standing.wallet_id
        arguments = [migrated_database_url, str(tmp_path), house.public_url, house.sandbox_url, step]
        command = [sys.executable, "-m", "tests.integration.payments.auto_topup_process", *arguments]
        async with running(command, folder=ROOT) as process:
            await process.wait_for_line("frozen")
            await process.kill()
        async with house.service() as standing:
            standing.wallet_id = wallet_id
            assert (await standing.row())["session_id"] is not None, "it was written before anything else happened"
            await _works(standing.services)
            assert await standing.balance() in {2 * NANO, 27 * NANO}
            for _ in range(20):
                await standing.pass_by(seconds=30)
                await _works(standing.services)
                await asyncio.sleep(0.02)
            [intent] = await standing.intents()
            assert intent["status"] == "succeeded"
            assert await standing.balance() == 27 * NANO
            row = await standing.row()
            assert (row["session_id"], row["day_units"], row["declines"]) == (None, 25 * NANO, 0)
            await standing.sound()
