"""Versions of the price book: made, never changed, in force by time."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.clock import from_us
from orchestrator.metering.price_book import PriceBook
from tests.integration.metering.desk import MODE, Desk

NOTHING: dict[str, Any] = {"models": {}}


async def test_put_makes_a_version_and_the_same_again_makes_none(desk: Desk) -> None:
    body = {"models": {"m": {"input": "0.000001", "request": "0.5"}}, "markup_bps": 1000, "markups": {"m": 0}}
    made = await desk.call("PUT", "/v1/prices", body)
    assert made.status == 201, made.raw
    assert made.json["number"] == 2, "the desk has made the first one"
    again = await desk.call("PUT", "/v1/prices", body)
    assert (again.status, again.json["id"]) == (200, made.json["id"])
    other = await desk.call("PUT", "/v1/prices", {**body, "markups": {}})
    assert (other.status, other.json["number"]) == (201, 3)
    assert other.json["models"]["m"]["charged"] == {"input": "0.0000011", "request": "0.55"}
    first = await desk.call("GET", "/v1/prices?version=1")
    assert set(first.json["models"]) == {"gpt", "odd"}
    assert (await desk.call("GET", f"/v1/prices?version={made.json['id']}&model=m")).json["number"] == 2
    assert (await desk.call("GET", "/v1/prices?model=gpt")).status == 404
    assert (await desk.call("GET", "/v1/prices?version=99")).status == 404


async def test_the_version_in_force_at_the_events_time_holds(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    now_us = desk.services.clock.now_us()
    later = from_us(now_us + 60_000_000).isoformat()
    planned = await desk.call("PUT", "/v1/prices", {"models": {"gpt": {"input": "0.001"}}, "effective_from": later})
    assert planned.status == 201
    event = {"wallet": wallet, "model": "gpt", "tokens": {"input": 1}}
    before = await desk.use([{"id": "1", **event}, {"id": "2", **event, "at": later}])
    assert [one["amount"] for one in before["results"]] == ["0.00000015", "0.001"], "five minutes ahead are allowed"
    desk.services.clock.ahead_us += 120_000_000
    after = await desk.use([{"id": "3", **event}, {"id": "4", **event, "at": from_us(now_us + 1_000_000).isoformat()}])
    assert [one["amount"] for one in after["results"]] == ["0.001", "0.00000015"]
    past = await desk.call("PUT", "/v1/prices", {"models": {}, "effective_from": "2026-01-01T00:00:00Z"})
    assert (past.status, past.json["code"]) == (422, "effective_from_is_past")


async def test_a_merchant_marks_up_the_version_of_the_base_book_that_it_saw(desk: Desk) -> None:
    base = {"models": {"gpt": {"input": "0.1"}, "claude": {"input": "0.2"}}}
    first = await desk.admin("PUT", "/v1/prices", base)
    assert first.status == 201, first.raw
    mine = await desk.call("PUT", "/v1/prices", {"models": {"gpt": {"input": "0.5"}}, "markup_bps": 5000})
    assert mine.json["base"] == first.json["id"]
    assert mine.json["models"]["gpt"]["charged"]["input"] == "0.75"
    assert mine.json["models"]["claude"]["charged"]["input"] == "0.3"
    await desk.admin("PUT", "/v1/prices", {"models": {"claude": {"input": "9"}}})
    shown = (await desk.call("GET", "/v1/prices?model=claude")).json
    assert shown["models"]["claude"] == {
        "prices": {"input": "0.2"}, "markup_bps": 5000, "charged": {"input": "0.3"}, "above": {}, "own": False,
    }  # fmt: skip
    moved = await desk.call("PUT", "/v1/prices", {"models": {}, "markup_bps": 0})
    assert moved.json["models"]["claude"]["charged"]["input"] == "9"
    alone = await desk.call("PUT", "/v1/prices", {"models": {}, "base": None})
    assert alone.json["models"] == {}


async def test_a_merchant_without_prices_sells_at_the_base_books(desk: Desk) -> None:
    await desk.admin("PUT", "/v1/prices", {"models": {"gpt": {"input": "0.1"}}})
    book = await desk.services.prices.book("mer_new", MODE)
    version = book.in_force(desk.services.clock.now_us())
    assert version is not None
    assert version.merchant_id == "platform"


async def test_another_process_sees_a_version_before_it_begins(desk: Desk) -> None:
    services = desk.services
    ahead_s = 0.0
    other = PriceBook(services.writer, services.reads, services.clock, monotonic_s=lambda: ahead_s)
    await other.book(desk.merchant, MODE)
    mine = PriceBook(services.writer, services.reads, services.clock)
    made = await desk.price({"late": {"input": "1"}})
    assert (await other.book(desk.merchant, MODE)).latest != made, "it was asked a moment ago"
    ahead_s = 2.1
    seen = (await other.book(desk.merchant, MODE)).latest
    assert seen is not None
    assert seen.id == made.id
    from orchestrator.metering.price_book import LEAD_S, LOOK_EVERY_S, NewVersion
    from orchestrator.metering.price_content import Content

    assert LEAD_S > LOOK_EVERY_S
    version, _ = await mine.put(desk.merchant, MODE, NewVersion(Content({}), None, None, "tests"))
    assert version.effective_us >= version.created_us + LEAD_S * 1_000_000


async def test_versions_that_are_made_at_once_all_get_a_number(desk: Desk) -> None:
    bodies = [{"models": {"m": {"input": f"0.{number}"}}} for number in range(1, 6)]
    replies = await asyncio.gather(*(desk.call("PUT", "/v1/prices", body) for body in bodies))
    assert sorted(reply.json["number"] for reply in replies) == [2, 3, 4, 5, 6]


async def test_what_is_no_price_is_refused(desk: Desk) -> None:
    for body in (
        {"models": {"m": {"input": "-1"}}}, {"models": {"m": {"inptu": "1"}}}, {"models": {"m": {"input": 1}}},
        {"models": {" m": {"input": "1"}}}, {"markup_bps": -10001}, {"markups": {"m": 99999999}}, {"base": "prv_none"},
        {"above": {"m": {"5": {"input": "1"}}}}, {"effective_from": "2027-01-01T00:00:00"}, {"merchant": "mer_other"},
    ):  # fmt: skip
        reply = await desk.call("PUT", "/v1/prices", body)
        assert reply.status in {403, 422}, body
