from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fractions import Fraction

import pytest

from rates.errors import BadRateConfig, NoRate, SourcesDisagree, SourceUnavailable, StaleRate, TooFewSources
from rates.market import Market
from rates.policy import MarketMode, MarketPolicy, SourcePolicy
from rates.sources.port import SourceKind, SourceRate

from .builders import DAY, HOUR, NOW, market, policy, says


async def test_the_freshest_of_those_that_agree_is_the_mid() -> None:
    found = await market(says("a", {"USD-BRL": "5.40"}, age=DAY), says("b", {"USD-BRL": "5.41"}, age=HOUR))
    mid = found.mid("USD", "BRL", NOW)
    assert mid.rate == Fraction("5.41")
    assert mid.as_of == NOW - HOUR
    assert [one.source for one in mid.sources] == ["b", "a"]
    assert mid.dropped == ()
    assert mid.sandbox_as_of is None


async def test_a_pair_is_found_inverted_and_crossed_inside_one_source() -> None:
    found = await market(says("a", {"EUR-USD": "1.25", "EUR-BRL": "6.25"}))
    assert found.mid("USD", "EUR", NOW).rate == Fraction(4, 5)
    mid = found.mid("BRL", "USD", NOW)
    assert mid.rate == Fraction(1, 5)
    assert [(leg.base, leg.quote) for leg in mid.legs] == [("BRL", "EUR"), ("EUR", "USD")]


async def test_a_cross_is_as_old_as_its_older_leg() -> None:
    old, new = says("a", {"EUR-USD": "1.25"}, age=DAY), says("a", {"EUR-BRL": "6.25"}, age=HOUR)
    found = await market(replace(old, rates=old.rates + new.rates))
    assert found.mid("USD", "BRL", NOW).as_of == NOW - DAY


async def test_of_two_statements_of_one_source_the_newer_counts() -> None:
    new, old = says("a", {"USD-BRL": "5.40"}, age=HOUR), says("a", {"USD-BRL": "9"}, age=DAY)
    found = await market(replace(new, rates=new.rates + old.rates))
    assert found.mid("USD", "BRL", NOW).rate == Fraction("5.4")


async def test_two_agreed_mids_make_a_pair_that_no_source_has() -> None:
    found = await market(says("peg", {"USD-USDT": "1"}), says("a", {"GBP-USD": "1.25", "GBP-NGN": "2000"}, age=DAY))
    mid = found.mid("USDT", "NGN", NOW)
    assert mid.rate == 1600
    assert mid.as_of == NOW - DAY
    assert [leg.source for leg in mid.legs] == ["peg", "a", "a"]
    with pytest.raises(StaleRate):
        found.mid("USDT", "NGN", NOW + 6 * DAY)


async def test_an_outlier_is_dropped_when_two_others_agree() -> None:
    found = await market(
        says("a", {"USD-BRL": "5.40"}, age=DAY),
        says("b", {"USD-BRL": "5.41"}, age=2 * DAY),
        says("wild", {"USD-BRL": "54.0"}, age=HOUR),
    )
    mid = found.mid("USD", "BRL", NOW)
    assert mid.rate == Fraction("5.4")
    assert [one.source for one in mid.sources] == ["a", "b"]
    ((source, reason),) = mid.dropped
    assert source == "wild"
    assert reason.startswith("outlier")


async def test_two_that_contradict_each_other_give_no_rate_even_where_one_would_do() -> None:
    found = await market(says("a", {"USD-BRL": "5.40"}), says("b", {"USD-BRL": "5.50"}))
    with pytest.raises(SourcesDisagree) as refused:
        found.mid("USD", "BRL", NOW)
    assert {source for source, _ in refused.value.reasons} == {"a", "b"}
    assert "185 bps from a" in str(refused.value)


