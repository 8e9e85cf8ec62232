"""Stripe's own exponents: how an amount of ours is written on Stripe's wire, and read back.

Source: https://docs.stripe.com/currencies, read 2026-11 (presentment currencies, zero-decimal list, special cases,
minimum charge amounts). Where it differs from ISO 4217:

- MGA is zero-decimal at Stripe (ISO: 2).
- ISK and UGX are zero-decimal currencies (ISO: 0) that are sent with two decimals, which must be ``00``: 5 ISK = 500.
- BHD, JOD, KWD, OMR and TND have three decimals of which the last must be 0. The present page no longer has this
  section; its editions of 2022 and 2023 do ("5.124 KWD must be rounded to 5120 or 5130").
- HUF and TWD are zero-decimal for *payouts* only; charges have two decimals, as in ISO.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from rates.money import Money, MoneyError, Rounding, display_asset


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


ZERO_DECIMAL: Final = _codes("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF")
WHOLE_UNITS_IN_TWO_DECIMALS: Final = frozenset({"ISK", "UGX"})
THREE_DECIMAL: Final = _codes("BHD JOD KWD OMR TND")
TWO_DECIMAL: Final = _codes(
    "USD AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD KES KGS KHR "
    "KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK "
    "PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD SZL THB TJS TOP TRY TTD TWD TZS UAH UYU UZS WST "
    "XCD YER ZAR ZMW"
)
"""Left out of Stripe's list, as ISO 4217 has withdrawn them: STD (2018), ANG (2025), BGN (2026)."""

_SCALE: Final = {0: 1, 2: 100, 3: 1000}
_MINIMUM: Final = (
    "0.50 USD, 2.00 AED, 0.50 ARS, 0.50 AUD, 0.50 BRL, 0.50 CAD, 0.50 CHF, 0.50 COP, 15.00 CZK, 2.50 DKK, 0.50 EUR, "
    "0.30 GBP, 4.00 HKD, 175.00 HUF, 0.50 IDR, 0.50 ILS, 0.50 INR, 50 JPY, 50 KRW, 10 MXN, 2.00 MYR, 3.00 NOK, "
    "0.50 NZD, 0.50 PHP, 2.00 PLN, 2.00 RON, 0.50 RUB, 3.00 SEK, 0.50 SGD, 10 THB, 0.50 ZAR"
)


class NotChargeable(MoneyError):
    """Stripe cannot take this amount in this currency: the text says why."""


def exponent(currency: str) -> int:
    """Return how many decimals Stripe's wire has for a currency. Raises NotChargeable."""
    if currency in TWO_DECIMAL or currency in WHOLE_UNITS_IN_TWO_DECIMALS:
        return 2
    if currency in ZERO_DECIMAL:
        return 0
    if currency in THREE_DECIMAL:
        return 3
    raise NotChargeable(f"{currency} is not among Stripe's presentment currencies")


def step(currency: str) -> int:
    """Return what every amount on the wire must be a multiple of."""
    if currency in WHOLE_UNITS_IN_TWO_DECIMALS:
        return 100
    return 10 if currency in THREE_DECIMAL else 1


def can_charge_every_unit(currency: str) -> bool:
    """Say whether Stripe takes each amount that a buyer can be shown.

    False for the three-decimal currencies and MGA: a price quoted to their last decimal cannot be charged, and
    rounding it is not the adapter's to decide.
    """
    try:
        smallest = Fraction(step(currency), _SCALE[exponent(currency)])
    except NotChargeable:
        return False
    return (Fraction(1, 10 ** display_asset(currency).scale) / smallest).denominator == 1


def to_wire(amount: Money) -> int:
    """Write an amount in Stripe's smallest unit, exactly. Raises NotChargeable."""
    currency = amount.asset.code
    units = amount.value * _SCALE[exponent(currency)]
    if units.denominator != 1 or units.numerator % step(currency):
        raise NotChargeable(f"Stripe takes {currency} in steps of {step(currency)}e-{exponent(currency)}, not {amount}")
    return units.numerator


def from_wire(units: int, currency: str) -> Money:
    """Read Stripe's integer and lower-case code. Raises NotChargeable or MoneyError where no such amount exists."""
    code = currency.upper()
    return Money.of(Fraction(units, _SCALE[exponent(code)]), display_asset(code), Rounding.EXACT)


def _read_minimum() -> Mapping[str, Money]:
    pairs = (entry.split() for entry in _MINIMUM.split(", "))
    return MappingProxyType({code: Money.parse(amount, display_asset(code)) for amount, code in pairs})


MINIMUM_CHARGE: Final = _read_minimum()
"""By currency, where charge and settlement currency are the same. A charge that Stripe converts must meet the
minimum of the settlement currency instead, which only Stripe can compute."""
