"""Money: whole units of an asset. No float, no bare Decimal, no silent rounding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import Final

UNITS_MAX: Final = 2**63 - 1
"""Amounts are stored as BIGINT; nano-dollars reach 9.2 billion dollars."""


_PLAIN: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,18}))?")

SCALE_MAX: Final = 18
"""The finest scale in use anywhere: a token with 18 decimals."""


class MoneyError(ValueError):
    """The amount is not money that this system can hold: the text says why."""


class UnknownAsset(MoneyError):
    """No such currency or token: use an ISO 4217 code or a token of the registry."""


class AssetMismatch(MoneyError):
    """Two different assets, or two scales of one: narrow or convert first."""


class Rounding(Enum):
    """Where the part below the last unit goes. Always said by the caller."""

    DOWN = "down"
    """Towards zero: the one who pays out is never short."""
    UP = "up"
    """Away from zero: the one who receives is never short."""
    EXACT = "exact"
    """There must be nothing below the last unit, else MoneyError."""


@dataclass(frozen=True, slots=True)
class Asset:
    """What is counted, and how fine: one unit is 10 ** -scale of it."""

    code: str
    scale: int

    def __str__(self) -> str:
        return f"{self.code}/{self.scale}"

    @classmethod
    def parse(cls, text: str) -> Asset:
        """Read the form that ``str`` writes, such as ``USD/9``. Raises MoneyError."""
        code, _, scale = text.partition("/")
        if not code or not (scale.isascii() and scale.isdecimal()) or int(scale) > SCALE_MAX:
            # A negative scale would make a float of 10 ** scale.
            raise MoneyError(f"{text!r} is not an asset with its scale, such as USD/9")
        return cls(code, int(scale))


WALLET_USD: Final = Asset("USD", 9)
"""What wallets hold: nano-dollars, so that $0.15 per million tokens is 150 units per token, exactly."""

TOKEN_SCALES: Final = {"USDT": 6, "USDC": 6}
"""Scales of tokens inside our books. BSC's 18 decimals are narrowed, downwards, by the adapter."""


@cache
def display_asset(code: str) -> Asset:
    """Return a currency or token in the scale that a buyer sees (ISO 4217 exponent; a token's own).

    Raises UnknownAsset. Source: the package ``iso4217`` (BHD 3, JPY 0, UYW 4).
    """
    if code in TOKEN_SCALES:
        return Asset(code, TOKEN_SCALES[code])
    from iso4217 import Currency

    try:
        exponent = Currency(code).exponent
    except ValueError:
        raise UnknownAsset(f"{code!r} is not an ISO 4217 currency and not a token that is known here") from None
    if exponent is None:
        raise UnknownAsset(f"{code} has no minor unit in ISO 4217 and cannot be charged")
    return Asset(code, exponent)


@dataclass(frozen=True, slots=True)
class Money:
    """Whole units of one asset: nano-dollars for USD/9, cents for USD/2, millionths for USDT/6."""

    units: int
    asset: Asset

    def __post_init__(self) -> None:
        if type(self.units) is not int:
            raise MoneyError(f"units are whole numbers, not {type(self.units).__name__}")
        if not -UNITS_MAX <= self.units <= UNITS_MAX:
            raise MoneyError(f"{self.units} units of {self.asset} do not fit into 64 bits")

    @classmethod
    def zero(cls, asset: Asset) -> Money:
        return cls(0, asset)

    @classmethod
    def parse(cls, text: str, asset: Asset) -> Money:
        """Read a decimal string exactly. Raises MoneyError on NaN, exponents, or more decimals than the asset has."""
        plain = _PLAIN.fullmatch(text)
        if plain is not None and len(part := plain[2] or "") <= asset.scale:  # nearly all: digits need no arithmetic
            return cls(int(plain[1] + part.ljust(asset.scale, "0")), asset)
        if len(text) > 40 or not text.isascii():
            raise MoneyError("an amount is a short decimal number such as 20.00")
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise MoneyError(f"{text!r} is not a decimal number such as 20.00") from None
        if not value.is_finite() or "e" in text.lower() or "_" in text or text.strip() != text:
            raise MoneyError(f"{text!r} is not a plain decimal number such as 20.00")
        return cls.of(Fraction(value), asset, Rounding.EXACT)

    @classmethod
    def of(cls, value: Fraction, asset: Asset, rounding: Rounding) -> Money:
        """Return ``value`` whole coins (not units) of the asset, rounded as said. Raises MoneyError if EXACT is not."""
        return cls(round_units(value * 10**asset.scale, rounding, asset), asset)

    @property
    def value(self) -> Fraction:
        """Whole coins as an exact fraction."""
        return Fraction(self.units, 10**self.asset.scale)

    def narrow(self, asset: Asset, rounding: Rounding) -> Money:
        """Return the same money in another scale of the same asset."""
        if asset.code != self.asset.code:
            raise AssetMismatch(f"{self.asset} cannot become {asset} without a rate")
        return Money.of(self.value, asset, rounding)

    def split(self, weights: Sequence[int]) -> list[Money]:
        """Split into parts by weight without losing a unit; the largest remainders take what is over."""
        if not weights or any(w < 0 for w in weights) or sum(weights) == 0:
            raise MoneyError("weights are whole numbers from 0, and one of them above 0")
        total, sign, units = sum(weights), (1 if self.units >= 0 else -1), abs(self.units)
        parts = [units * w // total for w in weights]
        by_remainder = sorted(range(len(weights)), key=lambda i: (-(units * weights[i] % total), i))
        for i in by_remainder[: units - sum(parts)]:
            parts[i] += 1
        return [Money(sign * part, self.asset) for part in parts]

    def _same(self, other: Money) -> int:
        if other.asset != self.asset:
            raise AssetMismatch(f"{self.asset} and {other.asset} do not mix")
        return other.units

    def __add__(self, other: Money) -> Money:
        return Money(self.units + self._same(other), self.asset)

    def __sub__(self, other: Money) -> Money:
        return Money(self.units - self._same(other), self.asset)

    def __neg__(self) -> Money:
        return Money(-self.units, self.asset)

    def __lt__(self, other: Money) -> bool:
        return self.units < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.units <= self._same(other)

    def __bool__(self) -> bool:
        return self.units != 0

    def __str__(self) -> str:
        return f"{self.decimal()} {self.asset.code}"

    def decimal(self, places_min: int | None = None) -> str:
        """Return the amount as a decimal string; trailing zeros beyond ``places_min`` decimals are dropped."""
        scale = self.asset.scale
        keep = scale if places_min is None else min(places_min, scale)
        digits = str(abs(self.units)).rjust(scale + 1, "0")
        whole, part = digits[: len(digits) - scale], digits[len(digits) - scale :]
        while len(part) > keep and part.endswith("0"):
            part = part[:-1]
        return f"{'-' if self.units < 0 else ''}{whole}{'.' if part else ''}{part}"


def round_units(exact: Fraction, rounding: Rounding, asset: Asset) -> int:
    """Round a count of units as said. Raises MoneyError if EXACT leaves a rest."""
    down = abs(exact.numerator) // exact.denominator
    rest = abs(exact.numerator) % exact.denominator
    sign = -1 if exact < 0 else 1
    match rounding:
        case Rounding.DOWN:
            return sign * down
        case Rounding.UP:
            return sign * (down + (1 if rest else 0))
        case Rounding.EXACT:
            if rest:
                raise MoneyError(f"{asset.code} has {asset.scale} decimals here; this amount has more")
            return sign * down
