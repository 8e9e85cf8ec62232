"""Webhook endpoints, deliveries and reviews over HTTP: rotated, changed, sent again; who may look and who decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.api.shop import Shop, open_shop

ADMIN = "admin-token-of-tests"
HOOKS = "/v1/webhook_endpoints"


@pytest.fixture
async def shop(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(sqlite_url, tmp_path) as open_one:
        yield open_one


async def test_an_endpoint_is_rotated_changed_and_read_by_its_merchant_and_the_platform(shop: Shop) -> None:
    made = await shop.post(HOOKS, {"url": "http://127.0.0.1:9/hook", "ordered": True})
    assert made["ordered"] is True
    turned = await shop.post(f"{HOOKS}/{made['id']}/rotate", {"old_secret_lives_s": 3600})
    assert turned["secret"] != made["secret"]
    assert turned["old_secret_ends_at"] is not None
    reply = await shop.call("PATCH", f"{HOOKS}/{made['id']}", {"enabled": False, "ordered": False})
    assert (reply.json["status"], reply.json["disabled_reason"], reply.json["ordered"]) == ("disabled", "asked", False)
    seen = await shop.get(f"{HOOKS}/{made['id']}?merchant={shop.merchant}&mode=test", key=ADMIN)
    assert seen == reply.json
    assert "secret" not in seen
    assert (await shop.refused("POST", f"{HOOKS}/{made['id']}/rotate", {}, key=shop.other_key))[0] == 404
    too_long = {"old_secret_lives_s": 10**6}
    assert (await shop.refused("POST", f"{HOOKS}/{made['id']}/rotate", too_long))[0] == 422


async def test_events_are_sent_again_by_range_and_reviews_are_decided_by_the_platform_only(shop: Shop) -> None:
    await shop.post(HOOKS, {"url": "http://127.0.0.1:9/hook", "from_start": True})
    session = await shop.session()
    await shop.post(f"/v1/checkout/sessions/{session['id']}/expire")
    [event, *_] = (await shop.get("/v1/events"))["data"]
    assert (await shop.get(f"/v1/events/{event['id']}/deliveries"))["data"] == []
    sent = await shop.post("/v1/events/resend", {"first": event["id"]})
    assert sent["next"] is None
    assert sent["deliveries"] >= 1
    backwards = {"first": "9", "last": "8"}
    assert (await shop.refused("POST", "/v1/events/resend", backwards))[1] == "range_is_empty"
    body = {"action": "accept", "note": "not mine to decide"}
    assert (await shop.refused("POST", "/v1/reviews/rev_none/resolve", body))[0] == 403
    assert (await shop.refused("POST", "/v1/reviews/rev_none/resolve", body, key=ADMIN))[:2] == (
        404,
        "review_not_found",
    )
    assert (await shop.get("/v1/reviews?status=open", key=ADMIN))["data"] == []
