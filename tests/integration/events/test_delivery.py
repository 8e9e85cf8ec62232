"""Events reach the merchant: signed, filtered, again until taken, never lost, and nobody waits for somebody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from orchestrator.errors import NotFound
from orchestrator.events.catalog import EventType, envelope_json
from orchestrator.events.delivery import RETRY_AFTER_S, DeliveryPolicy
from orchestrator.events.endpoints import delete_endpoint, rotate_secret
from orchestrator.events.feed import deliveries_of, find_event, list_events
from orchestrator.events.resending import resend
from orchestrator.events.targets import TargetPolicy
from tests.integration.events.house import MERCHANT, QUICK, House, Receiver, opened, sequences


async def test_an_event_arrives_signed_and_is_the_one_that_the_api_shows(house: House, shop: Receiver) -> None:
    endpoint = await house.endpoint(shop.url("hook"))
    async with house.delivering():
        await house.happen()
        [got] = await shop.until_count("hook", 1)
        await house.until_no_delivery_waits()
    verified = Webhook(endpoint["secret"]).verify(got.body, dict(got.headers))
    [row] = await list_events(house.reads, MERCHANT, "test")
    assert got.body == envelope_json(row)
    assert verified["id"] == got.headers["webhook-id"] == row["id"]
    assert verified["data"]["object"] == {"amount": "20.000000001", "number": 0}
    assert (verified["type"], verified["sequence"], verified["livemode"]) == ("wallet.credited", 1, False)
    assert (verified["merchant"], verified["object_id"]) == (MERCHANT, "wal_0")
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(got.body + b" ", dict(got.headers))


async def test_a_new_event_reaches_a_healthy_endpoint_at_once(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    async with house.delivering(replace(QUICK, poll_s=30)):
        await house.happen()
        await shop.until_count("hook", 1)
        loop = asyncio.get_running_loop()
        delays = []
        for count in range(2, 8):
            await asyncio.sleep(0.1)
            await house.happen()
            committed = loop.time()
            delays.append((await shop.until_count("hook", count))[-1].at - committed)
    assert sorted(delays)[1] < 0.15, f"woken by the commit, not by the poll of 30 s: {delays}"


async def test_an_attempt_that_fails_is_made_again_under_the_same_id(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.answers["hook"] = [500]
    async with house.delivering():
        await house.happen()
        await shop.until_count("hook", 2)
        [row] = await house.until_no_delivery_waits()
    first, second = shop.at("hook")
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (row["status"], row["tries"]) == ("delivered", 2)
    event = (await list_events(house.reads, MERCHANT, "test"))[0]
    [delivery] = await deliveries_of(house.reads, event)
    assert [(one["number"], one["http_status"], one["note"]) for one in delivery["attempts"]] == [
        (1, 500, "answered 500"),
        (2, 200, "answered 200"),
    ]


async def test_an_endpoint_that_hangs_is_asked_again(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.answers["hook"] = ["hang"]
    async with house.delivering():
        await house.happen()
        await shop.until_count("hook", 2)
        [row] = await house.until_no_delivery_waits()
    assert row["status"] == "delivered"
    attempts = await house.rows("delivery_attempt")
    assert [one["note"] for one in attempts] == ["no answer within 0.4 s", "answered 200"]
    assert 350 <= attempts[0]["duration_ms"] <= 2000


async def test_after_the_last_try_a_delivery_has_failed_and_can_be_sent_again(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.always["hook"] = 503
    async with house.delivering(replace(QUICK, retry_after_s=(1, 2, 3))):
        await house.happen()
        [row] = await house.until_no_delivery_waits()
        assert (row["status"], row["tries"], len(shop.at("hook"))) == ("failed", 4, 4)
        shop.always["hook"] = 200
        again = await resend(house.reads, merchant_id=MERCHANT, mode="test", event_id=row["event_id"])
        assert (await house.writer.submit(again)).answer == {"event": row["event_id"], "deliveries": 1}
        await shop.until_count("hook", 5)
        [row] = await house.until_no_delivery_waits()
    assert row["status"] == "delivered"
    assert {one.headers["webhook-id"] for one in shop.at("hook")} == {row["event_id"]}
    assert [one["number"] for one in await house.rows("delivery_attempt")] == [1, 2, 3, 4, 5]


async def test_an_event_older_than_an_endpoint_is_sent_to_it_when_asked(house: House, shop: Receiver) -> None:
    await house.happen(2)
    endpoint = await house.endpoint(shop.url("hook"))
    second = (await list_events(house.reads, MERCHANT, "test"))[1]
    async with house.delivering():
        unit = await resend(
            house.reads, merchant_id=MERCHANT, mode="test", event_id=second["id"], endpoint_id=endpoint["id"]
        )
        await house.writer.submit(unit)
        await shop.until_count("hook", 1)
        await house.until_no_delivery_waits()
    assert sequences(shop.at("hook")) == [2]


async def test_another_merchants_event_cannot_be_sent_again(house: House) -> None:
    await house.happen()
    [event] = await list_events(house.reads, MERCHANT, "test")
    for merchant, mode in (("mer_2", "test"), (MERCHANT, "live")):
        with pytest.raises(NotFound):
            await resend(house.reads, merchant_id=merchant, mode=mode, event_id=event["id"])
        with pytest.raises(NotFound):
            await find_event(house.reads, merchant, mode, event["id"])


async def test_an_endpoint_gets_only_what_it_asked_for(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("wallets"), "wallet.*")
    await house.endpoint(shop.url("one"), "payment.failed", "dispute.opened")
    await house.endpoint(shop.url("all"))
    async with house.delivering():
        for type_ in (EventType.PAYMENT_SETTLED, EventType.WALLET_CREDITED, EventType.PAYMENT_FAILED):
            await house.happen(1, type_)
        await shop.until_count("all", 3)
        await house.until_no_delivery_waits()
    assert sequences(shop.at("wallets")) == [2]
    assert sequences(shop.at("one")) == [3]
    assert sorted(sequences(shop.at("all"))) == [1, 2, 3]
    assert {row["cursor"] for row in await house.rows("webhook_endpoint")} == {3}


async def test_an_endpoint_hears_from_its_beginning_on_or_from_the_start(house: House, shop: Receiver) -> None:
    await house.happen(3)
    await house.endpoint(shop.url("late"))
    await house.endpoint(shop.url("whole"), from_start=True)
    async with house.delivering():
        await house.happen(1)
        await shop.until_count("whole", 4)
        await shop.until_count("late", 1)
        await house.until_no_delivery_waits()
    assert sequences(shop.at("late")) == [4]
    assert sorted(sequences(shop.at("whole"))) == [1, 2, 3, 4]


async def test_a_deleted_endpoint_gets_nothing_more(house: House, shop: Receiver) -> None:
    endpoint = await house.endpoint(shop.url("hook"))
    await house.endpoint(shop.url("other"))
    shop.always["hook"] = 500
    async with house.delivering():
        await house.happen()
        await shop.until_count("hook", 1)
        await house.writer.submit(delete_endpoint(merchant_id=MERCHANT, mode="test", endpoint_id=endpoint["id"]))
        await shop.until_count("other", 1)
        await house.until_no_delivery_waits()
        sent = len(shop.at("hook"))
        await house.happen(2)
        await shop.until_count("other", 3)
        rows = await house.until_no_delivery_waits()
    assert len(shop.at("hook")) == sent
    assert [row["status"] for row in rows if row["endpoint_id"] == endpoint["id"]] == ["failed"]


async def test_gone_ends_the_endpoint(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.always["hook"] = 410
    async with house.delivering():
        await house.happen()
        [row] = await house.until_no_delivery_waits()
    assert (row["status"], row["tries"], len(shop.at("hook"))) == ("failed", 1, 1)
    assert [row["status"] for row in await house.rows("webhook_endpoint")] == ["disabled"]


async def test_a_redirect_is_not_followed_and_counts_as_a_failure(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.always["hook"] = 307  # a client that follows it posts again
    async with house.delivering(replace(QUICK, retry_after_s=(1,))):
        await house.happen()
        [row] = await house.until_no_delivery_waits()
    assert (row["status"], len(shop.at("hook")), shop.at("elsewhere")) == ("failed", 2, [])


@pytest.mark.parametrize(
    ("host", "note"),
    [
        ("127.0.0.1", "webhook_address_is_private"),
        ("localhost", "webhook_address_is_private"),
        ("[::ffff:127.0.0.1]", "webhook_address_is_private"),
        ("127.1", "webhook_url_is_malformed"),
    ],
)
async def test_an_endpoint_in_our_own_network_is_never_called(
    house: House, shop: Receiver, host: str, note: str
) -> None:
    port = shop.base.rpartition(":")[2]
    await house.endpoint(f"https://{host}:{port}/hook")  # it was public when it was made, and leads elsewhere now
    async with house.delivering(replace(QUICK, retry_after_s=()), TargetPolicy()):
        await house.happen()
        [row] = await house.until_no_delivery_waits()
    assert row["status"] == "failed"
    assert [one["note"] for one in await house.rows("delivery_attempt")] == [note]


async def test_what_cannot_be_reached_is_a_failed_attempt_like_any_other(house: House, port: int) -> None:
    await house.endpoint(f"http://127.0.0.1:{port}/hook")
    await house.endpoint("http://no-such-name.invalid/hook")
    async with house.delivering(replace(QUICK, retry_after_s=(), timeout_s=5)):
        await house.happen()
        rows = await house.until_no_delivery_waits()
    assert [row["status"] for row in rows] == ["failed", "failed"]
    notes = [one["note"] for one in await house.rows("delivery_attempt")]
    assert notes == ["no connection", "the name was not found"]


async def test_hundred_events_arrive_in_order_while_another_endpoint_hangs(house: House, shop: Receiver) -> None:
    """One request at a time, so that order of arrival is order of sending."""
    await house.endpoint(shop.url("hanging"))
    await house.endpoint(shop.url("hook"))
    shop.always["hanging"] = "hang"
    policy = replace(QUICK, per_endpoint=1, total=4, timeout_s=30, poll_s=5)
    async with house.delivering(policy):
        await house.happen(100)
        await shop.until_count("hook", 100, timeout_s=20)
        assert len(shop.at("hanging")) == 1
    assert sequences(shop.at("hook")) == list(range(1, 101))


async def test_endpoints_that_hang_leave_room_for_those_that_answer(house: House, shop: Receiver) -> None:
    """More of them than there are requests at a time."""
    for number in range(12):
        await house.endpoint(shop.url(f"hanging{number}"))
        shop.always[f"hanging{number}"] = "hang"
    await house.endpoint(shop.url("hook"))
    policy = replace(QUICK, per_endpoint=2, total=8, timeout_s=0.5, lease_s=20, retry_after_s=(900,) * 9)
    async with house.delivering(policy):
        await house.happen(1)
        await shop.until_count("hook", 1)  # it may have waited for its turn once; from now on it is known to answer
        await house.happen(20)
        began = asyncio.get_running_loop().time()
        got = await shop.until_count("hook", 21, timeout_s=20)
        assert got[-1].at - began < 1.5
        busiest = max(len(shop.at(f"hanging{number}")) for number in range(12))
    assert busiest <= 5, "one at a time, half a second each"


async def test_a_receiver_may_ask_for_more_time(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.answers["hook"] = [429]
    shop.headers["Retry-After"] = "1"
    async with house.delivering():
        await house.happen()
        first, second = await shop.until_count("hook", 2)
        await house.until_no_delivery_waits()
    assert second.at - first.at >= 0.99


async def test_events_are_read_in_pages_either_way(house: House) -> None:
    await house.happen(5)

    async def page(after: int = 0, *, back: bool = False) -> list[int]:
        rows = await list_events(house.reads, MERCHANT, "test", after=after, limit=2, newest_first=back)
        return [row["sequence"] for row in rows]

    assert [await page(), await page(2), await page(4)] == [[1, 2], [3, 4], [5]]
    assert [await page(back=True), await page(4, back=True)] == [[5, 4], [3, 2]]
    assert await list_events(house.reads, MERCHANT, "live") == []


async def test_many_events_at_once_each_arrive_once(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    async with house.delivering():
        await house.happen(450)  # more than one unit of fan-out
        await shop.until_count("hook", 450, timeout_s=20)
        await house.until_no_delivery_waits()
    assert sorted(sequences(shop.at("hook"))) == list(range(1, 451))


async def test_both_secrets_sign_while_one_is_being_changed(house: House, shop: Receiver) -> None:
    old = await house.endpoint(shop.url("hook"))
    new = (await house.writer.submit(rotate_secret(merchant_id=MERCHANT, mode="test", endpoint_id=old["id"]))).answer
    async with house.delivering():
        await house.happen()
        [got] = await shop.until_count("hook", 1)
        await house.until_no_delivery_waits()
    for secret in (old["secret"], new["secret"]):
        assert Webhook(secret).verify(got.body, dict(got.headers))["sequence"] == 1


async def test_what_was_under_way_when_we_stopped_is_sent_by_the_next_run(house: House, shop: Receiver) -> None:
    await house.endpoint(shop.url("hook"))
    shop.answers["hook"] = ["hang"]
    async with house.delivering(replace(QUICK, timeout_s=30, lease_s=0.5)):
        await house.happen()
        await shop.until_count("hook", 1)
    assert [row["status"] for row in await house.rows("delivery")] == ["waiting"]
    async with house.delivering():
        await house.until_no_delivery_waits()
    assert len({one.headers["webhook-id"] for one in shop.at("hook")}) == 1
    assert len(shop.at("hook")) == 2


async def test_two_processes_share_the_work_and_send_nothing_twice(postgres_url: str, shop: Receiver) -> None:
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        await one.endpoint(shop.url("hook"))
        patient = replace(QUICK, timeout_s=5, lease_s=20)  # a busy machine is not a reason to send again
        async with one.delivering(patient), two.delivering(patient):
            await asyncio.gather(one.happen(150), two.happen(150))
            await shop.until_count("hook", 300, timeout_s=20)
            await one.until_no_delivery_waits()
    assert sorted(sequences(shop.at("hook"))) == list(range(1, 301))


async def test_a_lease_keeps_a_second_process_away(postgres_url: str, shop: Receiver) -> None:
    shop.always["hook"] = "hang"
    async with opened(postgres_url) as one, opened(postgres_url) as two:
        await one.endpoint(shop.url("hook"))
        policy = replace(QUICK, timeout_s=1, lease_s=20, retry_after_s=())
        async with one.delivering(policy), two.delivering(policy):
            await one.happen()
            await one.until_no_delivery_waits()
    assert len(shop.at("hook")) == 1


def test_the_schedule_spans_three_days() -> None:
    policy = DeliveryPolicy()
    waits = [policy.retry_delay_us(failed, 0) for failed in range(1, len(RETRY_AFTER_S) + 1)]
    assert waits[:3] == [5_000_000, 300_000_000, 1_800_000_000]
    assert 3 * 86_400_000_000 <= sum(wait or 0 for wait in waits) < 4 * 86_400_000_000
    assert policy.retry_delay_us(len(RETRY_AFTER_S) + 1, 0) is None
    assert policy.retry_delay_us(1, 100) == 5_500_000
    assert policy.timeout_s < policy.lease_s
