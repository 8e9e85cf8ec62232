"""A process that asks a rail for a payment and freezes before it can store the answer.

Usage: ``-m tests.faults.payment_process DATABASE FOLDER PUBLIC_URL SANDBOX_URL COUNTRY``. It prints ``session ID`` and,
when the rail has answered, ``answered``; then it waits to be killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import settings as configuration
from orchestrator.bootstrap import opened
from orchestrator.config_source import Document, check
from orchestrator.payments.checkout import NewSession
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.offers import offers_of
from orchestrator.payments.outcome import RailCalls
from orchestrator.settings import Settings
from rates.money import WALLET_USD, Money
from tests.support.world import CONFIG, FAST, MERCHANT, MODE, over


def configured(
    database: str, folder: Path, public_url: str, more: Mapping[str, Any] | None = None
) -> tuple[Settings, Document]:
    environment = {
        **os.environ,
        "CROSSRAIL_DATABASE": database,
        "CROSSRAIL_PUBLIC_URL": public_url,
        "CROSSRAIL_STATE": str(folder),
    }
    _, document = configuration.load(CONFIG, environment)
    document = replace(document, data=over(over(document.data, FAST), more or {}))
    return check(Settings, document), document


async def freeze(*_: object) -> None:
    """Stand where the answer would be stored."""
    sys.stdout.write("answered\n")
    await asyncio.Event().wait()


async def main(database: str, folder: str, public_url: str, sandbox_url: str, country: str) -> None:
    settings, document = configured(database, Path(folder), public_url)
    async with opened(settings, document, sandbox_url=sandbox_url) as services:
        customer = CustomerRef(MERCHANT, MODE, "c", country)
        session = await services.checkout.create(NewSession(customer, Money.parse("20", WALLET_USD)))
        sys.stdout.write(f"session {session['id']}\n")
        setattr(RailCalls, "_store", freeze)  # noqa: B010  # mypy refuses to assign a method
        await services.selection.select(MERCHANT, MODE, session["id"], offers_of(session)[0].id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
