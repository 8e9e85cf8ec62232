"""A world with page and dashboard, on SQLite: what is read here is the same on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.web.app import setup
from tests.support.world import World, world


@pytest.fixture
async def here(sqlite_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The loops stand still: a test calls ``work_once``."""
    async with world(sqlite_url, tmp_path, setups=[setup], loops=False) as opened:
        yield opened
