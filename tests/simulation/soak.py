"""Many seeds side by side: ``python -m tests.simulation.soak FIRST COUNT [PAYMENTS] [SECONDS]``.

Prints a line for each seed with what went wrong in it and how it ended; ``SEED`` of a failure lives it through again. It ends
with 1 where a sentence did not hold. ``SECONDS``: no new seed is begun after that.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import structlog

from orchestrator.database.migrate import upgrade
from tests.simulation.life import life
from tests.simulation.verdict import verdict

PAYMENTS = 50
SHOWN_MAX = 8


async def _live(seed: int, payments: int) -> tuple[list[str], Counter[str], str]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/crossrail.db"
        await asyncio.to_thread(upgrade, url)
        async with life(url, Path(folder), seed, payments) as story:
            try:
                await story.live()
                await story.rest()
                found = await verdict(story.house)
            except Exception as error:  # noqa: BLE001  # a seed that breaks is a finding like any other
                found = [f"{type(error).__name__}: {error}"[:2000], *story.told[-12:]]
            said = f"{len(story.sessions)} payments, {len(story.told)} steps, {story.house.lives} lives"
            return found, story.house.faults.counts, said


def live(given: tuple[int, int, float]) -> tuple[int, list[str], Counter[str], str]:
    """Live through one seed in a process of its own."""
    seed, payments, until = given
    if time.time() > until:
        return seed, [], Counter(), ""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    found, counts, said = asyncio.run(_live(seed, payments))
    return seed, found, counts, said


def main(first: int, count: int, payments: int = PAYMENTS, seconds: float = 1e9) -> int:
    until = time.time() + seconds
    wrong, faults, lived = [], Counter[str](), 0
    given = [(seed, payments, until) for seed in range(first, first + count)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=20) as pool:
        for seed, found, counts, said in pool.imap_unordered(live, given):
            if not said:
                continue
            lived += 1
            faults += counts
            sys.stdout.write(f"seed {seed}: {said}, {counts.total()} faults: {'WRONG' if found else 'right'}\n")
            for sentence in found[:SHOWN_MAX]:
                sys.stdout.write(f"    {sentence}\n")
            sys.stdout.flush()
            wrong += [seed] if found else []
    sys.stdout.write(
        f"simulation: {lived} seeds, {lived * payments} payments, {faults.total()} faults, wrong: {wrong}\n"
    )
    for name, times in faults.most_common():
        sys.stdout.write(f"    {times:7} {name}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
