"""Rules that cannot be used do not load, and say where and why."""

from __future__ import annotations

import json

import pytest

from adapters.base import Mode
from orchestrator.config_source import ConfigInvalid, load_document
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.countries import country_hint
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.rules import RoutingBlock
from orchestrator.routing.ruleset import Pricing
from tests.unit.routing.builders import DEMO, DEMO_ROUTING, TODAY, facts, option, route, routing, rules


def refusal(body: str, defaults: str = "[card, usdt]") -> list[str]:
    """Return the first line of each problem."""
    with pytest.raises(ConfigInvalid) as caught:
        rules(routing(body, defaults))
    return [str(problem).split("\n", 1)[0] for problem in caught.value.problems]


def test_the_rules_of_the_demo_load_and_pass_their_own_tests() -> None:
    ruleset = rules(DEMO_ROUTING)
    assert [rule.id for rule in ruleset.rules][:2] == ["brazil-pix", "netherlands-ideal"]
    assert ruleset.pricing[0] == Pricing("USD-NGN", 250, None)
    assert ruleset.warnings == ()


def test_norway_is_a_country() -> None:
    ruleset = rules(routing("rules:\n  - {id: norway, when: {country: NO}, offers: [card]}"))
    assert route(facts("NO"), ruleset).matched_rule == 0


def test_a_country_that_is_none_is_shown_with_its_line_and_the_code_that_was_meant() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        rules(routing("rules:\n  - {id: a, when: {country: BRA}, offers: [card]}"))
    assert str(caught.value) == (
        "config.yaml:4:31: routing.rules[0].when.country: BRA is no country (ISO 3166-1 alpha-2) "
        "(did you mean 'BR'?)\n"
        "        - {id: a, when: {country: BRA}, offers: [card]}\n"
        "                                  ^"
    )


