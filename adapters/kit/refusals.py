"""What a buyer is told when a rail says no: a few sentences that every rail shares, so that the page can translate them.

A rail's table names one of these per code. They say what to do next and never the reason itself: Adyen asks not to
show it, and Stripe asks the same for fraud, lost and stolen cards. The page's translations are found by these very
words (``refusal.*`` of ``orchestrator/web/translations``; a test compares them).
"""

from __future__ import annotations

from typing import Final

PLAIN: Final = "The payment was declined. Try again, or choose another way to pay."
DETAILS: Final = "Something that was entered is not right. Check it, or choose another way to pay."
FUNDS: Final = "There is not enough money for this, or a limit is reached. Choose another way to pay."
UNSUPPORTED: Final = "This card or account cannot be used for this payment. Choose another way to pay."
EXPIRED: Final = "The card has expired. Choose another way to pay."
LATER: Final = "The bank could not be reached. Try again in a few minutes, or choose another way to pay."
CONFIRM: Final = "The bank asks for a confirmation that did not succeed. Try again, or choose another way to pay."
TWICE: Final = "The same payment was made moments ago. Check it before you pay again."
ASK: Final = "The payment was declined. Ask your bank or wallet, or choose another way to pay."
CANCELLED: Final = "The payment was cancelled. Nothing was taken."
UNFINISHED: Final = "The payment was not finished in time. Nothing was taken; you can start again."

SENTENCES: Final = frozenset(
    {PLAIN, DETAILS, FUNDS, UNSUPPORTED, EXPIRED, LATER, CONFIRM, TWICE, ASK, CANCELLED, UNFINISHED}
)
