from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from rates.errors import BadQuote
from rates.market import Mid
from rates.money import WALLET_USD, Asset, AssetMismatch, Money, MoneyError, Rounding, UnknownAsset
from rates.quote import Quote, make_quote
from rates.sources.port import SourceRate

from .builders import DAY, HOUR, NOW

SECRET = b"a secret of the sandbox"
BRL, JPY, KWD = Asset("BRL", 2), Asset("JPY", 0), Asset("KWD", 3)


def mid(code: str = "BRL", rate: str = "5.4321", **change: Any) -> Mid:
    sources = (SourceRate("ecb", "USD", code, Fraction(rate), NOW - HOUR),)
    return replace(Mid("USD", code, Fraction(rate), NOW - HOUR, sources), **change)


def quoted(code: str = "BRL", rate: str = "5.4321", spread_bps: int = 250, **change: Any) -> Quote:
    price = mid(code, rate, **change)
    return make_quote(quote_id="quo_1", session_id="cs_1", mid=price, spread_bps=spread_bps, now=NOW, ttl_seconds=60)


def usd(text: str) -> Money:
    return Money.parse(text, WALLET_USD)


def test_the_rate_is_the_mid_and_the_spread_exactly() -> None:
    quote = quoted()
    assert quote.rate == Fraction("5.4321") * Fraction("1.025")
    assert quote.quote == BRL
    assert quote.as_of == NOW - HOUR
    assert not quote.sandbox


def test_prices_worked_out_by_hand() -> None:
    assert quoted().convert(usd("20"), Rounding.UP) == Money.parse("111.36", BRL)  # 20 * 5.4321 * 1.025 = 111.35805
    assert quoted().convert(usd("20"), Rounding.DOWN) == Money.parse("111.35", BRL)
    assert quoted().convert_at_mid(usd("20"), Rounding.UP) == Money.parse("108.65", BRL)  # 108.642
    assert quoted("JPY", "157.1").convert(usd("20"), Rounding.UP) == Money(3221, JPY)  # 3220.55
    assert quoted("KWD", "0.31017").convert(usd("20"), Rounding.UP) == Money(6359, KWD)  # 6.358485
    assert quoted("USDT", "1").convert(usd("20"), Rounding.EXACT).decimal() == "20.500000"
    assert quoted().invert(Money.parse("111.36", BRL), Rounding.DOWN) == usd("20.000350221")  # 20.0003502216...
    assert quoted().invert_at_mid(Money.parse("543.21", BRL), Rounding.EXACT) == usd("100")


def test_the_smallest_credit_still_costs_the_smallest_coin() -> None:
    assert quoted().convert(Money(1, WALLET_USD), Rounding.UP) == Money(1, BRL)
    assert quoted().convert(Money(1, WALLET_USD), Rounding.DOWN) == Money(0, BRL)


def test_a_refund_rounds_away_from_or_towards_zero_like_a_charge() -> None:
    assert quoted().convert(-usd("20"), Rounding.DOWN) == Money.parse("-111.35", BRL)
    assert quoted().convert(-usd("20"), Rounding.UP) == Money.parse("-111.36", BRL)


def test_exact_refuses_what_is_not_exact() -> None:
    with pytest.raises(MoneyError):
        quoted().convert(usd("20"), Rounding.EXACT)


def test_only_the_assets_of_the_quote_are_exchanged() -> None:
    for wrong in (Money(2000, Asset("USD", 2)), Money(2000, BRL), Money(2000, Asset("EUR", 2))):
        with pytest.raises(AssetMismatch):
            quoted().convert(wrong, Rounding.UP)
    with pytest.raises(AssetMismatch):
        quoted().invert(usd("20"), Rounding.DOWN)


def test_more_than_64_bits_of_local_money_is_refused() -> None:
    dear = Money(2**63 - 1, WALLET_USD)
    with pytest.raises(MoneyError, match="64 bits"):
        quoted("USDT", "2000").convert(dear, Rounding.UP)


def test_a_quote_is_open_until_and_not_at_its_expiry() -> None:
    quote = quoted()
    assert quote.is_open(NOW)
    assert quote.is_open(NOW + timedelta(seconds=60) - timedelta(microseconds=1))
    assert not quote.is_open(NOW + timedelta(seconds=60))


