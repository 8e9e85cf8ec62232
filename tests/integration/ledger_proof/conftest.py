from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.ledger_proof.books import Books, opened_books


@pytest.fixture
async def books(migrated_database_url: str) -> AsyncIterator[Books]:
    async with opened_books(migrated_database_url) as opened:
        yield opened
