"""What Adyen's side refuses, seen without our adapter: plain HTTP, as its documents show it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from adapters.adyen import SIMULATOR
from adapters.base import SimulatorSettings
from tests.adapters.loopback import address, inbox, listen, serving

OPTIONS = {"api_key": "AQE_key", "merchant_account": "CrossrailTest", "hmac_keys": ["A1" * 32]}
HEADERS = {"x-api-key": "AQE_key"}
GOOD: dict[str, Any] = {
    "merchantAccount": "CrossrailTest",
    "reference": "att_1",
    "amount": {"currency": "BRL", "value": 1250},
    "allowedPaymentMethods": ["pix"],
}


@pytest.fixture
async def adyen() -> AsyncIterator[aiohttp.ClientSession]:
    async with inbox() as (hook, _):
        bound = listen()
        base = address(bound)
        async with (
            serving(SIMULATOR(SimulatorSettings(OPTIONS, base, hook)), bound),
            aiohttp.ClientSession(base) as http,
        ):
            yield http


async def refused(http: aiohttp.ClientSession, body: object, **headers: str) -> tuple[int, str]:
    async with http.post("/v72/paymentLinks", json=body, headers={**HEADERS, **headers}) as answer:
        said = await answer.json()
        assert said["status"] == answer.status
        assert len(said["pspReference"]) == 16
        return answer.status, said["message"]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"reference": None}, 422, "'reference'"),
        ({"reference": ""}, 422, "'reference'"),
        ({"merchantAccount": "Other"}, 403, "Invalid Merchant Account"),
        ({"amount": None}, 422, "Invalid amount"),
        ({"amount": {"currency": "BRL", "value": 0}}, 422, "Invalid amount"),
        ({"amount": {"currency": "BRL", "value": -5}}, 422, "Invalid amount"),
        ({"amount": {"currency": "BRL", "value": 12.5}}, 422, "Invalid amount"),
        ({"amount": {"currency": "BRL", "value": "1250"}}, 422, "Invalid amount"),
        ({"amount": {"currency": "REAL", "value": 1250}}, 422, "Unsupported currency"),
        ({"allowedPaymentMethods": "pix"}, 400, "allowedPaymentMethods"),
        ({"description": "x" * 281}, 422, "description"),
        ({"expiresAt": "tomorrow"}, 422, "ISO 8601"),
        ({"expiresAt": "2030-01-01T00:00:00"}, 422, "time zone"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, 422, "in the past"),
    ],
)
async def test_a_request_that_adyen_would_refuse_is_refused(
    adyen: aiohttp.ClientSession, change: dict[str, Any], status: int, message: str
) -> None:
    got, said = await refused(adyen, {**GOOD, **change})
    assert got == status
    assert message in said


async def test_a_link_cannot_live_longer_than_seventy_days(adyen: aiohttp.ClientSession) -> None:
    late = (datetime.now(UTC) + timedelta(days=71)).isoformat()
    assert (await refused(adyen, {**GOOD, "expiresAt": late}))[0] == 422


async def test_no_key_no_entry(adyen: aiohttp.ClientSession) -> None:
    assert (await refused(adyen, GOOD, **{"x-api-key": "wrong"}))[0] == 401
    assert (await refused(adyen, GOOD, **{"Idempotency-Key": "k" * 65}))[0] == 422
    assert (await refused(adyen, [GOOD]))[0] == 400


async def test_a_used_key_gives_the_first_answer_again_and_makes_nothing(adyen: aiohttp.ClientSession) -> None:
    answers = []
    for value in (1250, 9900):
        body = {**GOOD, "amount": {"currency": "BRL", "value": value}}
        headers = {**HEADERS, "Idempotency-Key": "one-key"}
        async with adyen.post("/v72/paymentLinks", json=body, headers=headers) as answer:
            assert answer.headers["Idempotency-Key"] == "one-key"
            answers.append(await answer.json())
    assert answers[0] == answers[1]
    assert answers[0]["status"] == "active"


async def test_only_expired_can_be_asked_for_and_unknown_links_are_not_found(adyen: aiohttp.ClientSession) -> None:
    async with adyen.post("/v72/paymentLinks", json=GOOD, headers=HEADERS) as answer:
        link = await answer.json()
    for path, body, status in ((link["id"], {"status": "active"}, 422), ("PLnone", {"status": "expired"}, 422)):
        async with adyen.patch(f"/v72/paymentLinks/{path}", json=body, headers=HEADERS) as answer:
            assert answer.status == status
    async with adyen.get("/pay/PLnone") as page:
        assert page.status == 404
    async with adyen.post(f"/pay/{link['id']}", json={"outcome": "riches"}) as answer:
        assert answer.status == 422


async def test_what_we_write_into_a_link_cannot_write_into_the_page(adyen: aiohttp.ClientSession) -> None:
    evil = {**GOOD, "description": "<script>1</script>", "returnUrl": "javascript:alert(1)", "reference": '"><b>'}
    async with adyen.post("/v72/paymentLinks", json=evil, headers=HEADERS) as answer:
        link = await answer.json()
    async with adyen.post(f"/pay/{link['id']}", data={"outcome": "paid"}) as answer:
        text = await answer.text()
    assert "<script>" not in text
    assert "javascript:" not in text
    assert "<b>" not in text


async def test_a_person_and_a_script_are_told_the_same(adyen: aiohttp.ClientSession) -> None:
    async with adyen.post("/v72/paymentLinks", json=GOOD, headers=HEADERS) as answer:
        link = await answer.json()
    async with adyen.post(f"/pay/{link['id']}", json={"outcome": "refused", "reason": "12"}) as answer:
        step = await answer.json()
    assert (step["status"], step["code"], step["link_status"]) == ("declined", "Not enough balance", "active")
    async with adyen.post(f"/pay/{link['id']}", data={"outcome": "refused"}) as answer:
        assert step["message"] in await answer.text()
    async with adyen.post(
        f"/pay/{link['id']}", data={"outcome": "paid"}, headers={"Accept": "application/json"}
    ) as answer:
        assert (await answer.json())["status"] == "succeeded"


async def test_the_switch_declines_whoever_wants_to_pay(adyen: aiohttp.ClientSession) -> None:
    async with adyen.post("/v72/paymentLinks", json=GOOD, headers=HEADERS) as answer:
        link = await answer.json()
    async with adyen.post("/_control", json={"decline": "20"}) as answer:
        assert answer.status == 200
    async with adyen.post(f"/pay/{link['id']}", json={"outcome": "paid"}) as answer:
        step = await answer.json()
    assert (step["status"], step["code"]) == ("declined", "FRAUD")