BROKEN = [  # what is written, the (last) place that is pointed at, and the words
    (
        "rules:\n  - {id: a, when: {region: atlantis}, offers: [card]}\nregions: {atlantic: [PT]}",
        "atlantis}",
        "routing.rules[0].when.region: no region atlantis (did you mean 'atlantic'?)",
    ),
    (
        "rules:\n  - {id: a, when: {country: BR}, offers: [pixx]}",
        "pixx]",
        "routing.rules[0].offers[0].method: no rail offers the method pixx (did you mean 'pix'?)",
    ),
    (
        "rules:\n  - {id: a, offers: [{method: pix, rail: adyn}]}",
        "adyn}",
        "routing.rules[0].offers[0].rail: no rail adyn is loaded (did you mean 'adyen'?)",
    ),
    (
        "rules:\n  - {id: a, offers: [{method: card, rail: adyen}]}",
        "adyen}]",
        (
            "routing.rules[0].offers[0].rail: adyen does not offer card (it offers pix, ideal, gcash; card "
            "is offered by stripe)"
        ),
    ),
    (
        "rules:\n  - {id: a, offers: [{method: usdt, rail: evm, account: bcs}]}",
        "bcs}",
        "routing.rules[0].offers[0].account: evm has no account bcs (did you mean 'bsc'?)",
    ),
    (
        ("rules:\n  - {id: a, when: {country: BR}, offers: [card]}\n  - {id: a, when: {country: DE}, offers: [card]}"),
        "a, when: {country: DE}",
        "routing.rules[1].id: the id a is used twice; first in line 4",
    ),
    (
        "rail_choice:\n  - {id: s, when: {method: card}, split: {by: customer, weights: {stripe: 80}}}",
        "{stripe: 80}}}",
        "routing.rail_choice[0].split.weights: the weights add up to 80, not 100",
    ),
    (
        ("rail_choice:\n  - {id: s, when: {method: card}, split: {by: customer, weights: {stripe: 80, adyen: 20}}}"),
        "adyen: 20}",
        (
            "routing.rail_choice[0].split.weights.adyen: adyen does not offer card (it offers pix, ideal, "
            "gcash; card is offered by stripe)"
        ),
    ),
    (
        "rail_choice:\n  - {id: s, when: {method: card}}",
        "{id: s",
        "routing.rail_choice[0]: needs either rail or split",
    ),
    (
        "rules:\n  - {id: a, offers: []}",
        "[]",
        "routing.rules[0].offers: needs at least 1",
    ),
    (
        "rules:\n  - {id: all, offers: [card]}\n  - {id: late, when: {country: BR}, offers: [pix]}",
        "late,",
        "routing.rules[1].id: late can never match: all, further up, has no conditions (move it up or remove it)",
    ),
    (
        (
            "rules:\n  - {id: wide, when: {country: [BR, MX], amount_usd: {max: 9}}, offers: [card]}\n"
            "  - {id: narrow, when: {country: BR, amount_usd: {min: 1, max: 5}, risk: low}, offers: [pix]}"
        ),
        "narrow,",
        (
            "routing.rules[1].id: narrow can never match: wide, further up, matches whenever this one would "
            "(move it up or remove it)"
        ),
    ),
    (
        "rules:\n  - {id: a, when: {country: }, offers: [card]}",
        " }, offers",
        "routing.rules[0].when.country: is empty: write a value or remove the key",
    ),
    (
        "rules:\n  - {id: a, when: {contry: BR}, offers: [card]}",
        "contry",
        "routing.rules[0].when.contry: this key is not known (did you mean 'country'?)",
    ),
    (
        "rules:\n  - {id: a, when: {not: {weekday: friday}}, offers: [card]}",
        "friday",
        ("routing.rules[0].when.not.weekday: must be one of mon, tue, wed, thu, fri, sat, sun (did you mean 'fri'?)"),
    ),
    (
        "rules:\n  - {id: a, when: {any: [{}]}, offers: [card]}",
        "{}]",
        "routing.rules[0].when.any[0]: has no condition, so it always holds (write one or remove it)",
    ),
    (
        "rules:\n  - {id: a, when: {hour: {min: 22, max: 5}}, offers: [card]}",
        "{min: 22",
        (
            "routing.rules[0].when.hour: min is above max, so nothing matches (over midnight: any: [{hour: "
            "{min: 22}}, {hour: {max: 5}}])"
        ),
    ),
    (
        "rules:\n  - {id: a, when: {metadata.plan: 3}, offers: [card]}",
        "3}",
        "routing.rules[0].when.metadata.plan: must be text (put it in quotes)",
    ),
    (
        "rules:\n  - {id: a, when: {amount_usd: {max: -1}}, offers: [card]}",
        "-1}",
        "routing.rules[0].when.amount_usd.max: an amount is not below zero",
    ),
    (
        "rules:\n  - {id: a, when: {amount_usd: {max: 0.0000000001}}, offers: [card]}",
        "0.0000000001",
        "routing.rules[0].when.amount_usd.max: USD has 9 decimals here; this amount has more",
    ),
    (
        "pricing:\n  - {corridor: USD-BRL, spread_bps: 10}\n  - {corridor: USD-BRL, spread_bps: 20}",
        "{corridor: USD-BRL, spread_bps: 20}",
        "routing.pricing[1]: USD-BRL is priced twice; first in line 4",
    ),
    (
        "rules:\n  - {id: a, when: {currency: eur}, offers: [card]}",
        "eur}",
        (
            "routing.rules[0].when.currency: 'eur' is not an ISO 4217 currency and not a token that is known here "
            "(did you mean 'EUR'?)"
        ),
    ),
    (
        "rules:\n  - {id: a, when: {amount_usd: {max: true}}, offers: [card]}",
        "true",
        "routing.rules[0].when.amount_usd.max: must be an amount in USD, such as 20.00",
    ),
    (
        "rules:\n  - {id: a, when: {amount_usd: {max: 20 USD}}, offers: [card]}",
        "20 USD",
        "routing.rules[0].when.amount_usd.max: '20 USD' is not a decimal number such as 20.00",
    ),
    (
        "rules:\n  - {id: a, when: {hour: {}}, offers: [card]}",
        "{}}, offers",
        "routing.rules[0].when.hour: needs min, max or both",
    ),
    (
        "rules:\n  - {id: a, offers: [{method: card, account: main}]}",
        "{method: card, account",
        "routing.rules[0].offers[0]: an account needs its rail beside it",
    ),
    (
        "rules:\n  - {id: a, offers: [card], tests: [{given: {country: BR}, expect: {}}]}",
        "{}}]}",
        "routing.rules[0].tests[0].expect: expects nothing: say first, offers, rule or rail",
    ),
    (
        "rules:\n  - {id: defaults, offers: [card]}",
        "{id: defaults",
        "routing.rules[0]: a rule cannot be called defaults",
    ),
    ("rules: {id: a}", "{id: a", "routing.rules: must be a list"),
    (
        "rules: [card]",
        "card]",
        (
            "routing.rules[0]: must be a mapping, such as {key: value} "
            "(known here: id, when, offers, rank, otherwise, owner, expires, tests)"
        ),
    ),
    (
        "rules:\n  - {id: a, when: [country], offers: [card]}",
        "[country",
        (
            "routing.rules[0].when: must be a mapping, such as {key: value} (known here: country, region, currency, method, "
            "merchant, merchant_category, risk, weekday, hour, amount_usd, customer_age_days, metadata, all, any, not)"
        ),
    ),
    ("rules:\n  - {id: a}", "{id: a", "routing.rules[0].offers: this is required and missing"),
    (
        "pricing:\n  - {corridor: USD-EUR, spread_bps: 75, method: pixx}",
        "pixx}",
        "routing.pricing[0].method: no rail offers the method pixx (did you mean 'pix'?)",
    ),
    (
        (
            "rail_choice:\n  - {id: a, when: {method: card}, rail: stripe}\n"
            "  - {id: b, when: {method: card, country: BR}, rail: stripe}"
        ),
        "b, when",
        (
            "routing.rail_choice[1].id: b can never match: a, further up, matches whenever this one would "
            "(move it up or remove it)"
        ),
    ),
]


