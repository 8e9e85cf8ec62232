"""kill -9 between the rail's answer and our commit: after the restart there is one payment at the rail, credited once."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select

from orchestrator.bootstrap import opened, simulators
from orchestrator.clock import SystemClock, to_us
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.check import check
from orchestrator.payments.offers import offers_of
from orchestrator.services import Services
from tests.faults.payment_process import configured
from tests.support.ports import free_port, served_on
from tests.support.processes import running
from tests.support.world import MERCHANT, MODE, _webhook_door

ROOT = Path(__file__).parents[2]
PRINCIPAL = 20 * 10**9


class Later:
    """The system's clock, so many seconds on: the poller does not look before the call would have timed out."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.seconds = 60

    def now(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.seconds)

    def now_us(self) -> int:
        return to_us(self.now())


async def _rows(services: Services, model: type[tables.Attempt | tables.Payment | tables.Capture]) -> list[Row]:
    return await services.reads.all(select(table_of(model)))


async def _worked_off(services: Services, clock: Later) -> None:
    for _ in range(100):
        await services.inbox.run_once()
        await services.watch.run_once()
        if await _rows(services, tables.Capture):
            return
        clock.seconds += 10
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("country", "pay"), [("DE", {"card": "4242424242424242"}), ("BR", {"outcome": "paid"})], ids=["stripe", "adyen"]
)
async def test_an_answer_that_died_with_us_is_found_again_and_paid_once(
    migrated_database_url: str, tmp_path: Path, country: str, pay: dict[str, str]
) -> None:
    sandbox_port, public_port = free_port(), free_port()
    sandbox_url, public_url = f"http://127.0.0.1:{sandbox_port}", f"http://127.0.0.1:{public_port}"
    settings, document = configured(migrated_database_url, tmp_path, public_url)
    async with served_on(simulators(settings, sandbox_url, public_url), sandbox_port):
        arguments = [migrated_database_url, str(tmp_path), public_url, sandbox_url, country]
        command = [sys.executable, "-m", "tests.faults.payment_process", *arguments]
        async with running(command, folder=ROOT) as process:
            await process.wait_for_line("answered")
            await process.kill()
        clock = Later()
        async with (
            opened(settings, document, sandbox_url=sandbox_url, clock=clock) as services,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
        ):
            (attempt,) = await _rows(services, tables.Attempt)
            assert (attempt["status"], attempt["rail_reference"]) == ("sent", None)
            assert await services.watch.run_once() == 1
            (attempt,) = await _rows(services, tables.Attempt)
            assert attempt["status"] == "requires_action"
            (session,) = await services.reads.all(select(table_of(tables.CheckoutSession)))
            chosen = await services.selection.select(MERCHANT, MODE, session["id"], offers_of(session)[0].id)
            assert chosen["attempt"] == attempt["id"]
            async with http.post(
                chosen["next_action"]["url"], json=pay, headers={"Accept": "application/json"}
            ) as paid:
                assert paid.status < 400, await paid.text()
            web_server = web.Application()
            web_server.router.add_post("/webhooks/{rail}/{account}", _webhook_door(services))
            async with served_on(web_server, public_port):  # Adyen tells of money by webhook only, and tries again
                await _worked_off(services, clock)
            (payment,) = await _rows(services, tables.Payment)
            assert (payment["status"], payment["credited_units"]) == ("credited", PRINCIPAL)
            assert len(await _rows(services, tables.Capture)) == 1
            report = await check(services.reads)
            assert report.ok, report.findings
