"""Stripe's decline codes: whether another rail or card may turn it, and what the buyer is told.

Source: https://docs.stripe.com/declines/codes ("Card decline codes", 50 rows, read 2026-11), and
https://docs.stripe.com/error-codes for the last group. Where Stripe asks not to tell the buyer more (fraud, lost,
stolen, block list) the text is the same as for a plain decline. A code that is not here is hard, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adapters.base import Decline, Severity

PLAIN: Final = "The card was declined. Try another card or another way to pay."
DETAILS: Final = "Some of the card's details are wrong. Check them, or use another card."
FUNDS: Final = "The card has too little money or credit for this. Try another card or another way to pay."
UNSUPPORTED: Final = "This card cannot be used for this purchase. Try another card or another way to pay."
EXPIRED: Final = "The card has expired. Try another card or another way to pay."
TRY_AGAIN: Final = "The card could not be processed right now. Try again, or another way to pay."
AUTHENTICATE: Final = "The bank asks for a confirmation that did not succeed. Try again, or another card."
TWICE: Final = "The same payment was made moments ago. Check it before you pay again."

_SOFT: Final[Mapping[str, str]] = {
    PLAIN: "approve_with_id call_issuer card_declined do_not_honor generic_decline no_action_taken not_permitted "
    "service_not_allowed transaction_not_allowed",
    DETAILS: "incorrect_address incorrect_cvc incorrect_number incorrect_pin incorrect_zip invalid_account invalid_cvc "
    "invalid_expiry_month invalid_expiry_year invalid_number invalid_pin new_account_information_available",
    FUNDS: "card_velocity_exceeded insufficient_funds withdrawal_count_limit_exceeded",
    UNSUPPORTED: "card_not_supported currency_not_supported invalid_amount offline_pin_required "
    "online_or_offline_pin_required",
    EXPIRED: "expired_card",
    TRY_AGAIN: "issuer_not_available processing_error reenter_transaction try_again_later",
    AUTHENTICATE: "authentication_not_handled authentication_required mobile_device_authentication_required "
    "payment_intent_authentication_failure",
}
_HARD: Final[Mapping[str, str]] = {
    PLAIN: "do_not_try_again fraudulent lost_card merchant_blacklist pickup_card pin_try_exceeded restricted_card "
    "revocation_of_all_authorizations revocation_of_authorization security_violation stolen_card stop_payment_order "
    "testmode_decline",
    TWICE: "duplicate_transaction",
}

DECLINES: Final[Mapping[str, Decline]] = MappingProxyType(
    {
        code: Decline(severity, code, message)
        for severity, table in ((Severity.SOFT, _SOFT), (Severity.HARD, _HARD))
        for message, codes in table.items()
        for code in codes.split()
    }
)

DELAYED_PAYMENT_FAILED: Final = Decline(
    Severity.SOFT, "async_payment_failed", "The payment did not go through. Try another way to pay."
)
"""Our word for the event ``checkout.session.async_payment_failed``, which carries no code."""


WANT_BUYER: Final = frozenset({"authentication_required"})
"""For an off-session payment: "you will need to ask the customer to come back and authenticate" (same page)."""


def decline_for(decline_code: str | None, code: str | None) -> Decline:
    """Read ``decline_code``, or the error's ``code`` where Stripe gives no decline code."""
    word = decline_code or code or "unknown"
    return DECLINES.get(word) or Decline(Severity.HARD, word, PLAIN, listed=False)
