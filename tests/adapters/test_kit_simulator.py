from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from adapters.kit.simulator import Switches, WebhookSender, add_control, api
from tests.adapters.loopback import Inbox, address, inbox, listen, serving


@dataclass
class Toy:
    """A vendor whose API counts calls and tells a webhook the count."""

    base: str
    http: aiohttp.ClientSession
    box: Inbox
    sender: WebhookSender
    acted: list[int] = field(default_factory=list)

    async def control(self, **switches: object) -> tuple[int, dict[str, object]]:
        async with self.http.post(f"{self.base}/_control", json=switches) as answer:
            return answer.status, await answer.json()

    async def act(self) -> int:
        async with self.http.post(f"{self.base}/v1/act") as answer:
            return answer.status


@pytest.fixture
async def toy() -> AsyncIterator[Toy]:
    bound, switches, numbers = listen(), Switches(), itertools.count(1)
    async with inbox() as (url, box), aiohttp.ClientSession() as http:
        sender = WebhookSender(url, switches, retry_after_seconds=(0.01, 0.01))
        vendor = Toy(address(bound), http, box, sender)

        async def act(_request: web.Request) -> web.Response:
            number = next(numbers)
            vendor.acted.append(number)
            sender.send("acted", lambda: (str(number).encode(), {"x-number": str(number)}))
            return web.json_response({"number": number})

        app = web.Application()
        app.router.add_post("/v1/act", api(switches, act, lambda status: web.json_response({}, status=status)))
        add_control(app, switches, sender)
        async with serving(app, bound):
            yield vendor


async def test_a_webhook_arrives_and_its_attempt_is_shown(toy: Toy) -> None:
    assert await toy.act() == 200
    assert [body for _, body in await toy.box.wait_for(1)] == [b"1"]
    _, shown = await toy.control()
    assert isinstance(shown["webhooks"], dict)
    [attempt] = shown["webhooks"]["attempts"]
    assert (attempt["name"], attempt["status"], attempt["accepted"]) == ("acted", 200, True)


async def test_a_refused_webhook_is_tried_again_and_both_attempts_are_recorded(toy: Toy) -> None:
    toy.box.refuse_next = 1
    await toy.act()
    await toy.box.wait_for(1)
    await asyncio.sleep(0.05)
    assert [(a.attempt, a.status, a.accepted) for a in toy.sender.attempts] == [(1, 500, False), (2, 200, True)]


async def test_webhooks_are_doubled_held_and_turned_round(toy: Toy) -> None:
    await toy.control(duplicate_webhooks=1)
    await toy.act()
    assert [body for _, body in await toy.box.wait_for(2)] == [b"1", b"1"]

    await toy.control(duplicate_webhooks=0, hold_webhooks=True)
    await toy.act()
    await toy.act()
    await asyncio.sleep(0.05)
    assert len(toy.box.received) == 2

    await toy.control(hold_webhooks=False, reorder_webhooks=True)
    assert [body for _, body in (await toy.box.wait_for(4))[2:]] == [b"3", b"2"]


async def test_a_dropped_answer_was_acted_upon(toy: Toy) -> None:
    await toy.control(drop_answer=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await toy.act()
    assert toy.acted == [1]
    assert await toy.act() == 200


async def test_down_and_rate_limited_do_not_act_and_count_down(toy: Toy) -> None:
    await toy.control(down=2, rate_limited=1)
    assert [await toy.act() for _ in range(4)] == [503, 503, 429, 200]
    assert toy.acted == [1]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"dekline": "x"}, "there is no switch 'dekline'; there are: decline, delay_ms"),
        ({"down": True}, "down takes int, not bool"),
        ({"delay_ms": -1}, "delay_ms takes a number from 0"),
        ({"hold_webhooks": 1}, "hold_webhooks takes bool, not int"),
    ],
)
async def test_a_wrong_switch_is_refused_and_named(toy: Toy, wanted: dict[str, object], says: str) -> None:
    status, answer = await toy.control(down=1, **wanted) if "down" not in wanted else await toy.control(**wanted)
    assert status == 400
    assert says in str(answer["error"])
    assert await toy.act() == 200, "none of the switches was set"
