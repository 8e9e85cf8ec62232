"""What the API says of itself: OpenAPI, the page, health, readiness, metrics; and endpoints that do not fit."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from orchestrator.api import system
from orchestrator.api.endpoint import Answer, ApiServices, Context, Endpoint
from orchestrator.api.fields import Body, Page, listed, money_shown
from rates.money import WALLET_USD, Asset, Money
from tests.integration.api.house import ADMIN_TOKEN, House, opened


async def test_the_openapi_document_is_valid_and_complete(small_house: House) -> None:
    answer = await small_house.call("GET", "/openapi.json", key="")
    document = answer.json
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    create = document["paths"]["/v1/merchants"]["post"]
    assert create["security"] == [{"adminToken": []}]
    assert {"$ref": "#/components/parameters/Idempotency-Key"} in create["parameters"]
    assert set(create["responses"]) == {
        "201", "400", "401", "403", "409", "413", "415", "422", "429", "500", "503",
    }  # fmt: skip
    limit = next(one for one in document["paths"]["/v1/events"]["get"]["parameters"] if one.get("name") == "limit")
    assert (limit["in"], limit["schema"]["maximum"]) == ("query", 100)
    amount = document["components"]["schemas"]["MoneyBody"]["properties"]["amount"]
    assert (amount["type"], amount["pattern"]) == ("string", r"^[0-9]{1,19}(\.[0-9]{1,18})?$")
    assert {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"} <= set(document["paths"])
    assert document["paths"]["/v1/checkout/sessions/{id}/page"]["get"]["security"] == [
        {"apiKey": ["read"]}, {"clientSecret": []},
    ]  # fmt: skip


async def test_answers_are_what_the_document_says(small_house: House) -> None:
    document = (await small_house.call("GET", "/openapi.json", key="")).json
    shared = {"components": document["components"]}

    def check(path: str, method: str, status: int, body: Any) -> None:
        answer = document["paths"][path][method]["responses"][str(status)]
        if "$ref" in answer:
            answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        (content,) = answer["content"].values()
        Draft202012Validator({**content["schema"], **shared}).validate(body)

    for path, method, body in (
        ("/v1/merchants", "POST", {"name": "A"}),
        ("/v1/merchants", "GET", None),
        ("/v1/merchants", "POST", {"nam": "A"}),
        ("/v1/keys", "POST", {"merchant": small_house.merchant, "mode": "test"}),
        ("/v1/events", "GET", None),
    ):
        answer = await small_house.call(method, path, body, key=ADMIN_TOKEN)
        check(path, method.lower(), answer.status, answer.json)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "a":
            self.links.append(named["href"])
        if tag in {"script", "img", "link", "iframe"}:
            self.loads.append(tag)


async def test_the_page_shows_every_endpoint_and_loads_nothing(small_house: House) -> None:
    answer = await small_house.call("GET", "/docs", key="")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    text = answer.raw.decode()
    page = _Page()
    page.feed(text)
    document = (await small_house.call("GET", "/openapi.json", key="")).json
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["operationId"] in page.ids, path
            assert f'<span class="method {method.upper()}">' in text
            assert f"<code>{path}</code>" in text
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link == "/openapi.json" or link.removeprefix("#") in page.ids, link
    assert text.count("curl &#34;$CROSSRAIL") == sum(len(one) for one in document["paths"].values())
    assert 'name="viewport"' in text


async def test_every_problem_type_leads_to_its_explanation(small_house: House) -> None:
    page = _Page()
    page.feed((await small_house.call("GET", "/docs", key="")).raw.decode())
    for path in ("/v1/nothing", "/v1/events/evt_none", "/v1/merchants"):
        kind = (await small_house.call("GET", path)).json["type"]
        assert kind.removeprefix("/docs#") in page.ids


async def test_it_is_alive(small_house: House) -> None:
    answer = await small_house.call("GET", "/healthz", key="")
    assert (answer.status, answer.json) == (200, {"status": "alive"})


async def test_it_is_ready_when_every_check_is_fine(migrated_database_url: str) -> None:
    reading = {"migrations": system.migrations_check(migrated_database_url)}
    async with opened(migrated_database_url, checks=reading) as house:
        for _ in range(2):
            answer = await house.call("GET", "/readyz", key="")
            assert (answer.status, answer.json) == (200, {"status": "ready", "checks": {"migrations": "ok"}})


async def test_it_says_what_is_not_ready(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stopped() -> str | None:
        return "chain watch stopped"

    async def broken() -> str | None:
        raise RuntimeError("password of the inside")

    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(system, "CHECK_SECONDS_MAX", 0.05)
    async with opened(sqlite_url, checks={"workers": stopped, "database": broken, "rails": hangs}) as house:
        answer = await house.call("GET", "/readyz", key="")
    said = {"workers": "chain watch stopped", "database": "failed", "rails": "failed"}
    assert (answer.status, answer.json) == (503, {"status": "not_ready", "checks": said})


async def test_an_empty_database_is_not_ready(tmp_path: Any) -> None:
    check = system.migrations_check(f"sqlite+aiosqlite:///{tmp_path}/empty.db")
    assert "run crossrail db upgrade" in str(await check())


async def test_requests_are_counted_by_template_and_status(small_house: House) -> None:
    for id_ in ("evt_a", "evt_b"):
        await small_house.call("GET", f"/v1/events/{id_}")
    await small_house.call("PROPFIND", "/no/such/path/a")
    answer = await small_house.call("GET", "/metrics", key="")
    text = answer.raw.decode()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = re.search(
        r'^crossrail_http_requests_total\{method="GET",route="/v1/events/\{id\}",status="404"\} (\S+)$',
        text,
        re.MULTILINE,
    )
    assert found is not None
    assert float(found[1]) >= 2
    assert "evt_a" not in text
    assert 'method="other",route="unmatched"' in text
    assert "crossrail_writer_flushes_total" in text


# --- endpoints that do not fit ----------------------------------------------------------------------------------------


class _Wanted(Body):
    name: str


class _Other(BaseModel):
    name: str


async def _handler(_context: Context[ApiServices], _body: _Wanted) -> Answer:
    return Answer({})


@pytest.mark.parametrize("more", [{}, {"body": _Other}, {"body": _Wanted, "query": _Other}])
def test_an_endpoint_whose_handler_takes_something_else_is_refused_at_start(more: dict[str, Any]) -> None:
    endpoint = Endpoint("POST", "/v1/x", _handler, summary="x", tag="x", **more)
    with pytest.raises(TypeError, match="_handler takes"):
        endpoint.check()


def test_a_get_takes_no_body() -> None:
    with pytest.raises(TypeError, match="has no body"):
        Endpoint("GET", "/v1/x", _handler, summary="x", tag="x", body=_Wanted).check()


def test_an_endpoint_that_fits_is_accepted() -> None:
    Endpoint("POST", "/v1/x", _handler, summary="x", tag="x", body=_Wanted).check()


def test_money_is_shown_with_the_decimals_that_a_buyer_sees_or_more_where_they_count() -> None:
    assert money_shown(Money(20_000_000_000, WALLET_USD)) == {"amount": "20.00", "currency": "USD"}
    assert money_shown(Money(1, WALLET_USD)) == {"amount": "0.000000001", "currency": "USD"}
    assert money_shown(Money(500, Asset("JPY", 0))) == {"amount": "500", "currency": "JPY"}


def test_a_page_that_is_just_full_has_no_next_one() -> None:
    rows = [{"id": f"x_{number}"} for number in range(3)]
    assert listed(rows, Page(limit=3)) == (rows, None)
    assert listed(rows, Page(limit=2)) == (rows[:2], "x_1")
