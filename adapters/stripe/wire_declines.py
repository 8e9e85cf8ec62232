"""Stripe's decline codes: whether another rail or card may turn it, and what the buyer is told.

Source: https://docs.stripe.com/declines/codes ("Card decline codes", 50 rows, read 2026-11), and
https://docs.stripe.com/error-codes for the errors that end a payment (``wire_errors.py`` has all others). Where Stripe asks not to tell the buyer more (fraud, lost,
stolen, block list) the text is the same as for a plain decline. A code that is not here is hard, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from adapters.base import Decline, Severity
from adapters.kit.refusals import (
    ASK,
    CONFIRM,
    DETAILS,
    EXPIRED,
    FUNDS,
    LATER,
    PLAIN,
    TWICE,
    UNFINISHED,
    UNSUPPORTED,
)

_SOFT: Final[Mapping[str, str]] = {
    PLAIN: "approve_with_id authentication_failure bank_account_declined call_issuer card_decline_rate_limit_exceeded "
    "card_declined do_not_honor generic_decline no_action_taken not_permitted payment_intent_payment_attempt_failed "
    "payment_method_customer_decline payment_method_provider_decline refer_to_customer service_not_allowed "
    "setup_attempt_failed transaction_not_allowed",
    DETAILS: "account_number_invalid bank_account_bad_routing_numbers email_invalid incorrect_address incorrect_cvc "
    "incorrect_number incorrect_pin incorrect_postal_code incorrect_zip invalid_account invalid_characters invalid_cvc "
    "invalid_expiry_month invalid_expiry_year invalid_number invalid_pin new_account_information_available "
    "payment_intent_konbini_rejected_confirmation_number payment_method_billing_details_address_missing "
    "postal_code_invalid routing_number_invalid",
    FUNDS: "card_velocity_exceeded charge_exceeds_source_limit charge_exceeds_transaction_limit insufficient_funds "
    "withdrawal_count_limit_exceeded",
    UNSUPPORTED: "bank_account_unusable bank_account_unverified card_not_supported currency_not_supported "
    "invalid_amount invalid_card_type offline_pin_required online_or_offline_pin_required payment_intent_mandate_invalid "
    "payment_method_currency_mismatch payment_method_not_available payment_method_unactivated sepa_unsupported_account "
    "three_d_secure_authentication_not_supported token_card_network_invalid",
    EXPIRED: "expired_card expired_payment_method",
    LATER: "issuer_not_available payment_method_provider_timeout processing_error reenter_transaction "
    "three_d_secure_authentication_upstream_error try_again_later",
    UNFINISHED: "payment_intent_payment_attempt_expired setup_intent_setup_attempt_expired",
}
_AUTHENTICATE: Final = (
    "authentication_not_handled authentication_required invoice_payment_intent_requires_action "
    "mobile_device_authentication_required payment_intent_action_required payment_intent_authentication_failure "
    "setup_intent_authentication_failure"
)
_HARD: Final[Mapping[str, str]] = {
    PLAIN: "do_not_try_again fraudulent lost_card merchant_blacklist pickup_card pin_try_exceeded request_blocked "
    "restricted_card revocation_of_all_authorizations revocation_of_authorization security_violation stolen_card "
    "stop_payment_order testmode_decline",
    ASK: "account_closed bank_account_restricted debit_not_authorized india_recurring_payment_mandate_canceled "
    "no_account payment_method_bank_account_blocked payment_method_restricted",
    TWICE: "duplicate_transaction",
}

STEP_UP: Final = frozenset({"authentication_required"})
"""Stripe's page asks the buyer by itself "in most cases" (https://docs.stripe.com/declines/codes); where it did not, we do, once.
A code that says the buyer was asked and failed is not here: nobody is asked the same thing twice."""

DECLINES: Final[Mapping[str, Decline]] = MappingProxyType(
    {
        code: Decline(severity, code, message)
        for severity, table in ((Severity.SOFT, _SOFT), (Severity.HARD, _HARD))
        for message, codes in table.items()
        for code in codes.split()
    }
    | {
        code: Decline(Severity.SOFT, code, CONFIRM, authenticate=True, step_up=code in STEP_UP)
        for code in _AUTHENTICATE.split()
    }
)

DELAYED_PAYMENT_FAILED: Final = Decline(Severity.SOFT, "async_payment_failed", PLAIN)
"""Our word for the event ``checkout.session.async_payment_failed``, which carries no code."""


WANT_BUYER: Final = frozenset({"authentication_required"})
"""For an off-session payment: "you will need to ask the customer to come back and authenticate" (same page)."""


NO_RETRY: Final = "do_not_try_again"
"""``advice_code``: the issuer's own word that trying again is useless, whatever the code says.
Source: https://docs.stripe.com/declines#retrying-issuer-declines"""


def decline_for(decline_code: str | None, code: str | None, advice_code: str | None = None) -> Decline:
    """Read ``decline_code``, or the error's ``code`` where Stripe gives no decline code."""
    word = decline_code or code or "unknown"
    listed = DECLINES.get(word)
    if listed is None:
        return Decline(Severity.HARD, word, PLAIN, listed=False)
    if advice_code == NO_RETRY and listed.severity is Severity.SOFT:
        return replace(listed, severity=Severity.HARD, authenticate=False, step_up=False)
    return listed
