"""Usage over HTTP: once for ever, in order, to the last nano-dollar."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import orjson
import pytest
from uuid_utils import uuid7

from orchestrator.clock import DAY_US
from tests.integration.metering.desk import Desk, now_text


def statuses(answer: dict[str, Any]) -> list[str]:
    return [result["status"] for result in answer["results"]]


def reasons(answer: dict[str, Any]) -> list[str]:
    return [result.get("reason", "") for result in answer["results"]]


async def test_usage_is_rated_charged_and_answered_event_by_event(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    answer = await desk.use([desk.event(wallet, input=1000, output=10), desk.event(wallet, input=7)])
    assert [result["amount"] for result in answer["results"]] == ["0.000156", "0.00000105"]
    assert (answer["accepted"], answer["duplicate"], answer["rejected"]) == (2, 0, 0)
    assert answer["wallets"] == {wallet: {"available": "0.99984295"}}
    await desk.assert_sound()
    entries = [row for row in await desk.rows("journal_entry") if row["kind"] == "usage"]
    assert len(entries) == 1, "one entry per wallet and flush"


async def test_the_same_batch_sent_fifty_times_at_once_charges_once(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    ids = [f"use_{uuid7().hex}", str(uuid7()), "01ARZ3NDEKTSV4RRFFQ69G5FAV", str(uuid4()), "call 1".replace(" ", "-")]
    events = [desk.event(wallet, id_=one, input=100) for one in ids]
    answers = await asyncio.gather(*(desk.use(events) for _ in range(50)))
    assert sum(answer["accepted"] for answer in answers) == len(ids)
    assert sum(answer["duplicate"] for answer in answers) == 49 * len(ids)
    assert {result["amount"] for answer in answers for result in answer["results"]} == {"0.000015"}
    assert await desk.charged(wallet) == len(ids) * 15_000
    await desk.assert_sound()


async def test_an_id_is_kept_under_the_day_of_its_own_time(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    today = desk.services.clock.now_us() // DAY_US
    old, later = "01ARZ3NDEKTSV4RRFFQ69G5FAV", f"{(today + 30) * 86_400_000:012x}7abc8" + "0" * 15
    random = str(uuid4())
    await desk.use([desk.event(wallet, id_=one) for one in (old, later, random)])
    days = {row["event_id"]: row["day"] for row in await desk.rows("usage_event")}
    assert days == {old: 17_012, later: today + 30, random: 0}
    assert statuses(await desk.use([desk.event(wallet, id_=one) for one in (later, random, old)])) == ["duplicate"] * 3


async def test_the_same_id_for_another_use_is_refused_and_changes_nothing(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    first = desk.event(wallet, input=10)
    answer = await desk.use(
        [first, {**first, "tokens": {"input": 11}}, {**first, "tokens": {"input": 10, "output": 0}}]
    )
    assert statuses(answer) == ["accepted", "rejected", "duplicate"], "a type of nothing is no other meaning"
    assert reasons(answer)[1] == "id_reused"
    again = await desk.use([{**first, "wallet": await desk.wallet(cents=5)}])
    assert reasons(again) == ["id_reused"]
    assert await desk.charged(wallet) == 1500
    await desk.assert_sound()


async def test_ids_are_unique_per_source(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    event = desk.event(wallet, id_="1")
    answer = await desk.use([event, {**event, "source": "/gateway/a"}, {**event, "source": "/gateway/b"}, event])
    assert statuses(answer) == ["accepted", "accepted", "accepted", "duplicate"]


async def test_a_hard_wallet_that_runs_dry_refuses_from_the_first_that_does_not_fit(desk: Desk) -> None:
    wallet = await desk.wallet(cents=1)
    sizes = [40_000, 20_000, 10_000, 5_000, 1_666, 1]  # 150 units each token: 0.006, 0.003, 0.0015, 0.00075 ...
    answer = await desk.use([desk.event(wallet, input=size) for size in sizes])
    assert statuses(answer) == ["accepted", "accepted", "rejected", "accepted", "accepted", "rejected"]
    assert set(reasons(answer)) == {"", "insufficient_balance"}
    assert await desk.paid(wallet) == 10_000_000 - 66_666 * 150
    await desk.assert_sound()


async def test_a_rejection_lasts(desk: Desk) -> None:
    wallet = await desk.wallet(cents=0)
    event = desk.event(wallet)
    unknown = desk.event("wal_nobody")
    priceless = [
        desk.event(wallet, "gpt-9"),
        desk.event(wallet, "gpt", audio=3),
        {**desk.event(wallet), "at": now_text(desk, 3600)},
    ]
    first = await desk.use([event, unknown, *priceless])
    wanted = ["insufficient_balance", "unknown_wallet", "unknown_model", "price_missing", "at_in_future"]
    assert reasons(first) == wanted
    await desk.price({"gpt-9": {"input": "1"}, "gpt": {"audio": "1", "input": "0"}})
    again = await desk.use([event, unknown, *priceless])
    assert reasons(again) == wanted
    assert all(result["repeated"] for result in again["results"])
    assert len(await desk.rows("usage_event")) == 5
    assert not await desk.rows("usage_rollup")
    await desk.assert_sound()


async def test_a_producers_sequence_is_contiguous(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)

    def at(sequence: int, producer: str = "gateway-7", **more: Any) -> dict[str, Any]:
        event = {"producer": producer, "sequence": sequence, "wallet": wallet, "model": "gpt", "tokens": {"input": 10}}
        return {**event, **more}

    answer = await desk.use([at(1), at(2), at(4), at(3), at(4, model="nobody"), at(5), at(1, "other"), at(1, epoch=9)])
    assert statuses(answer) == ["accepted"] * 2 + ["rejected"] + ["accepted", "rejected"] + ["accepted"] * 3
    assert reasons(answer)[2:5] == ["sequence_gap", "", "unknown_model"]
    assert answer["results"][2]["expected"] == 3
    again = await desk.use([at(1), at(5), at(7), at(6)])
    assert statuses(again) == ["duplicate", "duplicate", "rejected", "accepted"]
    assert again["results"][2]["expected"] == 6
    marks = {(row["producer"], row["epoch"]): row["next_sequence"] for row in await desk.rows("usage_producer")}
    assert marks == {("gateway-7", 0): 7, ("gateway-7", 9): 2, ("other", 0): 2}
    assert await desk.charged(wallet) == 7 * 1500
    await desk.assert_sound()


async def test_a_producers_batches_that_race_are_each_taken_once(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    event = {"producer": "p", "wallet": wallet, "model": "gpt", "tokens": {"input": 10}}
    batches = [[{**event, "sequence": start + step} for step in range(10)] for start in range(1, 101, 10)]
    left = [batch for batch in batches for _ in range(3)]
    for _ in range(20):
        answers = await asyncio.gather(*(desk.use(batch) for batch in left))
        left = [batch for batch, answer in zip(left, answers, strict=True) if answer["rejected"]]
        if not left:
            break
    assert not left
    assert await desk.charged(wallet) == 100 * 1500
    await desk.assert_sound()


async def test_the_sum_of_the_charges_is_the_rounded_sum(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    await desk.price(markup_bps=1234)
    quantities = [1, 2, 3, 50, 999, 7, 7, 7, 12_345]
    for start in range(0, 9, 2):
        events = [desk.event(wallet, "odd", input=quantity) for quantity in quantities[start : start + 2]]
        assert set(statuses(await desk.use(events))) == {"accepted"}
    exact = sum(quantities) * 33_300_000 * 11_234  # 0.0000000000333 dollar is 33,300,000 of 10**-18
    assert await desk.charged(wallet) == exact // 10**13
    assert (await desk.one_wallet(wallet))["rating_remainder"] == exact % 10**13
    await desk.assert_sound()


async def test_amounts_are_charged_without_markup(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    await desk.price(markup_bps=5000)
    amounts: list[Any] = ["0.0125", {"amount": "0.1", "currency": "USD"}, "0.0000000004", "0.0000000006"]
    events = [{"id": f"use_{uuid7().hex}", "wallet": wallet, "amount": amount} for amount in amounts]
    answer = await desk.use(events)
    assert [result["amount"] for result in answer["results"]] == ["0.0125", "0.10", "0.00", "0.000000001"]
    await desk.assert_sound()


async def test_a_late_event_says_which_month_it_belongs_to(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    await desk.price({"gpt": {"input": "0.0000002"}})
    late = {**desk.event(wallet), "at": "2026-01-31T23:59:59Z", "amount": "0.01"}
    del late["tokens"]
    answer = await desk.use([late, desk.event(wallet)])
    assert answer["results"][0]["period"] == "2026-01"
    assert "period" not in answer["results"][1]
    rollups = await desk.rows("usage_rollup")
    today = desk.services.clock.now_us() // DAY_US
    assert {row["day"] for row in rollups} == {today}
    assert min(row["period"] for row in rollups) == "2026-01"


async def test_ndjson_takes_one_event_per_line_and_names_the_bad_ones(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    lines = [
        orjson.dumps(desk.event(wallet)),
        b"{not json",
        b"",
        b"[1]",
        orjson.dumps({**desk.event(wallet), "tokens": {"inptu": 1}}),
    ]
    reply = await desk.call("POST", "/v1/usage", raw=b"\n".join(lines) + b"\n", Content_Type="application/x-ndjson")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
    results = [orjson.loads(line) for line in reply.raw.splitlines()]
    assert [result["status"] for result in results] == ["accepted", "rejected", "rejected", "rejected"]
    assert [result.get("reason") for result in results[1:]] == ["invalid_event"] * 3
    assert "inptu" in results[3]["detail"]
    await desk.assert_sound()


async def test_one_event_too_many_is_none_at_all(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    events = [desk.event(wallet, id_=f"call-{number}", input=1) for number in range(5001)]
    reply = await desk.call("POST", "/v1/usage", {"events": events})
    assert (reply.status, reply.json["code"]) == (422, "too_many_events")
    assert not await desk.rows("usage_event")
    assert (await desk.use(events[:5000]))["accepted"] == 5000
    await desk.assert_sound()


async def test_what_is_no_usage_is_refused(desk: Desk) -> None:
    for raw, status in ((b"nonsense", 422), (b'{"events": 3}', 422), (b'{"events": [], "more": 1}', 422)):
        assert (await desk.call("POST", "/v1/usage", raw=raw)).status == status
    assert (await desk.call("POST", "/v1/usage", raw=b"a,b", Content_Type="text/csv")).status == 415
    assert (await desk.use([]))["results"] == []


async def test_more_events_than_can_wait_are_refused_whole_and_may_come_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.metering.usage.IN_FLIGHT_MAX", 10)
    wallet = await desk.wallet(cents=100)
    left = [{"events": [desk.event(wallet, input=1) for _ in range(6)]} for _ in range(8)]
    refused = 0
    while left:
        replies = await asyncio.gather(*(desk.call("POST", "/v1/usage", body) for body in left))
        assert {reply.status for reply in replies} <= {200, 429}
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in replies if reply.status == 429)
        left = [body for body, reply in zip(left, replies, strict=True) if reply.status == 429]
        refused += len(left)
    assert refused > 0
    assert await desk.charged(wallet) == 8 * 6 * 150
    await desk.assert_sound()


async def test_the_admin_token_charges_for_merchants_that_are_there(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    body = {"events": [desk.event(wallet)]}
    nobody = await desk.admin("POST", "/v1/usage?merchant=mer_nobody&mode=test", body)
    assert (nobody.status, nobody.json["code"]) == (404, "no_such_merchant")
    assert await desk.rows("usage_event") == []
    somebody = await desk.admin("POST", f"/v1/usage?merchant={desk.merchant}&mode=test", body)
    assert somebody.json["accepted"] == 1
    prices = {"merchant": "mer_nobody", "mode": "test", "models": {"gpt": {"input": "0.1"}}}
    assert (await desk.admin("PUT", "/v1/prices", prices)).status == 404
