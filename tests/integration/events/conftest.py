from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.events.house import House, Receiver, opened, receiving


@pytest.fixture
async def house(migrated_database_url: str) -> AsyncIterator[House]:
    async with opened(migrated_database_url) as open_house:
        yield open_house


@pytest.fixture
async def shop() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
