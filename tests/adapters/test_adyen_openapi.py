"""What our adapter sends, and what our simulator answers, is what Adyen's OpenAPI document (Checkout v71) describes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from ruamel.yaml import YAML

from adapters.adyen import ADAPTER, SIMULATOR
from adapters.base import Mode, OutcomeUnknown, RailAccount, RailMisconfigured, SimulatorSettings
from tests.adapters import rail_adyen
from tests.adapters.contract import RailUnderTest
from tests.adapters.loopback import address, inbox, listen, serving
from tests.adapters.openapi.check import Checker, Exchange, Recorder
from tests.adapters.openapi.documents import adyen_document

LISTED = Path(__file__).parent / "openapi" / "differences_adyen.yaml"
VERSION = "/v72"
"""The SDK's; the document's operations are the same ones below /v71, and are named there without it."""


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker(adyen_document())


@pytest.fixture
async def recorded() -> AsyncIterator[tuple[RailUnderTest, Recorder]]:
    """The rail of the contract suite, with a recorder in front of its API."""
    recorder, bound = Recorder(), listen()
    base = address(bound)
    async with inbox() as (url, box), aiohttp.ClientSession() as http:
        app = SIMULATOR(SimulatorSettings(rail_adyen.OPTIONS, base, url))
        app.middlewares.append(recorder.middleware)
        adapter = ADAPTER(RailAccount("adyen", "main", Mode.TEST, rail_adyen.OPTIONS, base), http)
        async with serving(app, bound):
            yield RailUnderTest(rail_adyen.RAIL, http, base, box, adapter), recorder


async def use_everything(rail: RailUnderTest) -> None:
    """Run each operation of the adapter, in each state that changes the answer's shape."""
    order = rail.order(email="buyer@example.com", locale="pt-BR", customer_reference="cus_1")
    started = await rail.adapter.create_payment(order)
    reference = rail.reference(order, started)
    await rail.adapter.fetch_status(reference)
    for outcome in ("refused", "abandoned", "pending", "paid"):
        await rail_adyen.use_page(rail, started, {"outcome": outcome})
        await rail.adapter.fetch_status(reference)
    await rail.adapter.cancel_payment(reference)
    other = rail.order()
    await rail.adapter.cancel_payment(rail.reference(other, await rail.adapter.create_payment(other)))
    with pytest.raises(OutcomeUnknown):
        await rail.adapter.create_payment(replace(order, amount=order.amount + order.amount))
    with pytest.raises(RailMisconfigured):
        await rail.adapter.fetch_status(replace(reference, rail_reference="PLUNKNOWN"))
    with pytest.raises(RailMisconfigured):
        await rail.adapter_with(rail.setup.wrong_key).create_payment(rail.order())
    with pytest.raises(RailMisconfigured):
        await rail.adapter_with({**rail_adyen.OPTIONS, "merchant_account": "Other"}).create_payment(rail.order())


def of_the_api(recorder: Recorder) -> list[Exchange]:
    return [
        replace(exchange, path=exchange.path.removeprefix(VERSION))
        for exchange in recorder.exchanges
        if exchange.path.startswith(VERSION)
    ]


def listed_differences() -> set[str]:
    entries = YAML(typ="safe").load(LISTED.read_text(encoding="utf-8"))
    assert all(entry["reason"] for entry in entries)
    return {entry["difference"] for entry in entries}


async def test_every_exchange_is_as_the_document_says_but_for_the_reviewed_list(
    recorded: tuple[RailUnderTest, Recorder], checker: Checker
) -> None:
    rail, recorder = recorded
    await use_everything(rail)
    exchanges = of_the_api(recorder)
    operations = {(e.method, (checker.operation(e.method, e.path) or ("?",))[0]) for e in exchanges}
    assert operations == {
        ("POST", "/paymentLinks"),
        ("GET", "/paymentLinks/{linkId}"),
        ("PATCH", "/paymentLinks/{linkId}"),
    }
    assert {exchange.status for exchange in exchanges} == {200, 201, 401, 403, 422}
    statuses = {exchange.answer["status"] for exchange in exchanges if exchange.status in {200, 201}}
    assert statuses == {"active", "paymentPending", "completed", "expired"}
    found = {difference for exchange in exchanges for difference in checker.differences(exchange)}
    assert found == listed_differences(), "mend the code, or review the difference and list it with its reason"


async def test_a_misspelt_field_a_wrong_type_and_a_new_status_are_differences(
    recorded: tuple[RailUnderTest, Recorder], checker: Checker
) -> None:
    rail, recorder = recorded
    await rail.adapter.create_payment(rail.order())
    [exchange] = of_the_api(recorder)
    sent = json.loads(exchange.body)
    sent["expireAt"] = sent.pop("expiresAt")
    sent["amount"]["value"] = "11245"
    changed = replace(exchange, body=json.dumps(sent).encode(), answer={**exchange.answer, "status": "settled"})
    texts = "\n".join(checker.differences(changed))
    assert "unknown name expireAt" in texts
    assert "$.amount.value" in texts
    assert "settled" in texts
