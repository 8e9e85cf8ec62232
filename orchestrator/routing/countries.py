"""Which countries there are, and what money is tender there. Source: CLDR, as the package babel carries it."""

from __future__ import annotations

import difflib
from datetime import date
from functools import cache, lru_cache
from typing import Final

from babel import Locale
from babel.core import get_global
from babel.numbers import get_territory_currencies

_NO_COUNTRY: Final = frozenset({"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"})
"""Two letters in CLDR without being an ISO 3166-1 country (exceptional reservations, pseudo locales). XK stays."""

_NEWER_THAN_CLDR: Final = {"BG": (date(2026, 1, 1), "EUR")}
"""Changes of tender that the CLDR inside babel 2.18 lacks: Bulgaria joined the euro (EU Council, 8 July 2025)."""


@cache
def country_names() -> dict[str, str]:
    """Return ISO 3166-1 alpha-2 codes and their English names."""
    territories = Locale("en").territories
    return {
        code: name
        for code, name in territories.items()
        if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRY
    }


def is_country(code: str) -> bool:
    return code in country_names()


def country_hint(word: str) -> str | None:
    """Return ``did you mean 'BR'?`` for a name (Brazil), three letters (BRA) or small letters (br)."""
    codes = {name.casefold(): code for code, name in country_names().items()}
    folded = word.strip().casefold()
    aliases: list[str] = get_global("territory_aliases").get(folded.upper(), [])  # three letters, former codes
    near = difflib.get_close_matches(folded, codes, n=1, cutoff=0.75)
    found = None
    if is_country(folded.upper()):
        found = folded.upper()
    elif len(aliases) == 1 and is_country(aliases[0]):
        found = aliases[0]
    elif near:
        found = codes[near[0]]
    return f"did you mean {found!r}?" if found else None


@lru_cache(maxsize=4096)
def local_currencies(country: str, on: date) -> tuple[str, ...]:
    """Return what is legal tender in a country on a day, the first one first; nothing for a country CLDR lacks."""
    if not is_country(country):
        return ()
    since, currency = _NEWER_THAN_CLDR.get(country, (date.max, ""))
    if on >= since:
        return (currency,)
    return tuple(get_territory_currencies(country, start_date=on, end_date=on, tender=True, non_tender=False))
