"""Stories with every fault at once, a few seeds of them; ``make soak`` lives through two hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.life import life
from tests.simulation.verdict import verdict

PAYMENTS = 15


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_goes_wrong_every_unit_is_credited_sent_back_or_in_review(
    sqlite_url: str, tmp_path: Path, seed: int
) -> None:
    await _live(sqlite_url, tmp_path, seed)


async def test_the_same_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    await _live(postgres_url, tmp_path, 4)


async def _live(url: str, folder: Path, seed: int) -> None:
    async with life(url, folder, seed, PAYMENTS) as story:
        await story.live()
        await story.rest()
        found = await verdict(story.house)
        assert not found, "\n".join([f"seed {seed}", *found, "", *story.told[-40:]])
        assert story.house.lives > 1
        assert story.house.faults.counts.total() > 2
