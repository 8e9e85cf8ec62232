"""A process that charges wallets as fast as it is answered, and says how it went: ``python -m bench.load.debits JSON``."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import resource
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import structlog

from bench.load.charges import MODE, fill, open_metering, usage, wallet_names
from orchestrator.cli.collector import spare_the_collector
from orchestrator.clock import SystemClock
from orchestrator.database.reads import Reads
from orchestrator.database.writer import Writer, backend_for
from orchestrator.ids import new_id
from orchestrator.metering.usage import Metering

PICKS = 200_000
WARM_SECONDS = 1.0


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


class _Load:
    """Callers in this process, each waiting for its answer before it asks again."""

    def __init__(self, metering: Metering, merchant: str, wallets: int, *, ordered: bool) -> None:
        self._metering = metering
        self._merchant = merchant
        names = wallet_names(merchant, wallets)
        weights = list(accumulate(1 / (rank + 1) for rank in range(wallets)))
        self._picks = random.Random(1).choices(names, cum_weights=weights, k=PICKS)  # noqa: S311  # a load, no secret
        self._ordered = ordered
        self.seconds: list[float] = []
        self.done = 0

    async def run(self, callers: int, go_on: Callable[[], bool]) -> None:
        self.seconds, self.done = [], 0
        await asyncio.gather(*(self._caller(go_on) for _ in range(callers)))

    async def _caller(self, go_on: Callable[[], bool]) -> None:
        while go_on():
            event_id = new_id("evu") if self._ordered else uuid.uuid4().hex
            began = time.perf_counter()
            event = usage(self._picks[self.done % PICKS], event_id)
            answer = await self._metering.record(self._merchant, MODE, [event])
            if answer["results"][0]["status"] != "accepted":
                raise SystemExit(f"a debit was not accepted: {answer}")
            if len(self.seconds) < PICKS:
                self.seconds.append(time.perf_counter() - began)
            self.done += 1


async def main(order: dict[str, Any]) -> dict[str, float]:
    """``order``: url, merchant, wallets, callers; seconds or debits; fill (make the wallets first); ordered ids or not."""
    clock, reads = SystemClock(), Reads(order["url"])
    writer = Writer(backend_for(order["url"]), clock)
    await writer.open()
    try:
        if order["fill"]:
            await fill(writer, order["merchant"], wallet_names(order["merchant"], order["wallets"]))
        metering = await open_metering(writer, reads, clock, order["merchant"])
        load = _Load(metering, order["merchant"], order["wallets"], ordered=order["ordered"])
        spare_the_collector()
        until = time.perf_counter() + WARM_SECONDS
        await load.run(order["callers"], lambda: time.perf_counter() < until)
        warm = load.done
        until, debits = time.perf_counter() + order.get("seconds", 1e9), order.get("debits", 10**9)
        cpu, began = time.process_time(), time.perf_counter()
        await load.run(order["callers"], lambda: time.perf_counter() < until and load.done < debits)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    finally:
        await writer.close()
        await reads.close()
    return {
        "rate": load.done / wall,
        "debits": load.done,
        "stored": load.done + warm,
        "cpu_us": cpu / load.done * 1e6,
        "mean_ms": statistics.fmean(load.seconds) * 1e3,
        "p99_ms": statistics.quantiles(load.seconds, n=100)[98] * 1e3,
        "resident_mb": _resident_mb(),
    }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
