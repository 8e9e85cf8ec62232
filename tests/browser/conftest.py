"""A running world and a folder for screenshots that a person may look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page

from orchestrator.web.app import setup
from tests.support.world import World, world

SHOTS = Path(__file__).parents[2] / "var" / "screenshots"
Shoot = Callable[[Page, str], Awaitable[None]]


@pytest.fixture
async def here(sqlite_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with world(sqlite_url, tmp_path, setups=[setup]) as opened:
        yield opened


@pytest.fixture
def shoot() -> Shoot:
    """Keep a picture of the whole page under ``var/screenshots``."""

    async def shoot_page(page: Page, name: str) -> None:
        await page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    return shoot_page
