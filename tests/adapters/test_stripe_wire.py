from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Severity
from adapters.kit.refusals import PLAIN
from adapters.stripe.wire_amounts import (
    MINIMUM_CHARGE,
    THREE_DECIMAL,
    TWO_DECIMAL,
    WHOLE_UNITS_IN_TWO_DECIMALS,
    ZERO_DECIMAL,
    NotChargeable,
    can_charge_every_unit,
    from_wire,
    to_wire,
)
from adapters.stripe.wire_declines import DECLINES, decline_for
from adapters.stripe.wire_order import LOCALES, expiry_candidates
from rates.money import Money, MoneyError, display_asset

ALL = sorted(TWO_DECIMAL | ZERO_DECIMAL | WHOLE_UNITS_IN_TWO_DECIMALS | THREE_DECIMAL)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def money(text: str, currency: str) -> Money:
    return Money.parse(text, display_asset(currency))


@pytest.mark.parametrize(
    ("text", "currency", "units"),
    [
        ("10.99", "USD", 1099),  # the document's own examples
        ("10", "JPY", 10),
        ("500", "JPY", 500),
        ("5", "ISK", 500),
        ("5", "UGX", 500),
        ("10.45", "HUF", 1045),
        ("800.45", "TWD", 80045),
        ("5.12", "KWD", 5120),
        ("5.13", "KWD", 5130),
        ("1234", "CLP", 1234),
        ("10000.50", "IDR", 1000050),
        ("7", "MGA", 7),
        ("100000", "VND", 100000),
    ],
)
def test_amounts_are_written_as_stripes_document_says_and_read_back(text: str, currency: str, units: int) -> None:
    assert to_wire(money(text, currency)) == units
    assert from_wire(units, currency.lower()) == money(text, currency)


@pytest.mark.parametrize(
    ("text", "currency"), [("5.124", "KWD"), ("7.50", "MGA"), ("0.001", "TND"), ("1.00", "GHS"), ("1", "USDT")]
)
def test_an_amount_that_stripe_cannot_write_is_refused_and_never_rounded(text: str, currency: str) -> None:
    with pytest.raises(NotChargeable):
        to_wire(money(text, currency))


@pytest.mark.parametrize(("units", "currency"), [(550, "isk"), (1, "ugx")])
def test_a_fraction_that_the_currency_does_not_have_is_not_read_as_money(units: int, currency: str) -> None:
    with pytest.raises(MoneyError):
        from_wire(units, currency)


@given(st.sampled_from([code for code in ALL if can_charge_every_unit(code)]), st.integers(0, 10**12))
def test_every_amount_of_a_supported_currency_survives_the_wire(currency: str, units: int) -> None:
    amount = Money(units, display_asset(currency))
    assert from_wire(to_wire(amount), currency.lower()) == amount


def test_supported_are_the_currencies_whose_last_shown_unit_can_be_charged() -> None:
    assert {code for code in ALL if not can_charge_every_unit(code)} == {"BHD", "JOD", "KWD", "OMR", "TND", "MGA"}
    assert not can_charge_every_unit("GHS")
    assert not can_charge_every_unit("eur")
    assert MINIMUM_CHARGE["GBP"] == money("0.30", "GBP")
    assert MINIMUM_CHARGE["JPY"] == money("50", "JPY")


DOCUMENTED = (
    "approve_with_id authentication_not_handled authentication_required call_issuer card_not_supported "
    "card_velocity_exceeded currency_not_supported do_not_honor do_not_try_again duplicate_transaction expired_card "
    "fraudulent generic_decline incorrect_address incorrect_cvc incorrect_number incorrect_pin incorrect_zip "
    "insufficient_funds invalid_account invalid_amount invalid_cvc invalid_expiry_month invalid_expiry_year "
    "invalid_number invalid_pin issuer_not_available lost_card merchant_blacklist "
    "mobile_device_authentication_required new_account_information_available no_action_taken not_permitted "
    "offline_pin_required online_or_offline_pin_required pickup_card pin_try_exceeded processing_error "
    "reenter_transaction restricted_card revocation_of_all_authorizations revocation_of_authorization "
    "security_violation service_not_allowed stolen_card stop_payment_order testmode_decline transaction_not_allowed "
    "try_again_later withdrawal_count_limit_exceeded"
)
"""The rows of https://docs.stripe.com/declines/codes, read 2026-11."""


def test_all_documented_decline_codes_are_listed_and_a_new_one_is_hard() -> None:
    card_declines = DOCUMENTED.split()
    assert len(card_declines) == 50
    assert set(card_declines) <= set(DECLINES)
    assert decline_for("insufficient_funds", "card_declined").severity is Severity.SOFT
    assert decline_for("stolen_card", "card_declined").severity is Severity.HARD
    assert decline_for(None, "expired_card").severity is Severity.SOFT
    new = decline_for("quantum_flux", "card_declined")
    assert (new.severity, new.code, new.listed) == (Severity.HARD, "quantum_flux", False)
    assert decline_for(None, None).severity is Severity.HARD


@pytest.mark.parametrize("code", ["fraudulent", "lost_card", "stolen_card", "merchant_blacklist", "pickup_card"])
def test_a_buyer_is_not_told_that_fraud_is_suspected(code: str) -> None:
    assert DECLINES[code].message == PLAIN == DECLINES["generic_decline"].message


@pytest.mark.parametrize(
    ("minutes", "sent"),
    [
        (5, ["late", "exact", None]),
        (30, ["late", "exact", None]),
        (31, ["exact", None]),
        (60, ["exact", None]),
        (23 * 60, ["exact", None]),
        (24 * 60, [None]),
        (48 * 60, [None]),
    ],
)
def test_an_end_outside_of_stripes_limits_is_clamped(minutes: int, sent: list[str | None]) -> None:
    end = NOON + timedelta(minutes=minutes)
    words = {"exact": int(end.timestamp()), "late": int(end.timestamp()) + 31 * 60}
    assert expiry_candidates(end, NOON) == [words[word] if word else None for word in sent]


@given(st.integers(0, 3 * 24 * 3600), st.integers(0, 24 * 3600))
def test_whatever_was_sent_first_is_among_the_candidates_of_every_later_send(left: int, later: int) -> None:
    end = NOON + timedelta(seconds=left)
    first = expiry_candidates(end, NOON)[0]
    assert first in expiry_candidates(end, NOON + timedelta(seconds=later))
    if first is not None:
        assert 30 * 60 <= first - NOON.timestamp() <= 24 * 3600


def test_there_are_as_many_locales_as_in_the_document() -> None:
    assert len(LOCALES) == 40
