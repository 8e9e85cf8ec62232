"""Amounts as Adyen counts them.

Source: https://docs.adyen.com/development-resources/currency-codes (read 2026-11 from a stored copy). The document says
that its own table leads where it differs from ISO 4217: CLP and ISK have 2 decimals there, CVE and IDR none.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from rates.money import Asset, Money, Rounding, UnknownAsset, display_asset

_NONE: Final = "CVE DJF GNF IDR JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_TWO: Final = (
    "AED ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CHF CLP CNY COP CRC CUP CZK DKK "
    "DOP DZD EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF ILS INR ISK JMD KES KGS KHR KYD KZT LAK "
    "LBP LKR MAD MDL MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR "
    "RON RSD RUB SAR SBD SCR SEK SGD SHP SOS SRD STN SVC SZL THB TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD YER ZAR "
    "ZMW"
)
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"

DECIMALS: Final = {code: decimals for codes, decimals in ((_NONE, 0), (_TWO, 2), (_THREE, 3)) for code in codes.split()}
"""Decimals of every currency that Adyen's document lists and that is in use."""


def supports(currency: str) -> bool:
    """Say whether Adyen takes each amount that a buyer can be shown.

    False for IDR and CVE, which Adyen counts in whole units: rounding a price is not the adapter's to decide.
    """
    try:
        return currency in DECIMALS and display_asset(currency).scale <= DECIMALS[currency]
    except UnknownAsset:
        return False


def to_wire(amount: Money) -> dict[str, str | int]:
    """Return Adyen's ``amount`` object. Raises MoneyError where Adyen has fewer decimals, or no such currency."""
    code = amount.asset.code
    if code not in DECIMALS:
        raise UnknownAsset(f"Adyen's currency table has no {code}")
    return {"currency": code, "value": amount.narrow(Asset(code, DECIMALS[code]), Rounding.EXACT).units}


def from_wire(currency: str, value: int) -> Money:
    """Return what Adyen says, in the scale that a buyer sees. Raises UnknownAsset.

    Half a Chilean peso exists at Adyen only. Rounded, it could look like the amount that was asked for, so it stays in
    Adyen's scale, which equals no order of ours and ends in a review.
    """
    if currency not in DECIMALS:
        raise UnknownAsset(f"Adyen's currency table has no {currency}")
    shown = display_asset(currency)
    coins = Fraction(value, 10 ** DECIMALS[currency])
    if (coins * 10**shown.scale).denominator != 1:
        return Money(value, Asset(currency, DECIMALS[currency]))
    return Money.of(coins, shown, Rounding.EXACT)
