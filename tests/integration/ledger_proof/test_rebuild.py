"""Balances made again from the postings; repaired where nothing else writes."""

from __future__ import annotations

import orjson
import pytest

from orchestrator.ledger.chart import Account
from orchestrator.ledger.rebuild import SomethingWrites, rebuild, repair, writers
from tests.integration.ledger_proof.books import USD, Books


async def test_sound_books_have_no_difference(books: Books) -> None:
    await books.earn(3 * USD)
    found = await rebuild(books.reads)
    assert (found.accounts, found.postings, list(found.differences)) == (2, 2, [])
    assert await writers(books.reads, books.clock.now_us()) == []


async def test_a_changed_a_lost_and_an_invented_balance_are_set_right(books: Books) -> None:
    await books.earn(3 * USD)
    await books.move(4 * USD, Account.MERCHANT_AVAILABLE)
    await books.tamper(
        "UPDATE account SET balance = 0 - 9000000000 WHERE {here} AND code = 'merchant:pending'",
        "DELETE FROM account WHERE {here} AND code = 'merchant:available'",
        "INSERT INTO account SELECT merchant_id, mode, 'bank', '', asset, 5 FROM account "
        "WHERE {here} AND code = 'merchant:pending'",
    )
    found = await rebuild(books.reads)
    assert [(one.code, one.materialised, one.rebuilt) for one in found.differences] == [
        ("bank", 5, 0), ("merchant:available", None, -4 * USD), ("merchant:pending", -9 * USD, -3 * USD),
    ]  # fmt: skip
    assert await repair(books.writer, found) == found.differences
    assert list((await rebuild(books.reads)).differences) == []
    await books.assert_sound()
    [event] = await books.rows("event")
    assert event["type"] == "ledger.rebuilt"
    assert [one["rebuilt"] for one in orjson.loads(event["body"])] == [0, -4 * USD, -3 * USD]
    await books.earn(1 * USD)
    await books.assert_sound()


async def test_a_book_that_moves_meanwhile_is_left_alone(books: Books) -> None:
    await books.earn(3 * USD)
    await books.tamper("UPDATE account SET balance = 7 WHERE {here} AND code = 'merchant:pending'")
    found = await rebuild(books.reads)
    await books.move(1 * USD, Account.MERCHANT_RESERVE)
    with pytest.raises(SomethingWrites, match="written meanwhile"):
        await repair(books.writer, found)
    again = await rebuild(books.reads)
    assert [one.materialised for one in again.differences] == [7]


async def test_a_balance_that_changed_without_an_entry_is_left_alone(books: Books) -> None:
    await books.earn(3 * USD)
    await books.tamper("UPDATE account SET balance = 7 WHERE {here} AND code = 'merchant:pending'")
    found = await rebuild(books.reads)
    await books.tamper("UPDATE account SET balance = 8 WHERE {here} AND code = 'merchant:pending'")
    with pytest.raises(SomethingWrites, match="changed meanwhile"):
        await repair(books.writer, found)


async def test_who_holds_a_lease_to_write_is_told(books: Books) -> None:
    later = books.clock.now_us() + 1
    await books.tamper("INSERT INTO writer_lease VALUES (0, 'host:1', '', 1, LATER)".replace("LATER", str(later)))
    assert await writers(books.reads, books.clock.now_us()) == ["host:1"]
    assert await writers(books.reads, later) == []
