"""The desk keeps decisions; each must be the one that the engine would make at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.routing import engine
from orchestrator.routing.decision import Decision
from orchestrator.routing.desk import RoutingDesk
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.health import CallOutcome, HealthBoard
from orchestrator.routing.ruleset import Ruleset

from .builders import DEMO, DEMO_ROUTING, NOON, RATES, everything, facts, methods, routing, rules

HOURS_RULE = """
rules:
  - id: night
    when: {hour: {min: 20}}
    offers: [usdt_tron]
  - id: gold
    when: {metadata: {tier: gold}}
    offers: [pix]
"""
RULESETS = (rules(routing(HOURS_RULE)), rules(routing("rules: []")), rules(DEMO_ROUTING))
"""Without and with ``rail_choice``."""


@dataclass
class Moment:
    """A clock and rates that a test sets."""

    at: datetime = NOON
    rates: dict[str, Fraction] = field(default_factory=lambda: dict(RATES))

    def now(self) -> datetime:
        return self.at

    def now_us(self) -> int:
        return int(self.at.timestamp()) * 1_000_000

    def mid(self, currency: str, _now: datetime) -> Fraction | None:
        return self.rates.get(currency)


def desk_of(moment: Moment, ruleset: Ruleset, board: HealthBoard | None = None) -> RoutingDesk:
    return RoutingDesk(ruleset, DEMO, everything, board or HealthBoard(), moment.mid, moment)


def anew(desk: RoutingDesk, moment: Moment, session: RoutingFacts) -> Decision:
    health = desk.board.snapshot(moment.at)
    return engine.decide(session, desk.ruleset, DEMO, rates=moment.rates.get, health=health, supports=everything)


step = st.one_of(
    st.tuples(st.just("rate"), st.sampled_from(sorted(RATES)), st.sampled_from([None, 1, 5, 26_000])),
    st.tuples(st.just("rules"), st.sampled_from(RULESETS)),
    st.tuples(st.just("hours"), st.integers(0, 30)),
    st.tuples(st.just("fails"), st.sampled_from([option.key for option in DEMO.options])),
    st.tuples(
        st.just("session"),
        st.sampled_from(["BR", "DE", "PH", "NG"]),
        st.sampled_from(["0.1", "20", "20.00", "4000"]),
        st.sampled_from([None, frozenset({"usdt"}), frozenset({"card"})]),
        st.sampled_from(["alice", "bob"]),
        st.sampled_from([{}, {"tier": "gold"}]),
    ),
)


@given(st.lists(step, max_size=40))
def test_whatever_happens_between_sessions_the_desk_decides_as_the_engine_does(steps: list[tuple[object, ...]]) -> None:
    moment = Moment()
    desk = desk_of(moment, RULESETS[0])
    for one in steps:
        match one:
            case ("rate", str(code), None):
                moment.rates.pop(code, None)
            case ("rate", str(code), int(value)):
                moment.rates[code] = Fraction(value)
            case ("rules", Ruleset() as ruleset):
                desk.ruleset = ruleset
            case ("hours", int(hours)):
                moment.at += timedelta(hours=hours)
            case ("fails", (str(rail), str(account), str(method))):
                for _ in range(6):
                    desk.board.record((rail, account, method), CallOutcome.UNAVAILABLE, moment.at)
            case ("session", str(country), str(amount), wanted, str(customer), Mapping() as metadata):
                session = facts(
                    country,
                    amount,
                    at=moment.at,
                    methods=wanted,
                    customer=customer,
                    metadata=metadata,
                    merchant="mer_1",
                )
                assert_same(desk.decide(session), anew(desk, moment, session))
            case _:
                pytest.fail(f"{one} is no step")


def assert_same(found: Decision, expected: Decision) -> None:
    assert found == expected
    assert found.to_json() == expected.to_json()


def test_a_kept_decision_tells_each_session_s_own_facts() -> None:
    desk = desk_of(Moment(), RULESETS[1])
    first, second = (desk.decide(facts(customer=name)) for name in ("alice", "bob"))
    assert first.offers is second.offers
    assert '"customer":"alice"' in first.to_json()
    assert '"customer":"bob"' in second.to_json()


def test_a_rail_that_went_down_is_offered_no_more() -> None:
    moment = Moment()
    desk = desk_of(moment, RULESETS[1])
    assert "card" in methods(desk.decide(facts()))
    for _ in range(6):
        desk.board.record(("stripe", "main", "card"), CallOutcome.UNAVAILABLE, moment.at)
    assert "card" not in methods(desk.decide(facts()))
