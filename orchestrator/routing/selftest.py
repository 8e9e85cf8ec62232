"""The tests that rules carry, run when they are loaded.

They prove rules, not the market or the rails of the day: every currency is quotable, every rail is up, and limits of
amount are left out. Countries that a rail does not serve stay shut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

from adapters.base import Mode
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.decision import Decision, Source
from orchestrator.routing.eligibility import Reason
from orchestrator.routing.engine import decide
from orchestrator.routing.facts import WEEKDAYS, RoutingFacts
from orchestrator.routing.rules import DEFAULTS_ID, Expect, Given, RoutingBlock
from orchestrator.routing.ruleset import Ruleset

_MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TestFailure:
    rule: int
    test: int
    message: str

    __test__ = False  # the name is for people; pytest collects what begins with Test


def failed_tests(block: RoutingBlock, ruleset: Ruleset, catalogue: Catalogue) -> Iterator[TestFailure]:
    """Run every embedded test and yield those that fail, with what was expected and what came."""
    sunny = Catalogue(
        tuple(
            replace(option, capability=replace(option.capability, amount_min={}, amount_max={}))
            for option in catalogue.options
        )
    )
    for rule_index, rule in enumerate(block.rules):
        for test_index, test in enumerate(rule.tests):
            decision = decide(
                facts_of(test.given, catalogue),
                ruleset,
                sunny,
                rates=lambda _currency: Fraction(1),
                health={},
                supports=lambda _rail, _account, _currency: True,
            )
            for said, expected, got in _differences(test.expect, decision, ruleset):
                message = f"test {test_index + 1} of {rule.id} fails: expected {said} {expected}, got {got}"
                yield TestFailure(rule_index, test_index, message + _why(said, expected, decision))


def facts_of(given: Given, catalogue: Catalogue) -> RoutingFacts:
    """Return the facts of a test; without a mode, that of the rails that are loaded (test before live)."""
    modes = {option.mode for option in catalogue.options}
    mode = given.mode or (Mode.LIVE if modes == {Mode.LIVE} else Mode.TEST)
    return RoutingFacts(
        country=given.country,
        amount=given.amount_usd,
        at=_MONDAY + timedelta(days=WEEKDAYS.index(given.weekday), hours=given.hour),
        mode=mode,
        currency=given.currency,
        merchant=given.merchant,
        merchant_category=given.merchant_category,
        customer=given.customer,
        customer_age_days=given.customer_age_days,
        risk=given.risk,
        metadata=given.metadata,
        methods=None if given.methods is None else frozenset(given.methods),
    )


def _differences(expect: Expect, decision: Decision, ruleset: Ruleset) -> Iterator[tuple[str, str, str]]:
    """Yield (what, expected, got) for all that differs."""
    methods = tuple(offer.method for offer in decision.offers)
    first, rail = (methods[0], decision.offers[0].rail) if decision.offers else ("no offer", "no offer")
    rule = _rule_name(decision, ruleset)
    if expect.first is not None and expect.first != first:
        yield "first", expect.first, first
    if expect.offers is not None and expect.offers != methods:
        yield "offers", ", ".join(expect.offers) or "none", ", ".join(methods) or "none"
    if expect.rule is not None and expect.rule != rule:
        yield "rule", expect.rule, rule
    if expect.rail is not None and expect.rail != rail:
        yield "rail", expect.rail, rail


def _rule_name(decision: Decision, ruleset: Ruleset) -> str:
    if decision.matched_rule is None or decision.source is Source.DEFAULTS_AFTER_RULE:
        return DEFAULTS_ID
    return ruleset.rules[decision.matched_rule].id


def _why(said: str, expected: str, decision: Decision) -> str:
    """Say why the expected method was not to be had, where that is the reason."""
    if said != "first":
        return ""
    reasons = {
        f"{option.rail}/{option.account}: {Reason(code).name.lower()}"
        for option, (code, _) in zip(decision.catalogue.options, decision.option_outcomes, strict=True)
        if option.method == expected and code not in (Reason.KEPT, Reason.KEPT_DEGRADED)
    }
    return f" ({'; '.join(sorted(reasons))})" if reasons else ""
