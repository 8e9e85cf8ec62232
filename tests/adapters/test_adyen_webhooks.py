from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.adyen.wire_operations import dispute_event, is_read
from adapters.adyen.wire_webhooks import read_webhook, verified_items
from adapters.base import Mode, RailAccount, RailEvent, RailEventKind, Severity, WebhookRejected
from adapters.operations import DisputeState, Funds
from rates.money import Money, display_asset

DOCUMENTED_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
OTHER_KEY = "AB" * 32
ACCOUNT = RailAccount("adyen", "main", Mode.TEST, {})

# the example of https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures and of Adyen's libraries
DOCUMENTED = {
    "pspReference": "7914073381342284",
    "originalReference": "",
    "merchantAccountCode": "TestMerchant",
    "merchantReference": "TestPayment-1407325143704",
    "amount": {"value": 1130, "currency": "EUR"},
    "eventCode": "AUTHORISATION",
    "success": "true",
    "eventDate": "2014-08-06T17:15:34+02:00",
    "paymentMethod": "ideal",
    "reason": "",
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
}


def sign(item: dict[str, Any], key: str = DOCUMENTED_KEY) -> dict[str, Any]:
    """Signs by the document, without the SDK."""
    names = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
    fields = [str(item.get(name, "")) for name in names]
    fields += [str(item["amount"]["value"]), item["amount"]["currency"], item["eventCode"], str(item["success"])]
    digest = hmac.new(bytes.fromhex(key), ":".join(fields).encode(), hashlib.sha256).digest()
    return {**item, "additionalData": {"hmacSignature": base64.b64encode(digest).decode()}}


def item(**changes: Any) -> dict[str, Any]:
    return sign({**copy.deepcopy(DOCUMENTED), **changes})


def body(*items: dict[str, Any], live: object = "false") -> bytes:
    wrapped = [{"NotificationRequestItem": one} for one in items]
    return json.dumps({"live": live, "notificationItems": wrapped}).encode()


def read(message: bytes, keys: tuple[str, ...] = (DOCUMENTED_KEY,), account: RailAccount = ACCOUNT) -> list[RailEvent]:
    return read_webhook(message, account, "TestMerchant", keys)


def test_adyens_documented_vector_is_a_capture_of_its_psp_reference() -> None:
    (event,) = read(body(DOCUMENTED))
    assert event.kind is RailEventKind.CAPTURED
    assert event.money_id == "7914073381342284"
    assert event.amount == Money(1130, display_asset("EUR"))
    assert event.attempt_id == "TestPayment-1407325143704"
    assert event.occurred_at == datetime(2014, 8, 6, 15, 15, 34, tzinfo=UTC)


def test_a_batch_gives_its_events_in_order() -> None:
    events = read(body(item(pspReference="A1"), item(pspReference="A2")))
    assert [event.money_id for event in events] == ["A1", "A2"]


def test_a_forged_second_item_rejects_the_whole_batch() -> None:
    forged = {**item(pspReference="A2"), "amount": {"value": 999999, "currency": "EUR"}}
    with pytest.raises(WebhookRejected, match="item 1"):
        read(body(DOCUMENTED, forged))


@pytest.mark.parametrize(
    "change",
    [
        {"pspReference": "X"},
        {"originalReference": "X"},
        {"merchantReference": "someone-else"},
        {"amount": {"value": 1131, "currency": "EUR"}},
        {"amount": {"value": 1130, "currency": "USD"}},
        {"eventCode": "CAPTURE"},
        {"success": "false"},
    ],
)
def test_every_signed_field_is_covered_by_the_signature(change: dict[str, Any]) -> None:
    with pytest.raises(WebhookRejected, match="not signed"):
        read(body({**copy.deepcopy(DOCUMENTED), **change}))


