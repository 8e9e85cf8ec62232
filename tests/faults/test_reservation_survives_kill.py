"""kill -9 between reserving, asking for the money, its answer and our commit: it is taken once and credited once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select

from adapters.operations import LineKind, ReportsSettlement
from orchestrator.bootstrap import opened, simulators
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.check import check
from orchestrator.payments.checkout import NewSession
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.offers import offers_of
from orchestrator.services import Services
from rates.money import WALLET_USD, Money
from tests.faults.payment_process import configured
from tests.faults.reservation_process import MANUAL
from tests.faults.test_payment_survives_kill import PRINCIPAL, ROOT, Later
from tests.support.ports import free_port, served_on
from tests.support.processes import running
from tests.support.world import MERCHANT, MODE, _webhook_door

CARD = ("stripe", "DE", {"card": "4242424242424242"})
VIPPS = ("adyen", "NO", {"outcome": "paid"})


async def _rows(services: Services, model: Any) -> list[Row]:
    return await services.reads.all(select(table_of(model)))


async def _reserve(services: Services, country: str, choice: dict[str, str], public_port: int) -> None:
    """Pay, and hear that the money is reserved. Nobody takes it here."""
    customer = CustomerRef(MERCHANT, MODE, "c", country)
    session = await services.checkout.create(NewSession(customer, Money.parse("20", WALLET_USD)))
    chosen = await services.selection.select(MERCHANT, MODE, session["id"], offers_of(session)[0].id)
    server = web.Application()
    server.router.add_post("/webhooks/{rail}/{account}", _webhook_door(services))
    async with served_on(server, public_port), aiohttp.ClientSession() as http:
        headers = {"Accept": "application/json"}
        async with http.post(chosen["next_action"]["url"], json=choice, headers=headers) as paid:
            assert paid.status < 400, await paid.text()
        for _ in range(200):
            await services.inbox.run_once()
            if await _rows(services, tables.Reservation):
                return
            await asyncio.sleep(0.05)
    raise AssertionError("it was not reserved")


async def _carried_on(services: Services, clock: Later) -> None:
    reservation: Row = {}
    for _ in range(100):
        await services.inbox.run_once()
        await services.watch.run_once()
        await services.reservations.run_once()
        (reservation,) = await _rows(services, tables.Reservation)
        if reservation["state"] == "captured":
            return
        clock.seconds += 10
        await asyncio.sleep(0.1)
    raise AssertionError(f"it was not carried on: {reservation}")


@pytest.mark.parametrize(
    ("rail", "country", "choice", "where"),
    [(*CARD, where) for where in ("decided", "asked", "answered", "credited")]
    + [(*VIPPS, where) for where in ("decided", "asked")],
)
async def test_reserved_money_is_taken_once_and_credited_once_wherever_we_died(
    migrated_database_url: str, tmp_path: Path, rail: str, country: str, choice: dict[str, str], where: str
) -> None:
    sandbox_port, public_port = free_port(), free_port()
    sandbox_url, public_url = f"http://127.0.0.1:{sandbox_port}", f"http://127.0.0.1:{public_port}"
    settings, document = configured(migrated_database_url, tmp_path, public_url, MANUAL)
    async with served_on(simulators(settings, sandbox_url, public_url), sandbox_port):
        async with opened(settings, document, sandbox_url=sandbox_url) as services:
            await _reserve(services, country, choice, public_port)
            assert await _rows(services, tables.Capture) == []
        arguments = [migrated_database_url, str(tmp_path), public_url, sandbox_url, where]
        command = [sys.executable, "-m", "tests.faults.reservation_process", *arguments]
        async with running(command, folder=ROOT) as process:
            await process.wait_for_line("frozen")
            await process.kill()
        clock = Later()
        async with opened(settings, document, sandbox_url=sandbox_url, clock=clock) as services:
            (reservation,) = await _rows(services, tables.Reservation)
            assert reservation["state"] == "capturing"
            server = web.Application()
            server.router.add_post("/webhooks/{rail}/{account}", _webhook_door(services))
            async with served_on(server, public_port):  # the vendors try again to tell of it
                await _carried_on(services, clock)
            (payment,) = await _rows(services, tables.Payment)
            assert (payment["status"], payment["credited_units"]) == ("credited", PRINCIPAL)
            assert len(await _rows(services, tables.Capture)) == 1
            adapter = services.rails[rail, "main"]
            assert isinstance(adapter, ReportsSettlement)
            page = await adapter.settlement_page("")
            assert [line.kind for line in page.lines].count(LineKind.PAYMENT) == 1, "taken once at the rail"
            report = await check(services.reads)
            assert report.ok, report.findings
