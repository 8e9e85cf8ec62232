"""A stored decision, read by people."""

from __future__ import annotations

import json

import pytest

from orchestrator.routing.engine import decide
from orchestrator.routing.explain import DecisionUnreadable, explain, render
from orchestrator.routing.health import HealthState
from orchestrator.routing.overlay import read_overlay
from orchestrator.routing.ranking import Knowledge
from tests.unit.routing.builders import DEMO, DEMO_ROUTING, RATES, everything, facts, route, routing, rules
from tests.unit.routing.test_ranking import FEES, decided, ranking


def test_a_decision_is_told_with_the_condition_that_failed_and_what_was_there_instead() -> None:
    ruleset = rules(DEMO_ROUTING)
    told = explain(route(facts("BR", "3000.01"), ruleset).to_json(), ruleset)
    assert told["rules"][0] == {
        "id": "brazil-pix",
        "matched": False,
        "why": "wants amount_usd is at most 3000.00; amount_usd is 3000.01",
    }
    assert told["source"] == {"code": "defaults", "text": "no rule matched: the defaults"}
    assert told["options"][2] == {
        "rail": "adyen",
        "account": "main",
        "method": "ideal",
        "kept": False,
        "reason": "country_not_served",
        "text": "does not serve BR",
    }
    assert told["rail_choice"]["card"] == [{"id": "card-at-stripe", "matched": True, "why": "every condition holds"}]


def test_the_text_for_a_terminal_shows_offers_rules_and_options() -> None:
    ruleset = rules(
        routing(
            "rules:\n"
            "  - {id: risky, when: {any: [{risk: high}, {metadata.plan: free}], not: {country: DE}}, offers: [usdt]}\n"
            "  - {id: rest, offers: [pix, card]}\n"
        )
    )
    text = render(route(facts(), ruleset, health={("adyen", "main", "pix"): HealthState.DOWN}).to_json(), ruleset)
    assert text == (
        f"ruleset {ruleset.hash[:12]}\n"
        "facts   country BR, amount_usd 50.00, at 2026-11-23T12:00:00+00:00, mode test\n"
        "offers  the first rule that matched makes the offers\n"
        "  1  card  stripe/main  BRL  the first that can serve, in the order of config.yaml\n"
        "rules\n"
        "  no       risky  wants any of (risk is high; metadata.plan is free); "
        "risk is not known; metadata.plan is not there\n"
        "  matched  rest   it has no conditions\n"
        "options\n"
        "  kept     stripe/main   card           can serve, charging BRL\n"
        "  dropped  adyen/main    pix            is down\n"
        "  dropped  adyen/main    ideal          does not serve BR\n"
        "  dropped  adyen/main    gcash          does not serve BR\n"
        "  kept     tron/tron     usdt_tron      can serve, charging USDT\n"
        "  kept     evm/bsc       usdt_bsc       can serve, charging USDT\n"
        "  kept     evm/ethereum  usdt_ethereum  can serve, charging USDT\n"
    )


def test_the_text_says_what_a_rank_was_made_of_and_what_a_merchants_rule_did() -> None:
    ruleset = rules(routing("rules: [{id: fast, offers: [card, usdt], rank: speed}]\n"))
    overlay, _ = read_overlay({"rules": [{"id": "mine", "drop": ["card"]}]}, ruleset, DEMO)
    decision = decide(facts("DE"), ruleset, DEMO, rates=RATES.get, health={}, supports=everything, overlay=overlay)
    text = render(decision.to_json(), ruleset)
    assert "ranked by speed\n" in text
    assert "evm/bsc/usdt_bsc            takes 45 s\n" in text
    assert "merchant's rule mine: dropped card\n" in text

    cheap = ranking("cost")
    told = render(decided(facts("DE"), cheap, Knowledge(FEES)).to_json(), cheap)
    assert "ranked by cost\n" in told
    assert "(rail " in told
    likely = ranking("success")
    assert "from 0 tries in this cell" in render(decided(facts("DE"), likely, Knowledge(FEES)).to_json(), likely)


def test_another_ruleset_does_not_lend_its_words_to_a_decision_that_it_did_not_make() -> None:
    decision = route(facts("DE"), rules(DEMO_ROUTING)).to_json()
    for other in (None, rules(routing(""))):
        told = explain(decision, other)
        assert told["ruleset_at_hand"] is False
        assert told["rules"][0] == {"id": "rule 1", "matched": False, "why": "condition 1 failed"}
    assert "not at hand" in render(decision, None)


def test_a_decision_without_any_offer_is_told_too() -> None:
    ruleset = rules(routing("", defaults="[pix]"))
    assert "  none\n" in render(route(facts("DE"), ruleset).to_json(), ruleset)


def test_a_stored_form_of_another_version_is_refused() -> None:
    with pytest.raises(DecisionUnreadable):
        explain(json.dumps({"v": 99}), None)


def test_the_stored_form_is_small() -> None:
    assert len(route(facts("BR"), rules(DEMO_ROUTING)).to_json()) < 1_500
