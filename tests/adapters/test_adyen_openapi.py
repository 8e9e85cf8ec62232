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
from adapters.adyen.adapter import AdyenAdapter
from adapters.base import Mode, OutcomeUnknown, RailAccount, RailMisconfigured, SimulatorSettings
from adapters.operations import CaptureOrder, RefundOrder, RefundRefused
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
    await use_operations(rail)
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


async def use_operations(rail: RailUnderTest) -> None:
    """Refund, be refused a refund, reserve, take and release, and look at the account."""
    adapter = rail.adapter
    assert isinstance(adapter, AdyenAdapter)
    order = rail.order(merchant_category="5734", statement_suffix="Acme")
    shown = await rail_adyen.use_page(rail, await adapter.create_payment(order), {"outcome": "paid"})
    refund = RefundOrder("rfd_1", order.attempt_id, shown["psp_reference"], order.amount, rail.started_at)
    await adapter.refund_payment(refund)
    with pytest.raises(RefundRefused):
        await adapter.refund_payment(replace(refund, refund_id="rfd_2"))
    for call in (adapter.capture_payment, adapter.release_payment):
        later = rail.order(capture_later=True)
        held = await rail_adyen.use_page(rail, await adapter.create_payment(later), {"outcome": "paid"})
        await call(CaptureOrder(later.attempt_id, held["psp_reference"], later.amount))
    await adapter.check_account()


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
        ("POST", "/payments/{paymentPspReference}/refunds"),
        ("POST", "/payments/{paymentPspReference}/captures"),
        ("POST", "/payments/{paymentPspReference}/cancels"),
        ("POST", "/paymentMethods"),
    }
    assert {exchange.status for exchange in exchanges} == {200, 201, 401, 403, 422}
    links = [one for one in exchanges if one.path.startswith("/paymentLinks") and one.status in {200, 201}]
    statuses = {exchange.answer["status"] for exchange in links}
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
