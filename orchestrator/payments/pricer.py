"""Rates and fees as the desk sets them: quotes for sessions, and the rate at which late or unexpected money counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

from orchestrator.payments.offers import PriceTag
from orchestrator.payments.pricing import FeeSchedule, Price, Rate, TooSmall, price, price_of_arrival
from rates.errors import RateError
from rates.market import Market, Mid
from rates.money import WALLET_USD, Money, MoneyError, display_asset
from rates.quote import Quote, Terms, make_quote, signed_quote
from rates.spread import Spread, SpreadTable

KEPT_MAX: Final = 4096
"""Price tags that are kept. Top-ups are made of few amounts, so most sessions find theirs."""
_PAR: Final = Fraction(1)


class FeeKey(NamedTuple):
    rail: str
    account: str
    method: str


class Pricer:
    """Holds the market, the spreads and the fee tables. Never guesses: no rate, no price."""

    def __init__(self, market: Market, spreads: SpreadTable, fees: Mapping[FeeKey, FeeSchedule], secret: bytes) -> None:
        self._market = market
        self._spreads = spreads
        self._fees = fees
        self._secret = secret
        self._tags: dict[tuple[int, str, FeeKey], PriceTag] = {}
        self._terms: dict[tuple[str, int], tuple[Mid, Terms]] = {}
        self._spreads_known: dict[tuple[str, str | None, int], Spread] = {}

    @property
    def market(self) -> Market:
        return self._market

    def use(self, spreads: SpreadTable) -> None:
        """Price by other spreads from now on; quotes that were given stand."""
        self._spreads = spreads
        self._spreads_known.clear()

    def mid(self, currency: str, now: datetime) -> Fraction | None:
        """Return what 1 USD is worth, or None where the currency cannot be quoted now."""
        try:
            return self._market.mid(WALLET_USD.code, currency, now).rate
        except RateError:
            return None

    def spread_bps(self, currency: str, method: str | None, now: datetime, units: int = 0) -> int:
        """Return the spread of USD into a currency; dollars for dollars are no exchange. Raises NoSpread, NoRate.

        ``units``: how many nano-dollars are exchanged, where spreads have tiers; 0 = the smallest amount.
        """
        if currency == WALLET_USD.code:
            return 0
        tier = self._spreads.tier_of(units)
        found = self._spreads_known.get((currency, method, tier))
        if found is None:  # as many as there are methods, currencies and tiers in the configuration
            found = self._spreads.spread(WALLET_USD.code, currency, method, units)
            self._spreads_known[currency, method, tier] = found
        if not found.volatility_percent:
            return found.spread_bps
        return found.bps(self._market.volatility_bps(WALLET_USD.code, currency, now))

    def fees(self, rail: str, account: str, method: str) -> FeeSchedule:
        """Return the fee table of a method on a rail account; the configuration was checked to have one."""
        return self._fees[FeeKey(rail, account, method)]

    def quote(
        self, *, quote_id: str, session_id: str, currency: str, method: str | None, now: datetime, ttl_seconds: int
    ) -> Quote:
        """Lock and sign a rate. Raises RateError."""
        return make_quote(
            quote_id=quote_id,
            session_id=session_id,
            mid=self._market.mid(WALLET_USD.code, currency, now),
            spread_bps=self.spread_bps(currency, method, now),
            now=now,
            ttl_seconds=ttl_seconds,
        ).sign(self._secret)

    def tag(self, principal: Money, key: FeeKey, currency: str, now: datetime) -> PriceTag:
        """Price a top-up at the mid of this moment. Raises RateError.

        A tag is kept until its mid or its spread is another; what it is made of besides (fees) does not change.
        """
        dollars = currency == WALLET_USD.code
        mid = _PAR if dollars else self._market.mid(WALLET_USD.code, currency, now).rate
        spread_bps = self.spread_bps(currency, key.method, now, principal.units)
        kept = (principal.units, currency, key)
        found = self._tags.get(kept)
        if found is None or found.price.rate.mid is not mid or found.price.rate.spread_bps != spread_bps:
            priced = price(principal, self._fees[key], Rate(mid, spread_bps), display_asset(currency))
            found = PriceTag.of(priced)
            if len(self._tags) >= KEPT_MAX:
                self._tags.pop(next(iter(self._tags)))
            self._tags[kept] = found
        return found

    def quote_json(
        self, *, quote_id: str, session_id: str, currency: str, spread_bps: int, now: datetime, expires_at: datetime
    ) -> dict[str, Any]:
        """Lock and sign a rate; return what ``quote(...).to_json()`` would. Raises RateError."""
        mid = self._market.mid(WALLET_USD.code, currency, now)
        known = self._terms.get((currency, spread_bps))
        if known is None or known[0] is not mid:
            first = make_quote(
                quote_id=quote_id, session_id=session_id, mid=mid, spread_bps=spread_bps, now=now, ttl_seconds=1
            )
            known = self._terms[currency, spread_bps] = (mid, Terms.of(first))
        return signed_quote(
            self._secret, known[1], quote_id=quote_id, session_id=session_id, created_at=now, expires_at=expires_at
        )

    def arrival(self, total: Money, *, rail: str, account: str, method: str, now: datetime) -> Price | str:
        """Price money that arrived without a locked rate; or the reason why it cannot be (no rate, too small, too large)."""
        currency = total.asset.code
        mid = self.mid(currency, now)
        if mid is None:
            return "no_rate"
        worth = int(total.value / mid * 10**WALLET_USD.scale)
        rate = Rate(mid, self.spread_bps(currency, method, now, worth))
        try:
            return price_of_arrival(total, self.fees(rail, account, method), rate)
        except TooSmall:
            return "below_minimum"
        except MoneyError:  # more than a wallet can count: a fact of a rail all the same, so a person places it
            return "too_large"
