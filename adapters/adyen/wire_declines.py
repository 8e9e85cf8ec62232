"""What Adyen's refusals mean: which may be tried elsewhere, and what the buyer is told.

Source of codes and texts: https://docs.adyen.com/development-resources/refusal-reasons. That document also asks not to
show the reason itself to shoppers, so several reasons share one sentence. A standard webhook carries the text (its
``reason``), not the number. What is hard here is what points at fraud, a stolen or a blocked instrument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapters.base import Decline, Severity

AGAIN: Final = "The payment was not accepted. Try again, or choose another way to pay."
FUNDS: Final = "There is not enough money in that account, or its limit is reached. Choose another way to pay."
BANK_DOWN: Final = "Your bank could not be reached. Try again in a few minutes, or choose another way to pay."
CANCELLED: Final = "The payment was cancelled. Nothing was taken."
DETAILS: Final = "Something that was entered is not right. Check it, or choose another way to pay."
BLOCKED: Final = "The payment was not accepted. Ask your bank or wallet."
UNFINISHED: Final = "The payment was not finished in time. Nothing was taken; you can start again."


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of Adyen's table."""

    code: str
    text: str
    severity: Severity
    message: str


SOFT, HARD = Severity.SOFT, Severity.HARD

REFUSALS: Final = (
    Refusal("2", "Refused", SOFT, AGAIN),
    Refusal("3", "Referral", SOFT, AGAIN),
    Refusal("4", "Acquirer Error", SOFT, BANK_DOWN),
    Refusal("5", "Blocked Card", HARD, BLOCKED),
    Refusal("6", "Expired Card", SOFT, DETAILS),
    Refusal("7", "Invalid Amount", SOFT, AGAIN),
    Refusal("8", "Invalid Card Number", SOFT, DETAILS),
    Refusal("9", "Issuer Unavailable", SOFT, BANK_DOWN),
    Refusal("10", "Not supported", SOFT, AGAIN),
    Refusal("11", "3D Not Authenticated", SOFT, AGAIN),
    Refusal("12", "Not enough balance", SOFT, FUNDS),
    Refusal("14", "Acquirer Fraud", HARD, BLOCKED),
    Refusal("15", "Cancelled", SOFT, CANCELLED),
    Refusal("16", "Shopper Cancelled", SOFT, CANCELLED),
    Refusal("17", "Invalid Pin", SOFT, DETAILS),
    Refusal("18", "Pin tries exceeded", HARD, BLOCKED),
    Refusal("19", "Pin validation not possible", SOFT, AGAIN),
    Refusal("20", "FRAUD", HARD, BLOCKED),
    Refusal("21", "Not Submitted", SOFT, AGAIN),
    Refusal("22", "FRAUD-CANCELLED", HARD, BLOCKED),
    Refusal("23", "Transaction Not Permitted", SOFT, AGAIN),
    Refusal("24", "CVC Declined", SOFT, DETAILS),
    Refusal("25", "Restricted Card", HARD, BLOCKED),
    Refusal("26", "Revocation of Auth", HARD, BLOCKED),
    Refusal("27", "Declined Non Generic", SOFT, AGAIN),
    Refusal("28", "Withdrawal amount exceeded", SOFT, FUNDS),
    Refusal("29", "Withdrawal count exceeded", SOFT, FUNDS),
    Refusal("31", "Issuer Suspected Fraud", HARD, BLOCKED),
    Refusal("32", "AVS Declined", SOFT, DETAILS),
    Refusal("33", "Card requires online pin", SOFT, AGAIN),
    Refusal("34", "No checking account available on card", SOFT, AGAIN),
    Refusal("35", "No savings account available on card", SOFT, AGAIN),
    Refusal("36", "Mobile pin required", SOFT, AGAIN),
    Refusal("37", "Contactless fallback", SOFT, AGAIN),
    Refusal("38", "Authentication required", SOFT, AGAIN),
    Refusal("39", "RReq not received from DS", SOFT, AGAIN),
)

_BY_TEXT: Final = {refusal.text.lower(): refusal for refusal in REFUSALS}

OFFER_CLOSED: Final = Decline(SOFT, "OFFER_CLOSED", UNFINISHED)
"""One try on the hosted page ran out of time; the page itself may still be open."""


def read_reason(reason: str) -> Decline:
    """Return the class of a refusal by its text. A text that is not in the table is hard, and not listed."""
    refusal = _BY_TEXT.get(reason.strip().lower())
    if refusal is None:
        return Decline(HARD, reason.strip()[:80] or "(no reason)", AGAIN, listed=False)
    return Decline(refusal.severity, f"{refusal.code} {refusal.text}", refusal.message)
