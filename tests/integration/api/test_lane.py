"""The fast lane answers byte for byte as aiohttp's own way does, and leaves to it what is unusual."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import orjson

from tests.integration.api.house import House, opened

GOOD: Final = orjson.dumps({"name": "first"})
VARIES: Final = re.compile(rb"(req|box|mer|key)_[0-9a-f]{32}|\r\nDate: [^\r]*")


def sent(
    method: str = "POST", path: str = "/v1/boxes", body: bytes = GOOD, version: str = "1.1", key: str = "KEY", **headers: str
) -> bytes:  # fmt: skip
    """Return a request as bytes; KEY stands for the house's key, and a header that is "" is not sent."""
    given = {"Host": "test", "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    given |= {"Content-Length": str(len(body))} if body else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in given.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body


ON_THE_LANE: Final = {
    "a good one": sent(),
    "a request id": sent(X_Request_Id="mine-1"),
    "a request id that is none": sent(X_Request_Id="mine 1;"),
    "a path with an id": sent(path="/v1/boxes/box_1/rename"),
    "no body where none is wanted": sent(path="/v1/boxes/box_1/close", body=b""),
    "no body where one is wanted": sent(body=b""),
    "bytes": sent(path="/v1/raw", body=b"\x00\xff", Content_Type="application/octet-stream"),
    "not JSON": sent(body=b"{"),
    "not a model": sent(body=b'{"name": 5, "colour": "red"}'),
    "NUL in a text": sent(body=b'{"name": "a\\u0000"}'),
    "another type": sent(Content_Type="text/plain"),
    "no key": sent(Authorization=""),
    "no bearer": sent(Authorization="Basic abc"),
    "an unknown key": sent(key="sk_test_unknown"),
    "a client_secret": sent(key="cs_1_secret"),
    "an idempotency key": sent(Idempotency_Key="k1"),
    "the same again": sent(Idempotency_Key="k1"),
    "the same key, another body": sent(Idempotency_Key="k1", body=b'{"name": "other"}'),
    "a key that is none": sent(Idempotency_Key="k" * 300),
    "said to be too large": sent(body=b'{"name": "' + b"x" * 70_000 + b'"}'),
    "a body in chunks": sent(
        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD), Content_Length="", Transfer_Encoding="chunked"
    ),
}
LEFT_ALONE: Final = {
    "GET": sent("GET", body=b""),
    "HEAD": sent("HEAD", body=b""),
    "OPTIONS": sent("OPTIONS", body=b""),
    "DELETE": sent("DELETE", body=b""),
    "a query": sent(path="/v1/boxes?x=1"),
    "a path in percents": sent(path="/v1/boxes/box%5F1/rename"),
    "an id that is none": sent(path="/v1/boxes/b!x/rename"),
    "a dot as id": sent(path="/v1/boxes/../rename"),
    "no such path": sent(path="/v1/nothing"),
    "another path": sent(path="/v1/merchants", body=b"{}"),
    "HTTP/1.0": sent(version="1.0"),
    "HTTP/1.0 that stays": sent(version="1.0", Connection="keep-alive"),
    "the last one": sent(Connection="close"),
    "expects to continue": sent(Expect="100-continue"),
    "expects what nobody does": sent(Expect="wonders"),
    "wants to upgrade": sent(Connection="Upgrade", Upgrade="websocket"),
    "compressed": sent(Content_Encoding="gzip"),
    "two lengths": sent(Transfer_Encoding="chunked"),
    "not HTTP": b"\x16\x03\x01\x00\xa5\r\n\r\n",
}  # fmt: skip


