"""Somebody with the database's password changes history: what is found, and in which words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.ledger.chain import ChainReport, ChainWalk, Malformed
from orchestrator.ledger.chart import Account
from orchestrator.ledger.export import records
from orchestrator.ledger.rebuild import verify
from tests.integration.ledger_proof.books import MERCHANT, USD, Books


async def filled(books: Books) -> None:
    """Six entries of one book in six links, and another book."""
    for dollars in (1, 2, 3, 4, 5, 6):
        await books.earn(dollars * USD)
    await books.earn(7 * USD, "mer_2")


async def exported(books: Books) -> list[dict[str, Any]]:
    return [dict(record) async for record in records(books.reads, books.clock.now_us())]


def walked(found: list[dict[str, Any]], *anchored: str) -> ChainReport:
    walk = ChainWalk(anchored)
    for record in found:
        walk.take(record)
    return walk.finish()


async def finding(books: Books, *anchored: str) -> str:
    """Verify from the database and from an export: both say the same one thing."""
    report = await verify(books.reads, books.clock.now_us(), anchored)
    assert report.findings == walked(await exported(books), *anchored).findings
    assert not report.ok
    [said] = report.findings
    return said


async def head(books: Books) -> str:
    [row] = [row for row in await books.rows("shard") if row["merchant_id"] == MERCHANT]
    return str(row["seal_hash"])


async def test_untouched_books_hold_and_their_heads_are_told(books: Books) -> None:
    await filled(books)
    report = await verify(books.reads, books.clock.now_us(), [await head(books)])
    assert report.ok, report.findings
    assert (report.books, report.entries, report.before_chain) == (2, 7, 0)
    assert report.heads["mer_1 test"] == await head(books)
    assert walked(await exported(books)) == await verify(books.reads, books.clock.now_us())


async def test_a_changed_posting_names_its_entry(books: Books) -> None:
    await filled(books)
    await books.tamper("UPDATE posting SET units = units + 1 WHERE {here} AND sequence = 4 AND line = 0")
    said = await finding(books)
    assert said.startswith("mer_1 test: link 4: entry 4 (ent_")
    assert "usage of fact_3) does not sum to zero: {'USD/9': 1}" in said
    assert "sealed was" in said


async def test_a_balanced_change_with_all_balances_after_it_is_named_by_its_link(books: Books) -> None:
    await filled(books)
    await books.tamper(
        "UPDATE posting SET units = units * 2 WHERE {here} AND sequence = 3",
        "UPDATE posting SET balance_after = balance_after + 3000000000 WHERE {here} AND sequence >= 3 AND units > 0",
        "UPDATE posting SET balance_after = balance_after - 3000000000 WHERE {here} AND sequence >= 3 AND units < 0",
    )
    said = await finding(books)
    assert said.startswith("mer_1 test: link 3: entry 3 (ent_")
    assert "is not what was sealed" in said


@pytest.mark.parametrize(
    ("change", "link"),
    [
        ("UPDATE journal_entry SET fact = 'another' WHERE {here} AND sequence = 2", 2),
        ("UPDATE journal_entry SET created_us = created_us - 1 WHERE {here} AND sequence = 5", 5),
        ("UPDATE posting SET subject = 'mine' WHERE {here} AND sequence = 6 AND code = 'merchant:pending'", 6),
        ("UPDATE journal_entry SET payment_id = 'pay_1' WHERE {here} AND sequence = 1", 1),
    ],
)
async def test_any_changed_word_breaks_its_link(books: Books, change: str, link: int) -> None:
    await filled(books)
    await books.tamper(change)
    assert f"link {link}: " in await finding(books)


async def test_reordered_entries_break_the_first_of_them(books: Books) -> None:
    await filled(books)
    await books.tamper(
        "UPDATE journal_entry SET sequence = 99 WHERE {here} AND sequence = 2",
        "UPDATE journal_entry SET sequence = 2 WHERE {here} AND sequence = 3",
        "UPDATE journal_entry SET sequence = 3 WHERE {here} AND sequence = 99",
        "UPDATE posting SET sequence = 99 WHERE {here} AND sequence = 2",
        "UPDATE posting SET sequence = 2 WHERE {here} AND sequence = 3",
        "UPDATE posting SET sequence = 3 WHERE {here} AND sequence = 99",
    )
    assert "mer_1 test: link 2: entry 2 (ent_" in await finding(books)


async def test_a_removed_entry_is_missed(books: Books) -> None:
    await filled(books)
    await books.tamper(
        "DELETE FROM posting WHERE {here} AND sequence = 3", "DELETE FROM journal_entry WHERE {here} AND sequence = 3"
    )
    assert "entry 3 is missing" in await finding(books)


async def test_an_inserted_entry_is_in_no_link(books: Books) -> None:
    await filled(books)
    await books.tamper(
        "INSERT INTO journal_entry SELECT merchant_id, mode, 7, 'ent_forged', kind, 'forged', NULL, created_us "
        "FROM journal_entry WHERE {here} AND sequence = 6",
        "INSERT INTO posting SELECT merchant_id, mode, 7, line, code, subject, asset, units, balance_after + units "
        "FROM posting WHERE {here} AND sequence = 6",
        "UPDATE shard SET entry_sequence = 7 WHERE {here}",
    )
    assert "entry 7 (ent_forged) is in no link: its seal is missing" in await finding(books)


async def test_a_removed_last_seal_is_missed(books: Books) -> None:
    await filled(books)
    await books.tamper("DELETE FROM seal WHERE {here} AND number = 6")
    assert "is in no link: its seal is missing" in await finding(books)


async def test_a_removed_seal_in_the_middle_is_missed(books: Books) -> None:
    await filled(books)
    await books.tamper("DELETE FROM seal WHERE {here} AND number = 3")
    assert "entry 3" in (said := await finding(books))
    assert "missing" in said


async def test_a_tail_that_was_cut_off_cleanly_is_told_by_the_anchored_head_only(books: Books) -> None:
    await filled(books)
    anchored = await head(books)
    [previous] = [row for row in await books.rows("seal") if row["merchant_id"] == MERCHANT and row["number"] == 5]
    await books.tamper(
        "DELETE FROM posting WHERE {here} AND sequence = 6",
        "DELETE FROM journal_entry WHERE {here} AND sequence = 6",
        "DELETE FROM seal WHERE {here} AND number = 6",
        "UPDATE shard SET entry_sequence = 5, seal_number = 5, seal_hash = 'PREVIOUS' WHERE {here}".replace(
            "PREVIOUS", previous["hash"]
        ),
    )
    assert (await verify(books.reads, books.clock.now_us())).ok
    assert f"no link has the anchored hash {anchored}" in await finding(books, anchored)


async def test_a_head_that_does_not_fit_its_chain_is_told(books: Books) -> None:
    await filled(books)
    await books.tamper("UPDATE shard SET seal_hash = 'f00' WHERE {here}")
    assert "the book's head says link 6, hash f00" in await finding(books)


async def test_a_book_whose_head_was_removed_is_still_looked_at(books: Books) -> None:
    await filled(books)
    await books.tamper("DELETE FROM shard WHERE {here}")
    assert "the last entry is 6, the book's head says 0" in await finding(books)


async def test_a_truncated_export_is_told_wherever_it_was_cut(books: Books) -> None:
    await filled(books)
    whole = await exported(books)
    for length in range(1, len(whole)):
        assert not walked(whole[:length]).ok
    assert walked(whole).ok


async def test_any_record_left_out_or_twice_is_told(books: Books) -> None:
    await filled(books)
    whole = await exported(books)
    for position in range(len(whole)):
        assert is_told(whole[:position] + whole[position + 1 :]), whole[position]
        assert is_told([*whole[: position + 1], *whole[position:]]), whole[position]


async def test_two_records_that_changed_places_are_told(books: Books) -> None:
    await filled(books)
    whole = await exported(books)
    for position in range(1, len(whole) - 2):
        other = [*whole]
        other[position], other[position + 1] = other[position + 1], other[position]
        assert is_told(other), whole[position : position + 2]


def is_told(found: list[dict[str, Any]]) -> bool:
    """Say whether something is found wrong: in the chain, or in the form of the export."""
    try:
        return not walked(found).ok
    except Malformed:
        return True


async def test_many_entries_in_one_link_name_the_one_that_does_not_add_up(books: Books) -> None:
    await asyncio.gather(*(books.move(dollars * USD, Account.MERCHANT_PENDING) for dollars in range(1, 30)))
    seals = [row for row in await books.rows("seal") if row["last_sequence"] > row["first_sequence"]]
    assert seals, "the writer made one link of several entries"
    sequence = seals[-1]["last_sequence"] - 1
    await books.tamper(
        "UPDATE posting SET units = 5 WHERE {here} AND sequence = SEQ AND line = 1".replace("SEQ", str(sequence))
    )
    assert f": entry {sequence} (ent_" in await finding(books)
