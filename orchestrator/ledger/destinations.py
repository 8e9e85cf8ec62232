"""Where a merchant is paid to: what of it can be checked is checked before it is stored. Pure.

A bank's file takes ``name`` with ``iban`` (and ``bic``), or with ``account_number``, ``bank_code`` and ``bank_country``.
Any other words may be stored too, for payouts by hand: such a destination goes into no file, for a word that the file has no
column for may be the one that matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from orchestrator.errors import Invalid

FIELDS_MAX: Final = 20
CHARS_MAX: Final = 200
BANK_FIELDS: Final = ("name", "iban", "bic", "account_number", "bank_code", "bank_country")
FORMULA_MARKS: Final = ("=", "+", "-", "@")
"""A cell that begins so is a formula to a spreadsheet; so are a tab, a return and a NUL, which are not printable at all.
Source: OWASP ASVS 5.0, 1.2.10. Such words are refused, not escaped: a bank would read the mark as a part of the name."""
ISO_7064_MODULUS: Final = 97

_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}")
_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?")
"""ISO 9362: institution, country, place, branch."""
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9]{1,34}")


def checked_destination(given: Mapping[str, str]) -> str:
    """Return the JSON to store; IBAN and BIC without spaces, in capitals. Raises Invalid."""
    if not 0 < len(given) <= FIELDS_MAX:
        raise _invalid(f"1 to {FIELDS_MAX} texts by name")
    kept: dict[str, str] = {}
    for name, text in given.items():
        for word in (name, text):
            if not 0 < len(word) <= CHARS_MAX or not word.isprintable() or word != word.strip():
                raise _invalid(f"names and texts have 1 to {CHARS_MAX} printable characters, no space at the ends")
            if word.startswith(FORMULA_MARKS):
                raise _invalid(f"nothing begins with one of {' '.join(FORMULA_MARKS)}")
        kept[name] = text.replace(" ", "").upper() if name in {"iban", "bic", "bank_country"} else text
    if "iban" in kept and not is_iban(kept["iban"]):
        raise Invalid("iban_invalid", "the IBAN's check digits or its form are wrong", pointer="/destination/iban")
    for name, form in (
        ("bic", _BIC),
        ("bank_country", _COUNTRY),
        ("account_number", _ACCOUNT),
        ("bank_code", _ACCOUNT),
    ):
        if name in kept and form.fullmatch(kept[name]) is None:
            raise Invalid(f"{name}_invalid", f"this is no {name.replace('_', ' ')}", pointer=f"/destination/{name}")
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()


def is_iban(text: str) -> bool:
    """Say whether the check digits are right. Sources: ISO 13616-1 (form), ISO/IEC 7064 MOD 97-10 (check digits).

    The length that each country has is not checked: the digits find a lost or a doubled character.
    """
    if _IBAN.fullmatch(text) is None:
        return False
    digits = "".join(str(int(letter, 36)) for letter in text[4:] + text[:4])
    return int(digits) % ISO_7064_MODULUS == 1


def unfit_for_a_file(destination: Mapping[str, str]) -> str | None:
    """Return why a bank's file cannot hold it, or None. Asks again what was checked: old rows were not."""
    if unknown := sorted(destination.keys() - set(BANK_FIELDS)):
        return f"a bank's file has no column for {', '.join(unknown)}"
    if "name" not in destination:
        return "the account's owner (name) is missing"
    by_iban = "iban" in destination
    if not by_iban and not destination.keys() >= {"account_number", "bank_code", "bank_country"}:
        return "an iban is missing, or account_number with bank_code and bank_country"
    if by_iban and not destination.keys().isdisjoint({"account_number", "bank_code"}):
        return "an iban and another account are both there"
    try:
        return None if orjson.loads(checked_destination(destination)) == destination else "its iban or bic has spaces"
    except Invalid as refusal:
        return refusal.detail


def _invalid(detail: str) -> Invalid:
    return Invalid("payout_destination_invalid", detail, pointer="/destination")