@pytest.mark.parametrize(("body", "place", "message"), BROKEN)
def test_a_broken_rule_is_told_in_these_words(body: str, place: str, message: str) -> None:
    before = routing(body)[: routing(body).rindex(place)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert refusal(body) == [f"config.yaml:{line}:{column}: {message}"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("Brazil", "BR"), ("br", "BR"), ("AUT", "AT"), ("UK", "GB"), ("Germnay", "DE"), ("Vietnam", "VN"), ("XX", None)],
)
def test_a_country_written_otherwise_is_recognised_or_not_guessed_at(written: str, meant: str | None) -> None:
    assert country_hint(written) == (f"did you mean {meant!r}?" if meant else None)


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    found = refusal(
        "rules:\n  - {id: a, when: {method: pixx}, offers: [crad]}\n  - {id: b, offers: [{method: pix, rail: paypal}]}",
        defaults="[cash]",
    )
    assert [line.split(" ")[1] for line in found] == [
        "routing.defaults.offers[0].method:",
        "routing.rules[0].when.method:",
        "routing.rules[0].offers[0].method:",
        "routing.rules[1].offers[0].rail:",
    ]


def test_without_a_routing_block_nothing_loads() -> None:
    with pytest.raises(ConfigInvalid, match="routing is missing or empty"):
        rules("server: {port: 1}")


def test_a_ruleset_whose_own_test_fails_does_not_load_and_says_which() -> None:
    body = (
        "rules:\n"
        "  - id: brazil\n"
        "    when: {country: BR}\n"
        "    offers: [pix, card]\n"
        "    tests:\n"
        "      - {given: {country: BR}, expect: {first: pix}}\n"
        "      - {given: {country: DE}, expect: {first: pix, rule: brazil}}\n"
    )
    assert refusal(body) == [
        (
            "config.yaml:9:42: routing.rules[0].tests[1].expect: test 2 of brazil fails: expected first pix, got card "
            "(adyen/main: country_not_served)"
        ),
        "config.yaml:9:42: routing.rules[0].tests[1].expect: test 2 of brazil fails: expected rule brazil, got defaults",
    ]


def test_a_failing_test_tells_all_that_differs() -> None:
    body = (
        "rules:\n"
        "  - id: a\n"
        "    offers: [card]\n"
        "    tests: [{given: {country: DE, methods: [pix]}, expect: {offers: card, rail: stripe, first: card}}]\n"
    )
    assert [line.partition("fails: ")[2] for line in refusal(body, defaults="[card]")] == [
        "expected first card, got no offer (stripe/main: method_not_asked_for)",
        "expected offers card, got none",
        "expected rail stripe, got no offer",
    ]


def test_embedded_tests_can_set_the_time_the_customer_and_the_metadata() -> None:
    body = (
        "rules:\n"
        "  - id: night\n"
        "    when: {hour: {max: 5}, weekday: [sat, sun], metadata.plan: pro, customer_age_days: {min: 30}}\n"
        "    offers: [usdt_tron]\n"
        "    tests:\n"
        "      - given: {country: DE, hour: 5, weekday: sun, metadata: {plan: pro}, customer_age_days: 30}\n"
        "        expect: {offers: [usdt_tron], rule: night}\n"
        "      - given: {country: DE, hour: 6, weekday: sun, metadata: {plan: pro}, customer_age_days: 30}\n"
        "        expect: {rule: defaults}\n"
    )
    assert rules(routing(body)).rules[0].id == "night"


def test_an_expired_rule_still_matches_and_warns() -> None:
    ruleset = rules(routing("rules:\n  - {id: old, offers: [card], owner: ops, expires: 2026-11-22}"))
    assert [str(warning).split("\n")[0] for warning in ruleset.warnings] == [
        "config.yaml:4:54: routing.rules[0].expires: old expired on 2026-11-22 and still matches; ask ops"
    ]
    assert route(facts(), ruleset).matched_rule == 0


def test_the_hash_depends_on_meaning_and_not_on_layout() -> None:
    one = rules(routing("rules:\n  - {id: a, when: {country: [BR, MX], amount_usd: {max: 50}}, offers: [card]}"))
    two = rules(
        routing(
            "rules:\n- offers: [{method: card}]\n  id: a\n  when: {amount_usd: {max: 50.00}, country: [MX, BR, MX]}"
        )
    )
    other = rules(routing("rules:\n  - {id: a, when: {country: [BR, MX], amount_usd: {max: 51}}, offers: [card]}"))
    assert one.hash == two.hash != other.hash


def test_a_stored_ruleset_loads_again_as_itself() -> None:
    ruleset = rules(DEMO_ROUTING)
    again = load_ruleset(load_document(ruleset.canonical), DEMO, today=TODAY, prefix=())
    assert again == ruleset


def test_live_rails_are_tested_in_live_mode() -> None:
    live = Catalogue((option("card", "stripe", mode=Mode.LIVE),))
    body = "rules:\n  - {id: a, offers: [card], tests: [{given: {country: DE}, expect: {first: card}}]}"
    assert rules(routing(body, defaults="[card]"), live).rules[0].id == "a"


def test_the_block_has_a_json_schema_for_editors() -> None:
    schema = json.dumps(RoutingBlock.model_json_schema())
    assert '"amount_usd"' in schema
    assert '"any"' in schema
