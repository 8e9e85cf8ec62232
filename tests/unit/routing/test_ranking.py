"""Ranking by what is known: cost to credit a dollar, chance to settle; maintenance windows; the share that probes."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from orchestrator.routing.costs import FeeLine, FeeTables, landed_cost
from orchestrator.routing.decision import Decision
from orchestrator.routing.eligibility import PROBE_PERCENT, Reason
from orchestrator.routing.engine import decide
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.figures import Cell, CellKey, Figures, band_of
from orchestrator.routing.health import HealthState
from orchestrator.routing.quick import QuickRouter
from orchestrator.routing.ranking import Knowledge
from orchestrator.routing.ruleset import Ruleset, Weights
from tests.unit.routing.builders import DEMO, NOON, RATES, everything, facts, methods, route, routing, rules

CARD, TRON, BSC = ("stripe", "main", "card"), ("tron", "tron", "usdt_tron"), ("evm", "bsc", "usdt_bsc")
FEES = FeeTables.of(
    {
        CARD: FeeLine(290, 300_000_000, 0),
        TRON: FeeLine(0, 0, 2_000_000_000),
        BSC: FeeLine(0, 0, 100_000_000),
    }
)
PRICING = 'pricing:\n  - {corridor: "USD-*", spread_bps: 100}\n  - {corridor: USD-USDT, spread_bps: 0}\n'


def ranking(by: str, more: str = "") -> Ruleset:
    return rules(routing(f"rules:\n  - {{id: all, rank: {by}, offers: [card, usdt_tron, usdt_bsc]}}\n{PRICING}{more}"))


def decided(session: RoutingFacts, ruleset: Ruleset, knowledge: Knowledge) -> Decision:
    return decide(session, ruleset, DEMO, rates=RATES.get, health={}, supports=everything, knowledge=knowledge)


def test_the_cost_of_a_card_is_fee_exchange_and_what_refunds_and_disputes_take() -> None:
    ruleset = ranking("cost", "costs:\n  - {method: card, refund_bps: 20, dispute_bps: 30}\n")
    cost = landed_cost(100 * 10**9, CARD, "EUR", ruleset, FEES)
    assert cost is not None
    # (100 + 0.30) * 1.01 / (1 - 0.029) = 104.328527291...; its 2.9 % and 1 % are rounded up to a nano-dollar
    total = -(-100_300_000_000 * 10_100 // 9_710)
    assert cost.rail == 300_000_000 + -(-total * 290 // 10_000)
    assert cost.exchange == total - 100_300_000_000 - (cost.rail - 300_000_000)
    assert (cost.network, cost.refunds, cost.disputes) == (0, -(-total * 20 // 10_000), -(-total * 30 // 10_000))


def test_how_much_a_currency_moves_is_part_of_what_the_exchange_costs() -> None:
    moving = 'pricing:\n  - {corridor: "USD-*", spread_bps: 100, volatility_percent: 50}\n'
    ruleset = rules(routing(f"rules:\n  - {{id: all, offers: [card]}}\n{moving}"))
    still, moved = (landed_cost(100 * 10**9, CARD, "EUR", ruleset, FEES, None, bps) for bps in (None, 290))
    assert still is not None
    assert moved is not None
    assert (
        still.exchange
        < moved.exchange
        == -(-100_300_000_000 * 10_245 // 9_710) - 100_300_000_000 - (moved.rail - 300_000_000)
    )


def test_the_cheapest_way_hangs_on_the_amount() -> None:
    ruleset, knowledge = ranking("cost"), Knowledge(FEES)
    assert methods(decided(facts("DE", "20"), ruleset, knowledge)) == ["usdt_bsc", "card", "usdt_tron"]
    assert methods(decided(facts("DE", "200"), ruleset, knowledge)) == ["usdt_bsc", "usdt_tron", "card"]


def test_a_live_estimate_of_the_chain_stands_in_for_the_table() -> None:
    knowledge = Knowledge(FEES, chain_fees={BSC: 9_000_000_000, TRON: 1})
    assert methods(decided(facts("DE", "20"), ranking("cost"), knowledge)) == ["usdt_tron", "card", "usdt_bsc"]


def test_without_knowledge_the_order_is_as_written() -> None:
    assert methods(route(facts("DE"), ranking("success"))) == ["card", "usdt_tron", "usdt_bsc"]


def seen(**wins_of_hundred: int) -> Knowledge:
    keys = {"card": CARD, "tron": TRON, "bsc": BSC}
    units = facts("DE").amount.units
    cells = {CellKey(keys[name], "DE", band_of(units)): Cell(100, wins) for name, wins in wins_of_hundred.items()}
    return Knowledge(FEES, Figures.of(cells, 1))


def test_what_settles_most_often_comes_first() -> None:
    assert methods(decided(facts("DE"), ranking("success"), seen(card=60, tron=90, bsc=75))) == [
        "usdt_tron", "usdt_bsc", "card",
    ]  # fmt: skip


def test_few_tries_move_little_and_a_country_without_any_takes_the_average() -> None:
    figures = Figures.of({CellKey(CARD, "DE", 1): Cell(1, 0), CellKey(TRON, "DE", 1): Cell(1000, 850)}, 1)
    weights = Weights()
    few = figures.chance(CARD, "DE", 20 * 10**9, weights)
    assert Fraction(70, 100) < few.mean < Fraction(80, 100)  # prior 80 %, one loss
    elsewhere = figures.chance(TRON, "FR", 20 * 10**9, weights)
    assert abs(elsewhere.mean - Fraction(849, 1000)) < Fraction(1, 100)
    assert few.deviation > figures.chance(TRON, "DE", 20 * 10**9, weights).deviation


def test_exploration_is_a_share_above_a_floor_and_the_same_again() -> None:
    known = seen(card=60, tron=90, bsc=75)
    text = "ranking: {explore_percent: 20, explore_above_tries: 300}\n"
    some = [facts("DE", customer=f"c{n}") for n in range(400)]
    explores, rests = ranking("success", text), ranking("success", text.replace("300", "301"))
    firsts = [methods(decided(one, explores, known))[0] for one in some]
    explored = firsts.count("usdt_bsc")
    assert firsts.count("usdt_tron") + explored == 400
    assert 40 < explored < 120
    again = ranking("success", text)
    assert firsts == [methods(decided(one, again, known))[0] for one in some]
    assert {methods(decided(one, rests, known))[0] for one in some} == {"usdt_tron"}


def test_the_stored_decision_says_what_the_order_was_made_of() -> None:
    decision = decided(facts("DE"), ranking("cost"), Knowledge(FEES))
    assert decision.ranked is not None
    told = decision.ranked.to_json()
    assert told["fees_version"] == FEES.version
    assert [one["option"][2] for one in told["known"]] == methods(decision)
    assert all(one["cost_units"] == sum(one["parts"].values()) for one in told["known"])
    assert '"ranked":{"by":"cost"' in decision.to_json()


def test_the_quick_router_ranks_alike() -> None:
    for by in ("cost", "success", "speed"):
        ruleset, known = ranking(by), seen(card=60, tron=90, bsc=75)
        quick = QuickRouter(ruleset, DEMO, RATES.get, {}, everything, known)
        for amount in ("5", "20", "200", "20"):
            session = facts("DE", amount)
            assert quick.offers(session).offers == decided(session, ruleset, known).offers


def test_a_rail_is_not_offered_while_its_operator_works_on_it() -> None:
    window = (
        'maintenance:\n  - {rail: stripe, starts: "2026-11-23T13:00:00+01:00", '
        'ends: "2026-11-23T12:30:00Z", reason: cables}\n'
    )
    ruleset = rules(routing("rules:\n  - {id: all, offers: [card, usdt_bsc]}\n" + window))
    during = route(facts("DE"), ruleset)
    assert methods(during) == ["usdt_bsc"]
    assert (Reason.MAINTENANCE, "") in during.option_outcomes
    assert methods(route(facts("DE", at=NOON + timedelta(minutes=30)), ruleset)) == ["card", "usdt_bsc"]
    assert methods(route(facts("DE", at=NOON - timedelta(seconds=1)), ruleset)) == ["card", "usdt_bsc"]


def test_a_rail_that_comes_back_is_tried_by_a_share_of_the_customers_first() -> None:
    ruleset = rules(routing("rules:\n  - {id: all, offers: [card, usdt_bsc]}\n"))
    health = {CARD: HealthState.PROBING}
    offered = [methods(route(facts("DE", customer=f"c{n}"), ruleset, health=health))[0] for n in range(1000)]
    assert abs(offered.count("card") - 10 * PROBE_PERCENT) < 35
    assert offered == [methods(route(facts("DE", customer=f"c{n}"), ruleset, health=health))[0] for n in range(1000)]
