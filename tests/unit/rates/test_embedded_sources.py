"""The real tables inside the packages: what they hold, and that two central institutions agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zipfile import BadZipFile

import pytest

from rates.agreement import candidate_of, deviation_bps
from rates.errors import BadRateConfig, NoRate, SourceUnavailable, StaleRate
from rates.market import Market
from rates.policy import DEFAULT_SOURCES, MarketMode, MarketPolicy
from rates.sources import ecb, hmrc
from rates.sources.fixed import FixedSource
from rates.sources.port import SourceRate, exact_rate

from .builders import NOW

LANDS = ("BRL", "EUR", "PHP", "VND", "NGN", "INR", "KES", "PKR", "BDT", "EGP", "ARS", "IDR", "MXN", "KWD", "JPY")


@pytest.fixture(scope="module")
def european() -> dict[tuple[str, str], SourceRate]:
    return {(rate.base, rate.quote): rate for rate in ecb.newest_of_history().newest}


@pytest.fixture(scope="module")
def british() -> dict[tuple[str, str], SourceRate]:
    return {(rate.base, rate.quote): rate for rate in hmrc.newest_table()}


@pytest.fixture
async def sandbox() -> Market:
    market = Market([ecb.EcbSource(), hmrc.HmrcSource()], MarketPolicy(), MarketMode.SANDBOX)
    await market.refresh(NOW)
    return market


def test_the_ecb_history_gives_each_currency_its_own_newest_date(european: dict[tuple[str, str], SourceRate]) -> None:
    newest = max(rate.as_of for rate in european.values())
    assert newest >= datetime(2026, 10, 30, tzinfo=UTC)
    assert len([rate for rate in european.values() if rate.as_of == newest]) >= 25
    assert european["EUR", "RUB"].as_of.date().isoformat() == "2022-03-01"  # suspended by the ECB on that day
    assert european["EUR", "HRK"].rate == Fraction("7.5365")  # its last one; the changeover rate was 7.5345


def test_the_hmrc_table_has_the_currencies_that_the_ecb_lacks(british: dict[tuple[str, str], SourceRate]) -> None:
    assert len(british) >= 135
    for code in ("NGN", "VND", "ARS", "KES", "PKR", "BDT", "EGP", "GHS", "XOF"):
        assert british["GBP", code].rate > 0
        assert british["GBP", code].rate.denominator <= 10**4


def test_the_hmrc_table_is_as_old_as_the_wednesday_that_it_shows() -> None:
    assert hmrc.observed_on(2026, 10) == datetime(2026, 10, 21, 11, tzinfo=UTC)
    assert hmrc.observed_on(2025, 12) == datetime(2025, 12, 17, 11, tzinfo=UTC)
    assert hmrc.observed_on(2026, 2) == datetime(2026, 2, 18, 11, tzinfo=UTC)
    for month in range(1, 13):
        assert hmrc.observed_on(2026, month).weekday() == 2


def test_no_month_is_longer_than_the_age_that_its_table_is_allowed() -> None:
    for year in range(2024, 2034):
        for month in range(1, 13):
            used_until = datetime(year + (month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=UTC)
            assert used_until - hmrc.observed_on(year, month) <= DEFAULT_SOURCES["hmrc"].age_max


def test_both_sources_agree_on_every_pair_that_both_have_within_the_configured_limit(
    european: dict[tuple[str, str], SourceRate], british: dict[tuple[str, str], SourceRate]
) -> None:
    newest = max(rate.as_of for rate in european.values())
    compared = 0
    for code in sorted({code for _, code in european} - {"USD"}):
        one, other = candidate_of("ecb", european, "USD", code), candidate_of("hmrc", british, "USD", code)
        if one and other and newest - one.rate.as_of < timedelta(days=1):
            assert deviation_bps(one.rate.rate, other.rate.rate) <= DEFAULT_SOURCES["hmrc"].deviation_bps, code
            compared += 1
    assert compared >= 25


@pytest.mark.parametrize("code", LANDS)
async def test_a_sandbox_prices_the_countries_of_the_demo_by_real_tables(sandbox: Market, code: str) -> None:
    mid = sandbox.mid("USD", code, NOW)
    assert mid.sandbox_as_of is not None
    assert mid.as_of <= mid.sandbox_as_of <= NOW
    back = sandbox.mid(code, "USD", NOW)
    assert mid.rate * back.rate == 1


async def test_known_magnitudes_are_what_a_traveller_expects(sandbox: Market) -> None:
    for code, low, high in (
        ("EUR", "0.5", "1.5"),
        ("JPY", "80", "300"),
        ("VND", "15000", "45000"),
        ("KWD", "0.2", "0.5"),
    ):
        assert Fraction(low) < sandbox.mid("USD", code, NOW).rate < Fraction(high), code


@pytest.mark.parametrize("code", ["BGN", "TRL", "LTL"])
async def test_a_currency_that_no_longer_exists_is_not_quoted(sandbox: Market, code: str) -> None:
    with pytest.raises(StaleRate):
        sandbox.mid("USD", code, NOW)


async def test_live_refuses_the_embedded_tables_once_they_are_old() -> None:
    market = Market([ecb.EcbSource(), hmrc.HmrcSource()], MarketPolicy(), MarketMode.LIVE)
    await market.refresh(NOW)
    newest = max(status.newest_as_of for status in market.statuses() if status.newest_as_of)
    assert market.mid("USD", "EUR", newest + timedelta(days=1)).sources[0].source == "ecb"
    with pytest.raises(StaleRate):
        market.mid("USD", "EUR", newest + timedelta(days=60))
    with pytest.raises(NoRate):
        market.mid("USD", "NGN", newest + timedelta(days=1))


async def test_a_broken_package_file_is_an_unavailable_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[SourceRate]:
        raise BadZipFile("File is not a zip file")

    monkeypatch.setattr(ecb, "newest_of_history", broken)
    with pytest.raises(SourceUnavailable, match="not a zip file"):
        await ecb.EcbSource().fetch()


async def test_a_fixed_rate_says_its_day_and_its_reason() -> None:
    source = FixedSource.from_config({"USD-USDT": {"rate": "1.000", "as_of": "2026-11-01", "reason": "at par"}})
    (rate,) = await source.fetch()
    assert rate == SourceRate("fixed", "USD", "USDT", Fraction(1), datetime(2026, 11, 1, tzinfo=UTC))
    assert source.reasons == {"USD-USDT": "at par"}


@pytest.mark.parametrize(
    ("pair", "change", "told"),
    [
        ("USDUSDT", {}, "a pair is two different codes"),
        ("USD-USD", {}, "a pair is two different codes"),
        ("USD-usdt", {}, "a pair is two different codes"),
        ("USD-NGN", {"rate": 1.5}, "not float"),
        ("USD-NGN", {"rate": "0"}, "above 0"),
        ("USD-NGN", {"rate": "-1"}, "above 0"),
        ("USD-NGN", {"rate": "NaN"}, "finite"),
        ("USD-NGN", {"rate": "1_0"}, "short decimal"),
        ("USD-NGN", {"rate": "٣"}, "short decimal"),
        ("USD-NGN", {"rate": "1e999999999"}, r"10\*\*18"),
        ("USD-NGN", {"rate": "five"}, "not a decimal number"),
        ("USD-NGN", {"as_of": "yesterday"}, "yesterday"),
        ("USD-NGN", {"as_of": "2026-11-01T12:00:00"}, "no zone"),
        ("USD-NGN", {"as_of": 20261101}, "is a date"),
        ("USD-NGN", {"reason": " "}, "say the reason"),
        ("USD-NGN", {"surprise": 1}, "nothing else"),
    ],
)
def test_a_wrong_fixed_rate_is_refused_by_name(pair: str, change: dict[str, object], told: str) -> None:
    entry = {"rate": "1600", "as_of": "2026-11-01", "reason": "none better"} | change
    with pytest.raises(BadRateConfig, match=told) as refused:
        FixedSource.from_config({pair: entry})
    assert pair in str(refused.value)


@pytest.mark.parametrize("value", [1.5, True, None, float("nan"), [1]])
def test_a_rate_is_never_made_of_a_float(value: object) -> None:
    with pytest.raises(ValueError, match="decimal string"):
        exact_rate(value)


@pytest.mark.parametrize(
    ("base", "quote", "rate", "as_of"),
    [
        ("USD", "BRL", Fraction(0), NOW),
        ("USD", "USD", Fraction(1), NOW),
        ("USD", "real", Fraction(5), NOW),
        ("USD", "BRL", Fraction(5), NOW.replace(tzinfo=None)),
    ],
)
def test_a_source_cannot_state_an_impossible_rate(base: str, quote: str, rate: Fraction, as_of: datetime) -> None:
    with pytest.raises(ValueError, match=r"a: |not a pair"):
        SourceRate("a", base, quote, rate, as_of)
