from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.api.house import House, opened


@pytest.fixture
async def house(migrated_database_url: str) -> AsyncIterator[House]:
    async with opened(migrated_database_url) as open_house:
        yield open_house


@pytest.fixture
async def small_house(sqlite_url: str) -> AsyncIterator[House]:
    """On SQLite only: for what has no business with the database."""
    async with opened(sqlite_url) as open_house:
        yield open_house
