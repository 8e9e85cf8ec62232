from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.adyen import wire
from adapters.adyen.wire_amounts import DECIMALS, from_wire, supports, to_wire
from adapters.adyen.wire_declines import REFUSALS, read_reason
from adapters.base import Mode, PaymentOrder, RailAccount, RailEventKind, Severity
from rates.money import Asset, Money, MoneyError, UnknownAsset, display_asset

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = RailAccount("adyen", "main", Mode.TEST, {})


# whole coins, and what https://docs.adyen.com/development-resources/currency-codes makes of them
@pytest.mark.parametrize(
    ("currency", "coins", "value"),
    [
        ("EUR", "10.00", 1000),
        ("BRL", "12.34", 1234),
        ("PHP", "999.99", 99999),
        ("JPY", "10", 10),
        ("BHD", "10.000", 10000),
        ("CLP", "1500", 150000),  # ISO 4217: 0 decimals; Adyen: 2
        ("ISK", "1500", 150000),  # ISO 4217: 0 decimals; Adyen: 2
        ("IDR", "25000.00", 25000),  # ISO 4217: 2 decimals; Adyen: 0
        ("CVE", "250.00", 250),  # ISO 4217: 2 decimals; Adyen: 0
        ("UGX", "3000", 3000),
        ("KWD", "0.250", 250),
    ],
)
def test_amounts_follow_adyens_own_decimals(currency: str, coins: str, value: int) -> None:
    money = Money.parse(coins, display_asset(currency))
    assert to_wire(money) == {"currency": currency, "value": value}
    assert from_wire(currency, value) == money


def test_the_table_differs_from_iso_4217_exactly_where_adyen_says_so() -> None:
    differing = {code for code in DECIMALS if DECIMALS[code] != display_asset(code).scale}
    assert differing == {"CLP", "CVE", "IDR", "ISK"}


def test_only_currencies_that_adyen_counts_more_coarsely_than_a_buyer_is_shown_are_not_offered() -> None:
    assert [code for code in DECIMALS if not supports(code)] == ["CVE", "IDR"]


def test_an_amount_finer_than_adyens_unit_is_refused_and_not_rounded() -> None:
    with pytest.raises(MoneyError):
        to_wire(Money.parse("25000.50", display_asset("IDR")))


def test_a_currency_that_adyen_does_not_list_is_unknown_both_ways() -> None:
    assert not supports("XAU")
    with pytest.raises(UnknownAsset):
        to_wire(Money(5, Asset("USDT", 6)))
    with pytest.raises(UnknownAsset):
        from_wire("XAU", 5)


def test_half_a_peso_equals_no_amount_that_was_asked_for() -> None:
    taken = from_wire("CLP", 100050)
    assert taken == Money(100050, Asset("CLP", 2))
    assert taken not in {Money(1000, display_asset("CLP")), Money(1001, display_asset("CLP"))}


@given(code=st.sampled_from(sorted(DECIMALS)), value=st.integers(min_value=0, max_value=10**12))
def test_what_adyen_says_never_changes_its_worth(code: str, value: int) -> None:
    assert from_wire(code, value).value * 10 ** DECIMALS[code] == value


def order(**changes: Any) -> PaymentOrder:
    values: dict[str, Any] = {
        "attempt_id": "att_1",
        "method": "pix",
        "amount": Money(1234, display_asset("BRL")),
        "country": "BR",
        "description": "Top-up",
        "return_url": "https://shop.test/back",
        "expires_at": NOW + timedelta(minutes=30),
    }
    return PaymentOrder(**{**values, **changes})


def test_a_link_asks_for_one_method_one_payment_and_capture_at_once() -> None:
    body = wire.link_request(order(locale="pt-BR", customer_reference="cus_1", email="a@b.test"), "TestMerchant")
    assert body == {
        "merchantAccount": "TestMerchant",
        "reference": "att_1",
        "amount": {"currency": "BRL", "value": 1234},
        "countryCode": "BR",
        "allowedPaymentMethods": ["pix"],
        "description": "Top-up",
        "returnUrl": "https://shop.test/back",
        "expiresAt": "2026-03-01T12:30:00Z",
        "shopperLocale": "pt-BR",
        "reusable": False,
        "manualCapture": False,
        "captureDelayHours": 0,
        "shopperReference": "cus_1",
        "shopperEmail": "a@b.test",
    }


def test_the_same_order_makes_the_same_bytes() -> None:
    assert wire.link_request(order(), "TestMerchant") == wire.link_request(order(), "TestMerchant")


def test_long_descriptions_short_customer_names_and_rare_languages_fit_adyens_limits() -> None:
    body = wire.link_request(order(description="x" * 300, customer_reference="ab", locale="sw"), "TestMerchant")
    assert len(body["description"]) == 280
    assert "shopperReference" not in body
    assert "shopperLocale" not in body


def link(**changes: Any) -> wire.Link:
    values: dict[str, Any] = {
        "id": "PL61C53A8B97E6915A",
        "status": "active",
        "reference": "att_1",
        "merchantAccount": "TestMerchant",
        "amount": {"currency": "BRL", "value": 1234},
        "url": "https://test.adyen.link/PL61C53A8B97E6915A",
    }
    return wire.Link.model_validate({**values, **changes})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("active", RailEventKind.ACTION_REQUIRED),
        ("paymentPending", RailEventKind.PENDING),
        ("completed", RailEventKind.PENDING),
        ("paid", RailEventKind.PENDING),
        ("expired", RailEventKind.EXPIRED),
        ("a word of tomorrow", RailEventKind.PENDING),
    ],
)
def test_a_links_status_never_moves_money(status: str, kind: RailEventKind) -> None:
    event = wire.link_event(link(status=status), ACCOUNT, NOW)
    assert (event.kind, event.money_id, event.amount, event.occurred_at) == (kind, None, None, NOW)
    assert event.detail["status_known"] == (status in wire.LINK_STATUS_MEANS)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, None),
        ({"reference": "att_2"}, "reference"),
        ({"merchantAccount": "Other"}, "merchantAccount"),
        ({"amount": {"currency": "BRL", "value": 1235}}, "amount"),
        ({"amount": {"currency": "EUR", "value": 1234}}, "amount"),
    ],
)
def test_a_link_is_compared_with_what_was_asked_for(change: dict[str, Any], field: str | None) -> None:
    assert wire.link_differs(link(**change), wire.link_request(order(), "TestMerchant")) == field


def test_what_points_at_fraud_or_a_blocked_instrument_is_hard() -> None:
    assert {refusal.code for refusal in REFUSALS if refusal.severity is Severity.HARD} == {
        "5", "14", "18", "20", "22", "25", "26", "31", "46", "50",
    }  # fmt: skip


def test_refusal_texts_are_read_whatever_their_case_and_unknown_ones_are_hard_and_counted() -> None:
    assert read_reason(" not ENOUGH balance ").code == "12 Not enough balance"
    unknown = read_reason("Something new")
    assert (unknown.severity, unknown.listed, unknown.code) == (Severity.HARD, False, "Something new")
    assert read_reason("").listed is False


def test_no_buyer_is_told_the_reason_itself() -> None:
    for refusal in REFUSALS:
        assert "fraud" not in refusal.message.lower()
        assert "blocked" not in refusal.message.lower()