async def test_half_of_the_sources_is_no_majority() -> None:
    found = await market(
        *(says(name, {"USD-BRL": rate}) for name, rate in zip("abcd", ("5", "5", "6", "7"), strict=True))
    )
    with pytest.raises(SourcesDisagree):
        found.mid("USD", "BRL", NOW)


async def test_a_coarse_source_in_the_middle_does_not_reconcile_two_fine_ones() -> None:
    rules = MarketPolicy(sources={n: SourcePolicy(6 * DAY, b) for n, b in {"a": 100, "b": 100, "coarse": 1600}.items()})
    found = await market(
        says("a", {"USD-BRL": "5.00"}),
        says("b", {"USD-BRL": "5.50"}),
        says("coarse", {"USD-BRL": "5.25"}),
        rules=rules,
    )
    with pytest.raises(SourcesDisagree):
        found.mid("USD", "BRL", NOW)


async def test_the_wider_limit_of_two_sources_counts_between_them() -> None:
    rules = MarketPolicy(sources={"fine": SourcePolicy(6 * DAY, 10), "coarse": SourcePolicy(6 * DAY, 1600)})
    found = await market(says("fine", {"USD-BRL": "5.40"}), says("coarse", {"USD-BRL": "5.00"}, age=DAY), rules=rules)
    assert found.mid("USD", "BRL", NOW).rate == Fraction("5.4")


async def test_equally_fresh_sources_are_chosen_between_by_their_limit_and_not_by_their_order() -> None:
    rules = MarketPolicy(sources={"a": SourcePolicy(6 * DAY, 1000), "b": SourcePolicy(6 * DAY, 100)})
    pair = (says("a", {"USD-BRL": "5.40"}), says("b", {"USD-BRL": "5.41"}))
    for order in (pair, pair[::-1]):
        assert (await market(*order, rules=rules)).mid("USD", "BRL", NOW).sources[0].source == "b"


async def test_too_few_sources_is_an_error_with_the_reason_of_each() -> None:
    rules = policy("a", "b", "c", sources_min_by_currency={"NGN": 2})
    found = await market(
        says("a", {"USD-NGN": "1600", "USD-BRL": "5.4"}),
        says("b", {"USD-NGN": "1600"}, age=9 * DAY),
        says("c", {"USD-BRL": "5.4"}),
        rules=rules,
    )
    assert found.mid("USD", "BRL", NOW).rate == Fraction("5.4")
    with pytest.raises(TooFewSources) as refused:
        found.mid("USD", "NGN", NOW)
    reasons = dict(refused.value.reasons)
    assert reasons["a"].startswith("agrees")
    assert reasons["b"].startswith("stale")
    assert reasons["c"] == "does not have it"


async def test_two_sources_of_one_origin_count_once() -> None:
    echo = SourcePolicy(6 * DAY, 100, origin="a")
    rules = MarketPolicy(sources={"a": SourcePolicy(6 * DAY, 100), "echo": echo}, sources_min=2)
    found = await market(says("a", {"USD-BRL": "5.4"}), says("echo", {"USD-BRL": "5.4"}), rules=rules)
    with pytest.raises(TooFewSources, match="1 independent"):
        found.mid("USD", "BRL", NOW)


async def test_live_refuses_a_stale_rate_also_one_that_was_cached_while_fresh() -> None:
    found = await market(says("a", {"USD-BRL": "5.4"}, age=HOUR))
    last = NOW - HOUR + 6 * DAY
    assert found.mid("USD", "BRL", NOW) is found.mid("USD", "BRL", last)
    with pytest.raises(StaleRate, match="stale"):
        found.mid("USD", "BRL", last + timedelta(seconds=1))


async def test_a_cached_mid_is_decided_anew_once_one_that_agreed_is_stale() -> None:
    found = await market(
        says("a", {"USD-BRL": "5.4"}), says("b", {"USD-BRL": "5.4"}, age=5 * DAY), rules=policy("a", "b", sources_min=2)
    )
    assert len(found.mid("USD", "BRL", NOW + DAY).sources) == 2
    with pytest.raises(TooFewSources):
        found.mid("USD", "BRL", NOW + DAY + timedelta(seconds=1))