async def _said(house: House, *parts: bytes) -> bytes:
    """Send parts on a connection of their own, then say that nothing more comes; return all that is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.base.rpartition(":")[2]))
    try:
        for part in parts:
            writer.write(part.replace(b"KEY", house.key.encode()))
            await writer.drain()
            await asyncio.sleep(0.02 if len(parts) > 1 else 0)
        answers = b""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            answers += head + (await reader.readexactly(int(length[1])) if length and parts[0][:4] != b"HEAD" else b"")
            if answers.count(b"HTTP/1.") >= b"".join(parts).count(b" HTTP/1.") + answers.count(b" 100 Continue"):
                return VARIES.sub(b"", answers)
    finally:
        writer.close()
        await writer.wait_closed()


async def _both(url: str, requests: dict[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes], int]:
    async with opened(url) as house:
        before = house.server.fast_requests
        quick = {name: await _said(house, request) for name, request in requests.items()}
        took = house.server.fast_requests - before
    async with opened(url, fast=frozenset()) as house:
        usual = {name: await _said(house, request) for name, request in requests.items()}
        assert house.server.fast_requests == 0
    return quick, usual, took


async def test_both_ways_answer_byte_for_byte_alike(sqlite_url: str) -> None:
    quick, usual, took = await _both(sqlite_url, ON_THE_LANE)
    assert quick == usual
    assert took == len(ON_THE_LANE)
    assert {int(answer[9:12]) for answer in quick.values()} == {200, 201, 400, 401, 403, 413, 415, 422}


async def test_what_is_unusual_is_left_to_aiohttp(sqlite_url: str) -> None:
    quick, usual, took = await _both(sqlite_url, LEFT_ALONE)
    assert quick == usual
    assert took == 0


async def test_a_body_that_comes_later_is_waited_for(small_house: House) -> None:
    whole = sent()
    assert (await _said(small_house, whole[:-4], whole[-4:])).startswith(b"HTTP/1.1 201")
    assert small_house.server.fast_requests == 0


async def test_requests_of_one_connection_are_answered_in_their_order(small_house: House) -> None:
    """The first takes the lane; what comes while it is at work waits, and what comes together is aiohttp's."""
    small_house.workshop.delay_s = 0.05
    names = [sent(path=f"/v1/boxes/box_{number}/rename") for number in range(4)]
    answers = await _said(small_house, sent(), names[0], names[1] + names[2], names[3])
    assert re.findall(rb'"id":"(box_\d)"', answers) == [b"box_0", b"box_1", b"box_2", b"box_3"]
    assert small_house.server.fast_requests >= 1


async def test_a_connection_goes_back_and_forth_between_the_lanes(small_house: House) -> None:
    for number in range(3):
        assert (await small_house.post("/v1/boxes", {"name": "x"})).status == 201
        assert (await small_house.call("GET", "/v1/boxes")).status == 200
        assert small_house.server.fast_requests == number + 1
    assert len(small_house.server.connections) == 1


async def test_a_caller_that_hangs_up_changes_nothing(small_house: House) -> None:
    """Its effect happens, and the connection is forgotten."""
    small_house.workshop.delay_s = 0.05
    reader, writer = await asyncio.open_connection("127.0.0.1", int(small_house.base.rpartition(":")[2]))
    writer.write(sent().replace(b"KEY", small_house.key.encode()))
    await small_house.workshop.called.wait()
    writer.close()
    await writer.wait_closed()
    assert not await reader.read()
    async with asyncio.timeout(5):
        while small_house.workshop.effects == 0 or small_house.server.connections:
            await asyncio.sleep(0.01)


async def test_an_end_waits_for_the_request_at_work(sqlite_url: str) -> None:
    async with opened(sqlite_url) as house:
        house.workshop.delay_s = 0.2
        asked = asyncio.create_task(_said(house, sent()))
        await house.workshop.called.wait()
        assert house.server.fast_requests == 1
        house.server.pre_shutdown()
        await house.server.shutdown(2)
        assert (await asked).startswith(b"HTTP/1.1 201")
    assert house.workshop.effects == 1


async def test_a_bug_is_told_as_one(small_house: House) -> None:
    small_house.workshop.fail = [RuntimeError("inside")]
    answer = await small_house.post("/v1/boxes", {"name": "x"})
    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert (await small_house.post("/v1/boxes", {"name": "x"})).status == 201
    assert small_house.server.fast_requests == 2
