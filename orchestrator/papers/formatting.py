"""Money, times and spans as a reader of one language expects them. Nothing is rounded here."""

from __future__ import annotations

import copy
import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_datetime, format_timedelta
from babel.numbers import format_decimal

from rates.money import TOKEN_SCALES, WALLET_USD, Money

RATE_DIGITS: Final = 6
"""Decimals of a rate as it is shown; the quote keeps the exact one."""
_CENTS: Final = 2
_LETTER_BESIDE_DIGIT: Final = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
"""``KWD6.123`` wants a space; Babel leaves out CLDR's rule for it (currencySpacing, UTS 35)."""


def money(amount: Money, locale: Locale) -> str:
    """Return an amount with its currency, every decimal that it has: ``R$ 108,50``, ``20.7001 USDT``."""
    code = amount.asset.code
    wallet = amount.asset == WALLET_USD
    text = amount.decimal(_CENTS if wallet or code in TOKEN_SCALES else amount.asset.scale)
    decimals = len(text.partition(".")[2])
    value = Decimal(text)
    if code in TOKEN_SCALES:
        return f"{_number(value, decimals, locale)} {code}"
    # The pattern's own decimals are CLDR's, which differ from ISO 4217 for some: ours are the ones that are charged.
    pattern = copy.copy(locale.currency_formats["standard"])
    pattern.frac_prec = (decimals, decimals)
    return _LETTER_BESIDE_DIGIT.sub("\u00a0", str(pattern.apply(value, locale, currency=code, currency_digits=False)))


def rate(text: str, locale: Locale) -> str:
    """Return a rate to six decimals, or six digits where it is below one."""
    value = Decimal(text)
    digits = RATE_DIGITS if value >= 1 else RATE_DIGITS - value.adjusted()
    return str(format_decimal(value, "#,##0." + "#" * digits, locale=locale))


def _number(value: Decimal, decimals: int, locale: Locale) -> str:
    return str(format_decimal(value, "#,##0." + "0" * decimals if decimals else "#,##0", locale=locale))


def day(moment: datetime, locale: Locale) -> str:
    return str(format_date(moment.date(), "medium", locale=locale))


def moment_utc(moment: datetime, locale: Locale) -> str:
    """Return date and time in UTC, said so; a script turns it into the buyer's own time."""
    return str(format_datetime(moment, "HH:mm", locale=locale)) + " UTC"


def span(seconds: int, locale: Locale) -> str:
    """Return ``10 seconds`` or ``2 minutes``."""
    return str(format_timedelta(timedelta(seconds=seconds), threshold=1, locale=locale))


def locale_of(code: str) -> Locale:
    """Return a locale, English where it is unknown."""
    try:
        return Locale.parse(code)
    except (ValueError, UnknownLocaleError):
        return Locale.parse("en")