async def test_a_live_clock_that_goes_back_does_not_find_a_rate_from_its_future_in_the_cache() -> None:
    found = await market(says("a", {"USD-BRL": "5.4"}, age=HOUR))
    assert found.mid("USD", "BRL", NOW).rate == Fraction("5.4")
    with pytest.raises(StaleRate, match="future"):
        found.mid("USD", "BRL", NOW - DAY)


async def test_live_lets_an_old_table_check_but_not_price() -> None:
    rules = MarketPolicy(sources={"daily": SourcePolicy(6 * DAY, 100), "monthly": SourcePolicy(46 * DAY, 1600)})
    daily, monthly = (
        says("daily", {"USD-BRL": "5.4"}),
        says("monthly", {"USD-BRL": "5.0", "USD-NGN": "1600"}, age=30 * DAY),
    )
    found = await market(daily, monthly, rules=rules)
    assert [one.source for one in found.mid("USD", "BRL", NOW).sources] == ["daily", "monthly"]
    with pytest.raises(StaleRate, match="too old to be charged"):
        found.mid("USD", "NGN", NOW)
    taken = replace(rules, live_age_max_by_currency={"NGN": 46 * DAY})
    assert (await market(daily, monthly, rules=taken)).mid("USD", "NGN", NOW).rate == 1600


async def test_live_does_not_believe_a_rate_from_the_future() -> None:
    found = await market(says("a", {"USD-BRL": "5.4"}, age=-HOUR))
    with pytest.raises(StaleRate, match="future"):
        found.mid("USD", "BRL", NOW)


async def test_a_sandbox_quotes_as_of_the_newest_embedded_date_and_says_so() -> None:
    source = says("a", {"USD-BRL": "5.4"}, age=400 * DAY)
    found = await market(source, mode=MarketMode.SANDBOX)
    mid = found.mid("USD", "BRL", NOW)
    assert mid.rate == Fraction("5.4")
    assert mid.as_of == mid.sandbox_as_of == NOW - 400 * DAY
    with pytest.raises(StaleRate):
        (await market(source, mode=MarketMode.LIVE)).mid("USD", "BRL", NOW)


async def test_a_sandbox_does_not_quote_a_currency_that_died_before_the_newest_date() -> None:
    alive, dead = says("a", {"EUR-USD": "1.1"}, age=20 * DAY), says("a", {"EUR-BGN": "1.9558"}, age=330 * DAY)
    found = await market(replace(alive, rates=alive.rates + dead.rates), mode=MarketMode.SANDBOX)
    assert found.mid("USD", "EUR", NOW).rate == Fraction(10, 11)
    with pytest.raises(StaleRate):
        found.mid("USD", "BGN", NOW)


async def test_a_currency_in_itself_is_one_and_needs_no_source() -> None:
    assert (await market(says("a", {"USD-BRL": "5.4"}))).mid("USD", "USD", NOW).rate == 1


async def test_an_unknown_currency_says_that_no_source_has_it() -> None:
    with pytest.raises(NoRate, match="no source has it") as refused:
        (await market(says("a", {"USD-BRL": "5.4"}))).mid("USD", "XYZ", NOW)
    assert refused.value.reasons == (("a", "does not have it"),)


async def test_before_the_first_refresh_there_is_no_rate() -> None:
    with pytest.raises(NoRate, match="not asked yet"):
        Market([says("a", {"USD-BRL": "5.4"})], policy("a"), MarketMode.SANDBOX).mid("USD", "BRL", NOW)


