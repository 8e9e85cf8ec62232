"""What a buyer is offered, by whom, in which currency, and what is said of everything else."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import cast

import pytest

from adapters.base import Mode, RailAccount, RailAdapter
from orchestrator.routing.catalogue import Catalogue, supports_of
from orchestrator.routing.decision import Decision, PickedBy, Source
from orchestrator.routing.eligibility import Reason
from orchestrator.routing.engine import decide
from orchestrator.routing.health import HealthState
from tests.unit.routing.builders import (
    DEMO,
    DEMO_ROUTING,
    RATES,
    everything,
    facts,
    methods,
    option,
    route,
    routing,
    rules,
)


def outcome(decision: Decision, method: str, rail: str | None = None) -> tuple[int, str]:
    """Return what was said of the first option with this method."""
    return next(
        said
        for choice, said in zip(decision.catalogue.options, decision.option_outcomes, strict=True)
        if choice.method == method and rail in (None, choice.rail)
    )


@pytest.mark.parametrize(
    ("country", "expected"),
    [
        ("BR", ["pix", "card", "usdt_tron"]),
        ("NL", ["ideal", "card", "usdt_tron", "usdt_bsc", "usdt_ethereum"]),
        ("PH", ["gcash", "card", "usdt_tron"]),
        ("VN", ["usdt_tron", "usdt_bsc", "card"]),
        ("NG", ["usdt_bsc", "usdt_tron", "card"]),
        ("DE", ["card", "usdt_tron", "usdt_bsc", "usdt_ethereum"]),
        ("NO", ["card", "usdt_tron", "usdt_bsc", "usdt_ethereum"]),
    ],
)
def test_each_country_of_the_demo_is_offered_its_own_methods_in_the_order_of_the_rule(
    country: str, expected: list[str]
) -> None:
    assert methods(route(facts(country, "20"), rules(DEMO_ROUTING))) == expected


def test_an_offer_says_who_serves_it_in_which_currency_and_what_a_decline_means() -> None:
    decision = route(facts("BR"), rules(DEMO_ROUTING))
    pix, card, _ = decision.offers
    assert (pix.rail, pix.account, pix.currency, pix.source_rule) == ("adyen", "main", "BRL", "brazil-pix")
    assert (pix.on_decline.soft, card.on_decline.soft, card.on_decline.hard) == ("ask", "next", "stop")
    assert pix.capability is DEMO.options[1].capability


def test_every_rule_and_every_option_has_an_outcome() -> None:
    decision = route(facts("VN"), rules(DEMO_ROUTING))
    assert decision.rule_outcomes == (1, 1, 1, 1, 0, 1)
    assert decision.matched_rule == 4
    assert len(decision.option_outcomes) == len(DEMO.options)


def test_the_outcome_of_a_rule_is_its_first_condition_that_failed() -> None:
    ruleset = rules(
        routing("rules:\n  - {id: a, when: {country: BR, risk: low, amount_usd: {max: 5}}, offers: [card]}")
    )
    assert route(facts("DE"), ruleset).rule_outcomes == (1,)
    assert route(facts("BR", risk="high"), ruleset).rule_outcomes == (2,)
    assert route(facts("BR", risk="low"), ruleset).rule_outcomes == (3,)
    assert route(facts("BR", "5", risk="low"), ruleset).rule_outcomes == (0,)


def test_the_first_rule_that_matches_wins_and_later_matches_are_shown() -> None:
    ruleset = rules(
        routing(
            "rules:\n  - {id: a, when: {country: BR}, offers: [pix]}\n  - {id: b, when: {risk: low}, offers: [card]}"
        )
    )
    decision = route(facts("BR", risk="low"), ruleset)
    assert (decision.matched_rule, decision.rule_outcomes, methods(decision)) == (0, (0, 0), ["pix"])


def test_options_are_dropped_each_for_its_own_reason() -> None:
    catalogue = Catalogue(
        (
            option("card", "stripe"),
            option("card", "live-one", mode=Mode.LIVE),
            option("pix", "adyen", countries="BR", currencies=("BRL",)),
            option("boleto", "dlocal", currencies=("BRL",), least="300 BRL"),
            option("transfer", "bank", currencies=("BRL",), most="249.99 BRL"),
            option("gcash", "adyen", currencies=("KRW",)),
            option("usdt_tron", "tron", "tron", currencies=("USDT",)),
            option("usdt_bsc", "evm", "bsc", currencies=("USDT",)),
        )
    )
    ruleset = rules(routing("", defaults="[card]"), catalogue)
    health = {("tron", "tron", "usdt_tron"): HealthState.DOWN, ("stripe", "main", "card"): HealthState.DEGRADED}
    asked = frozenset({"card", "pix", "boleto", "transfer", "gcash", "usdt_tron"})
    decision = route(facts("BR", "50", methods=asked), ruleset, catalogue, health)
    assert outcome(decision, "card", "stripe") == (Reason.KEPT_DEGRADED, "BRL")
    assert outcome(decision, "card", "live-one") == (Reason.OTHER_MODE, "live")
    assert outcome(decision, "pix") == (Reason.KEPT, "BRL")
    assert outcome(decision, "boleto") == (Reason.BELOW_MINIMUM, "300.00 BRL")
    assert outcome(decision, "transfer") == (Reason.ABOVE_MAXIMUM, "249.99 BRL")
    assert outcome(decision, "gcash") == (Reason.NOT_QUOTABLE, "KRW")
    assert outcome(decision, "usdt_tron") == (Reason.RAIL_DOWN, "")
    assert outcome(decision, "usdt_bsc") == (Reason.METHOD_NOT_ASKED_FOR, "usdt_bsc")
    assert outcome(route(facts("DE"), ruleset, catalogue), "pix") == (Reason.COUNTRY_NOT_SERVED, "DE")


def test_an_option_whose_rail_has_no_exponent_for_its_currencies_is_dropped() -> None:
    decision = decide(
        facts("BR"),
        rules(DEMO_ROUTING),
        DEMO,
        rates=RATES.get,
        health={},
        supports=lambda rail, _account, _currency: rail != "adyen",
    )
    assert outcome(decision, "pix") == (Reason.NO_COMMON_CURRENCY, "BRL")
    assert methods(decision) == ["card", "usdt_tron"]


@pytest.mark.parametrize(
    ("amount", "offered"),
    [("0.199999999", False), ("0.2", True), ("3000", True), ("3000.000000001", False)],
)
def test_limits_of_a_rail_are_held_at_mid_to_the_nano_dollar_and_belong_to_the_range(
    amount: str, offered: bool
) -> None:
    # one USD is 5 BRL: Pix takes 1 to 15,000 BRL
    decision = route(facts("BR", amount), rules(routing("", defaults="[pix]")))
    assert bool(decision.offers) is offered


@pytest.mark.parametrize(("amount", "offered"), [("0.333333333", False), ("0.333333334", True)])
def test_a_limit_that_is_no_whole_nano_dollar_is_never_undercut(amount: str, offered: bool) -> None:
    quotes = {"BRL": Fraction(3)}  # 1 BRL is a third of a dollar
    ruleset = rules(routing("", defaults="[pix]"))
    decision = decide(facts("BR", amount), ruleset, DEMO, rates=quotes.get, health={}, supports=everything)
    assert bool(decision.offers) is offered


def test_limits_follow_the_rate_of_the_moment() -> None:
    ruleset = rules(routing("", defaults="[pix]"))
    for rate, offered in ((Fraction(5), True), (Fraction(6), False), (Fraction(5), True)):
        quotes = {**RATES, "BRL": rate}
        decision = decide(facts("BR", "3000"), ruleset, DEMO, rates=quotes.get, health={}, supports=everything)
        assert bool(decision.offers) is offered
        assert decision.rates["BRL"] == rate


def test_a_rate_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="a rate is above zero"):
        decide(facts(), rules(DEMO_ROUTING), DEMO, rates=lambda _: Fraction(0), health={}, supports=everything)


@pytest.mark.parametrize(
    ("country", "wanted", "currency"),
    [
        ("DE", None, "EUR"),
        ("BR", "EUR", "EUR"),
        ("BR", None, "BRL"),
        ("NO", None, "USD"),  # no rate for NOK here
        ("EC", None, "USD"),
        ("BG", None, "EUR"),
        ("AQ", None, "USD"),
        ("BR", "KRW", "BRL"),  # wished for, and not quotable
    ],
)
def test_a_card_is_charged_in_the_wish_then_the_money_of_the_country_then_usd(
    country: str, wanted: str | None, currency: str
) -> None:
    decision = route(facts(country, currency=wanted, methods=frozenset({"card"})), rules(DEMO_ROUTING))
    assert [offer.currency for offer in decision.offers] == [currency]


def test_bulgaria_had_the_lev_until_it_had_the_euro() -> None:
    catalogue = Catalogue((option("card", "stripe"),))
    ruleset = rules(routing("", defaults="[card]"), catalogue)
    before = facts("BG", at=datetime(2025, 12, 31, 23, 59, tzinfo=UTC))
    rates = {"BGN": Fraction(2), "EUR": Fraction(1)}
    assert (
        decide(before, ruleset, catalogue, rates=rates.get, health={}, supports=everything).offers[0].currency == "BGN"
    )
    assert (
        decide(facts("BG"), ruleset, catalogue, rates=rates.get, health={}, supports=everything).offers[0].currency
        == "EUR"
    )


def test_a_rail_that_lists_currencies_charges_its_first_where_the_local_one_is_not_listed() -> None:
    catalogue = Catalogue((option("card", "stripe", currencies=("PHP", "EUR", "USD")),))
    assert route(facts("BR"), rules(routing("", defaults="[card]"), catalogue), catalogue).offers[0].currency == "PHP"


def test_usd_is_not_charged_where_a_rail_does_not_list_it() -> None:
    catalogue = Catalogue((option("gcash", "adyen", currencies=("KRW",)),))
    assert route(facts("PH"), rules(routing("", defaults="[gcash]"), catalogue), catalogue).offers == ()


def test_usdt_stands_for_all_of_the_token_and_nothing_is_offered_twice() -> None:
    decision = route(facts("DE"), rules(routing("", defaults="[usdt_bsc, usdt, usdt_tron]")))
    assert methods(decision) == ["usdt_bsc", "usdt_tron", "usdt_ethereum"]
    narrowed = route(facts("DE"), rules(routing("", defaults="[{method: usdt, rail: evm}]")))
    assert methods(narrowed) == ["usdt_bsc", "usdt_ethereum"]


def test_a_session_that_asks_for_usdt_is_offered_the_token_only() -> None:
    decision = route(facts("BR", methods=frozenset({"usdt"})), rules(DEMO_ROUTING))
    assert methods(decision) == ["usdt_tron"]


ONLY_PIX = "rules:\n  - {{id: only-pix, when: {{country: BR}}, offers: [pix]{}}}"
PIX_DOWN = {("adyen", "main", "pix"): HealthState.DOWN}


def test_a_rule_that_matches_and_can_offer_nothing_falls_to_the_defaults_and_says_so() -> None:
    decision = route(facts(), rules(routing(ONLY_PIX.format(""), defaults="[card]")), health=PIX_DOWN)
    assert (decision.source, decision.matched_rule, methods(decision)) == (Source.DEFAULTS_AFTER_RULE, 0, ["card"])
    assert decision.offers[0].source_rule == "defaults"


def test_a_rule_can_say_that_nothing_else_may_be_offered() -> None:
    body = ONLY_PIX.format(", otherwise: nothing")
    decision = route(facts(), rules(routing(body, defaults="[card]")), health=PIX_DOWN)
    assert (decision.source, decision.offers) == (Source.NOTHING_AFTER_RULE, ())


def test_without_a_match_the_defaults_are_offered() -> None:
    decision = route(facts("DE"), rules(routing(ONLY_PIX.format(""), defaults="[card]")))
    assert (decision.source, decision.matched_rule, methods(decision)) == (Source.DEFAULTS, None, ["card"])


def test_rank_speed_puts_the_fastest_first_and_keeps_the_order_of_equals() -> None:
    body = "rules:\n  - {id: fast, rank: speed, offers: [usdt_ethereum, usdt_tron, usdt_bsc, pix, card]}"
    assert methods(route(facts(), rules(routing(body)))) == ["pix", "card", "usdt_bsc", "usdt_tron", "usdt_ethereum"]


TWO_CARDS = Catalogue((option("card", "stripe"), option("card", "adyen")))


def test_without_rail_choice_the_first_rail_of_the_configuration_serves() -> None:
    decision = route(facts("DE"), rules(routing("", defaults="[card]"), TWO_CARDS), TWO_CARDS)
    assert [(offer.rail, offer.picked_by) for offer in decision.offers] == [("stripe", PickedBy.CATALOGUE)]


def test_a_catalogue_and_its_exponents_are_read_from_the_adapters() -> None:
    class Rail:
        def __init__(self, rail: str, *, knows: str) -> None:
            self.account = RailAccount(rail, "main", Mode.TEST, {})
            self.capabilities = (option("card", rail).capability,)
            self.knows = knows

        def supports_currency(self, currency: str) -> bool:
            return currency == self.knows

    rails = cast("list[RailAdapter]", [Rail("stripe", knows="EUR"), Rail("adyen", knows="BRL")])
    catalogue, supports = Catalogue.of(rails), supports_of(rails)
    assert catalogue == TWO_CARDS
    assert supports("stripe", "main", "EUR")
    assert not supports("adyen", "main", "EUR")
    assert not supports("adyen", "other", "BRL")


def test_rail_choice_picks_the_rail_for_one_method_and_another_stands_in_when_it_is_down() -> None:
    body = "rail_choice:\n  - {id: to-adyen, when: {country: DE, method: card}, rail: adyen}"
    ruleset = rules(routing(body, defaults="[card]"), TWO_CARDS)
    picked = route(facts("DE"), ruleset, TWO_CARDS).offers[0]
    assert (picked.rail, picked.picked_by, picked.rail_choice) == ("adyen", PickedBy.RAIL_CHOICE, "to-adyen")
    assert route(facts("NL"), ruleset, TWO_CARDS).offers[0].rail == "stripe"
    down = {("adyen", "main", "card"): HealthState.DOWN}
    stand_in = route(facts("DE"), ruleset, TWO_CARDS, down).offers[0]
    assert (stand_in.rail, stand_in.picked_by) == ("stripe", PickedBy.RAIL_CHOICE_STAND_IN)


def test_a_rule_that_names_its_rail_is_not_overruled_by_rail_choice() -> None:
    body = "rail_choice:\n  - {id: to-adyen, when: {method: card}, rail: adyen}"
    ruleset = rules(routing(body, defaults="[{method: card, rail: stripe}, card]"), TWO_CARDS)
    decision = route(facts("DE"), ruleset, TWO_CARDS)
    assert [offer.rail for offer in decision.offers] == ["stripe", "adyen"]


def test_the_same_inputs_give_the_same_decision_also_from_a_fresh_catalogue() -> None:
    ruleset, again = rules(DEMO_ROUTING), rules(DEMO_ROUTING)
    fresh = Catalogue(DEMO.options)
    for country in ("BR", "DE", "VN", "NO"):
        assert route(facts(country), ruleset) == route(facts(country), again, fresh)
        assert route(facts(country), ruleset).to_json() == route(facts(country), again, fresh).to_json()


def test_health_may_be_asked_by_a_call() -> None:
    decision = route(facts(), rules(DEMO_ROUTING), health=lambda key: HealthState.DOWN if key[2] == "pix" else None)
    assert methods(decision) == ["card", "usdt_tron"]
