"""Payouts as a file for a bank: two people, one batch each, the same bytes for ever, the bank's answer line by line."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import pytest

from orchestrator.database.sqlite_backend import DatabaseInUse
from orchestrator.database.writer import Writer, backend_for
from orchestrator.errors import Conflict
from orchestrator.ledger.chart import Account
from orchestrator.ledger.check import check
from orchestrator.ledger.payout_batches import COLUMNS, BankAnswer, BatchWanted, PayoutBatches, file_text
from orchestrator.ledger.payouts import Payouts, SecondPersonNeeded
from tests.integration.ledger_proof.books import BANK, MERCHANT, MODE, TIERS, USD, Books
from tests.integration.ledger_proof.test_payouts import OTHER, refused

ACCOUNT = {"name": "Beta, Inc.", "account_number": "000123456789", "bank_code": "021000021", "bank_country": "US"}


async def approved(books: Books, *units: int, merchant: str = MERCHANT, destination: Mapping[str, str] = BANK) -> None:
    """Payouts of a merchant that may go to the bank."""
    await books.merchant(merchant=merchant)
    if destination != BANK:
        await books.payouts.set_terms(merchant, tier=None, destination=destination, by="admin_token")
        await books.payouts.confirm_destination(merchant, destination, "operator:eve")
    await books.move(sum(units), Account.MERCHANT_AVAILABLE, merchant=merchant)
    for one in units:
        asked = await books.ask(one, merchant=merchant)
        await books.payouts.approve(asked["id"], "operator:eve")


async def build(
    books: Books, id_: str = "pob_1", payouts: Sequence[str] | None = None, by: str = "operator:ann"
) -> Mapping[str, Any]:
    return await books.batches.build(BatchWanted(id_, MODE, payouts, by))


async def out(books: Books, id_: str = "pob_1") -> bytes:
    """Build, approve, fetch."""
    await build(books, id_)
    await books.batches.approve(id_, "operator:bob")
    return await books.batches.fetch(id_, "operator:bob")


async def test_one_builds_another_approves_and_the_file_is_the_same_each_time(books: Books) -> None:
    await approved(books, 30 * USD, 70 * USD)
    await approved(books, 5 * USD + 10**7, merchant="mer_2", destination=ACCOUNT)
    built = await build(books)
    assert (built["status"], built["lines"], built["amount"]["amount"]) == ("built", 3, "105.01")
    assert built["left_out"] == []
    assert await refused(books.batches.fetch("pob_1", "operator:bob")) == "payout_batch_is_elsewhere"
    with pytest.raises(SecondPersonNeeded):
        await books.batches.approve("pob_1", "operator:ann")
    assert (await books.batches.approve("pob_1", "operator:bob"))["approved_by"] == "operator:bob"
    assert (await books.batches.approve("pob_1", "operator:bob"))["status"] == "approved"
    assert await refused(books.batches.approve("pob_1", "operator:dan")) == "payout_batch_is_elsewhere"
    first = await books.batches.fetch("pob_1", "operator:ann")
    books.clock.days(3)
    assert await books.batches.fetch("pob_1", "operator:bob") == first
    shown = await books.batches.show("pob_1")
    assert hashlib.sha256(first).hexdigest() == shown["content_hash"]
    assert (shown["fetched_by"], shown["fetched_at"][:10], shown["open"]) == ("operator:ann", "2026-11-23", 3)
    rows = list(csv.DictReader(io.StringIO(first.decode(), newline="")))
    assert [(row["payout"], row["name"], row["iban"], row["amount"], row["currency"]) for row in rows] == [
        ("po_1", "Acme GmbH", "DE02120300000000202051", "30.00", "USD"),
        ("po_2", "Acme GmbH", "DE02120300000000202051", "70.00", "USD"),
        ("po_3", "Beta, Inc.", "", "5.01", "USD"),
    ]
    assert (rows[2]["account_number"], rows[2]["bank_code"], rows[2]["bank_country"]) == (
        "000123456789", "021000021", "US",
    )  # fmt: skip
    assert tuple(rows[0]) == COLUMNS
    await books.assert_sound()


async def test_a_payout_stands_in_one_batch_only_also_when_a_hundred_people_build_at_once(books: Books) -> None:
    await approved(books, *[USD] * 7)
    answers = await asyncio.gather(*(build(books, f"pob_{number}") for number in range(100)), return_exceptions=True)
    built = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert [answer["lines"] for answer in built] == [7]
    assert {answer.code for answer in answers if isinstance(answer, Conflict)} == {"payout_batch_would_be_empty"}
    assert await refused(build(books, "pob_x", ["po_3"])) == "payout_is_in_a_batch"
    assert await build(books, built[0]["id"]) == built[0], "the same id again is the same batch"
    await books.assert_sound()


async def test_two_writing_processes_put_no_payout_into_two_batches(books: Books) -> None:
    if books.url.startswith("sqlite"):
        with pytest.raises(DatabaseInUse):
            await Writer(backend_for(books.url), books.clock).open()
        return
    await approved(books, *[USD] * 5)
    other = Writer(backend_for(books.url), books.clock)
    await other.open()
    try:
        desks = [books.batches, PayoutBatches(other, books.reads, Payouts(other, books.reads, TIERS))]
        wanted = [BatchWanted(f"pob_{number}", MODE, None, "operator:ann") for number in range(20)]
        answers = await asyncio.gather(
            *(desks[number % 2].build(one) for number, one in enumerate(wanted)), return_exceptions=True
        )
        built = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert [answer["lines"] for answer in built] == [5]
        ends: list[Awaitable[object]] = [desk.cancel(built[0]["id"], "operator:ann") for desk in desks]
        ends += [desk.approve(built[0]["id"], "operator:bob") for desk in desks]
        ends += [desk.fetch(built[0]["id"], "operator:bob") for desk in desks]
        await asyncio.gather(*ends, return_exceptions=True)
        batch = await books.batches.show(built[0]["id"])
        assert (batch["status"] == "canceled") == (batch["payouts"] == [])
        await books.assert_sound()
    finally:
        await other.close()


async def test_what_waits_in_a_batch_neither_ends_nor_fails_until_the_file_is_out(books: Books) -> None:
    await approved(books, 40 * USD)
    await build(books)
    for _ in range(2):
        assert await refused(books.payouts.fail("po_1", "no")) == "payout_is_in_a_batch"
        assert await refused(books.payouts.confirm("po_1", "FT1")) == "payout_is_in_a_batch"
        assert await refused(books.batches.answer("pob_1", [BankAnswer("po_1", "paid", None, "FT1")])) == (
            "payout_batch_is_not_out"
        )
        await books.batches.approve("pob_1", "operator:bob")
    await books.batches.fetch("pob_1", "operator:bob")
    assert await refused(books.batches.cancel("pob_1", "operator:bob")) == "payout_batch_is_out"
    assert (await books.payouts.fail("po_1", "account closed"))["status"] == "failed"
    assert (await books.side()).available == 40 * USD
    await books.assert_sound()


@pytest.mark.parametrize("approved_first", [False, True])
async def test_the_payouts_of_a_canceled_batch_go_into_another_one(books: Books, approved_first: bool) -> None:
    await approved(books, 40 * USD, 2 * USD)
    await build(books)
    if approved_first:
        await books.batches.approve("pob_1", "operator:bob")
    assert (await books.batches.cancel("pob_1", "operator:ann"))["canceled_by"] == "operator:ann"
    assert (await books.batches.cancel("pob_1", "operator:bob"))["canceled_by"] == "operator:ann"
    assert await refused(books.batches.approve("pob_1", "operator:bob")) == "payout_batch_is_elsewhere"
    assert await refused(books.batches.fetch("pob_1", "operator:bob")) == "payout_batch_is_elsewhere"
    assert (await build(books, "pob_2", ["po_2"]))["amount"]["amount"] == "2.00"
    assert (await build(books, "pob_3"))["amount"]["amount"] == "40.00"
    await books.assert_sound()


async def test_the_bank_answers_line_by_line_and_may_be_heard_twice(books: Books) -> None:
    await approved(books, 10 * USD, 20 * USD, 30 * USD, 40 * USD)
    await out(books)
    said = [
        BankAnswer("po_1", "paid", 10 * USD, "FT1"),
        BankAnswer("po_2", "failed", None, "account closed"),
        BankAnswer("po_3", "paid", None, "FT3"),
        BankAnswer("po_3", "returned", 30 * USD, "no such account"),
        BankAnswer("po_4", "paid", 41 * USD, "FT4"),
        BankAnswer("po_99", "paid", None, "FT5"),
    ]
    for _ in range(2):
        answer = await books.batches.answer("pob_1", said)
        states = [line["status"] for line in answer["payouts"]]
        assert states == ["paid", "failed", "returned", "sent"]
        assert answer["open"] == 1
        refusals = {line["payout"]: line["code"] for line in answer["results"] if not line["done"]}
        assert refusals.pop("po_3", "payout_is_elsewhere") == "payout_is_elsewhere"  # "paid" after "returned"
        assert refusals == {"po_4": "payout_amount_differs", "po_99": "payout_is_not_in_this_batch"}
    assert (await books.side()).available == 50 * USD
    assert sum(row["balance"] for row in await books.rows("account") if row["code"] == "payout:transit") == -40 * USD
    assert sum(row["balance"] for row in await books.rows("account") if row["code"] == "bank") == -10 * USD
    await books.assert_sound()


async def test_a_destination_that_changed_stops_the_batch_at_every_step(books: Books) -> None:
    await approved(books, 10 * USD)
    await build(books)
    await books.payouts.set_terms(MERCHANT, tier=None, destination=OTHER, by="admin_token")
    assert await refused(books.batches.approve("pob_1", "operator:bob")) == "payout_destination_changed"
    await books.payouts.set_terms(MERCHANT, tier=None, destination=BANK, by="admin_token")
    assert await refused(books.batches.approve("pob_1", "operator:bob")) == "payout_destination_held"
    await books.payouts.confirm_destination(MERCHANT, BANK, "operator:bob")
    await books.batches.approve("pob_1", "operator:bob")
    await books.payouts.set_terms(MERCHANT, tier=None, destination=OTHER, by="admin_token")
    assert await refused(books.batches.fetch("pob_1", "operator:bob")) == "payout_destination_changed"
    await books.batches.cancel("pob_1", "operator:bob")
    assert await refused(build(books, "pob_2", ["po_1"])) == "payout_destination_changed"
    assert (await books.payouts.fail("po_1", "destination changed"))["status"] == "failed"
    await books.assert_sound()


@pytest.mark.parametrize(
    ("destination", "why"),
    [
        ({"iban": "DE02120300000000202051"}, "the account's owner"),
        ({"name": "Acme", "wallet": "somewhere"}, "no column for wallet"),
        ({"name": "Acme"}, "an iban is missing"),
        ({"name": "Acme", "account_number": "123", "bank_country": "US"}, "an iban is missing"),
        ({"name": "Acme", "iban": "DE02120300000000202051", "account_number": "123"}, "another account"),
    ],
)
async def test_a_destination_that_no_file_can_hold_is_left_out_and_said(
    books: Books, destination: Mapping[str, str], why: str
) -> None:
    await approved(books, 10 * USD)
    await approved(books, 20 * USD, merchant="mer_2", destination=destination)
    assert await refused(build(books, "pob_0", ["po_1", "po_2"])) == "payout_does_not_fit_a_file"
    built = await build(books)
    assert built["lines"] == 1
    [left] = built["left_out"]
    assert (left["payout"], left["code"], why in left["detail"]) == ("po_2", "payout_does_not_fit_a_file", True)


def test_a_cell_that_a_spreadsheet_would_run_is_in_no_file() -> None:
    for mark in "=+-@":
        row = {"id": "po_1", "units": USD, "destination": f'{{"name": "{mark}SUM(A1)", "iban": "x"}}'}
        with pytest.raises(Conflict, match="formula"):
            file_text("pob_1", [row])


async def test_what_cannot_be_is_refused(books: Books) -> None:
    assert await refused(build(books)) == "payout_batch_would_be_empty"
    assert await refused(build(books, payouts=["po_none"])) == "payout_not_found"
    assert await refused(build(books, payouts=[f"po_{number}" for number in range(1001)])) == "payout_batch_is_too_long"
    for call in (books.batches.approve, books.batches.cancel, books.batches.fetch):
        assert await refused(call("pob_none", "operator:ann")) == "payout_batch_not_found"
    await books.merchant()
    await books.move(USD, Account.MERCHANT_AVAILABLE)
    await books.ask()
    assert await refused(build(books, payouts=["po_1"])) == "payout_is_elsewhere", "it is not approved"
    assert await refused(books.batches.build(BatchWanted("pob_2", "live", ["po_1"], "a"))) == "payout_not_found"


async def test_a_file_that_was_altered_is_not_handed_out_and_the_check_finds_it(books: Books) -> None:
    await approved(books, 10 * USD)
    await build(books)
    await books.batches.approve("pob_1", "operator:bob")
    await books.tamper("UPDATE payout_file SET content = replace(content, '10.00', '99.00')")
    assert await refused(books.batches.fetch("pob_1", "operator:bob")) == "payout_file_was_altered"
    assert "pob_1: its file is not the one that was built" in (await check(books.reads)).findings