def test_a_sandbox_mid_makes_a_sandbox_quote() -> None:
    assert quoted(sandbox_as_of=NOW - DAY).sandbox


def test_a_signature_binds_everything_that_the_quote_says() -> None:
    signed = quoted().sign(SECRET)
    assert signed.verify(SECRET)
    assert not quoted().verify(SECRET)
    assert not signed.verify(b"another secret")
    other_source = SourceRate("hmrc", "USD", "BRL", Fraction("5.4"), NOW - DAY)
    changes: list[dict[str, Any]] = [
        {"id": "quo_2"},
        {"session_id": "cs_2"},
        {"base": Asset("USD", 6)},
        {"quote": Asset("BRL", 3)},
        {"mid": signed.mid / 2, "rate": signed.rate / 2},
        {"spread_bps": 0, "rate": signed.mid},
        {"as_of": NOW},
        {"sources": ()},
        {"sources": (*signed.sources, other_source)},
        {"created_at": NOW - HOUR},
        {"expires_at": signed.expires_at + DAY},
        {"sandbox": True},
        {"signature": ""},
        {"signature": "é" * 64},
        {"signature": signed.signature.upper()},
    ]
    for change in changes:
        assert not replace(signed, **change).verify(SECRET), change


def test_an_empty_secret_neither_signs_nor_verifies() -> None:
    with pytest.raises(ValueError, match="empty"):
        quoted().sign(b"")
    with pytest.raises(ValueError, match="empty"):
        quoted().sign(SECRET).verify(b"")


def test_json_loses_nothing_and_shows_readable_rates() -> None:
    signed = quoted(rate="15173/2793", sandbox_as_of=NOW).sign(SECRET)
    written = json.dumps(signed.to_json())
    fields = json.loads(written)
    assert Quote.from_json(fields) == signed
    assert Quote.from_json(fields).verify(SECRET)
    assert (fields["mid"], fields["mid_exact"]) == ("5.432509846", "15173/2793")
    assert fields["rate_exact"] == str(signed.rate)
    assert fields["expires_at"] == "2026-11-23T12:01:00Z"
    assert fields["sources"][0]["source"] == "ecb"


@pytest.mark.parametrize(
    "change",
    [
        {"rate_exact": "5.5"},
        {"rate_exact": "1e9"},
        {"rate_exact": "1/0"},
        {"rate_exact": "٣"},
        {"rate_exact": 5},
        {"rate_exact": "6"},  # is not the mid plus the spread
        {"mid_exact": "0"},
        {"spread_bps": 250.0},
        {"spread_bps": -1},
        {"spread_bps": True},
        {"base": "USD/-9"},
        {"quote": "BRL"},
        {"expires_at": "2026-11-23T11:00:00Z"},
        {"expires_at": "2026-11-23T12:01:00"},
        {"as_of": "2026-11-23T12:01:00+02:00"},
        {"created_at": None},
        {"sandbox": "no"},
        {"sources": [{"source": "ecb"}]},
        {"sources": None},
        {"id": ""},
        {"id": "quo_1\ncs_2"},
        {"session": None},
        {"signature": None},
    ],
)
def test_a_stored_quote_that_was_bent_cannot_be_read(change: dict[str, Any]) -> None:
    with pytest.raises(BadQuote):
        Quote.from_json(quoted().sign(SECRET).to_json() | change)


def test_a_stored_quote_with_a_field_missing_cannot_be_read() -> None:
    fields = quoted().to_json()
    for name in set(fields) - {"mid", "rate"}:  # those two are for people
        with pytest.raises(BadQuote):
            Quote.from_json({key: value for key, value in fields.items() if key != name})


def test_a_quote_that_cannot_be_is_not_made() -> None:
    for wrong in ({"spread_bps": -1}, {"spread_bps": 5001}, {"ttl_seconds": 0}, {"quote": Asset("EUR", 2)}):
        terms: dict[str, Any] = {"spread_bps": 100, "ttl_seconds": 60} | wrong
        with pytest.raises(BadQuote):
            make_quote(quote_id="quo_1", session_id="cs_1", mid=mid(), now=NOW, **terms)
    with pytest.raises(UnknownAsset):
        quoted("XYZ")
