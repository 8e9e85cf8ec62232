"""A process that takes reserved money and freezes at one place on the way.

Usage: ``-m tests.faults.reservation_process DATABASE FOLDER PUBLIC_URL SANDBOX_URL WHERE``. WHERE: ``decided`` (stored that it
is wanted, not asked for yet), ``asked`` (the rail has taken it, its answer is not here), ``answered`` (it is here, and not
stored), ``credited`` (stored, and the reservation not looked at again). It prints ``frozen`` and waits to be killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.base import RailEvent
from adapters.operations import CaptureOrder
from orchestrator.bootstrap import opened
from orchestrator.payments.confirmation import Confirmation
from orchestrator.payments.reservations import Reservations
from orchestrator.services import Services
from tests.faults.payment_process import configured

MANUAL: dict[str, Any] = {
    "rails": {
        "stripe": {"accounts": {"main": {"capture": "manual"}}},
        "adyen": {"accounts": {"main": {"capture": "manual"}}},
    },
    "routing": {"defaults": {"offers": ["vipps", "card"]}},
}


async def freeze() -> None:
    sys.stdout.write("frozen\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def arm(services: Services, where: str) -> None:
    """Put the freeze in its place, in this process only."""
    for rail in ("stripe", "adyen"):
        adapter: Any = services.rails[rail, "main"]
        take = adapter.capture_payment

        async def capture(order: CaptureOrder, take: Any = take) -> Sequence[RailEvent]:
            if where == "decided":
                await freeze()
            taken: Sequence[RailEvent] = await take(order)
            if where == "asked" or (where != "decided" and not taken):
                await freeze()  # Adyen's answer says nothing but that it was received
            return taken

        adapter.capture_payment = capture
    apply = Confirmation.apply

    async def applied(self: Confirmation, event: RailEvent) -> Any:
        if where == "answered":
            await freeze()
        done = await apply(self, event)
        if where == "credited":
            await freeze()
        return done

    setattr(Confirmation, "apply", applied)  # noqa: B010  # mypy refuses to assign a method


async def main(database: str, folder: str, public_url: str, sandbox_url: str, where: str) -> None:
    settings, document = configured(database, Path(folder), public_url, MANUAL)
    async with opened(settings, document, sandbox_url=sandbox_url) as services:
        arm(services, where)
        reservations: Reservations = services.reservations
        while True:
            await reservations.run_once()
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
