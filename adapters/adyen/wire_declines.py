"""What Adyen's refusals mean: which may be tried elsewhere, and what the buyer is told.

Source of codes and texts: https://docs.adyen.com/development-resources/refusal-reasons (40 to 46 and 50 were read from
integrations that quote it). That document also asks not to show the reason itself to shoppers, so several reasons share
one sentence. A standard webhook carries the text (its
``reason``), not the number. What is hard here is what points at fraud, a stolen or a blocked instrument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapters.base import Decline, OutcomeClass, Severity
from adapters.kit.refusals import (
    ASK,
    CANCELLED,
    CONFIRM,
    DETAILS,
    EXPIRED,
    FUNDS,
    LATER,
    PLAIN,
    UNFINISHED,
    UNSUPPORTED,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of Adyen's table."""

    code: str
    text: str
    severity: Severity
    message: str
    authenticate: bool = False


SOFT, HARD = Severity.SOFT, Severity.HARD

REFUSALS: Final = (
    Refusal("2", "Refused", SOFT, PLAIN),
    Refusal("3", "Referral", SOFT, PLAIN),
    Refusal("4", "Acquirer Error", SOFT, LATER),
    Refusal("5", "Blocked Card", HARD, ASK),
    Refusal("6", "Expired Card", SOFT, EXPIRED),
    Refusal("7", "Invalid Amount", SOFT, PLAIN),
    Refusal("8", "Invalid Card Number", SOFT, DETAILS),
    Refusal("9", "Issuer Unavailable", SOFT, LATER),
    Refusal("10", "Not supported", SOFT, UNSUPPORTED),
    Refusal("11", "3D Not Authenticated", SOFT, CONFIRM),
    Refusal("12", "Not enough balance", SOFT, FUNDS),
    Refusal("14", "Acquirer Fraud", HARD, ASK),
    Refusal("15", "Cancelled", SOFT, CANCELLED),
    Refusal("16", "Shopper Cancelled", SOFT, CANCELLED),
    Refusal("17", "Invalid Pin", SOFT, DETAILS),
    Refusal("18", "Pin tries exceeded", HARD, ASK),
    Refusal("19", "Pin validation not possible", SOFT, PLAIN),
    Refusal("20", "FRAUD", HARD, ASK),
    Refusal("21", "Not Submitted", SOFT, PLAIN),
    Refusal("22", "FRAUD-CANCELLED", HARD, ASK),
    Refusal("23", "Transaction Not Permitted", SOFT, UNSUPPORTED),
    Refusal("24", "CVC Declined", SOFT, DETAILS),
    Refusal("25", "Restricted Card", HARD, ASK),
    Refusal("26", "Revocation of Auth", HARD, ASK),
    Refusal("27", "Declined Non Generic", SOFT, PLAIN),
    Refusal("28", "Withdrawal amount exceeded", SOFT, FUNDS),
    Refusal("29", "Withdrawal count exceeded", SOFT, FUNDS),
    Refusal("31", "Issuer Suspected Fraud", HARD, ASK),
    Refusal("32", "AVS Declined", SOFT, DETAILS),
    Refusal("33", "Card requires online pin", SOFT, UNSUPPORTED),
    Refusal("34", "No checking account available on card", SOFT, UNSUPPORTED),
    Refusal("35", "No savings account available on card", SOFT, UNSUPPORTED),
    Refusal("36", "Mobile pin required", SOFT, UNSUPPORTED),
    Refusal("37", "Contactless fallback", SOFT, PLAIN),
    Refusal("38", "Authentication required", SOFT, CONFIRM, authenticate=True),
    Refusal("39", "RReq not received from DS", SOFT, CONFIRM),
    Refusal("40", "Current AID is in Penalty Box", SOFT, LATER),
    Refusal("41", "CVM Required Restart Payment", SOFT, PLAIN),
    Refusal("42", "3DS Authentication Error", SOFT, CONFIRM),
    Refusal("43", "Online PIN required", SOFT, UNSUPPORTED),
    Refusal("44", "Try another interface", SOFT, UNSUPPORTED),
    Refusal("45", "Chip downgrade mode", SOFT, UNSUPPORTED),
    Refusal("46", "Transaction blocked by Adyen to prevent excessive retry fees", HARD, ASK),
    Refusal("50", "Token Revoked", HARD, ASK),
)

_BY_TEXT: Final = {refusal.text.lower(): refusal for refusal in REFUSALS}
_BY_CODE: Final = {refusal.code: refusal for refusal in REFUSALS}

OFFER_CLOSED: Final = Decline(SOFT, "OFFER_CLOSED", UNFINISHED)
"""One try on the hosted page ran out of time; the page itself may still be open."""


RESULT_MEANS: Final = {
    "Authorised": None,
    "Success": None,
    "AuthenticationFinished": OutcomeClass.UNKNOWN,
    "AuthenticationNotRequired": OutcomeClass.UNKNOWN,
    "PartiallyAuthorised": OutcomeClass.UNKNOWN,
    "Pending": OutcomeClass.UNKNOWN,
    "Received": OutcomeClass.UNKNOWN,
    "PresentToShopper": OutcomeClass.AUTHENTICATE,
    "RedirectShopper": OutcomeClass.AUTHENTICATE,
    "ChallengeShopper": OutcomeClass.AUTHENTICATE,
    "IdentifyShopper": OutcomeClass.AUTHENTICATE,
    "Cancelled": OutcomeClass.SOFT,
    "Error": OutcomeClass.SOFT,
    "Refused": OutcomeClass.HARD,
}
"""Every ``resultCode`` of Checkout v71; None = paid. ``Refused`` is hard until its reason says otherwise, and what needs
the buyer is a step, not a failure. Source: https://docs.adyen.com/online-payments/payment-result-codes."""


def result_class(result_code: str) -> OutcomeClass | None:
    """Return what a result code means, None where it is paid. A new word is unknown: wait, ask."""
    return RESULT_MEANS.get(result_code, OutcomeClass.UNKNOWN)


def read_reason(reason: str) -> Decline:
    """Return the class of a refusal by its text or number. One that is not in the table is hard, and not listed."""
    word = reason.strip().rstrip(".")
    refusal = _BY_TEXT.get(word.lower()) or _BY_CODE.get(word)
    if refusal is None:
        return Decline(HARD, reason.strip()[:80] or "(no reason)", PLAIN, listed=False)
    code = f"{refusal.code} {refusal.text}"
    return Decline(refusal.severity, code, refusal.message, authenticate=refusal.authenticate)
