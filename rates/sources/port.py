"""The port of rate sources: what each of them gives, and the few facts the market needs to know about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from typing import Final, Protocol, runtime_checkable

CODE_LENGTH_MAX: Final = 8
DIGITS_MAX: Final = 40
MAGNITUDE_MAX: Final = 18
"""A rate lies between 10 ** -18 and 10 ** 18: a wider exponent is an attack on memory or a mistake."""


class SourceKind(StrEnum):
    """How a source ages."""

    EMBEDDED = "embedded"
    """Shipped inside a package: as old as the package; a sandbox quotes as of its newest date."""
    NETWORK = "network"
    """Asked again when its time to live is over."""
    FIXED = "fixed"
    """Written down by a person, with a date and a reason."""


@dataclass(frozen=True, slots=True)
class SourceRate:
    """One statement of one source: 1 ``base`` is worth ``rate`` of ``quote``, observed at ``as_of`` (UTC)."""

    source: str
    base: str
    quote: str
    rate: Fraction
    as_of: datetime

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"{self.source}: {self.base}-{self.quote} is {self.rate}; a rate is above 0")
        if self.as_of.utcoffset() != timedelta(0):
            raise ValueError(f"{self.source}: {self.base}-{self.quote} has a time that is not UTC")
        if self.base == self.quote or not is_code(self.base) or not is_code(self.quote):
            raise ValueError(f"{self.source}: {self.base!r}-{self.quote!r} is not a pair of two currency codes")
        if not self.source.isascii() or not self.source.isidentifier():
            raise ValueError(f"{self.source!r} is not the name of a source, such as ecb")


class RateSource(Protocol):
    """One source. Stateless but for connections; the market keeps what it said."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> SourceKind: ...

    @property
    def ttl_seconds(self) -> float | None:
        """After so long the source is asked again; None = once is enough."""

    async def fetch(self) -> Sequence[SourceRate]:
        """Give every rate that the source has. Raises SourceUnavailable, and nothing else."""


@runtime_checkable
class RemembersDays(Protocol):
    """A source that knows what its rates were on the days before."""

    async def fetch_days(self) -> Mapping[tuple[str, str], Mapping[date, Fraction]]:
        """Give each pair's rates day by day, the newest month or more. Raises SourceUnavailable, and nothing else."""


def is_code(text: object) -> bool:
    """Tell whether this looks like the code of a currency or token: ``USD``, ``USDT``."""
    return (
        isinstance(text, str) and 3 <= len(text) <= CODE_LENGTH_MAX and text.isascii() and text.isalnum()
    ) and text == text.upper()


def exact_rate(value: object) -> Fraction:
    """Read a rate from a decimal string, an int or a Decimal, exactly. Raises ValueError, also on a float."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"a rate is a decimal string, not {type(value).__name__}")  # noqa: TRY004 - one error for the callers to catch
    if isinstance(value, str) and (len(value) > DIGITS_MAX or not value.isascii() or "_" in value):
        raise ValueError("a rate is a short decimal number such as 5.4321")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a decimal number such as 5.4321") from None
    if not number.is_finite() or number <= 0:
        raise ValueError(f"a rate is a finite number above 0, not {value!r}")
    if abs(number.adjusted()) > MAGNITUDE_MAX or len(number.as_tuple().digits) > DIGITS_MAX:
        raise ValueError("a rate between 10**-18 and 10**18, with at most 40 digits, is expected")
    return Fraction(number)
