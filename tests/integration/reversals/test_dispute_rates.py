"""The monitor over real disputes: counted by merchant and month, told once for each level."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import orjson

from orchestrator.database import tables
from orchestrator.payments.dispute_rates import DisputeRates, Limits, Month, Programme
from tests.integration.reversals.scene import reversing
from tests.integration.reversals.test_disputes import said, tell
from tests.support.world import MERCHANT, MODE

READ_ON = date(2026, 11, 27)
LIMITS = Limits(
    warn_share_percent=60,
    programmes=(
        Programme(name="small", count=2, ratio_bps=5000, against="same_month", source="https://a", read_on=READ_ON),
        Programme(name="large", count=500, ratio_bps=1, against="month_before", source="https://a", read_on=READ_ON),
    ),
)


async def test_a_merchant_that_comes_above_a_limit_is_told_once(migrated_database_url: str, tmp_path: Path) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        services = scene.services
        rates = DisputeRates(services.writer, services.reads, services.clock, LIMITS)
        cards = [await scene.paid("DE") for _ in range(3)]
        await scene.paid("BR")  # Pix is no card
        assert await rates.of_month() == {}
        await tell(scene, said(cards[0], "du_1", "needs_answer", "withdrawn"))
        assert await rates.run_once() == 0
        await tell(scene, said(cards[1], "du_2", "needs_answer", "withdrawn"))
        small, large = (await rates.of_month())[MERCHANT, MODE]
        assert (small.disputes, small.payments, small.ratio_bps, small.level) == (2, 3, 6667, "exceeded")
        assert (large.payments, large.level) == (0, "ok")
        assert await rates.run_once() == 1
        assert await rates.run_once() == 0
        (review,) = await scene.rows(tables.Review, reason="dispute_rate_high")
        assert orjson.loads(review["evidence"])["level"] == "exceeded"
        (event,) = await scene.rows(tables.Event, type="dispute.rate_high")
        assert orjson.loads(event["body"])["programme"] == "small"
        assert await rates.of_month(Month.of(services.clock.now()).before) == {}
