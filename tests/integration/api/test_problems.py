"""What is refused, and the exact shape in which it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from orchestrator.api import body, serve
from orchestrator.api.idempotency import ABANDONED_S
from tests.integration.api.house import House, opened


async def test_a_problem_has_exactly_these_members(house: House) -> None:
    answer = await house.call(
        "POST", "/v1/boxes", {"name": 5, "price": {"amount": "1"}, "colour": "red"}, headers={"X-Request-Id": "r-1"}
    )
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == "r-1"
    assert answer.json == {
        "type": "/docs#problem-422",
        "title": "The request cannot be understood",
        "status": 422,
        "detail": "3 fields are wrong: see errors",
        "code": "invalid_request",
        "retryable": False,
        "request_id": "r-1",
        "errors": [
            {"pointer": "/name", "message": "Input should be a valid string", "code": "string_type"},
            {"pointer": "/price/currency", "message": "Field required", "code": "missing"},
            {"pointer": "/colour", "message": "Extra inputs are not permitted", "code": "extra_forbidden"},
        ],
    }


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        (20, "amount_is_not_text"),
        (20.5, "amount_is_not_text"),
        (None, "amount_is_not_text"),
        ("NaN", "amount_is_not_decimal"),
        ("Infinity", "amount_is_not_decimal"),
        ("1e3", "amount_is_not_decimal"),
        ("-1", "amount_is_not_decimal"),
        ("+1", "amount_is_not_decimal"),
        ("1,00", "amount_is_not_decimal"),
        (" 1", "amount_is_not_decimal"),
        ("1\n", "amount_is_not_decimal"),
        ("", "amount_is_not_decimal"),
        ("١", "amount_is_not_decimal"),
        ("1" * 20, "amount_is_not_decimal"),
        ("20.001", "amount_invalid"),
        ("9999999999999999999", "amount_invalid"),
    ],
)
async def test_an_amount_that_is_none_is_pointed_at(small_house: House, amount: object, code: str) -> None:
    answer = await small_house.post("/v1/boxes", {"name": "x", "price": {"amount": amount, "currency": "USD"}})
    assert answer.status == 422
    assert [(one["pointer"], one["code"]) for one in answer.json["errors"]] == [("/price/amount", code)]
    assert small_house.workshop.effects == 0


@pytest.mark.parametrize("currency", ["XXX", "ZZZ"])
async def test_an_unknown_currency_is_pointed_at(small_house: House, currency: str) -> None:
    answer = await small_house.post("/v1/boxes", {"name": "x", "price": {"amount": "1", "currency": currency}})
    assert (answer.status, answer.json["code"]) == (422, "currency_unknown")
    assert answer.json["errors"][0]["pointer"] == "/price/currency"


async def test_no_amount_as_a_json_nan(small_house: House) -> None:
    raw = b'{"name": "x", "price": {"amount": NaN, "currency": "USD"}}'
    answer = await small_house.call("POST", "/v1/boxes", raw=raw)
    assert (answer.status, answer.json["errors"][0]["code"]) == (422, "amount_is_not_text")


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[1",
        b"\xff",
        b'{"name": "\\ud800"}',
        b'{"name": "x", "metadata": {"n": NaN}}',
        b"[" * 5000,
        b'{"name":x}',
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_what_is_not_json_is_a_bad_request(small_house: House, raw: bytes, headers: dict[str, str]) -> None:
    answer = await small_house.call("POST", "/v1/boxes", raw=raw, headers=headers)
    assert (answer.status, answer.json["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"null", b"5"])
async def test_json_that_is_no_object_is_pointed_at_as_a_whole(small_house: House, raw: bytes) -> None:
    answer = await small_house.call("POST", "/v1/boxes", raw=raw)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "")


async def test_a_text_with_a_nul_is_refused_before_a_database_sees_it(house: House) -> None:
    raw = b'{"name": "a\\u0000b", "metadata": {"a/b": ["\\u0000"]}}'
    answer = await house.call("POST", "/v1/boxes", raw=raw)
    assert answer.status == 422
    assert [one["pointer"] for one in answer.json["errors"]] == ["/name", "/metadata/a~1b/0"]
    fine = await house.call("POST", "/v1/boxes", raw=b'{"name": "\\\\u0000 as text, NaN too"}')
    assert fine.status == 201
    assert (await house.call("GET", "/v1/events?after=%00")).status == 422
    assert (await house.call("GET", "/v1/events/%00")).status == 404
    assert (await house.call("GET", "/v1/boxes?expand[]=%00")).status == 422


async def test_an_unknown_path_is_a_problem(small_house: House) -> None:
    answer = await small_house.call("GET", "/v1/nothing")
    assert (answer.status, answer.json["code"]) == (404, "path_not_found")
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


async def test_an_unknown_method_is_a_problem_that_says_what_is_allowed(small_house: House) -> None:
    answer = await small_house.call("DELETE", "/v1/boxes")
    assert (answer.status, answer.json["code"], answer.headers["Allow"]) == (405, "method_not_allowed", "GET, POST")


async def test_a_body_that_is_too_large_is_a_problem(small_house: House) -> None:
    raw = b'{"name": "' + b"x" * 70_000 + b'"}'
    answer = await small_house.call("POST", "/v1/boxes", raw=raw)
    assert (answer.status, answer.json["code"], answer.json["bytes_max"]) == (413, "body_too_large", 65536)
    assert (await small_house.call("POST", "/v1/raw", raw=raw)).json == {"bytes": len(raw)}


async def test_a_body_of_unsaid_length_is_limited_too(small_house: House) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 20_000
            await asyncio.sleep(0)

    for path, headers in (("/v1/boxes", {"Authorization": f"Bearer {small_house.key}"}), ("/v1/raw", {})):
        async with small_house.http.post(small_house.base + path, data=endless(), headers=headers) as answer:
            assert answer.status == 413
            assert (await answer.json(content_type=None))["code"] == "body_too_large"


async def test_a_body_that_does_not_arrive_is_given_up(small_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS_MAX", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield b'{"name":'
        await asyncio.sleep(5)

    headers = {"Authorization": f"Bearer {small_house.key}", "Content-Type": "application/json"}
    async with small_house.http.post(small_house.base + "/v1/boxes", data=stuck(), headers=headers) as answer:
        assert answer.status == 408
        assert (await answer.json(content_type=None))["retryable"]


async def test_a_handler_that_takes_too_long_is_cut_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve.REQUEST_SECONDS_MAX < ABANDONED_S, "nobody may take over a request that is still at work"
    monkeypatch.setattr(serve, "REQUEST_SECONDS_MAX", 0.2)
    house.workshop.delay_s = 5
    answer = await house.post("/v1/boxes", {"name": "x"}, "k1")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "took_too_long", "15")
    house.workshop.delay_s = 0
    assert (await house.post("/v1/boxes", {"name": "x"}, "k1")).status == 409
    house.services.clock.ahead_us = ABANDONED_S * 1_000_000
    assert (await house.post("/v1/boxes", {"name": "x"}, "k1")).status == 201
    assert house.workshop.effects == 1


async def test_a_caller_that_hangs_up_in_its_body_is_no_mistake_of_ours(small_house: House) -> None:
    host, _, port = small_house.base.removeprefix("http://").partition(":")
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/boxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {small_house.key}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.1)
    assert [(one["event"], one["code"]) for one in logs] == [("request_answered", "body_cut_off")]
    assert small_house.workshop.calls == 0


async def test_another_content_type_is_a_problem(small_house: House) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await small_house.call("POST", "/v1/boxes", raw=b"name=x", headers=form)
    assert (answer.status, answer.json["code"]) == (415, "content_type_wrong")
    assert "application/json" in answer.json["detail"]


async def test_an_endpoint_without_body_takes_none(small_house: House) -> None:
    assert (await small_house.call("POST", "/v1/boxes/box_1/close")).status == 200
    assert (await small_house.post("/v1/boxes/box_1/close", {})).status == 200
    assert (await small_house.post("/v1/boxes/box_1/close", {"a": 1})).status == 422


async def test_an_empty_body_is_told_what_is_missing(small_house: House) -> None:
    answer = await small_house.call("POST", "/v1/boxes")
    assert [(one["pointer"], one["code"]) for one in answer.json["errors"]] == [("/name", "missing")]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("count=-1", "/count"), ("count=x", "/count"), ("count=1&count=2", "/count"), ("other=1", "/other"),
     ("expand[]=wrong", "/expand[]"), ("expand=owner", "/expand"), ("&".join(["expand[]=owner"] * 11), "/expand[]")],
)  # fmt: skip
async def test_a_wrong_query_is_pointed_at(small_house: House, query: str, pointer: str) -> None:
    answer = await small_house.call("GET", f"/v1/boxes?{query}")
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_a_query_may_expand_several_fields(small_house: House) -> None:
    answer = await small_house.call("GET", "/v1/boxes?expand[]=price&expand%5B%5D=owner&count=3")
    assert answer.json == {"count": 3, "expanded": ["owner", "price"], "merchant": small_house.merchant}


async def test_a_bug_is_told_without_its_inside_and_logged_with_it(small_house: House) -> None:
    small_house.workshop.fail.append(RuntimeError("secret of the inside"))
    with capture_logs() as logs:
        answer = await small_house.call("POST", "/v1/boxes", {"name": "x"}, headers={"X-Request-Id": "r-9"})
    assert (answer.status, answer.json["code"], answer.json["retryable"]) == (500, "internal_error", False)
    assert b"secret of the inside" not in answer.raw
    assert [one["event"] for one in logs] == ["request_broke", "request_answered"]


async def test_a_request_id_that_is_none_is_replaced(small_house: House) -> None:
    for given in ("a b", "x" * 65, "<script>", ""):
        answer = await small_house.call("GET", "/healthz", headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"].startswith("req_")


async def test_the_access_log_holds_ids_and_no_secret(small_house: House) -> None:
    with capture_logs() as logs:
        await small_house.call("GET", "/v1/boxes?count=7")
    (line,) = logs
    assert line["event"] == "request_answered"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/boxes", 200)
    assert (line["merchant_id"], line["mode"]) == (small_house.merchant, "test")
    assert line["key_id"].startswith("key_")
    assert small_house.key not in repr(logs)
    assert "count" not in repr(logs)


async def test_a_redirect_of_a_page_passes_the_edge(sqlite_url: str) -> None:
    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("/docs")

    async def forbidden(_: web.Request) -> web.Response:
        raise web.HTTPForbidden

    def pages(app: web.Application) -> None:
        app.router.add_get("/away", away)
        app.router.add_get("/forbidden", forbidden)

    async with opened(sqlite_url, extra=pages) as house:
        answer = await house.call("GET", "/away", headers={"X-Request-Id": "r-2"})
        assert (answer.status, answer.headers["Location"], answer.headers["X-Request-Id"]) == (302, "/docs", "r-2")
        refused = await house.call("GET", "/forbidden")
        assert (refused.status, refused.json["status"]) == (403, 403)
