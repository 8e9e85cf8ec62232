"""Routing decisions a second with 50 rules of 3 to 4 conditions, every outcome kept, in one process.

The reference is the same decision with the same rules held against the facts one condition at a time
(``interpret_rules``), measured in the same run, in turns.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any, Final

from adapters.base import Capability, Flow, Mode
from orchestrator.config_source import load_document
from orchestrator.routing.catalogue import Catalogue, RailOption
from orchestrator.routing.compiled import interpret_rules
from orchestrator.routing.engine import decide
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.health import HealthState
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.ruleset import Ruleset
from rates.money import WALLET_USD, Money, display_asset

GOAL_PER_SECOND: Final = 20_000
RULES: Final = 50
SESSIONS: Final = 500
ROUNDS: Final = 5
COUNTRIES: Final = ("BR", "DE", "NL", "PH", "VN", "NG", "MX", "IN", "ID", "TR")
RATES: Final = {
    "BRL": Fraction(541, 100),
    "EUR": Fraction(91, 100),
    "PHP": Fraction(5_812, 100),
    "VND": Fraction(25_400),
    "NGN": Fraction(1_540),
    "USDT": Fraction(1),
}


def _catalogue() -> Catalogue:
    def option(method: str, rail: str, account: str, countries: str, currencies: str, limit: str = "") -> RailOption:
        flow = Flow.DEPOSIT_ADDRESS if method.startswith("usdt") else Flow.REDIRECT
        where = frozenset(countries.split()) if countries else None
        least = {limit: Money.parse("1", display_asset(limit))} if limit else {}
        most = {limit: Money.parse("15000", display_asset(limit))} if limit else {}
        return RailOption(rail, account, Mode.TEST, Capability(method, flow, where, (currencies,), 30, least, most))

    return Catalogue(
        (
            option("card", "stripe", "main", "", "*", "BRL"),
            option("card", "adyen", "main", "", "*", "EUR"),
            option("pix", "adyen", "main", "BR", "BRL", "BRL"),
            option("ideal", "adyen", "main", "NL", "EUR", "EUR"),
            option("gcash", "adyen", "main", "PH", "PHP", "PHP"),
            option("usdt_tron", "tron", "tron", "", "USDT", "USDT"),
            option("usdt_bsc", "evm", "bsc", "", "USDT", "USDT"),
            option("usdt_ethereum", "evm", "ethereum", "", "USDT", "USDT"),
        )
    )


def _rules() -> str:
    """Write 50 rules of 3 or 4 conditions; each country has five, told apart by amount, risk and a metadata key."""
    lines = ["routing:", "  defaults: {offers: [card, usdt]}", "  rules:"]
    for number in range(RULES):
        country = COUNTRIES[number % len(COUNTRIES)]
        band = number // len(COUNTRIES)
        conditions = [f"country: [{country}, CO]", f"amount_usd: {{min: {band * 40 + 1}, max: {band * 40 + 60}}}"]
        conditions.append("risk: [low, medium]" if number % 2 else "hour: {min: 6, max: 22}")
        if number % 3 == 0:
            conditions.append("metadata.plan: [pro, team]")
        offers = "[usdt_tron, card]" if country in ("VN", "NG") else "[card, {method: usdt_tron, rail: tron}, usdt_bsc]"
        lines.append(f"    - {{id: rule-{number}, when: {{{', '.join(conditions)}}}, offers: {offers}}}")
    lines += [
        "  rail_choice:",
        "    - {id: card-split, when: {method: card}, split: {by: customer, weights: {stripe: 80, adyen: 20}}}",
    ]
    return "\n".join(lines) + "\n"


def _sessions() -> list[RoutingFacts]:
    return [
        RoutingFacts(
            country=COUNTRIES[number % len(COUNTRIES)],
            amount=Money.parse(str(1 + number % 240), WALLET_USD),
            at=datetime(2026, 11, 23, number % 24, tzinfo=UTC),
            mode=Mode.TEST,
            customer=f"customer-{number}",
            risk=("low", "medium", "high")[number % 3],
            metadata={"plan": ("free", "pro")[number % 2]},
        )
        for number in range(SESSIONS)
    ]


def run() -> list[dict[str, Any]]:
    """Measure, and return one line for ``var/bench.json``."""
    catalogue = _catalogue()
    compiled = load_ruleset(load_document(_rules()), catalogue, today=date(2026, 11, 23))
    naive = replace(compiled, evaluate_rules=interpret_rules([rule.conditions for rule in compiled.rules]))
    sessions = _sessions()
    health = {("adyen", "main", "card"): HealthState.DEGRADED}

    def supports(_rail: str, _account: str, _currency: str) -> bool:
        return True

    def pass_over(ruleset: Ruleset) -> Callable[[], None]:
        def decide_all() -> None:
            for session in sessions:
                decide(session, ruleset, catalogue, rates=RATES.get, health=health, supports=supports)

        return decide_all

    fast, slow = pass_over(compiled), pass_over(naive)
    matched = sum(
        decide(session, compiled, catalogue, rates=RATES.get, health=health, supports=supports).matched_rule is not None
        for session in sessions
    )
    if not 0 < matched < len(sessions):
        raise RuntimeError("the sessions of this benchmark no longer meet its rules")
    pairs = [(_per_second(fast, len(sessions), 6), _per_second(slow, len(sessions), 2)) for _ in range(ROUNDS)]
    value, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
    return [
        {
            "name": "routing_decision_50_rules",
            "unit": "decisions/s",
            "value": round(value),
            "reference": round(reference),
            "ratio": round(value / reference, 2),
            "goal": f"{GOAL_PER_SECOND}/s",
            "met": value >= GOAL_PER_SECOND,
        }
    ]


def _per_second(work: Callable[[], None], decisions: int, repeats: int) -> float:
    """Return decisions a second of processor time: other work on the machine does not count."""
    start = time.process_time()
    for _ in range(repeats):
        work()
    return decisions * repeats / (time.process_time() - start)


if __name__ == "__main__":
    for line in run():
        print(json.dumps(line))
