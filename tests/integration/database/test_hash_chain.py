"""Every flush seals what it wrote: one link per book, one chain, and the database refuses a second one."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.database.tables import Seal, Shard, table_of
from tests.integration.database.chain import sealed_entries
from tests.integration.database.units import MERCHANT, MODE, opened_reads, opened_writer, top_up


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


async def _write(url: str, table: type[Seal | Shard], **row: object) -> None:
    """Write a row past the writer."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(insert(table_of(table)).values(**row))
    finally:
        await engine.dispose()


async def test_every_flush_adds_one_link_to_each_book_that_it_wrote(url: str) -> None:
    async with opened_writer(url) as writer:
        await asyncio.gather(*(writer.submit(top_up(f"a{n}")) for n in range(3)))
        await asyncio.gather(
            writer.submit(top_up("b")), writer.submit(top_up("c", merchant="mer_2")), writer.submit(top_up("d"))
        )
        await writer.submit(top_up("a1"))  # claimed already: no entry, no link
    async with opened_writer(url) as writer:
        await writer.submit(top_up("e"))
    async with opened_reads(url) as reads:
        assert await sealed_entries(reads) == 7
        seals = await reads.all(select(table_of(Seal)).order_by(*table_of(Seal).primary_key.columns))
    assert [(row["merchant_id"], row["number"], row["first_sequence"], row["last_sequence"]) for row in seals] == [
        (MERCHANT, 1, 1, 3),
        (MERCHANT, 2, 4, 5),
        (MERCHANT, 3, 6, 6),
        ("mer_2", 1, 1, 1),
    ]


async def test_two_links_cannot_follow_the_same_one(url: str) -> None:
    async with opened_writer(url) as writer:
        await writer.submit(top_up("a"))
        await writer.submit(top_up("b"))
        async with opened_reads(url) as reads:
            first = await reads.one(select(table_of(Seal)).where(table_of(Seal).c.number == 1))
        assert first is not None
        for previous in ("", first["hash"]):
            fork = first | {"number": 9, "previous_hash": previous, "hash": "f" * 64}
            with pytest.raises(IntegrityError):
                await _write(url, Seal, **fork)
        await _write(url, Seal, **(first | {"number": 9, "previous_hash": "e" * 64, "hash": "f" * 64}))


async def test_a_book_that_is_older_than_the_chain_is_sealed_from_its_next_entry_on(url: str) -> None:
    await _write(url, Shard, merchant_id=MERCHANT, mode=MODE, entry_sequence=5, event_sequence=5)
    async with opened_writer(url) as writer:
        await writer.submit(top_up("a"))
    async with opened_reads(url) as reads:
        assert await sealed_entries(reads) == 1
        (seal,) = await reads.all(select(table_of(Seal)))
    assert (seal["number"], seal["first_sequence"], seal["previous_hash"]) == (1, 6, "")
