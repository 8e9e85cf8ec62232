"""Rates and fees as the desk sets them: quotes for sessions, and the rate at which late or unexpected money counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from orchestrator.payments.pricing import FeeSchedule, Price, Rate, TooSmall, price_of_arrival
from rates.errors import RateError
from rates.market import Market
from rates.money import WALLET_USD, Money, MoneyError
from rates.quote import Quote, make_quote
from rates.spread import SpreadTable


@dataclass(frozen=True, slots=True)
class FeeKey:
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

    @property
    def market(self) -> Market:
        return self._market

    def mid(self, currency: str, now: datetime) -> Fraction | None:
        """Return what 1 USD is worth, or None where the currency cannot be quoted now."""
        try:
            return self._market.mid(WALLET_USD.code, currency, now).rate
        except RateError:
            return None

    def spread_bps(self, currency: str, method: str | None) -> int:
        """Return the spread of USD into a currency; dollars for dollars are no exchange. Raises NoSpread."""
        if currency == WALLET_USD.code:
            return 0
        return self._spreads.spread_bps(WALLET_USD.code, currency, method)

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
            spread_bps=self.spread_bps(currency, method),
            now=now,
            ttl_seconds=ttl_seconds,
        ).sign(self._secret)

    def arrival(self, total: Money, *, rail: str, account: str, method: str, now: datetime) -> Price | str:
        """Price money that arrived without a locked rate; or the reason why it cannot be (no rate, too small, too large)."""
        currency = total.asset.code
        mid = self.mid(currency, now)
        if mid is None:
            return "no_rate"
        rate = Rate(mid, self.spread_bps(currency, method))
        try:
            return price_of_arrival(total, self.fees(rail, account, method), rate)
        except TooSmall:
            return "below_minimum"
        except MoneyError:  # more than a wallet can count: a fact of a rail all the same, so a person places it
            return "too_large"
