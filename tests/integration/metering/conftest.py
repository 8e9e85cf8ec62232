from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.metering.desk import Desk, opened_desk


@pytest.fixture
async def desk(migrated_database_url: str) -> AsyncIterator[Desk]:
    async with opened_desk(migrated_database_url) as open_desk:
        await open_desk.price()
        yield open_desk
