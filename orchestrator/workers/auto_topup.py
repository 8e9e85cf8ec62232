"""Charges saved methods where balances fell, and reads what buyers saved: woken by commits, at most so often."""

from __future__ import annotations

import asyncio
from typing import Final

from orchestrator.database.writer import Writer
from orchestrator.payments.auto_topup import AutoTopups
from orchestrator.payments.mandates import Mandates
from orchestrator.workers.supervisor import beat, pause

ROUND_S_MIN: Final = 0.25
"""A busy writer commits hundreds of times a second; a balance need not be looked at that often."""
POLL_S: Final = 5.0
"""What other processes charged wakes nobody here."""


class AutoTopupWorker:
    """One page of standing orders a round. May run in several processes: an order is claimed under its row's lock."""

    name = "auto_topup"

    def __init__(self, writer: Writer, auto_topups: AutoTopups, mandates: Mandates) -> None:
        self._writer = writer
        self._auto_topups = auto_topups
        self._mandates = mandates
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        self._writer.after_commit.append(self._wake.set)
        try:
            await self._rounds(stop)
        finally:
            self._writer.after_commit.remove(self._wake.set)

    async def _rounds(self, stop: asyncio.Event) -> None:
        after = None
        while not stop.is_set():
            self._wake.clear()
            beat()
            found, after = await self._auto_topups.page(after)
            await self._auto_topups.look_at(found)
            await self._mandates.run_once()
            await asyncio.sleep(ROUND_S_MIN)
            if after is None:
                await pause(stop, POLL_S, self._wake)
