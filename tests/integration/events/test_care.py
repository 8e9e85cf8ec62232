"""Endpoints over a long time: secrets end, order is kept, failure ends them, what was missed is sent again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from orchestrator.events.endpoints import change_endpoint, find_endpoint, rotate_secret
from orchestrator.events.feed import deliveries_of, deliveries_to, list_events
from orchestrator.events.resending import Range, resend_range
from orchestrator.events.sender import readable
from tests.integration.events.house import MERCHANT, QUICK, House, Receiver, sequences


async def _change(house: House, endpoint: dict[str, Any], **more: Any) -> dict[str, Any]:
    unit = change_endpoint(merchant_id=MERCHANT, mode="test", endpoint_id=endpoint["id"], **more)
    return dict((await house.writer.submit(unit)).answer)


async def test_an_old_secret_signs_until_its_time_is_over(house: House, shop: Receiver) -> None:
    old = await house.endpoint(shop.url("hook"))
    unit = rotate_secret(merchant_id=MERCHANT, mode="test", endpoint_id=old["id"], old_lives_s=1)
    new = (await house.writer.submit(unit)).answer
    async with house.delivering():
        await house.happen()
        [first] = await shop.until_count("hook", 1)
        await asyncio.sleep(1.1)
        await house.happen()
        second = (await shop.until_count("hook", 2))[1]
        await house.until_no_delivery_waits()
    assert len(first.headers["webhook-signature"].split(" ")) == 2
    assert len(second.headers["webhook-signature"].split(" ")) == 1
    Webhook(new["secret"]).verify(second.body, dict(second.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(old["secret"]).verify(second.body, dict(second.headers))


async def test_an_ordered_endpoint_hears_nothing_of_the_second_event_before_it_took_the_first(
    house: House, shop: Receiver
) -> None:
    await house.endpoint(shop.url("hook"), ordered=True)
    await house.endpoint(shop.url("other"))
    shop.answers["hook"] = [500, 200, 500]
    async with house.delivering():
        await house.happen(6)
        await shop.until_count("hook", 8)
        await house.until_no_delivery_waits()
    assert sequences(shop.at("hook")) == [1, 1, 2, 2, 3, 4, 5, 6]
    assert sorted(sequences(shop.at("other"))) == [1, 2, 3, 4, 5, 6]


async def test_an_ordered_endpoint_goes_on_behind_an_event_that_was_given_up(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"), ordered=True)
    shop.answers["hook"] = [500, 500]
    async with house.delivering(replace(QUICK, retry_after_s=(1,))):
        await house.happen(3)
        await shop.until_count("hook", 4)
        rows = await house.until_no_delivery_waits()
    assert [row["status"] for row in rows] == ["failed", "delivered", "delivered"]
    assert sequences(shop.at("hook")) == [1, 1, 2, 3]


async def test_an_endpoint_that_fails_for_long_is_disabled_and_the_others_are_told(
    house: House, shop: Receiver
) -> None:
    endpoint = await house.endpoint(shop.url("hook"))
    await house.endpoint(shop.url("watch"), "webhook_endpoint.disabled")
    shop.always["hook"] = 500
    policy = replace(QUICK, retry_after_s=(5, 5, 5, 5, 5, 5), disable_after_s=8)
    async with house.delivering(policy):
        await house.happen()
        [told] = await shop.until_count("watch", 1)
        assert 3 <= len(shop.at("hook")) <= 5
        said = told.event["data"]["object"]
        assert (said["id"], said["status"], said["disabled_reason"]) == (endpoint["id"], "disabled", "failing")
        assert said["last_attempt"]["note"] == "answered 500"
        assert "secret" not in said
        await house.happen(2)
        shop.always["hook"] = 200
        again = await _change(house, endpoint, enabled=True)
        assert (again["status"], again["disabled_reason"], again["failing_since"]) == ("enabled", None, None)
        # What happened meanwhile comes (two events, and the one that told of it); what was given up is sent when asked.
        await shop.until(lambda: {3, 4} <= set(sequences(shop.at("hook"))))
        await house.until_no_delivery_waits()
    row = await find_endpoint(house.reads, MERCHANT, "test", endpoint["id"])
    assert row["failing_since_us"] is None


async def test_one_success_ends_the_count_of_failures(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.answers["hook"] = [500, 500, 200]
    async with house.delivering(replace(QUICK, retry_after_s=(1, 1, 1))):
        await house.happen()
        await shop.until_count("hook", 1)
        await house.until_no_delivery_waits()
    [row] = await house.rows("webhook_endpoint")
    assert (row["status"], row["failing_since_us"]) == ("enabled", None)


async def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled(house: House, shop: Receiver) -> None:
    endpoint = await house.endpoint(shop.url("hook"))
    await house.endpoint(shop.url("other"))
    off = await _change(house, endpoint, enabled=False)
    assert (off["status"], off["disabled_reason"]) == ("disabled", "asked")
    async with house.delivering():
        await house.happen(3)
        await shop.until_count("other", 3)
        assert shop.at("hook") == []
        await _change(house, endpoint, enabled=True, event_types=["wallet.*"], url=shop.url("moved"))
        await shop.until_count("moved", 3)
        await house.until_no_delivery_waits()
    assert sorted(sequences(shop.at("moved"))) == [1, 2, 3]


async def test_a_range_is_sent_again_and_of_it_only_what_was_given_up(house: House, shop: Receiver) -> None:
    endpoint = await house.endpoint(shop.url("hook"))
    await house.endpoint(shop.url("other"))
    shop.answers["hook"] = [500, 500]
    async with house.delivering(replace(QUICK, retry_after_s=(), per_endpoint=1)):
        await house.happen(120)
        await shop.until_count("hook", 120, 20)
        await house.until_no_delivery_waits()
        failed = await deliveries_to(house.reads, {"merchant_id": MERCHANT, "id": endpoint["id"]}, status="failed")
        assert len(failed) == 2

        async def again(wanted: Range) -> int:
            units, following = await resend_range(house.reads, MERCHANT, "test", wanted)
            assert following is None
            applied = await asyncio.gather(*map(house.writer.submit, units))
            return sum(one.answer["deliveries"] for one in applied)

        assert await again(Range(1, failed_only=True)) == 2
        await shop.until_count("hook", 122)
        assert await again(Range(11, 80, ("wallet.*",), endpoint["id"])) == 70
        await shop.until_count("hook", 192, 20)
        assert await again(Range(1, event_types=("payment.*",))) == 0
        rows = await house.until_no_delivery_waits()
    assert {row["status"] for row in rows} == {"delivered"}
    assert len(shop.at("other")) == 120


async def test_every_attempt_is_kept_with_how_the_answer_began(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.answers["hook"] = [500]
    async with house.delivering():
        await house.happen()
        await shop.until_count("hook", 2)
        await house.until_no_delivery_waits()
    [event] = await list_events(house.reads, MERCHANT, "test")
    [delivery] = await deliveries_of(house.reads, event)
    assert [(one["http_status"], one["answer"]) for one in delivery["attempts"]] == [
        (500, "said 500"),
        (200, "said 200"),
    ]


def test_an_answer_is_made_readable() -> None:
    assert readable(b"fine\n") == "fine\n"
    assert readable(b"a\x00b\xff\xc3") == "a\ufffdb\ufffd\ufffd"
