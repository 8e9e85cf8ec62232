"""A process that looks at the standing orders and freezes at one step of a charge; then it waits to be killed.

Usage: ``-m tests.integration.payments.auto_topup_process DATABASE FOLDER PUBLIC_URL SANDBOX_URL STEP``. It prints
``frozen`` when it got there. Steps: claimed, session, attempt, charged, settled.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

from orchestrator.bootstrap import opened
from orchestrator.payments.checkout import Checkout
from orchestrator.payments.confirmation import Confirmation
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.selection import Selection
from tests.faults.payment_process import configured

STEPS: Final[dict[str, tuple[type[Any], str]]] = {
    "claimed": (Checkout, "make"),
    "session": (Selection, "select"),
    "attempt": (RailCalls, "_create"),
    "charged": (RailCalls, "_store"),
    "settled": (Confirmation, "apply"),
}
"""What is called right after each step."""


async def freeze(*_: object, **__: object) -> None:
    sys.stdout.write("frozen\n")
    await asyncio.Event().wait()


async def main(database: str, folder: str, public_url: str, sandbox_url: str, step: str) -> None:
    settings, document = configured(database, Path(folder), public_url)
    async with opened(settings, document, sandbox_url=sandbox_url) as services:
        owner, name = STEPS[step]
        setattr(owner, name, staticmethod(freeze))
        await services.auto_topups.run_once()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
