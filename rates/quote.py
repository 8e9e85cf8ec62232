"""A quote: one rate, locked until it expires, bound to one session, signed.

All sums are integer arithmetic on the exact fraction; the decimal strings in its JSON are for reading only.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from rates.agreement import BPS, decimal_text
from rates.errors import BadQuote
from rates.market import Mid
from rates.money import WALLET_USD, Asset, AssetMismatch, Money, MoneyError, Rounding, display_asset
from rates.sources.port import SourceRate
from rates.spread import SPREAD_BPS_MAX

FORM: Final = "crossrail-quote-1"
"""The first line of what is signed: another form of quote can never be mistaken for this one."""
UTC_OFFSET: Final = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """1 coin of ``base`` costs the buyer ``rate`` coins of ``quote``; ``rate = mid * (1 + spread_bps / 10000)``."""

    id: str
    session_id: str
    """The one session that it may be used for. That it is used once is the database's to enforce."""
    base: Asset
    quote: Asset
    mid: Fraction
    spread_bps: int
    rate: Fraction
    as_of: datetime
    """When the mid was observed, not when the quote was made."""
    sources: tuple[SourceRate, ...]
    created_at: datetime
    expires_at: datetime
    sandbox: bool
    signature: str = ""

    def __post_init__(self) -> None:
        mid, rate = self.mid, self.rate
        if mid.numerator <= 0 or not 0 <= self.spread_bps <= SPREAD_BPS_MAX:
            raise BadQuote(f"quote {self.id}: mid {mid} with {self.spread_bps} bps cannot be")
        if rate.numerator * mid.denominator * BPS != mid.numerator * (BPS + self.spread_bps) * rate.denominator:
            raise BadQuote(f"quote {self.id}: the rate is not the mid plus {self.spread_bps} bps")
        _check_times(self.id, self.as_of, self.created_at, self.expires_at)
        _check_ids(self.id, self.session_id)

    def is_open(self, at: datetime) -> bool:
        """Tell whether a payment made at this moment (at the rail, not when we heard of it) gets this rate."""
        return at < self.expires_at

    def convert(self, money: Money, rounding: Rounding) -> Money:
        """Return what ``money`` of the base costs in the quote currency, spread included."""
        return _exchange(money, self.base, self.quote, self.rate.numerator, self.rate.denominator, rounding)

    def invert(self, money: Money, rounding: Rounding) -> Money:
        """Return what ``money`` of the quote currency buys of the base, spread included."""
        return _exchange(money, self.quote, self.base, self.rate.denominator, self.rate.numerator, rounding)

    def convert_at_mid(self, money: Money, rounding: Rounding) -> Money:
        """Return what ``money`` of the base is worth in the quote currency: ``convert`` less this is the spread."""
        return _exchange(money, self.base, self.quote, self.mid.numerator, self.mid.denominator, rounding)

    def invert_at_mid(self, money: Money, rounding: Rounding) -> Money:
        """Return what ``money`` of the quote currency is worth in the base."""
        return _exchange(money, self.quote, self.base, self.mid.denominator, self.mid.numerator, rounding)

    def sign(self, secret: bytes) -> Quote:
        """Return the same quote, signed. Raises ValueError on an empty secret."""
        return replace(self, signature=self._signature(secret))

    def verify(self, secret: bytes) -> bool:
        """Tell whether we signed exactly this, in constant time. Raises ValueError on an empty secret."""
        return hmac.compare_digest(self._signature(secret).encode(), self.signature.encode("utf-8", "replace"))

    def _signature(self, secret: bytes) -> str:
        return _signed(secret, self.id, self.session_id, Terms.of(self), (self.created_at, self.expires_at))

    def to_json(self) -> dict[str, Any]:
        """Return it ready for JSON; ``mid`` and ``rate`` are rounded for reading, ``*_exact`` are the true ones."""
        times = (self.created_at, self.expires_at)
        return _json(self.id, self.session_id, Terms.of(self), times, self.signature)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Quote:
        """Read what ``to_json`` wrote, losing nothing. Raises BadQuote. Does not verify: ask ``verify``."""
        try:
            sandbox, spread_bps, signature = fields["sandbox"], fields["spread_bps"], fields["signature"]
            if type(sandbox) is not bool or type(spread_bps) is not int or not isinstance(signature, str):
                raise BadQuote("a stored quote has a field of the wrong type")
            return cls(
                id=fields["id"],
                session_id=fields["session"],
                base=Asset.parse(fields["base"]),
                quote=Asset.parse(fields["quote"]),
                mid=_fraction(fields["mid_exact"]),
                spread_bps=spread_bps,
                rate=_fraction(fields["rate_exact"]),
                as_of=datetime.fromisoformat(fields["as_of"]),
                sources=tuple(
                    SourceRate(
                        source=one["source"],
                        base=one["base"],
                        quote=one["quote"],
                        rate=_fraction(one["rate_exact"]),
                        as_of=datetime.fromisoformat(one["as_of"]),
                    )
                    for one in fields["sources"]
                ),
                created_at=datetime.fromisoformat(fields["created_at"]),
                expires_at=datetime.fromisoformat(fields["expires_at"]),
                sandbox=sandbox,
                signature=signature,
            )
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            raise BadQuote(f"a stored quote cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Terms:
    """What all quotes of one mid and one spread share, written out once: thousands a second are made of a few mids."""

    signed_first: str
    """Its lines of what is signed, before the times and after them."""
    signed_last: str
    shown: Mapping[str, Any]
    """Its part of the JSON. Not to be changed."""
    sandbox: bool

    @classmethod
    def of(cls, quote: Quote) -> Terms:
        """Return the terms of a quote, which has checked them."""
        first = (quote.base, quote.quote, quote.mid, quote.spread_bps, quote.rate, quote.as_of.isoformat())
        last = ["sandbox" if quote.sandbox else "live"]
        for one in quote.sources:
            last += (one.source, one.base, one.quote, str(one.rate), one.as_of.isoformat())
        shown = {
            "base": str(quote.base),
            "quote": str(quote.quote),
            "mid": decimal_text(quote.mid),
            "mid_exact": str(quote.mid),
            "spread_bps": quote.spread_bps,
            "rate": decimal_text(quote.rate),
            "rate_exact": str(quote.rate),
            "as_of": _written(quote.as_of),
            "sources": [dict(_source_shown(one)) for one in quote.sources],
        }
        return cls("\n".join(map(str, first)), "\n".join(last), shown, quote.sandbox)


def signed_quote(
    secret: bytes, terms: Terms, *, quote_id: str, session_id: str, created_at: datetime, expires_at: datetime
) -> dict[str, Any]:
    """Return the same JSON as ``make_quote(...).sign(secret).to_json()`` for terms that were checked before.

    Raises BadQuote, and ValueError on an empty secret.
    """
    _check_times(quote_id, created_at, created_at, expires_at)
    _check_ids(quote_id, session_id)
    times = (created_at, expires_at)
    return _json(quote_id, session_id, terms, times, _signed(secret, quote_id, session_id, terms, times))


def _signed(secret: bytes, quote_id: str, session_id: str, terms: Terms, times: tuple[datetime, datetime]) -> str:
    """Sign everything but the signature, one field a line; no field can hold a line break."""
    if not secret:
        raise ValueError("the secret that signs quotes is empty: anybody could sign")
    created, expires = times[0].isoformat(), times[1].isoformat()
    lines = (FORM, quote_id, session_id, terms.signed_first, created, expires, terms.signed_last)
    return hmac.digest(secret, "\n".join(lines).encode(), "sha256").hex()


def _json(
    quote_id: str, session_id: str, terms: Terms, times: tuple[datetime, datetime], signature: str
) -> dict[str, Any]:
    return {
        "id": quote_id,
        "session": session_id,
        **terms.shown,
        "created_at": _written(times[0]),
        "expires_at": _written(times[1]),
        "sandbox": terms.sandbox,
        "signature": signature,
    }


def _check_times(quote_id: str, as_of: datetime, created_at: datetime, expires_at: datetime) -> None:
    if not created_at < expires_at:
        raise BadQuote(f"quote {quote_id}: it expires before it begins")
    if not as_of.utcoffset() == created_at.utcoffset() == expires_at.utcoffset() == UTC_OFFSET:
        raise BadQuote(f"quote {quote_id}: times are in UTC")


def _check_ids(*texts: str) -> None:
    for text in texts:
        if not text or not text.isascii() or not text.isprintable():
            raise BadQuote("a quote needs an id and a session, both plain text")


def make_quote(
    *,
    quote_id: str,
    session_id: str,
    mid: Mid,
    spread_bps: int,
    now: datetime,
    ttl_seconds: int,
    base: Asset = WALLET_USD,
    quote: Asset | None = None,
) -> Quote:
    """Lock a mid and its spread until ``now + ttl_seconds``. Not signed yet.

    ``base`` is the wallet's asset and ``quote`` what the buyer sees (``display_asset`` unless given).
    Raises BadQuote, UnknownAsset.
    """
    local = display_asset(mid.quote) if quote is None else quote
    if mid.base != base.code or mid.quote != local.code:
        raise BadQuote(f"quote {quote_id}: a mid of {mid.base}-{mid.quote} does not price {base} in {local}")
    return Quote(
        id=quote_id,
        session_id=session_id,
        base=base,
        quote=local,
        mid=mid.rate,
        spread_bps=spread_bps,
        rate=_with_spread(mid.rate, spread_bps),
        as_of=mid.as_of,
        sources=mid.sources,
        created_at=now,
        expires_at=now + timedelta(seconds=ttl_seconds),
        sandbox=mid.sandbox_as_of is not None,
    )


# The same few mids make thousands of quotes a second between two refreshes: what depends on them alone is kept.


@lru_cache(maxsize=4096)
def _with_spread(mid: Fraction, spread_bps: int) -> Fraction:
    return mid * Fraction(BPS + spread_bps, BPS)


@lru_cache(maxsize=4096)
def _source_shown(one: SourceRate) -> Mapping[str, str]:
    return {
        "source": one.source,
        "base": one.base,
        "quote": one.quote,
        "rate": decimal_text(one.rate),
        "rate_exact": str(one.rate),
        "as_of": _written(one.as_of),
    }


def _exchange(
    money: Money, source: Asset, target: Asset, numerator: int, denominator: int, rounding: Rounding
) -> Money:
    """Multiply units by numerator / denominator and move the scale, in whole numbers only."""
    if money.asset != source:
        raise AssetMismatch(f"this quote exchanges {source} here, not {money.asset}")
    product = money.units * numerator * 10**target.scale
    whole, rest = divmod(abs(product), denominator * 10**source.scale)
    if rest and rounding is not Rounding.DOWN:
        if rounding is Rounding.EXACT:
            raise MoneyError(f"{money} is not a whole number of units of {target} at this rate")
        whole += 1
    return Money(whole if product >= 0 else -whole, target)


@lru_cache(maxsize=1024)
def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _fraction(text: object) -> Fraction:
    """Read ``num/den`` or ``num`` as ``str(Fraction)`` writes it; no exponents, no floats."""
    if not isinstance(text, str) or len(text) > 400 or not text.replace("/", "", 1).isdecimal() or not text.isascii():
        raise BadQuote(f"{text!r} is not an exact rate such as 561/100")
    return Fraction(text)
