"""Two writers on one PostgreSQL, random sets of accounts in random order: nobody waits for each other for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from structlog.testing import capture_logs

from orchestrator.database.tables import Account, table_of
from orchestrator.database.unit import Changes, Entry, Line, Unit, View, account_lock
from orchestrator.database.writer import Writer
from orchestrator.ledger.check import check
from tests.integration.database.units import MODE, opened_reads, opened_writer

MERCHANT = "mer_random"
ACCOUNTS = 12
UNITS = 600
SEED = 7
PORTION = 20


def _transfer(choose: random.Random, number: int) -> Unit:
    """Move one unit round a ring of accounts; some are locked before the decision, the others after it."""
    ring = choose.sample(range(ACCOUNTS), choose.randint(2, 6))
    seen = [account_lock(MERCHANT, MODE, "suspense", f"a{one:02}", "USD/9") for one in ring if choose.random() < 0.5]
    choose.shuffle(seen)
    lines = tuple(
        Line("suspense", f"a{one:02}", "USD/9", amount)
        for place, one in enumerate(ring)
        if (amount := 1 if place == 0 else -1 if place == len(ring) - 1 else 0)
    )

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.post(Entry("moved", f"fact_{number}", lines))
        return {}

    return Unit(MERCHANT, MODE, f"k{number}", tuple(seen), decide)


async def test_random_sets_of_accounts_never_end_in_a_deadlock(postgres_url: str) -> None:
    choose = random.Random(SEED)  # noqa: S311  # a test that replays
    units = [_transfer(choose, number) for number in range(UNITS)]
    async with (
        opened_writer(postgres_url) as one,
        opened_writer(postgres_url) as other,
        opened_reads(postgres_url) as reads,
    ):
        await one.submit(Unit(MERCHANT, MODE, None, (), _opened))
        writers: list[Writer] = [one, other]
        with capture_logs() as logs:
            done = []
            for start in range(0, UNITS, PORTION):
                portion = units[start : start + PORTION]
                calls = [writers[number % 2].submit(unit) for number, unit in enumerate(portion)]
                calls += [writers[choose.randrange(2)].submit(unit) for unit in choose.sample(units, 5)]
                done += await asyncio.gather(*calls)
        assert [log for log in logs if log["event"] == "flush_rolled_back"] == []
        assert sum(not applied.duplicate for applied in done) == UNITS
        report = await check(reads)
        assert report.balanced
        assert report.rebuilt_equals_materialised
        assert report.entries == UNITS + 1
        assert sum(row["balance"] for row in await reads.all(select(table_of(Account)))) == 0


def _opened(_view: View, changes: Changes) -> Mapping[str, Any]:
    """Make every account, so that no two writers make one at the same moment (that is another test)."""
    half = ACCOUNTS // 2
    lines = [Line("suspense", f"a{one:02}", "USD/9", 1 if one < half else -1) for one in range(ACCOUNTS)]
    changes.post(Entry("moved", "fact_opening", tuple(lines)))
    return {}
