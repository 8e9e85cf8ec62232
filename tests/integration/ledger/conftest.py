from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.ledger.bank import Bank, opened_bank


@pytest.fixture
async def bank(migrated_database_url: str) -> AsyncIterator[Bank]:
    async with opened_bank(migrated_database_url) as open_bank:
        yield open_bank


@pytest.fixture
async def small_bank(sqlite_url: str) -> AsyncIterator[Bank]:
    """On SQLite only: for what has no business with the database."""
    async with opened_bank(sqlite_url) as open_bank:
        yield open_bank
