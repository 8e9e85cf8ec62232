"""forex-python against a server on loopback that does what such servers do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from aiohttp import web

from rates.errors import SourceUnavailable
from rates.market import Market
from rates.policy import MarketMode, MarketPolicy
from rates.sources.forex_python import BODY_BYTES_MAX, ForexPythonSource
from rates.sources.port import SourceRate

from .builders import NOW

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GOOD = (
    '{"base": "USD", "date": "2026-11-23", "rates": {"BRL": 5.61, "JPY": "157.1", "EUR": 0.90, "KWD": 3e-1, "USD": 1}}'
)


@asynccontextmanager
async def service(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/api/{date}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api"
    finally:
        await runner.cleanup()


def answering(body: str | bytes, status: int = 200) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(body=raw, status=status, content_type="application/json")

    return answer


async def refused(handler: Handler, *, timeout_seconds: float = 2) -> str:
    async with service(handler) as url:
        with pytest.raises(SourceUnavailable) as error:
            await ForexPythonSource(url=url, timeout_seconds=timeout_seconds).fetch()
    return error.value.reason


async def test_rates_are_read_exactly_as_printed_and_dated_by_the_answer() -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, dict(request.query)))
        return web.Response(text=GOOD, content_type="application/json")

    async with service(answer) as url:
        rates = await ForexPythonSource(url=url).fetch()
    assert asked == [("/api/latest", {"base": "USD", "rtype": "fpy"})]
    day = datetime(2026, 11, 23, tzinfo=UTC)
    assert rates[0] == SourceRate("forex_python", "USD", "BRL", Fraction(561, 100), day)
    assert {rate.quote: rate.rate for rate in rates} == {
        "BRL": Fraction("5.61"),
        "JPY": Fraction("157.1"),
        "EUR": Fraction("0.9"),
        "KWD": Fraction("0.3"),
    }


async def test_a_chunked_and_compressed_answer_is_read_whole() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_compression(web.ContentCoding.gzip)
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(GOOD), 7):
            await response.write(GOOD[start : start + 7].encode())
        await response.write_eof()
        return response

    async with service(answer) as url:
        assert len(await ForexPythonSource(url=url).fetch()) == 4


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html>Bad gateway</html>", "JSONDecodeError"),
        ("", "JSONDecodeError"),
        (GOOD[:-9], "JSONDecodeError"),
        (b"\xff\xfe\x00garbage", "Error"),
        ("[" * 200_000, "nested deeper"),
        ("[]", 'no "rates"'),
        ("null", 'no "rates"'),
        ('{"base": "USD", "date": "2026-11-23", "rates": {}}', 'no "rates"'),
        ('{"base": "USD", "date": "2026-11-23", "rates": [1]}', 'no "rates"'),
        (GOOD.replace('"base": "USD"', '"base": "EUR"'), "answered about 'EUR'"),
        (GOOD.replace("2026-11-23", "today"), "date"),
        (GOOD.replace('"2026-11-23"', "20261123"), "date"),
        (GOOD.replace('"date"', '"day"'), "date"),
        (GOOD.replace("5.61", "NaN"), "NaN"),
        (GOOD.replace("5.61", '"NaN"'), "finite"),
        (GOOD.replace("5.61", "0"), "above 0"),
        (GOOD.replace("5.61", "-5.61"), "above 0"),
        (GOOD.replace("5.61", "null"), "NoneType"),
        (GOOD.replace("5.61", "true"), "bool"),
        (GOOD.replace("5.61", "1e999999"), r"10**18"),
        (GOOD.replace("BRL", "br l"), "not a pair"),
        (json.dumps({"base": "USD", "date": "2026-11-23", "rates": {f"A{n}": 1 for n in range(2000)}}), "2000 rates"),
    ],
)
async def test_an_answer_that_cannot_be_believed_is_refused_whole(body: str | bytes, told: str) -> None:
    assert told in await refused(answering(body))


@pytest.mark.parametrize("status", [204, 404, 429, 500, 504])
async def test_any_status_but_200_is_no_answer(status: int) -> None:
    assert f"HTTP {status}" in await refused(answering("" if status == 204 else GOOD, status))


async def test_a_redirect_is_not_followed_to_rates_of_somebody_else() -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        if request.path.endswith("/other"):
            return web.Response(text=GOOD, content_type="application/json")
        raise web.HTTPFound("/api/other")

    assert "HTTP 302" in await refused(elsewhere)


async def test_an_endless_answer_is_cut_off() -> None:
    assert "longer than" in await refused(answering(b" " * (BODY_BYTES_MAX + 1)))


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    async with service(answering(GOOD)) as url:
        pass
    with pytest.raises(SourceUnavailable, match="ConnectionError"):
        await ForexPythonSource(url=url).fetch()


async def test_a_silent_service_is_given_up_and_leaves_no_thread_behind() -> None:
    def asking() -> int:
        return sum(thread.name.startswith("asyncio") for thread in threading.enumerate())

    released = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response(text=GOOD)

    async with service(silent) as url:
        source = ForexPythonSource(url=url, timeout_seconds=0.1)
        with pytest.raises(SourceUnavailable, match="ReadTimeout"):
            await source.fetch()
        after_one = asking()
        for _ in range(3):
            with pytest.raises(SourceUnavailable, match="ReadTimeout"):
                await source.fetch()
        assert not source._asking.locked()
        assert asking() <= after_one + 1  # the pool's idle worker is used again; none hangs
        released.set()


async def test_a_service_that_drips_is_given_up_at_the_deadline() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    begun = asyncio.get_running_loop().time()
    async with service(drip) as url:
        source = ForexPythonSource(url=url, timeout_seconds=0.15)
        with pytest.raises(SourceUnavailable, match=r"0\.15 s"):
            await source.fetch()
        assert not source._asking.locked()  # the thread itself gave up, not only we
    assert asyncio.get_running_loop().time() - begun < 2


async def test_while_one_call_hangs_no_second_thread_is_sent_after_it() -> None:
    released = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response(text=GOOD, content_type="application/json")

    async with service(slow) as url:
        source = ForexPythonSource(url=url, timeout_seconds=2)
        first = asyncio.create_task(source.fetch())
        while not source._asking.locked():
            await asyncio.sleep(0.005)
        with pytest.raises(SourceUnavailable, match="not come back"):
            await source.fetch()
        released.set()
        assert len(await first) == 4
        assert len(await source.fetch()) == 4


async def test_the_market_asks_it_again_only_after_its_time_to_live_and_keeps_what_it_said() -> None:
    answers = [GOOD, "broken", GOOD.replace("5.61", "5.70")]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=answers.pop(0), content_type="application/json")

    async with service(answer) as url:
        source = ForexPythonSource(url=url, ttl_seconds=10)
        market = Market([source], MarketPolicy(), MarketMode.LIVE)
        await market.refresh(NOW)
        await market.refresh(NOW)
        assert len(answers) == 2
        (status,) = await market.refresh(NOW.replace(second=10))
        assert "JSONDecodeError" in str(status.error)
        assert market.mid("USD", "BRL", NOW).rate == Fraction("5.61")
        await market.refresh(NOW.replace(second=20))
        assert market.mid("USD", "BRL", NOW).rate == Fraction("5.7")


def test_without_an_address_it_is_the_one_that_the_package_knows() -> None:
    assert ForexPythonSource()._client._source_url() == "https://theratesapi.com/api/"
