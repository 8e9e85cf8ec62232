"""The time inside an event's id: it decides where the id is remembered, so that the index grows at its end. Pure.

UUIDv7 (RFC 9562, section 5.7: 48 bits of milliseconds since 1970), ULID (the specification's first ten characters, Crockford's
base 32, milliseconds too), and either behind a prefix such as ``evt_``. Any other id has no time: it works too, but each look
into an index that random ids filled costs a page (``make bench`` shows how much).
"""

from __future__ import annotations

import re
from typing import Final

DAY_MS: Final = 86_400_000
DAY_FIRST: Final = 16_436
"""2015-01-01. A time before it, or after ``DAY_LAST``, is chance and no time."""
DAY_LAST: Final = 47_481
"""2099-12-31."""
ID_CHARS_MAX: Final = 128

_UUID7: Final = re.compile(
    r"([0-9a-fA-F]{12})7[0-9a-fA-F]{3}[89abAB][0-9a-fA-F]{15}"
    r"|([0-9a-fA-F]{8})-([0-9a-fA-F]{4})-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_CROCKFORD: Final = str.maketrans("ABCDEFGHJKMNPQRSTVWXYZ", "abcdefghijklmnopqrstuv")
"""Crockford's letters to those that ``int(..., 32)`` reads."""


def is_event_id(text: str) -> bool:
    """Say whether it has 1 to 128 visible ASCII characters."""
    return 0 < len(text) <= ID_CHARS_MAX and text.isascii() and text.isprintable() and " " not in text


def day_of_id(event_id: str) -> int:
    """Return the day (since 1970, UTC) of the time inside an id; 0 where it has none. It depends on the id alone."""
    milliseconds = _milliseconds(event_id.rpartition("_")[2])
    day = milliseconds // DAY_MS
    return day if DAY_FIRST <= day <= DAY_LAST else 0


def _milliseconds(text: str) -> int:
    """Return the time of an id without its prefix; 0 where it has none."""
    found = _UUID7.fullmatch(text)
    if found is not None:
        return int(found[1] or found[2] + found[3], 16)
    if len(text) == 26 and _ULID.fullmatch(text) is not None:
        return int(text[:10].upper().translate(_CROCKFORD), 32)
    return 0
