"""A process that charges usage, holds and captures until it is killed. Usage: ``-m tests.faults.spending_process URL FIRST``.

Number N is usage of ``units_of(N)``, and a hold that is captured with ``captured_of(N)``. It prints ``use N`` and
``capture N`` after each was answered, so what was printed must be there for ever. What fails is asked for again under the
same ids, as a client does.
"""

from __future__ import annotations

import asyncio
import sys

from orchestrator.clock import SystemClock
from orchestrator.database.reads import Reads
from orchestrator.database.writer import Writer
from orchestrator.ledger.hold_desk import Holds
from orchestrator.ledger.holds import HoldTerms
from orchestrator.metering.price_book import PriceBook
from orchestrator.metering.usage import Metering
from orchestrator.metering.usage_input import read_event
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.wallets import ensure_wallet
from tests.integration.database.units import opened_reads, opened_writer, top_up

MERCHANT, MODE = "mer_kill", "test"
CALLERS = 24
CENTS = 100_000
HELD = 1_000


def units_of(number: int) -> int:
    return number % 97 + 1


def captured_of(number: int) -> int:
    """Now below what was held, now above."""
    return number * 7 % 1_500


class Spender:
    """One wallet and what is done to it."""

    def __init__(self, writer: Writer, reads: Reads) -> None:
        clock = SystemClock()
        self._writer = writer
        self._metering = Metering(writer, PriceBook(writer, reads, clock), clock)
        self._holds = Holds(writer, reads, clock)
        self.wallet = ""

    async def open(self) -> None:
        self.wallet = await ensure_wallet(self._writer, CustomerRef(MERCHANT, MODE, "kill", "DE"))
        await self._writer.submit(top_up("kill", CENTS, wallet=self.wallet, merchant=MERCHANT))

    async def use(self, number: int) -> str:
        """Charge number N; return the result's status."""
        event = {"id": f"u{number}", "wallet": self.wallet, "amount": f"0.{units_of(number):09}"}
        answer = await self._metering.record(MERCHANT, MODE, [read_event(event)])
        status: str = answer["results"][0]["status"]
        return status

    async def hold_and_capture(self, number: int) -> None:
        id_ = f"hold_{number}"
        await self._holds.make(HoldTerms(MERCHANT, MODE, id_, self.wallet, "hold", HELD, 3_600_000_000))
        await self._holds.capture(MERCHANT, MODE, id_, "hold", captured_of(number))


async def main(url: str, first: int) -> None:
    async with opened_writer(url) as writer, opened_reads(url) as reads:
        spender = Spender(writer, reads)
        await _until_done(spender.open)
        numbers = iter(range(first, sys.maxsize))

        async def caller() -> None:
            for number in numbers:
                await _until_done(lambda: spender.use(number))  # noqa: B023  # awaited before the next number
                sys.stdout.write(f"use {number}\n")
                await _until_done(lambda: spender.hold_and_capture(number))  # noqa: B023  # as above
                sys.stdout.write(f"capture {number}\n")

        sys.stdout.write("spending\n")
        await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def _until_done(act: object) -> None:
    assert callable(act)
    while True:
        try:
            await act()
        except Exception as error:  # noqa: BLE001  # the database is away: a client asks again
            sys.stderr.write(f"again: {error!r}\n")
            await asyncio.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
