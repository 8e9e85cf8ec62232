"""Rule 10 of the money rules: one key, one effect, one answer."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp

from orchestrator.api.idempotency import ABANDONED_S, KEPT_S
from orchestrator.errors import Busy, Conflict, NotFound
from tests.integration.api.house import House

BOX = {"name": "first"}
SECOND_US = 1_000_000


async def test_the_same_request_again_gets_the_stored_answer(house: House) -> None:
    first = await house.post("/v1/boxes", BOX, "k1")
    again = await house.post("/v1/boxes", BOX, "k1")
    assert first.status == again.status == 201
    assert first.raw == again.raw
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Content-Type"] == first.headers["Content-Type"] == "application/json"
    assert (house.workshop.calls, house.workshop.effects) == (1, 1)


async def test_spelling_of_the_json_does_not_make_another_request(house: House) -> None:
    first = await house.call("POST", "/v1/boxes", raw=b'{"name":"a","tags":["x"]}', headers={"Idempotency-Key": "k"})
    again = await house.call(
        "POST", "/v1/boxes", raw=b'{ "tags": [ "x" ],\n "name": "\\u0061" }', headers={"Idempotency-Key": "k"}
    )
    assert first.raw == again.raw


async def test_another_body_under_the_same_key_is_refused(house: House) -> None:
    await house.post("/v1/boxes", BOX, "k1")
    other = await house.post("/v1/boxes", {"name": "second"}, "k1")
    assert (other.status, other.json["code"], other.json["retryable"]) == (422, "idempotency_key_reused", False)
    assert house.workshop.effects == 1


async def test_another_path_id_under_the_same_key_is_refused(house: House) -> None:
    assert (await house.post("/v1/boxes/box_1/rename", BOX, "k1")).status == 200
    assert (await house.post("/v1/boxes/box_2/rename", BOX, "k1")).json["code"] == "idempotency_key_reused"


async def test_keys_of_other_routes_modes_and_merchants_are_other_keys(house: House) -> None:
    live = await house.new_key("live")
    other = await house.services.access.create_merchant("Other")
    others = await house.services.access.create_key(other["id"], "test")
    assert others.secret is not None
    answers = [await house.post("/v1/boxes", BOX, "k1", key=key) for key in (house.key, live, others.secret)]
    assert len({answer.json["id"] for answer in answers}) == 3
    assert (await house.post("/v1/boxes/box_1/rename", BOX, "k1")).status == 200


async def test_twenty_at_once_have_one_effect(house: House) -> None:
    house.workshop.delay_s = 0.2
    answers = await asyncio.gather(*(house.post("/v1/boxes", BOX, "k1") for _ in range(20)))
    counts = Counter(answer.status for answer in answers)
    assert counts[201] >= 1
    assert set(counts) <= {201, 409}
    for refused in (answer for answer in answers if answer.status == 409):
        assert (refused.json["code"], refused.json["retryable"]) == ("idempotency_key_in_use", True)
        assert refused.headers["Retry-After"] == "1"
    assert len({answer.json["id"] for answer in answers if answer.status == 201}) == 1
    assert (house.workshop.calls, house.workshop.effects) == (1, 1)
    assert (await house.post("/v1/boxes", BOX, "k1")).headers["Idempotent-Replayed"] == "true"


async def test_after_a_crash_before_the_effect_the_same_id_is_used(house: House) -> None:
    await _crash(house, before=True)
    assert (await house.post("/v1/boxes", BOX, "k1")).status == 409
    (started,) = await house.rows("idempotency")
    house.services.clock.ahead_us = ABANDONED_S * SECOND_US
    resumed = await house.post("/v1/boxes", BOX, "k1")
    assert (resumed.status, resumed.json["id"]) == (201, started["resource_id"])
    assert house.workshop.effects == 1


async def test_after_a_crash_behind_the_effect_there_is_still_one_effect(house: House) -> None:
    await _crash(house, before=False)
    assert house.workshop.effects == 1
    house.services.clock.ahead_us = ABANDONED_S * SECOND_US
    resumed = await house.post("/v1/boxes", BOX, "k1")
    assert resumed.status == 201
    assert house.workshop.effects == 1
    assert resumed.json["id"] in {row["id"] for row in await house.rows("merchant")}
    assert (await house.post("/v1/boxes", BOX, "k1")).raw == resumed.raw


async def _crash(house: House, *, before: bool) -> None:
    """End the handler as a dying process does: nothing of ours runs afterwards."""
    (house.workshop.fail if before else house.workshop.fail_after).append(asyncio.CancelledError())
    try:
        await house.post("/v1/boxes", BOX, "k1")
    except aiohttp.ServerDisconnectedError:
        return  # the connection broke
    raise AssertionError("a crash gives no answer")


async def test_an_abandoned_request_is_taken_over_once(house: House) -> None:
    await _crash(house, before=True)
    house.services.clock.ahead_us = ABANDONED_S * SECOND_US
    house.workshop.delay_s = 0.2
    answers = await asyncio.gather(*(house.post("/v1/boxes", BOX, "k1") for _ in range(8)))
    assert [answer.status for answer in answers].count(201) >= 1
    assert (house.workshop.calls, house.workshop.effects) == (2, 1)


async def test_whoever_lost_the_row_stores_nothing(house: House) -> None:
    house.workshop.delay_s = 0.5
    slow = asyncio.create_task(house.post("/v1/boxes", BOX, "k1"))
    await asyncio.wait_for(house.workshop.called.wait(), 5)
    house.services.clock.ahead_us = ABANDONED_S * SECOND_US
    house.workshop.delay_s = 0
    house.workshop.fail.append(NotFound("no_box", "the second runner is refused"))
    quick = await house.post("/v1/boxes", BOX, "k1")
    assert quick.status == 404
    assert (await slow).status == 201
    (row,) = await house.rows("idempotency")
    assert row["status"] == 404, "the answer of the runner that owned the row"


async def test_a_refusal_is_an_answer_and_is_stored(house: House) -> None:
    house.workshop.fail.append(NotFound("no_shelf", "there is no such shelf", pointer="/name"))
    first = await house.post("/v1/boxes", BOX, "k1")
    again = await house.post("/v1/boxes", BOX, "k1")
    assert (first.status, again.status) == (404, 404)
    assert first.raw == again.raw
    assert again.headers["Content-Type"] == "application/problem+json"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert house.workshop.calls == 1


async def test_409_429_and_500_are_never_stored_and_the_next_try_goes_on_at_once(house: House) -> None:
    house.workshop.fail += [Conflict("busy_shelf", "..."), Busy("too_much", "..."), RuntimeError("a bug")]
    statuses = [(await house.post("/v1/boxes", BOX, "k1")).status for _ in range(4)]
    assert statuses == [409, 429, 500, 201]
    rows = await house.rows("idempotency")
    assert [row["status"] for row in rows] == [201]
    assert house.workshop.effects == 1


async def test_a_bug_behind_the_effect_does_not_double_it(house: House) -> None:
    house.workshop.fail_after.append(RuntimeError("a bug"))
    broken = await house.post("/v1/boxes", BOX, "k1")
    assert (broken.status, broken.json["retryable"]) == (500, True)
    assert (await house.post("/v1/boxes", BOX, "k1")).status == 201
    assert house.workshop.effects == 1


async def test_a_malformed_request_does_not_use_its_key_up(house: House) -> None:
    assert (await house.post("/v1/boxes", {"nam": "x"}, "k1")).status == 422
    assert (await house.post("/v1/boxes", BOX, "k1")).status == 201


async def test_after_a_day_the_key_is_new(house: House) -> None:
    first = await house.post("/v1/boxes", BOX, "k1")
    house.services.clock.ahead_us = KEPT_S * SECOND_US - 60 * SECOND_US
    assert (await house.post("/v1/boxes", BOX, "k1")).raw == first.raw
    house.services.clock.ahead_us = KEPT_S * SECOND_US
    other = await house.post("/v1/boxes", {"name": "next day"}, "k1")
    assert other.status == 201
    assert other.json["id"] != first.json["id"]
    assert (await house.post("/v1/boxes", {"name": "next day"}, "k1")).headers["Idempotent-Replayed"] == "true"


async def test_a_key_is_short_and_visible(small_house: House) -> None:
    for key in ("x" * 256, "a b", "é"):
        answer = await small_house.post("/v1/boxes", BOX, key)
        assert (answer.status, answer.json["code"]) == (422, "idempotency_key_invalid"), key
    assert (await small_house.post("/v1/boxes", BOX, "!" * 255)).status == 201


async def test_without_a_key_every_request_is_a_new_one(small_house: House) -> None:
    answers = [await small_house.post("/v1/boxes", BOX) for _ in range(2)]
    assert len({answer.json["id"] for answer in answers}) == 2
    assert not await small_house.rows("idempotency")