@pytest.mark.parametrize(
    "extra", [None, {}, {"hmacSignature": ""}, {"hmacSignature": None}, {"hmacSignature": "é"}, "text", []]
)
def test_an_item_without_a_signature_is_rejected(extra: object) -> None:
    unsigned = {**copy.deepcopy(DOCUMENTED), "additionalData": extra}
    with pytest.raises(WebhookRejected, match="no hmacSignature"):
        read(body(unsigned))
    del unsigned["additionalData"]
    with pytest.raises(WebhookRejected, match="no hmacSignature"):
        read(body(unsigned))


def test_during_a_rotation_both_keys_are_accepted_and_a_third_is_not() -> None:
    old, new = sign(DOCUMENTED), sign(DOCUMENTED, OTHER_KEY)
    assert len(read(body(old, new), (OTHER_KEY, DOCUMENTED_KEY))) == 2
    with pytest.raises(WebhookRejected):
        read(body(sign(DOCUMENTED, "CD" * 32)), (OTHER_KEY, DOCUMENTED_KEY))


def test_an_item_of_another_merchant_account_is_rejected_although_well_signed() -> None:
    with pytest.raises(WebhookRejected, match="OtherMerchant"):
        read(body(DOCUMENTED, item(merchantAccountCode="OtherMerchant")))


@pytest.mark.parametrize("live", ["true", None, False, "False", ""])
def test_a_live_flag_that_is_not_the_accounts_mode_is_rejected(live: object) -> None:
    with pytest.raises(WebhookRejected, match="live"):
        read(body(DOCUMENTED, live=live))


def test_a_live_account_reads_live_messages_only() -> None:
    account = RailAccount("adyen", "main", Mode.LIVE, {})
    assert read(body(DOCUMENTED, live="true"), account=account)[0].mode is Mode.LIVE
    with pytest.raises(WebhookRejected, match="live"):
        read(body(DOCUMENTED), account=account)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b'{"live": "false"}',
        b'{"live": "false", "notificationItems": []}',
        b'{"live": "false", "notificationItems": {}}',
        b'{"live": "false", "notificationItems": [1]}',
        b'{"live": "false", "notificationItems": [{"NotificationRequestItem": null}]}',
    ],
)
def test_what_is_no_standard_webhook_is_rejected(message: bytes) -> None:
    with pytest.raises(WebhookRejected):
        read(message)


@pytest.mark.parametrize(
    "change",
    [
        {"success": True},
        {"success": "TRUE"},
        {"amount": {"value": 11.5, "currency": "EUR"}},
        {"amount": {"value": "1130", "currency": "EUR"}},
        {"amount": {"value": True, "currency": "EUR"}},
        {"amount": {"value": 1130, "currency": "euro"}},
        {"eventDate": "2014-08-06T17:15:34"},
        {"merchantReference": 7},
        {"pspReference": ""},
    ],
)
def test_a_signed_item_of_the_wrong_shape_is_rejected(change: dict[str, Any]) -> None:
    with pytest.raises(WebhookRejected):
        read(body(item(**change)))


def test_a_capture_in_a_currency_without_known_decimals_is_rejected_and_not_guessed() -> None:
    with pytest.raises(WebhookRejected, match="XTS"):
        read(body(item(amount={"value": 5, "currency": "XTS"})))


def test_a_refusal_leaves_the_page_open_and_names_no_money() -> None:
    (event,) = read(body(item(success="false", reason="Not enough balance")))
    assert (event.kind, event.still_open) == (RailEventKind.DECLINED, True)
    assert (event.money_id, event.amount) == (None, None)
    assert event.decline is not None
    assert (event.decline.severity, event.decline.code) == (Severity.SOFT, "12 Not enough balance")


def test_a_refusal_and_a_later_success_of_one_psp_reference_are_two_statements() -> None:
    refused, paid = read(body(item(success="false", reason="Refused"), item(success="true")))
    assert refused.event_id != paid.event_id
    (again,) = read(body(item(success="true", eventDate="2014-08-06T18:00:00+02:00")))
    assert again.event_id == paid.event_id


