"""A split sends each customer to the same rail, whatever is edited elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.health import HealthState
from tests.unit.routing.builders import facts, option, route, routing, rules

CARDS = Catalogue((option("card", "stripe"), option("card", "adyen"), option("card", "third")))
CUSTOMERS = [f"customer-{number}" for number in range(3_000)]


def rails(
    weights: str,
    extra: str = "",
    health: Mapping[tuple[str, str, str], HealthState] | None = None,
    name: str = "sea-card",
) -> list[str]:
    body = f"rail_choice:\n  - {{id: {name}, when: {{method: card}}, split: {{by: customer, weights: {weights}}}}}\n{extra}"
    ruleset = rules(routing(body, defaults="[card]"), CARDS)
    return [
        route(facts("VN", customer=customer), ruleset, CARDS, health or {}).offers[0].rail for customer in CUSTOMERS
    ]


def test_customers_are_split_by_weight() -> None:
    counts = Counter(rails("{stripe: 80, adyen: 20}"))
    assert set(counts) == {"stripe", "adyen"}
    assert 0.77 < counts["stripe"] / len(CUSTOMERS) < 0.83  # 4 standard deviations


def test_an_edit_elsewhere_moves_nobody() -> None:
    plain = rails("{stripe: 80, adyen: 20}")
    assert plain == rails("{stripe: 80, adyen: 20}", "rules:\n  - {id: new, when: {country: DE}, offers: [card]}")
    assert plain == rails("{adyen: 20, stripe: 80}")


def test_two_splits_do_not_sort_customers_alike() -> None:
    one, other = rails("{stripe: 50, adyen: 50}"), rails("{stripe: 50, adyen: 50}", name="other-card")
    same = sum(left == right for left, right in zip(one, other, strict=True))
    assert 0.45 < same / len(CUSTOMERS) < 0.55


def test_moving_a_weight_moves_that_many_customers_and_all_in_one_direction() -> None:
    moved = [
        pair
        for pair in zip(rails("{stripe: 80, adyen: 20}"), rails("{stripe: 90, adyen: 10}"), strict=True)
        if pair[0] != pair[1]
    ]
    assert set(moved) == {("adyen", "stripe")}
    assert 0.08 < len(moved) / len(CUSTOMERS) < 0.12


def test_only_customers_of_a_rail_that_is_down_move_and_weight_0_takes_nobody() -> None:
    before = rails("{stripe: 50, adyen: 50, third: 0}")
    after = rails("{stripe: 50, adyen: 50, third: 0}", health={("adyen", "main", "card"): HealthState.DOWN})
    assert set(after) == {"stripe"}
    assert all(now == "stripe" for was, now in zip(before, after, strict=True) if was == "stripe")


def test_customers_of_a_rail_that_is_down_are_shared_out_among_the_others() -> None:
    down = {("adyen", "main", "card"): HealthState.DOWN}
    before, after = (rails("{stripe: 30, adyen: 40, third: 30}", health=health) for health in ({}, down))
    heirs = Counter(now for was, now in zip(before, after, strict=True) if was == "adyen")
    assert set(heirs) == {"stripe", "third"}
    assert 0.42 < heirs["stripe"] / heirs.total() < 0.58
    assert all(was == now for was, now in zip(before, after, strict=True) if was != "adyen")


def test_a_method_that_only_a_rail_with_weight_0_could_serve_is_not_offered() -> None:
    body = "rail_choice:\n  - {id: s, split: {by: customer, weights: {stripe: 100, adyen: 0}}}"
    ruleset = rules(routing(body, defaults="[card]"), two := Catalogue(CARDS.options[:2]))
    assert route(facts("VN"), ruleset, two, {("stripe", "main", "card"): HealthState.DOWN}).offers == ()


def test_a_split_may_name_accounts() -> None:
    accounts = Catalogue((option("card", "stripe", "one"), option("card", "stripe", "two")))
    body = "rail_choice:\n  - {id: s, split: {by: customer, weights: {stripe/one: 0, stripe/two: 100}}}"
    ruleset = rules(routing(body, defaults="[card]"), accounts)
    assert route(facts("VN"), ruleset, accounts).offers[0].account == "two"
