from __future__ import annotations

import base64

import pytest

from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.events.endpoints import (
    ENDPOINTS_MAX,
    create_endpoint,
    delete_endpoint,
    list_endpoints,
    rotate_secret,
)
from tests.integration.events.house import MERCHANT, House


async def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(house: House) -> None:
    made = await house.endpoint("https://shop.example/hook", "wallet.*", "payment.failed")
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)) == 32
    [listed] = await list_endpoints(house.reads, MERCHANT, "test")
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert (listed["event_types"], listed["status"]) == (["wallet.*", "payment.failed"], "enabled")
    assert await list_endpoints(house.reads, MERCHANT, "live") == []
    assert await list_endpoints(house.reads, "mer_2", "test") == []


async def test_the_same_request_again_makes_no_second_endpoint(house: House) -> None:
    first = await house.endpoint("https://shop.example/hook", endpoint_id="we_fixed")
    second = await house.endpoint("https://shop.example/hook", endpoint_id="we_fixed")
    assert first == second
    assert len(await house.rows("webhook_endpoint")) == 1


async def test_a_deleted_endpoint_is_not_listed_and_cannot_be_deleted_again(house: House) -> None:
    made = await house.endpoint("https://shop.example/hook")
    for merchant, mode in (("mer_2", "test"), (MERCHANT, "live")):
        with pytest.raises(NotFound):
            await house.writer.submit(delete_endpoint(merchant_id=merchant, mode=mode, endpoint_id=made["id"]))
    deletion = delete_endpoint(merchant_id=MERCHANT, mode="test", endpoint_id=made["id"])
    assert (await house.writer.submit(deletion)).answer["status"] == "deleted"
    assert await list_endpoints(house.reads, MERCHANT, "test") == []
    with pytest.raises(NotFound):
        await house.writer.submit(deletion)
    with pytest.raises(NotFound):
        await house.writer.submit(rotate_secret(merchant_id=MERCHANT, mode="test", endpoint_id=made["id"]))


async def test_a_third_secret_ends_the_first(house: House) -> None:
    first = await house.endpoint("https://shop.example/hook")
    change = [rotate_secret(merchant_id=MERCHANT, mode="test", endpoint_id=first["id"]) for _ in range(2)]
    second, third = [(await house.writer.submit(unit)).answer["secret"] for unit in change]
    [row] = await house.rows("webhook_endpoint")
    assert row["secret"] == f"{third} {second}"
    assert len({first["secret"], second, third}) == 3


async def test_a_merchant_has_a_limited_number_of_endpoints(house: House) -> None:
    made = [await house.endpoint(f"https://shop.example/{number}") for number in range(ENDPOINTS_MAX)]
    with pytest.raises(Conflict, match="too_many"):
        await house.endpoint("https://shop.example/one-more")
    await house.writer.submit(delete_endpoint(merchant_id=MERCHANT, mode="test", endpoint_id=made[0]["id"]))
    await house.endpoint("https://shop.example/one-more")


def test_an_endpoint_that_asks_for_nothing_we_send_is_refused() -> None:
    with pytest.raises(Invalid):
        create_endpoint(merchant_id=MERCHANT, mode="test", url="https://shop.example", event_types=["orders.*"])
