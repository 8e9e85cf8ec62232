from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from adapters.base import OutcomeUnknown, RailUnavailable
from adapters.kit.http import from_status, from_transport, never_left, redact
from adapters.kit.simulator import Handler
from tests.adapters.loopback import address, closed_port, listen, serving


async def call(url: str, limits: aiohttp.ClientTimeout) -> BaseException:
    async with aiohttp.ClientSession(timeout=limits) as http:
        try:
            async with http.post(url) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return error
    raise AssertionError("the call succeeded")


SHORT = aiohttp.ClientTimeout(total=0.3, connect=0.2, sock_connect=0.2)


async def test_a_refused_connection_never_left() -> None:
    error = await call(closed_port(), SHORT)
    assert never_left(error)
    assert isinstance(from_transport(error, doing="toy act", reading=False), RailUnavailable)


async def test_a_name_that_does_not_resolve_never_left() -> None:
    assert never_left(await call("http://no-such-host.invalid", aiohttp.ClientTimeout(total=10)))


async def test_a_connect_timeout_never_left() -> None:
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(connect=0.1), connector=aiohttp.TCPConnector(limit=1)
    ) as http:
        bound = listen()
        app = web.Application()
        app.router.add_post("/", slow)
        async with serving(app, bound):
            first = asyncio.create_task(http.post(address(bound)))
            await asyncio.sleep(0.05)  # the only connection is taken
            with pytest.raises(aiohttp.ConnectionTimeoutError) as caught:
                await http.post(address(bound))
            (await first).release()
    assert never_left(caught.value)


async def slow(_request: web.Request) -> web.Response:
    await asyncio.sleep(0.5)
    return web.Response()


async def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_in_the_middle(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return answer


@pytest.mark.parametrize("handler", [slow, hang_up, cut_in_the_middle])
async def test_what_was_sent_and_not_answered_is_unknown_unless_it_only_read(handler: Handler) -> None:
    bound, app = listen(), web.Application()
    app.router.add_post("/", handler)
    async with serving(app, bound):
        error = await call(address(bound), SHORT)
    assert not never_left(error)
    assert isinstance(from_transport(error, doing="toy act", reading=False), OutcomeUnknown)
    assert isinstance(from_transport(error, doing="toy read", reading=True), RailUnavailable)


@pytest.mark.parametrize(
    ("status", "acting", "reading"),
    [
        (200, None, None),
        (400, None, None),
        (429, RailUnavailable, RailUnavailable),
        (409, OutcomeUnknown, RailUnavailable),
        (500, OutcomeUnknown, RailUnavailable),
        (503, OutcomeUnknown, RailUnavailable),
    ],
)
def test_only_429_says_clearly_that_nothing_was_taken(
    status: int, acting: type[Exception] | None, reading: type[Exception] | None
) -> None:
    for is_reading, wanted in ((False, acting), (True, reading)):
        error = from_status(status, doing="toy", reading=is_reading)
        assert error is None if wanted is None else type(error) is wanted


def test_secrets_are_cut_out_of_a_vendors_text_the_longest_first() -> None:
    text = redact("key sk_test_abcdef, not sk_test_abc", ["sk_test_abc", "sk_test_abcdef", "no"])
    assert text == "key [redacted], not [redacted]"