def test_a_source_without_a_policy_or_with_another_ones_name_is_refused_at_the_start() -> None:
    with pytest.raises(BadRateConfig, match="no policy"):
        Market([says("a", {})], policy("b"), MarketMode.SANDBOX)
    with pytest.raises(BadRateConfig, match="one name"):
        Market([says("a", {}), says("a", {})], policy("a"), MarketMode.SANDBOX)


@dataclass
class Moody:
    """A source over a script: each fetch takes the next step of it."""

    steps: list[Sequence[SourceRate] | Exception | float]
    name: str = "moody"
    kind: SourceKind = SourceKind.NETWORK
    ttl_seconds: float | None = 600
    fetches: int = field(default=0)

    async def fetch(self) -> Sequence[SourceRate]:
        self.fetches += 1
        match self.steps.pop(0):
            case Exception() as error:
                raise error
            case float() as seconds:
                await asyncio.sleep(seconds)
                return []
            case rates:
                return rates


async def test_a_source_that_fails_is_remembered_and_does_not_spoil_the_others() -> None:
    sick = Moody([SourceUnavailable("sick", "HTTP 504")], name="sick")
    buggy = Moody([KeyError("rates")], name="buggy")
    silent = Moody([30.0], name="silent")
    names = ("a", "sick", "buggy", "silent")
    found = Market(
        [says("a", {"USD-BRL": "5.4"}), sick, buggy, silent],
        policy(*names),
        MarketMode.LIVE,
        fetch_timeout_seconds=0.05,
    )
    errors = {status.name: status.error for status in await found.refresh(NOW)}
    assert errors == {
        "a": None,
        "sick": "HTTP 504",
        "buggy": "a bug in this source: KeyError('rates')",
        "silent": "no answer within 0.05 s",
    }
    mid = found.mid("USD", "BRL", NOW)
    assert mid.rate == Fraction("5.4")
    assert dict(mid.dropped)["sick"] == "HTTP 504"


async def test_what_a_source_said_is_kept_while_it_is_down_until_it_is_stale() -> None:
    good = says("moody", {"USD-BRL": "5.4"}).rates
    moody = Moody([good, SourceUnavailable("moody", "HTTP 504")])
    found = Market([moody], policy("moody"), MarketMode.LIVE)
    await found.refresh(NOW)
    await found.refresh(NOW + timedelta(seconds=599))
    assert moody.fetches == 1
    (status,) = await found.refresh(NOW + timedelta(seconds=600))
    assert (moody.fetches, status.error, status.fetched_at) == (2, "HTTP 504", NOW)
    assert found.mid("USD", "BRL", NOW + DAY).rate == Fraction("5.4")
    with pytest.raises(StaleRate):
        found.mid("USD", "BRL", NOW + 7 * DAY)


async def test_a_refresh_replaces_the_cached_mid_and_a_failed_source_is_asked_again_soon() -> None:
    moody = Moody(
        [
            says("moody", {"USD-BRL": "5.4"}, age=DAY).rates,
            SourceUnavailable("moody", "HTTP 504"),
            says("moody", {"USD-BRL": "5.5"}).rates,
        ]
    )
    found = Market([moody], policy("moody"), MarketMode.LIVE)
    await found.refresh(NOW)
    assert found.mid("USD", "BRL", NOW).rate == Fraction("5.4")
    later = NOW + timedelta(seconds=600)
    await found.refresh(later)
    await found.refresh(later + timedelta(seconds=59))
    assert moody.fetches == 2
    (status,) = await found.refresh(later + timedelta(seconds=60))
    assert status.error is None
    assert found.mid("USD", "BRL", later).rate == Fraction("5.5")


async def test_concurrent_refreshes_ask_a_source_once() -> None:
    moody = Moody([says("moody", {"USD-BRL": "5.4"}).rates])
    found = Market([moody], policy("moody"), MarketMode.LIVE)
    await asyncio.gather(*(found.refresh(NOW) for _ in range(20)))
    assert moody.fetches == 1
    assert found.currencies() == {"USD", "BRL"}
