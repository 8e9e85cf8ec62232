"""The index and the quick router say what trying every rule, one by one, says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.config_source import ConfigInvalid, load_document
from orchestrator.routing.compiled import interpret_rules
from orchestrator.routing.conditions import conditions_of
from orchestrator.routing.engine import decide
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.health import HealthState
from orchestrator.routing.index import RuleIndex
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.quick import QuickRouter
from orchestrator.routing.rules import When
from tests.properties.test_routing_rules import METHODS, REGIONS, block, session, when
from tests.unit.routing.builders import DEMO, RATES, TODAY, everything


@given(st.lists(when, min_size=1, max_size=8), session, st.frozensets(st.sampled_from(METHODS)))
def test_the_index_finds_the_rule_that_trying_one_by_one_finds(
    written: list[dict[str, Any]], facts: RoutingFacts, methods: frozenset[str]
) -> None:
    rules = [conditions_of(When.model_validate(each), REGIONS) for each in written]
    outcomes = interpret_rules(rules)(facts, methods)
    assert RuleIndex(rules).match(facts, methods) == (outcomes.index(0) if 0 in outcomes else None)


SPLITS = [
    [],
    [{"id": "cards", "when": {"method": "card"}, "rail": "stripe"}],
    [
        {"id": "north", "when": {"country": ["DE", "NO"], "method": "usdt_bsc"}, "rail": "evm/bsc"},
        {"id": "all", "when": {}, "split": {"by": "customer", "weights": {"evm": 50, "stripe": 30, "adyen": 20}}},
    ],
]
health = st.dictionaries(
    st.sampled_from([option.key for option in DEMO.options]), st.sampled_from(list(HealthState)), max_size=4
)


@given(block, st.sampled_from(SPLITS), st.lists(session, min_size=1, max_size=5), health)
def test_the_quick_router_offers_what_the_engine_offers(
    written: dict[str, Any],
    rail_choice: list[dict[str, Any]],
    sessions: list[RoutingFacts],
    states: dict[tuple[str, str, str], HealthState],
) -> None:
    for number, rule in enumerate(written["rules"]):
        rule["id"] = f"rule-{number}"
    try:
        document = load_document(json.dumps({"routing": {**written, "rail_choice": rail_choice}}))
        ruleset = load_ruleset(document, DEMO, today=TODAY)
    except ConfigInvalid:
        assume(False)
    quick = QuickRouter(ruleset, DEMO, RATES.get, states, everything)
    for facts in [*sessions, *sessions]:
        whole = decide(facts, ruleset, DEMO, rates=RATES.get, health=states, supports=everything)
        answer = quick.offers(facts)
        assert (answer.offers, answer.rule) == (whole.offers, whole.matched_rule)
