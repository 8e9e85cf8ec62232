"""What is known of one session when it is routed. The decision depends on this, the ruleset, rates and health only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from adapters.base import Mode
from rates.money import TOKEN_SCALES, WALLET_USD, Money

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RISKS: Final = ("low", "medium", "high")
TOKEN_WORDS: Final = frozenset(token.lower() for token in TOKEN_SCALES)
"""``usdt`` stands for every method of that token: usdt_tron, usdt_bsc ..."""

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def token_word(method: str) -> str | None:
    """Return ``usdt`` for ``usdt_tron``; None where the method is no token on a chain."""
    word, separator, chain = method.partition("_")
    return word if separator and chain and word in TOKEN_WORDS else None


@cache
def words_of(method: str) -> frozenset[str]:
    """Return what a condition may call a method of the catalogue: its name, and its token."""
    word = token_word(method)
    return frozenset((method,)) if word is None else frozenset((method, word))


@dataclass(frozen=True, slots=True)
class RoutingFacts:
    """One session, as rules see it. Whether the country exists is asked where it enters (``countries.is_country``)."""

    country: str
    """ISO 3166-1 alpha-2 of the buyer."""
    amount: Money
    """What the wallet shall receive, USD/9, above zero."""
    at: datetime
    """UTC; rules read the hour and the weekday from it."""
    mode: Mode
    currency: str | None = None
    """The charge currency that the buyer asked for; None = the local one."""
    merchant: str = ""
    merchant_category: str = ""
    """Four digits (ISO 18245); "" = not known: no condition on it holds."""
    customer: str = ""
    """The merchant's own reference; sticky splits hang on it."""
    customer_age_days: int | None = None
    """None = not known: no condition on it holds."""
    risk: str | None = None
    """low, medium or high; None = not known: no condition on it holds."""
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    methods: frozenset[str] | None = None
    """Only these methods (or token words) may be offered; None = any."""
    weekday: str = field(init=False)
    """mon ... sun, in UTC."""

    def __post_init__(self) -> None:
        if not _COUNTRY.fullmatch(self.country):
            raise ValueError(f"country is two capital letters, not {self.country!r}")
        if self.amount.asset != WALLET_USD or self.amount.units <= 0:
            raise ValueError(f"amount is above zero in {WALLET_USD}, not {self.amount}")
        if self.at.utcoffset() != timedelta(0):
            raise ValueError("at is a time in UTC")
        if self.risk is not None and self.risk not in RISKS:
            raise ValueError(f"risk is one of {', '.join(RISKS)}, not {self.risk!r}")
        object.__setattr__(self, "weekday", WEEKDAYS[self.at.weekday()])

    def to_json(self) -> dict[str, Any]:
        """Return what is stored with a decision; what is not known is left out."""
        known: dict[str, Any] = {
            "country": self.country,
            "amount_usd": self.amount.decimal(2),
            "at": self.at.isoformat(),
            "mode": self.mode.value,
        }
        for name in ("currency", "merchant", "merchant_category", "customer", "customer_age_days", "risk"):
            value = getattr(self, name)
            if value not in (None, ""):
                known[name] = value
        if self.metadata:
            known["metadata"] = dict(self.metadata)
        if self.methods is not None:
            known["methods"] = sorted(self.methods)
        return known

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RoutingFacts:
        """Read what ``to_json`` wrote, so that a stored decision can be made again."""
        methods = stored.get("methods")
        return cls(
            country=stored["country"],
            amount=Money.parse(stored["amount_usd"], WALLET_USD),
            at=datetime.fromisoformat(stored["at"]),
            mode=Mode(stored["mode"]),
            currency=stored.get("currency"),
            merchant=stored.get("merchant", ""),
            merchant_category=stored.get("merchant_category", ""),
            customer=stored.get("customer", ""),
            customer_age_days=stored.get("customer_age_days"),
            risk=stored.get("risk"),
            metadata=stored.get("metadata", _NOTHING),
            methods=None if methods is None else frozenset(methods),
        )
