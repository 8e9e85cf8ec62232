"""Whatever the rules and the session: the compiled function means what the YAML says, and a decision keeps its promises."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.base import Mode
from orchestrator.config_source import ConfigInvalid, load_document
from orchestrator.routing.compiled import compile_rules, interpret_rules
from orchestrator.routing.conditions import Condition, conditions_of, implies
from orchestrator.routing.decision import Decision, Source
from orchestrator.routing.eligibility import Reason
from orchestrator.routing.explain import explain, render
from orchestrator.routing.facts import WEEKDAYS, RoutingFacts
from orchestrator.routing.health import HealthState
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.rules import When
from orchestrator.routing.ruleset import Ruleset
from rates.money import WALLET_USD, Money
from tests.unit.routing.builders import DEMO, TODAY, route

REGIONS = {"latam": ("BR", "MX"), "sea": ("PH", "VN"), "north": ("DE", "NO")}
COUNTRIES = ["BR", "MX", "PH", "VN", "DE", "NO", "NL"]
WORDS = ["a", "b", "c"]
CODES = ["5734", "7372"]
METHODS = ["card", "pix", "usdt_tron", "usdt_bsc", "usdt"]


def some(words: list[str]) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(words), st.lists(st.sampled_from(words), min_size=1, max_size=3))


def band(most: int) -> st.SearchStrategy[dict[str, Any]]:
    ends = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    both = ends.map(lambda pair: {"min": pair[0], "max": pair[1]})
    return st.one_of(both, both.map(lambda ends: {"min": ends["min"]}), both.map(lambda ends: {"max": ends["max"]}))


LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "country": some(COUNTRIES),
    "region": some(list(REGIONS)),
    "currency": some(["EUR", "BRL"]),
    "method": some(METHODS),
    "merchant": some(WORDS),
    "merchant_category": some(CODES),
    "risk": some(["low", "medium", "high"]),
    "weekday": some(list(WEEKDAYS)),
    "hour": st.one_of(st.integers(0, 23), band(23)),
    "amount_usd": band(5),
    "customer_age_days": band(5),
    "metadata.plan": some(WORDS),
    "metadata.tier": some(WORDS),
}
leaf = st.lists(st.sampled_from(list(LEAVES)), min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: LEAVES[key] for key in keys})
)
when = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
        st.tuples(leaf, inner).map(lambda pair: {**pair[0], "not": pair[1]}),
    ),
    max_leaves=6,
)
session = st.builds(
    RoutingFacts,
    country=st.sampled_from(COUNTRIES),
    amount=st.integers(1, 6 * 10**9).map(lambda units: Money(units, WALLET_USD))
    | st.integers(1, 6).map(lambda dollars: Money(dollars * 10**9, WALLET_USD)),
    at=st.integers(0, 24 * 14).map(lambda hours: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)),
    mode=st.just(Mode.TEST),
    currency=st.sampled_from([None, "EUR", "BRL"]),
    merchant=st.sampled_from(WORDS),
    merchant_category=st.sampled_from(["", *CODES]),
    customer=st.text(max_size=5),
    customer_age_days=st.none() | st.integers(0, 6),
    risk=st.sampled_from([None, "low", "medium", "high"]),
    metadata=st.dictionaries(st.sampled_from(["plan", "tier"]), st.sampled_from(WORDS)),
    methods=st.none() | st.frozensets(st.sampled_from(METHODS), min_size=1),
)


def plain_meaning(written: dict[str, Any], facts: RoutingFacts, methods: frozenset[str]) -> bool:
    """Hold a ``when``, as it is written, against facts: told a second time, from the documentation alone."""
    return all(plain_key(key, value, facts, methods) for key, value in written.items())


def plain_key(key: str, value: Any, facts: RoutingFacts, methods: frozenset[str]) -> bool:  # noqa: PLR0911 -- one answer for each key
    words = value if isinstance(value, list) else [value]
    if key == "any":
        return any(plain_meaning(part, facts, methods) for part in value)
    if key == "all":
        return all(plain_meaning(part, facts, methods) for part in value)
    if key == "not":
        return not plain_meaning(value, facts, methods)
    if key == "region":
        return any(facts.country in REGIONS[name] for name in words)
    if key == "method":
        return any(word in methods for word in words)
    if key == "weekday":
        return facts.at.strftime("%a").lower() in words
    if key.startswith("metadata."):
        return facts.metadata.get(key.partition(".")[2]) in words
    if key in ("hour", "amount_usd", "customer_age_days"):
        numbers = {"hour": facts.at.hour, "customer_age_days": facts.customer_age_days}
        number = Decimal(facts.amount.units) / 10**9 if key == "amount_usd" else numbers[key]
        ends = value if isinstance(value, dict) else {"min": value, "max": value}
        return number is not None and ends.get("min", number) <= number <= ends.get("max", number)
    return getattr(facts, key) in words


@given(st.lists(when, min_size=1, max_size=6), session, st.frozensets(st.sampled_from(METHODS)))
def test_compiled_rules_mean_what_is_written(
    written: list[dict[str, Any]], facts: RoutingFacts, methods: frozenset[str]
) -> None:
    rules = [conditions_of(When.model_validate(each), REGIONS) for each in written]
    outcomes = compile_rules(rules)(facts, methods)
    assert outcomes == interpret_rules(rules)(facts, methods)
    assert [outcome == 0 for outcome in outcomes] == [plain_meaning(each, facts, methods) for each in written]
    assert all(0 <= outcome <= len(rule) for outcome, rule in zip(outcomes, rules, strict=True))


def turned(written: Any) -> Any:
    """Return the same, with every mapping and every set of words written the other way round."""
    if isinstance(written, dict):
        return {key: turned(written[key]) for key in reversed(written)}
    return [turned(one) for one in reversed(written)] if isinstance(written, list) else written


@given(st.lists(when, min_size=1, max_size=6), session, st.randoms(use_true_random=False))
def test_the_order_in_which_facts_and_conditions_are_told_means_nothing(
    written: list[dict[str, Any]], facts: RoutingFacts, dice: Random
) -> None:
    named = facts.methods or frozenset()
    matched = [outcome == 0 for outcome in compile_rules(ways(written))(facts, named)]
    stored = list(facts.to_json().items())
    dice.shuffle(stored)
    again = RoutingFacts.from_json(turned(dict(stored)))
    assert again == facts
    assert [outcome == 0 for outcome in compile_rules(ways([turned(one) for one in written]))(again, named)] == matched


def ways(written: list[dict[str, Any]]) -> list[tuple[Condition, ...]]:
    return [conditions_of(When.model_validate(each), REGIONS) for each in written]


@given(leaf, leaf, session, st.frozensets(st.sampled_from(METHODS)))
def test_a_condition_that_implies_another_never_holds_without_it(
    one: dict[str, Any], other: dict[str, Any], facts: RoutingFacts, methods: frozenset[str]
) -> None:
    narrow, wide = (conditions_of(When.model_validate(each), REGIONS) for each in (one, other))
    for left in narrow:
        for right in wide:
            holds = compile_rules([(left,), (right,)])(facts, methods)
            assert not (implies(left, right) and holds[0] == 0 and holds[1] != 0)


offer = st.sampled_from(["card", "pix", "ideal", "usdt", "usdt_bsc", {"method": "usdt", "rail": "evm"}])
block = st.fixed_dictionaries(
    {
        "regions": st.just({name: list(countries) for name, countries in REGIONS.items()}),
        "defaults": st.fixed_dictionaries({"offers": st.lists(offer, min_size=1, max_size=3)}),
        "rules": st.lists(
            st.fixed_dictionaries(
                {
                    "when": when,
                    "offers": st.lists(offer, min_size=1, max_size=3),
                    "otherwise": st.sampled_from(["defaults", "nothing"]),
                }
            ),
            max_size=4,
        ),
    }
)
health = st.dictionaries(
    st.sampled_from([option.key for option in DEMO.options]), st.sampled_from(list(HealthState)), max_size=4
)


def nothing_is_dropped_in_silence(decision: Decision, kept: set[tuple[str, str, str]], ruleset: Ruleset) -> None:
    """What the deciding list writes and can serve is offered; for all else a reason is stored, and told in words."""
    if decision.source in (Source.RULE, Source.NOTHING_AFTER_RULE):
        assert decision.matched_rule is not None
        written = ruleset.rules[decision.matched_rule].offers
    else:
        written = ruleset.defaults
    able = {
        option.method
        for entry in written
        for method in DEMO.expand(entry.method)
        for option in (DEMO.options[at] for at in DEMO.find(method, entry.rail, entry.account))
        if option.key in kept
    }
    assert {offer.method for offer in decision.offers} == able
    told = explain(decision.to_json(), ruleset)
    assert len(told["options"]) == len(DEMO.options)
    assert all(
        one["text"] and one["kept"] == ((one["rail"], one["account"], one["method"]) in kept) for one in told["options"]
    )


@settings(max_examples=60)
@given(block, session, health)
def test_a_decision_offers_only_what_can_serve_and_can_be_made_again_from_what_is_stored(
    written: dict[str, Any], facts: RoutingFacts, states: dict[tuple[str, str, str], HealthState]
) -> None:
    for number, rule in enumerate(written["rules"]):
        rule["id"] = f"r{number}"
    try:
        ruleset = load_ruleset(load_document(json.dumps({"routing": written})), DEMO, today=TODAY)
    except ConfigInvalid as invalid:
        assume("can never match" not in str(invalid))
        raise
    decision = route(facts, ruleset, health=states)

    kept = {
        option.key: said[1]
        for option, said in zip(DEMO.options, decision.option_outcomes, strict=True)
        if said[0] in (Reason.KEPT, Reason.KEPT_DEGRADED)
    }
    offered = [(offer.rail, offer.account, offer.method) for offer in decision.offers]
    assert len(set(offered)) == len(offered)
    assert all(kept[key] == offer.currency for key, offer in zip(offered, decision.offers, strict=True))
    assert all(states.get(key) is not HealthState.DOWN for key in offered)
    nothing_is_dropped_in_silence(decision, set(kept), ruleset)
    assert decision.rule_outcomes is not None
    if decision.matched_rule is None:
        assert decision.source is Source.DEFAULTS
        assert 0 not in decision.rule_outcomes
    else:
        assert decision.rule_outcomes.index(0) == decision.matched_rule
        assert (decision.source is Source.RULE) == any(one.source_rule != "defaults" for one in decision.offers)

    stored = decision.to_json()
    again = load_ruleset(load_document(ruleset.canonical), DEMO, today=TODAY, prefix=())
    assert again.hash == ruleset.hash
    repeated = route(RoutingFacts.from_json(json.loads(stored)["facts"]), again, health=states)
    assert repeated.to_json() == stored
    assert render(stored, ruleset) == render(stored, again)
