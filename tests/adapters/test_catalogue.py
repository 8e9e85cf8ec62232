"""The catalogue of methods: every vendor's word is one that the vendor's own documents enumerate, and what is offered works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest

from adapters.adyen.wire_amounts import supports
from adapters.base import CancelOutcome, PaymentStarted, RailEventKind, RailMisconfigured
from adapters.catalogue import methods, offered, word_of
from adapters.stripe.wire_amounts import can_charge_every_unit
from orchestrator.routing.countries import is_country
from rates.money import Money, display_asset
from tests.adapters import rail_adyen, rail_stripe
from tests.adapters.contract import RailSetup, RailUnderTest, started_rail
from tests.adapters.openapi.documents import adyen_document, stripe_document

ASKED_FOR: Final = [
    "card",
    "apple_pay",
    "google_pay",
    "pix",
    "boleto",
    "oxxo",
    "pse",
    "spei",
    "upi",
    "ideal",
    "bancontact",
    "blik",
    "sepa_debit",
    "klarna",
    "swish",
    "vipps",
    "gcash",
    "grabpay",
    "momo",
    "dana",
    "mobile_money",
    "promptpay",
    "paynow",
    "konbini",
    "alipay",
    "wechat_pay",
    "bank_transfer",
]
SETUPS: Final = {"stripe": rail_stripe.RAIL, "adyen": rail_adyen.RAIL}
PAGES: Final[Mapping[str, Mapping[str, dict[str, Any]]]] = {
    "stripe": {word: {"choice": word} for word in ("paid", "refused", "pending")},
    "adyen": {word: {"outcome": word} for word in ("paid", "refused", "pending")},
}


def enumerated(rail: str) -> set[str]:
    """Read the names of payment methods out of a vendor's OpenAPI document."""
    if rail == "stripe":
        path = stripe_document()["paths"]["/v1/checkout/sessions"]["post"]
        form = path["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        return set(form["properties"]["payment_method_types"]["items"]["enum"])
    schemas = adyen_document()["components"]["schemas"]
    types = [schema.get("properties", {}).get("type", {}).get("enum", []) for schema in schemas.values()]
    return {word for words in types for word in words}


def test_every_method_that_was_asked_for_is_listed_with_a_rail_or_with_what_was_searched() -> None:
    assert set(ASKED_FOR) <= set(methods())
    for name, method in methods().items():
        for rail, at in method.rails.items():
            assert at.source.startswith(f"https://docs.{rail}.com/"), name
            assert not at.left_out or len(at.left_out) > 20, name
        assert not method.unavailable or len(method.unavailable) > 80, name


@pytest.mark.parametrize("rail", SETUPS)
def test_every_vendors_word_is_enumerated_in_the_vendors_document(rail: str) -> None:
    words = {word for method in methods().values() if rail in method.rails for word in method.rails[rail].words}
    assert words - enumerated(rail) == set()


def test_countries_and_currencies_exist() -> None:
    for name, method in methods().items():
        assert method.countries == "any" or all(map(is_country, method.countries)), name
        if method.currencies != "any":
            assert all(display_asset(code).code == code for code in method.currencies), name


def test_each_rail_can_charge_every_amount_that_a_buyer_is_shown_in_a_methods_currency() -> None:
    for name, capability in offered("stripe").items():
        assert name == "card" or all(map(can_charge_every_unit, capability.currencies)), name
    for name, capability in offered("adyen").items():
        assert all(map(supports, capability.currencies)), name


def all_offered() -> list[Any]:
    return [
        pytest.param(rail, name, id=f"{rail}-{name}") for rail in SETUPS for name in offered(rail) if name != "card"
    ]


@pytest.fixture
async def rail(rail_name: str) -> AsyncIterator[RailUnderTest]:
    setup: RailSetup = SETUPS[rail_name]
    async with started_rail(setup) as started:
        started.adapter = started.adapter_with({**setup.options, "methods": [*offered(rail_name)]})
        yield started


async def use(rail: RailUnderTest, started: PaymentStarted, choice: str) -> None:
    page = rail_stripe.use_page if rail.setup.rail == "stripe" else rail_adyen.use_page
    await page(rail, started, dict(PAGES[rail.setup.rail][choice]))


def order_of(rail: RailUnderTest, name: str) -> Any:
    capability = offered(rail.setup.rail)[name]
    assert capability.countries is not None
    country, currency = min(capability.countries), capability.currencies[0]
    asset = display_asset(currency)
    amount = Money(200 * 10**asset.scale, asset)
    return rail.order(method=name, country=country, amount=amount)


@pytest.mark.parametrize(("rail_name", "method"), all_offered())
async def test_an_offered_method_is_shown_refused_left_pending_and_paid(rail: RailUnderTest, method: str) -> None:
    order = order_of(rail, method)
    started = await rail.adapter.create_payment(order)
    await use(rail, started, "refused")
    declined = (await rail.told(RailEventKind.DECLINED))[0]
    assert declined.decline is not None
    assert declined.decline.listed
    assert declined.still_open
    await use(rail, started, "pending")
    reference = rail.reference(order, started)
    assert {event.kind for event in await rail.adapter.fetch_status(reference)} == {RailEventKind.PENDING}
    assert await rail.adapter.cancel_payment(reference) is CancelOutcome.TOO_LATE
    await rail.never_told(RailEventKind.CAPTURED)
    await use(rail, started, "paid")
    captured = await rail.told(RailEventKind.CAPTURED)
    assert {(event.attempt_id, event.amount) for event in captured} == {(order.attempt_id, order.amount)}
    assert len({event.money_id for event in captured}) == 1


@pytest.mark.parametrize("rail_name", ["stripe"])
async def test_a_delayed_method_that_fails_days_later_is_declined_for_good(rail: RailUnderTest) -> None:
    order = order_of(rail, "sepa_debit")
    started = await rail.adapter.create_payment(order)
    await use(rail, started, "pending")
    await use(rail, started, "refused")
    told = await rail.told(RailEventKind.DECLINED, count=2)
    assert [event for event in told if not event.still_open], "the page is closed"
    polled = await rail.adapter.fetch_status(rail.reference(order, started))
    assert [(event.kind, event.still_open) for event in polled] == [(RailEventKind.DECLINED, False)]


@pytest.mark.parametrize(("rail_name", "method"), all_offered())
async def test_a_method_is_refused_outside_its_country_and_currency(rail: RailUnderTest, method: str) -> None:
    order = order_of(rail, method)
    with pytest.raises(RailMisconfigured, match="country"):
        await rail.adapter.create_payment(rail.order(method=method, country="AQ", amount=order.amount))
    with pytest.raises(RailMisconfigured, match="amount"):
        await rail.adapter.create_payment(
            rail.order(method=method, country=order.country, amount=Money(500, display_asset("ZAR")))
        )


def test_a_method_with_several_names_is_named_by_country() -> None:
    assert [word_of("adyen", "grabpay", country) for country in ("SG", "MY")] == ["grabpay_SG", "grabpay_MY"]
    assert word_of("stripe", "grabpay", "SG") == "grabpay"
