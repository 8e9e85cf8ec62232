"""Every code that a vendor's own documents enumerate has a class, and every class a sentence that can be translated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import stripe
from stripe import _payment_intent as sdk

from adapters.adyen.wire_declines import OFFER_CLOSED, REFUSALS, RESULT_MEANS, read_reason, result_class
from adapters.base import Decline, OutcomeClass, Severity
from adapters.kit.refusals import SENTENCES
from adapters.stripe.wire_declines import DECLINES, DELAYED_PAYMENT_FAILED, WANT_BUYER, decline_for
from adapters.stripe.wire_errors import BUSY, REFUSED, UNKNOWN, class_of
from tests.adapters.openapi.documents import adyen_document, stripe_document


def stripes_error_codes() -> set[str]:
    """Read the codes that Stripe's SDK lists for ``PaymentIntent.last_payment_error.code``."""
    source = Path(sdk.__file__).read_text(encoding="utf-8")
    at = source.index('"insufficient_funds"')
    listed = source[source.rindex("Literal[", 0, at) : source.index("]", at)]
    codes = set(re.findall(r'"([a-z0-9_]+)"', listed))
    assert len(codes) > 150, f"the SDK {stripe.VERSION} lists its codes in another way"
    return codes


def test_each_error_code_of_stripes_sdk_stands_in_exactly_one_table() -> None:
    tables = [set(DECLINES), set(BUSY), set(UNKNOWN), set(REFUSED)]
    assert stripes_error_codes() - set().union(*tables) == set()
    for table in tables[1:]:
        assert table <= stripes_error_codes(), "a code that Stripe does not list"
        assert sum(len(table & other) for other in tables) == len(table)


def test_the_reasons_that_stripe_enumerates_for_rejected_cards_are_declines() -> None:
    schemas = stripe_document()["components"]["schemas"]
    reasons = set(schemas["insights_resources_payment_evaluation_rejected_card"]["properties"]["reason"]["enum"])
    other_words = {
        "authentication_failed": "authentication_failure",
        "expired": "expired_card",
        "reported_stolen": "stolen_card",
    }
    assert {other_words.get(reason, reason) for reason in reasons - {"other"}} <= set(DECLINES)


def test_every_result_code_of_adyens_document_has_a_class_and_a_new_one_is_unknown() -> None:
    schemas = adyen_document()["components"]["schemas"]
    for name in ("PaymentResponse", "PaymentDetailsResponse"):
        assert set(schemas[name]["properties"]["resultCode"]["enum"]) <= set(RESULT_MEANS)
    assert set(RESULT_MEANS) == set(schemas["PaymentResponse"]["properties"]["resultCode"]["enum"])
    assert {code for code, meaning in RESULT_MEANS.items() if meaning is None} == {"Authorised", "Success"}
    assert result_class("a word of tomorrow") is OutcomeClass.UNKNOWN


def all_declines() -> list[Decline]:
    adyens = [read_reason(refusal.text) for refusal in REFUSALS]
    return [*DECLINES.values(), *adyens, DELAYED_PAYMENT_FAILED, OFFER_CLOSED]


def test_every_sentence_for_a_buyer_is_one_that_the_page_translates() -> None:
    assert {decline.message for decline in all_declines()} <= SENTENCES
    assert {decline_for("tomorrow", None).message, read_reason("tomorrow").message} <= SENTENCES


def test_authentication_is_asked_for_in_soft_declines_only_and_is_a_class_of_its_own() -> None:
    asked = [decline for decline in all_declines() if decline.authenticate]
    assert {decline.severity for decline in asked} == {Severity.SOFT}
    assert {decline.outcome for decline in asked} == {OutcomeClass.AUTHENTICATE}
    assert set(WANT_BUYER) <= {decline.code for decline in asked}
    assert "38 Authentication required" in {decline.code for decline in asked}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("insufficient_funds", OutcomeClass.SOFT),
        ("stolen_card", OutcomeClass.HARD),
        ("authentication_required", OutcomeClass.AUTHENTICATE),
        ("parameter_missing", OutcomeClass.NOT_SENT),
        ("lock_timeout", OutcomeClass.NOT_SENT),
        ("idempotency_key_in_use", OutcomeClass.UNKNOWN),
        ("a_word_of_tomorrow", None),
    ],
)
def test_a_code_of_stripe_means_one_class(code: str, expected: OutcomeClass | None) -> None:
    assert class_of(code) is expected


def test_the_issuers_advice_not_to_try_again_makes_a_soft_code_hard() -> None:
    assert decline_for("do_not_honor", None).severity is Severity.SOFT
    advised = decline_for("do_not_honor", None, "do_not_try_again")
    assert (advised.severity, advised.outcome, advised.listed) == (Severity.HARD, OutcomeClass.HARD, True)
    assert decline_for("do_not_honor", None, "try_again_later").severity is Severity.SOFT


def test_adyens_refusals_are_found_by_text_by_number_and_with_a_full_stop() -> None:
    for word in ("Current AID is in Penalty Box.", "current aid is in penalty box", "40"):
        assert read_reason(word).code == "40 Current AID is in Penalty Box"
