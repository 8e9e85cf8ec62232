"""What the card world is told of a merchant: the words on the buyer's statement and the code of what it sells.

Stored with the merchant, read when a session is routed and when an attempt begins; an attempt keeps what it was sent
with. Another process sees a change within ``TRUSTED_S`` seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select

from orchestrator.access import merchant_shown
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Merchant, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Invalid, NotFound

TRUSTED_S: Final = 5.0
CACHED_MAX: Final = 10_000
DESCRIPTOR_CHARS_MIN: Final = 2
DESCRIPTOR_CHARS_MAX: Final = 22
_DESCRIPTOR: Final = re.compile(r"[A-Za-z0-9.,_?+/ -]*")
"""What both vendors take: Adyen lists these and ' * besides, Stripe forbids < > \\ ' " *.
Sources: https://docs.adyen.com/api-explorer/Checkout/latest/post/paymentLinks (shopperStatement),
https://docs.stripe.com/get-started/account/statement-descriptors."""
_CATEGORY: Final = re.compile(r"[0-9]{4}")


@dataclass(frozen=True, slots=True)
class Seller:
    """Empty: nothing is said, and the rail's account says what it always does."""

    statement_descriptor: str = ""
    merchant_category: str = ""


UNSAID: Final = Seller()


def checked_descriptor(text: str, pointer: str = "/statement_descriptor") -> str:
    """Return the words for a statement as they are kept; "" = none. Raises Invalid."""
    kept = " ".join(text.split())
    if not kept:
        return ""
    if not DESCRIPTOR_CHARS_MIN <= len(kept) <= DESCRIPTOR_CHARS_MAX:
        raise Invalid(
            "statement_descriptor_has_a_bad_length",
            f"a statement shows {DESCRIPTOR_CHARS_MIN} to {DESCRIPTOR_CHARS_MAX} characters, this has {len(kept)}",
            pointer=pointer,
        )
    if _DESCRIPTOR.fullmatch(kept) is None:
        wrong = sorted({letter for letter in kept if _DESCRIPTOR.fullmatch(letter) is None})
        raise Invalid(
            "statement_descriptor_has_bad_characters",
            f"letters A to Z, digits, spaces and . , _ ? + / - only, not {' '.join(wrong)}",
            pointer=pointer,
        )
    if re.search("[A-Za-z]", kept) is None:
        raise Invalid("statement_descriptor_needs_a_letter", "at least one letter A to Z", pointer=pointer)
    return kept


def checked_category(code: str, pointer: str = "/merchant_category") -> str:
    """Return a merchant category code (ISO 18245) as it is kept; "" = none. Raises Invalid."""
    if code and (_CATEGORY.fullmatch(code) is None or code == "0000"):
        raise Invalid(
            "merchant_category_is_not_a_code",
            'a merchant category code is four digits, as your acquirer assigned it, such as "5734"',
            pointer=pointer,
        )
    return code


@dataclass(slots=True)
class Sellers:
    """Reads and sets it."""

    writer: Writer
    reads: Reads
    monotonic_s: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, Seller]] = field(default_factory=dict)

    async def of(self, merchant_id: str) -> Seller:
        """Return what is said of a merchant; nothing where there is no such merchant."""
        known = self._known.get(merchant_id)
        if known is not None and self.monotonic_s() - known[0] < TRUSTED_S:
            return known[1]
        asked_s, table = self.monotonic_s(), table_of(Merchant)
        row = await self.reads.one(select(table).where(table.c.id == merchant_id))
        seller = UNSAID if row is None else Seller(row["statement_descriptor"], row["merchant_category"])
        if len(self._known) >= CACHED_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[merchant_id] = asked_s, seller
        return seller

    async def set(
        self, merchant_id: str, *, statement_descriptor: str | None = None, merchant_category: str | None = None
    ) -> Mapping[str, Any]:
        """Set what is given ("" = say nothing any more) and return the merchant as shown. Raises Invalid, NotFound."""
        columns: Row = {}
        if statement_descriptor is not None:
            columns["statement_descriptor"] = checked_descriptor(statement_descriptor)
        if merchant_category is not None:
            columns["merchant_category"] = checked_category(merchant_category)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("merchant", merchant_id)
            if row is None:
                raise NotFound("no_such_merchant", "there is no merchant with this id")
            if columns:
                changes.update("merchant", (merchant_id,), **columns)
            return merchant_shown({**row, **columns})

        unit = Unit(merchant_id, "live", None, (row_lock("merchant", merchant_id),), decide)
        answer = (await self.writer.submit(unit)).answer
        self._known.pop(merchant_id, None)
        return answer
