"""What each condition means, through the whole way from YAML to the compiled function."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest

from orchestrator.config_source import load_document
from orchestrator.routing.conditions import conditions_of, implies
from orchestrator.routing.facts import RISKS, WEEKDAYS, RoutingFacts
from orchestrator.routing.rule_words import Risk, Weekday
from orchestrator.routing.rules import When
from tests.unit.routing.builders import facts, route, routing, rules


def matches(when: str, session: RoutingFacts) -> bool:
    body = f"regions: {{latam: [BR, MX], sea: [VN, PH]}}\nrules:\n  - {{id: a, when: {when}, offers: [card]}}"
    return route(session, rules(routing(body))).matched_rule == 0


def at(day: int, hour: int) -> datetime:
    return datetime(2026, 11, day, hour, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "known", "expected"),
    [
        ("{country: BR}", {"country": "BR"}, True),
        ("{country: [DE, BR]}", {"country": "BR"}, True),
        ("{country: [DE, NL]}", {"country": "BR"}, False),
        ("{region: latam}", {"country": "MX"}, True),
        ("{region: [latam, sea]}", {"country": "PH"}, True),
        ("{region: latam}", {"country": "DE"}, False),
        ("{country: BR, region: sea}", {"country": "BR"}, False),
        ("{currency: EUR}", {"currency": "EUR"}, True),
        ("{currency: EUR}", {}, False),
        ("{amount_usd: {max: 3000}}", {"amount": "3000"}, True),
        ("{amount_usd: {max: 3000}}", {"amount": "3000.000000001"}, False),
        ("{amount_usd: {min: 0.10}}", {"amount": "0.1"}, True),
        ("{amount_usd: {min: 0.10}}", {"amount": "0.099999999"}, False),
        ("{merchant: [m1, m2]}", {"merchant": "m2"}, True),
        ("{merchant_category: 5734}", {"merchant_category": "5734"}, True),
        ("{merchant_category: ['0742', 7372]}", {"merchant_category": "0742"}, True),
        ("{merchant_category: 5734}", {}, False),
        ("{not: {merchant_category: 5734}}", {}, True),
        ("{customer_age_days: {min: 30}}", {"customer_age_days": 30}, True),
        ("{customer_age_days: {max: 30}}", {"customer_age_days": 31}, False),
        ("{customer_age_days: {min: 0}}", {}, False),
        ("{not: {customer_age_days: {min: 30}}}", {}, True),
        ("{customer_age_days: 0}", {"customer_age_days": 0}, True),
        ("{risk: [medium, high]}", {"risk": "high"}, True),
        ("{risk: high}", {}, False),
        ("{hour: {min: 9, max: 17}}", {"at": at(23, 17)}, True),
        ("{hour: {min: 9, max: 17}}", {"at": at(23, 18)}, False),
        ("{hour: 0}", {"at": at(23, 0)}, True),
        ("{weekday: mon}", {"at": at(23, 0)}, True),
        ("{weekday: [sat, sun]}", {"at": at(29, 23)}, True),
        ("{weekday: [sat, sun]}", {"at": at(30, 0)}, False),
        ("{metadata.plan: [pro, team]}", {"metadata": {"plan": "team"}}, True),
        ("{metadata: {plan: pro, tier: '3'}}", {"metadata": {"plan": "pro", "tier": "3"}}, True),
        ("{metadata: {plan: pro}, metadata.tier: '3'}", {"metadata": {"plan": "pro"}}, False),
        ("{metadata.plan: pro}", {}, False),
        ("{method: pix}", {"methods": frozenset({"pix", "card"})}, True),
        ("{method: pix}", {}, False),
        ("{method: usdt}", {"methods": frozenset({"usdt_bsc"})}, True),
        ("{method: usdt_bsc}", {"methods": frozenset({"usdt"})}, True),
        ("{any: [{country: DE}, {risk: high}]}", {"risk": "high"}, True),
        ("{any: [{country: DE}, {risk: high}]}", {"risk": "low"}, False),
        ("{all: [{country: BR}, {not: {risk: high}}]}", {"risk": "low"}, True),
        ("{all: [{country: BR}, {not: {risk: high}}]}", {"risk": "high"}, False),
        ("{not: {country: BR, risk: high}}", {"risk": "low"}, True),
        ("{not: {any: [{country: BR}, {country: DE}]}}", {"country": "BR"}, False),
    ],
)
def test_a_condition_means(when: str, known: dict[str, Any], expected: bool) -> None:
    assert matches(when, facts(**known)) is expected


def test_words_of_the_rules_are_those_of_the_facts() -> None:
    assert get_args(Weekday) == WEEKDAYS
    assert get_args(Risk) == RISKS


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "0"},
        {"amount": "-1"},
        {"country": "brazil"},
        {"risk": "huge"},
        {"at": datetime(2026, 11, 23)},  # noqa: DTZ001 -- a time without a zone is what is refused
        {"at": datetime(2026, 11, 23, tzinfo=timezone(timedelta(hours=1)))},
    ],
)
def test_facts_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"country|amount|at is a time|risk"):
        facts(**wrong)


def test_facts_survive_being_stored() -> None:
    session = facts(
        "NO",
        "0.000000001",
        customer="c",
        merchant_category="0742",
        risk="low",
        metadata={"plan": "pro"},
        methods=frozenset({"pix"}),
    )
    assert RoutingFacts.from_json(session.to_json()) == session
    assert RoutingFacts.from_json(facts().to_json()) == facts()


def test_what_a_user_writes_never_becomes_code() -> None:
    nasty = "__import__('os')); raise SystemExit(('"
    body = f'rules:\n  - {{id: a, when: {{merchant: "{nasty}", "metadata.{nasty}": "{nasty}"}}, offers: [card]}}'
    ruleset = rules(routing(body))
    assert route(facts(merchant=nasty, metadata={nasty: nasty}), ruleset).matched_rule == 0
    assert route(facts(), ruleset).matched_rule is None


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        ("{amount_usd: {min: 2, max: 3}}", "{amount_usd: {min: 1, max: 3}}", True),
        ("{amount_usd: {min: 1, max: 3}}", "{amount_usd: {min: 2, max: 3}}", False),
        ("{amount_usd: {min: 1, max: 3}}", "{amount_usd: {max: 2}}", False),
        ("{amount_usd: {min: 1}}", "{amount_usd: {max: 2}}", False),
        ("{hour: {min: 2}}", "{customer_age_days: {min: 1}}", False),
        ("{country: BR}", "{region: latam}", True),
        ("{region: latam}", "{country: BR}", False),
        ("{metadata.plan: a}", "{metadata.plan: [a, b]}", True),
        ("{metadata.plan: a}", "{metadata.tier: a}", False),
        ("{method: [pix]}", "{method: [pix, card]}", True),
        ("{not: {country: BR}}", "{not: {country: BR}}", True),
    ],
)
def test_one_condition_covers_another_only_where_it_certainly_holds_too(narrow: str, wide: str, expected: bool) -> None:
    regions = {"latam": ("BR", "MX")}
    one, other = (conditions_of(When.model_validate(load_document(text).data), regions)[0] for text in (narrow, wide))
    assert implies(one, other) is expected