@pytest.mark.parametrize(
    ("code", "success", "kind"),
    [
        ("CANCELLATION", "true", RailEventKind.CANCELED),
        ("OFFER_CLOSED", "true", RailEventKind.DECLINED),
        ("EXPIRE", "true", RailEventKind.EXPIRED),
    ],
)
def test_other_words_that_are_known_move_no_money(code: str, success: str, kind: RailEventKind) -> None:
    (event,) = read(body(item(eventCode=code, success=success, pspReference="M1", originalReference="A1")))
    assert (event.kind, event.money_id, event.amount) == (kind, None, None)
    assert event.detail["original_reference"] == "A1"


@pytest.mark.parametrize(
    ("code", "success"),
    [
        ("CAPTURE", "true"),
        ("CANCELLATION", "false"),
        ("REFUND", "true"),
        ("REPORT_AVAILABLE", "true"),
        ("AUTHORISATION_ADJUSTMENT", "true"),
        ("SOMETHING_NEW", "true"),
        ("authorisation", "true"),
    ],
)
def test_a_word_that_is_not_in_the_table_gives_no_event(code: str, success: str) -> None:
    assert read(body(item(eventCode=code, success=success))) == []


def test_one_signed_text_split_in_another_way_credits_nobody() -> None:
    genuine = item(pspReference="P1", merchantReference="TestMerchant:att_9")  # of another system, same account
    forged = {**genuine, "originalReference": ":TestMerchant", "merchantReference": "att_9"}
    assert sign(genuine) == {**sign(forged), "originalReference": "", "merchantReference": "TestMerchant:att_9"}
    assert read(body(genuine)) == []
    assert read(body(forged)) == []


def test_another_systems_reference_in_the_same_merchant_account_gives_no_event() -> None:
    assert read(body(item(merchantReference="Order 77/ä"))) == []
    assert read(body(item(merchantReference=""))) == []


@pytest.mark.parametrize(
    ("code", "state", "event_id", "dispute_id"),
    [
        ("CAPTURE_FAILED", DisputeState.LOST, "CAPTURE_FAILED:QFQTPCQ8HXSKGK82", "capture.QFQTPCQ8HXSKGK82"),
        ("CHARGEBACK", DisputeState.NEEDS_ANSWER, "CHARGEBACK:QFQTPCQ8HXSKGK82", "QFQTPCQ8HXSKGK82"),
        (
            "DISPUTE_OPENED_WITH_CHARGEBACK",
            DisputeState.NEEDS_ANSWER,
            "CHARGEBACK:QFQTPCQ8HXSKGK82",
            "QFQTPCQ8HXSKGK82",
        ),
    ],
)
def test_adyens_documented_items_that_take_money_back(
    code: str, state: DisputeState, event_id: str, dispute_id: str
) -> None:
    """The fields of the examples in Adyen's description of its webhooks (adyen-openapi, Webhooks-v1), which signs none.

    DISPUTE_OPENED_WITH_CHARGEBACK has no example there: it has the schema of the others.
    """
    documented = {
        "amount": {"currency": "EUR", "value": 1000}, "eventCode": code, "eventDate": "2021-01-01T01:00:00+01:00",
        "merchantAccountCode": "TestMerchant", "merchantReference": "YOUR_MERCHANT_REFERENCE",
        "originalReference": "9913140798220028", "paymentMethod": "facilypay_3x", "pspReference": "QFQTPCQ8HXSKGK82",
        "reason": "Capture Failed", "success": "true",
    }  # fmt: skip
    (one,) = verified_items(body(sign(documented)), ACCOUNT, "TestMerchant", (DOCUMENTED_KEY,))
    event = dispute_event(one, ACCOUNT)
    assert event is not None
    assert (event.state, event.funds, event.event_id, event.dispute_id) == (
        state,
        Funds.WITHDRAWN,
        event_id,
        dispute_id,
    )
    assert (event.money_id, event.amount) == ("9913140798220028", Money(1000, display_asset("EUR")))
    assert is_read(code)
    assert read(body(sign(documented))) == [], "it captures nothing"
