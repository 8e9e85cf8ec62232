"""Money out: two steps, two people, never more than there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import orjson
import pytest

from orchestrator.database.sqlite_backend import DatabaseInUse
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.database.writer import Writer, backend_for
from orchestrator.errors import Conflict, Refusal
from orchestrator.ledger.chart import Account
from orchestrator.ledger.payout_recipes import MerchantSide
from orchestrator.ledger.payouts import Payouts, PayoutWanted, SecondPersonNeeded
from tests.integration.ledger_proof.books import BANK, MERCHANT, MODE, TIERS, USD, Books

OTHER = {"name": "Acme Ltd", "iban": "GB82 WEST 1234 5698 7654 32"}


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value.code


async def ready(books: Books, units: int = 100 * USD) -> None:
    await books.merchant()
    await books.move(units, Account.MERCHANT_AVAILABLE)


async def transit(books: Books) -> int:
    return sum(row["balance"] for row in await books.rows("account") if row["code"] == "payout:transit")


async def test_a_payout_goes_from_available_over_transit_to_the_bank(books: Books) -> None:
    await ready(books, 100 * USD + 12_345_678)
    asked = await books.ask()
    assert (asked["status"], asked["amount"]["amount"]) == ("requested", "100.01")
    assert (await books.side()).available == 2_345_678
    assert await transit(books) == -100_010_000_000
    assert (await books.payouts.approve("po_1", "operator:eve"))["status"] == "sent"
    paid = await books.payouts.confirm("po_1", "FT1")
    assert (paid["status"], paid["bank_reference"], paid["approved_by"]) == ("paid", "FT1", "operator:eve")
    assert await transit(books) == 0
    assert await books.payouts.confirm("po_1", "FT1") == paid
    assert await refused(books.payouts.confirm("po_1", "FT2")) == "payout_is_elsewhere"
    assert await refused(books.payouts.fail("po_1", "late")) == "payout_is_elsewhere"
    events = [(row["type"], orjson.loads(row["body"])["status"]) for row in await books.rows("event")]
    assert events == [("payout.created", "requested"), ("payout.paid", "paid")]
    await books.assert_sound()


async def test_whoever_asked_cannot_approve(books: Books) -> None:
    await ready(books)
    await books.ask(by="operator:eve")
    with pytest.raises(SecondPersonNeeded):
        await books.payouts.approve("po_1", "operator:eve")
    assert await refused(books.payouts.confirm("po_1", "FT1")) == "payout_is_elsewhere"
    assert (await books.payouts.approve("po_1", "operator:bob"))["approved_by"] == "operator:bob"
    assert await refused(books.payouts.approve("po_1", "operator:dan")) == "payout_is_elsewhere"


@pytest.mark.parametrize(("approved", "status"), [(False, "canceled"), (True, "failed")])
async def test_a_payout_that_fails_is_available_again(books: Books, approved: bool, status: str) -> None:
    await ready(books)
    await books.ask(30 * USD)
    if approved:
        await books.payouts.approve("po_1", "operator:eve")
    assert (await books.payouts.fail("po_1", "account closed"))["status"] == status
    assert (await books.payouts.fail("po_1", "said twice"))["failure"] == "account closed"
    assert await books.side() == MerchantSide(0, 100 * USD, 0, 0)
    assert await refused(books.payouts.approve("po_1", "operator:eve")) == "payout_is_elsewhere"
    await books.assert_sound()


async def test_a_paid_payout_that_the_bank_sends_back_is_available_again_once(books: Books) -> None:
    await ready(books)
    await books.ask(30 * USD)
    assert await refused(books.payouts.take_back("po_1", "no such account")) == "payout_is_elsewhere"
    await books.payouts.approve("po_1", "operator:eve")
    assert await refused(books.payouts.take_back("po_1", "no such account")) == "payout_is_elsewhere"
    await books.payouts.confirm("po_1", "FT1")
    answers = await asyncio.gather(*(books.payouts.take_back("po_1", "no such account") for _ in range(100)))
    assert {(one["status"], one["bank_reference"], one["failure"]) for one in answers} == {
        ("returned", "FT1", "no such account")
    }
    assert await books.side() == MerchantSide(0, 100 * USD, 0, 0)
    assert sum(row["balance"] for row in await books.rows("account") if row["code"] == "bank") == 0
    assert await refused(books.payouts.confirm("po_1", "FT1")) == "payout_is_elsewhere"
    assert [row["type"] for row in await books.rows("event")].count("payout.returned") == 1
    await books.assert_sound()


async def test_many_requests_at_once_never_take_more_than_there_is(books: Books) -> None:
    await ready(books)
    answers = await asyncio.gather(*(books.ask(30 * USD) for _ in range(20)), return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 3
    assert {answer.code for answer in answers if isinstance(answer, Conflict)} == {"payout_exceeds_available"}
    assert (await books.side()).available == 10 * USD
    assert await transit(books) == -90 * USD
    await books.assert_sound()


async def test_many_people_at_once_confirm_or_fail_only_one_of_them_moves_money(books: Books) -> None:
    await ready(books)
    await books.ask(100 * USD)
    await books.payouts.approve("po_1", "operator:eve")
    calls = [
        *(books.payouts.confirm("po_1", "FT1") for _ in range(5)),
        *(books.payouts.fail("po_1", "no") for _ in range(5)),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    (said,) = {answer["status"] for answer in answers if not isinstance(answer, BaseException)}
    assert await transit(books) == 0
    assert (await books.side()).available == {"paid": 0, "failed": 100 * USD}[said], "whoever came first"
    await books.assert_sound()


async def test_the_same_request_again_is_the_same_payout(books: Books) -> None:
    await ready(books)
    first = await books.ask(40 * USD, id_="po_same")
    assert await books.ask(40 * USD, id_="po_same") == first
    assert (await books.side()).available == 60 * USD


@pytest.mark.parametrize("units", [0, 101 * USD, 100 * USD + 10_000_000])
async def test_nothing_and_more_than_available_are_refused(books: Books, units: int) -> None:
    await ready(books)
    assert await refused(books.ask(units)) == "payout_exceeds_available"


async def test_parts_of_a_cent_and_unknown_places_are_refused(books: Books) -> None:
    assert await refused(books.ask()) == "no_such_merchant"
    await books.merchant()
    assert await refused(books.ask()) == "payout_exceeds_available"
    assert await refused(books.ask(1)) == "payout_has_parts_of_a_cent"
    assert await refused(books.payouts.approve("po_none", "operator:eve")) == "payout_not_found"
    assert await refused(books.payouts.set_terms(MERCHANT, tier="vip", destination=None, by="a")) == "risk_tier_unknown"
    assert (
        await refused(books.payouts.set_terms(MERCHANT, tier=None, destination={}, by="a"))
        == "payout_destination_invalid"
    )


async def test_balances_are_looked_at_again_at_approval(books: Books) -> None:
    await ready(books)
    await books.ask(100 * USD)
    await books.earn(-5 * USD)  # a correction came after the request, and nothing is there to cover it
    assert await refused(books.payouts.approve("po_1", "operator:eve")) == "payout_not_covered_any_more"
    await books.earn(5 * USD)
    assert (await books.payouts.approve("po_1", "operator:eve"))["status"] == "sent"


async def test_what_the_merchant_owes_cannot_be_paid_out(books: Books) -> None:
    await ready(books)
    await books.move(-30 * USD, Account.MERCHANT_RECEIVABLE)
    assert (await books.ask())["amount"]["amount"] == "70.00"


async def test_a_destination_that_changed_since_is_not_paid_to(books: Books) -> None:
    await ready(books)
    await books.ask()
    await books.payouts.set_terms(MERCHANT, tier=None, destination=OTHER, by="admin_token")
    assert await refused(books.payouts.approve("po_1", "operator:eve")) == "payout_destination_changed"
    assert (await books.payouts.fail("po_1", "destination changed"))["status"] == "canceled"


async def test_a_destination_that_replaces_another_one_is_paid_to_after_a_second_person_confirmed_it(
    books: Books,
) -> None:
    await ready(books)
    await books.payouts.set_terms(MERCHANT, tier=None, destination=OTHER, by="admin_token")
    kept = {"name": "Acme Ltd", "iban": "GB82WEST12345698765432"}
    await books.ask()
    assert await refused(books.payouts.approve("po_1", "operator:eve")) == "payout_destination_held"
    with pytest.raises(SecondPersonNeeded):
        await books.payouts.confirm_destination(MERCHANT, kept, "admin_token")
    assert await refused(books.payouts.confirm_destination(MERCHANT, BANK, "operator:eve")) == (
        "payout_destination_changed"
    )
    for _ in range(2):
        terms = await books.payouts.confirm_destination(MERCHANT, kept, "operator:eve")
        assert (terms["destination"], terms["destination_held"]) == (kept, False)
    await books.payouts.set_terms(MERCHANT, tier=None, destination=kept, by="operator:dan")  # the same: nothing changes
    assert (await books.payouts.approve("po_1", "operator:eve"))["status"] == "sent"
    changes = [(row["number"], row["kind"], row["person"]) for row in await books.rows("destination_change")]
    assert changes == [(1, "set", "admin_token"), (2, "confirmed", "operator:zoe"), (3, "set", "admin_token"),
                       (4, "confirmed", "operator:eve")]  # fmt: skip


@pytest.mark.parametrize("hold_first", [True, False])
async def test_a_first_destination_is_paid_to_after_a_second_person_confirmed_it_unless_configured_otherwise(
    books: Books, hold_first: bool
) -> None:
    await ready(books)
    payouts = Payouts(books.writer, books.reads, TIERS, hold_first=hold_first)

    def decide(_view: View, changes: Changes) -> dict[str, str]:
        changes.update("merchant", (MERCHANT,), payout_destination=None, destination_by="", destination_held=0)
        return {}

    await books.writer.submit(Unit(MERCHANT, "live", None, (row_lock("merchant", MERCHANT),), decide))
    terms = await payouts.set_terms(MERCHANT, tier=None, destination=BANK, by="admin_token")
    assert terms["destination_held"] is hold_first
    await books.ask()
    if hold_first:
        assert await refused(payouts.approve("po_1", "operator:eve")) == "payout_destination_held"
        with pytest.raises(SecondPersonNeeded):
            await payouts.confirm_destination(MERCHANT, BANK, "admin_token")
        await payouts.confirm_destination(MERCHANT, BANK, "operator:zoe")
    assert (await payouts.approve("po_1", "operator:eve"))["status"] == "sent"
    await payouts.set_terms(MERCHANT, tier=None, destination=OTHER, by="admin_token")
    assert (await payouts.set_terms(MERCHANT, tier=None, destination=None, by="a"))["destination_held"], "always"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"name": "Acme", "iban": "DE03120300000000202051"}, "iban_invalid"),
        ({"name": "Acme", "iban": "another"}, "iban_invalid"),
        ({"name": "Acme", "bic": "DEUT"}, "bic_invalid"),
        ({"name": "Acme", "bank_country": "Germany"}, "bank_country_invalid"),
        ({"name": "Acme", "account_number": "12=34"}, "account_number_invalid"),
        *(({"name": f"{mark}cmd|' /C calc'!A0"}, "payout_destination_invalid") for mark in "=+-@\t\r\0 "),
        ({"=name": "Acme"}, "payout_destination_invalid"),
        ({"name": "Acme\nOther"}, "payout_destination_invalid"),
        ({}, "payout_destination_invalid"),
    ],
)
async def test_a_destination_that_cannot_be_is_refused(books: Books, given: dict[str, str], code: str) -> None:
    await books.merchant()
    assert await refused(books.payouts.set_terms(MERCHANT, tier=None, destination=given, by="a")) == code


async def test_an_answer_that_was_lost_is_given_again(books: Books) -> None:
    await ready(books)
    await books.ask()
    sent = await books.payouts.approve("po_1", "operator:eve")
    assert await books.payouts.approve("po_1", "operator:eve") == sent


async def test_two_writing_processes_never_pay_more_than_there_is(books: Books) -> None:
    if books.url.startswith("sqlite"):
        with pytest.raises(DatabaseInUse):
            await Writer(backend_for(books.url), books.clock).open()
        return
    await ready(books)
    other = Writer(backend_for(books.url), books.clock)
    await other.open()
    try:
        desks = [books.payouts, Payouts(other, books.reads, TIERS)]
        wanted = [PayoutWanted(f"po_x{number}", MERCHANT, MODE, 30 * USD, "key:k") for number in range(12)]
        answers = await asyncio.gather(
            *(desks[number % 2].request(one) for number, one in enumerate(wanted)), return_exceptions=True
        )
        assert sum(not isinstance(answer, BaseException) for answer in answers) == 3
        assert {answer.code for answer in answers if isinstance(answer, Conflict)} == {"payout_exceeds_available"}
        made = [row["id"] for row in await books.rows("payout")]
        ends = [(desk.approve(id_, "operator:eve"), desk.fail(id_, "no")) for id_ in made for desk in desks]
        await asyncio.gather(*(end for pair in ends for end in pair), return_exceptions=True)
        await asyncio.gather(*(desk.fail(id_, "no") for id_ in made for desk in desks))
        assert (await books.side()).available == 100 * USD
        await books.assert_sound()
    finally:
        await other.close()
