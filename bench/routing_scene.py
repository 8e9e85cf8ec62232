"""Rules, rails and sessions that the routing benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final

from adapters.base import Capability, Flow, Mode
from orchestrator.routing.catalogue import Catalogue, RailOption
from orchestrator.routing.countries import country_names
from orchestrator.routing.facts import RoutingFacts
from rates.money import WALLET_USD, Money, display_asset

COUNTRIES: Final = ("BR", "DE", "NL", "PH", "VN", "NG", "MX", "IN", "ID", "TR")
RATES: Final = {
    "BRL": Fraction(541, 100),
    "EUR": Fraction(91, 100),
    "PHP": Fraction(5_812, 100),
    "VND": Fraction(25_400),
    "NGN": Fraction(1_540),
    "USDT": Fraction(1),
}
SPLIT: Final = (
    "  rail_choice:\n"
    "    - {id: card-split, when: {method: card}, split: {by: customer, weights: {stripe: 80, adyen: 20}}}\n"
)


def rail_options() -> Catalogue:
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


@dataclass(frozen=True, slots=True)
class Written:
    """One rule as data, so that every engine is given the same."""

    id: str
    countries: tuple[str, str]
    low: int
    high: int
    risks: tuple[str, ...] | None
    hours: tuple[int, int] | None
    plans: tuple[str, ...] | None

    def yaml(self) -> str:
        when = [f"country: [{', '.join(self.countries)}]", f"amount_usd: {{min: {self.low}, max: {self.high}}}"]
        if self.risks is not None:
            when.append(f"risk: [{', '.join(self.risks)}]")
        if self.hours is not None:
            when.append(f"hour: {{min: {self.hours[0]}, max: {self.hours[1]}}}")
        if self.plans is not None:
            when.append(f"metadata.plan: [{', '.join(self.plans)}]")
        token = self.countries[0] in {"VN", "NG"}
        offers = "[usdt_tron, card]" if token else "[card, {method: usdt_tron, rail: tron}, usdt_bsc]"
        return f"    - {{id: {self.id}, when: {{{', '.join(when)}}}, offers: {offers}}}"

    def expression(self, land: str, lor: str) -> str:
        """Write the rule for an engine whose "and" and "or" are spelled so."""
        parts = [_among("country", self.countries, lor), f"amount >= {self.low}", f"amount <= {self.high}"]
        if self.risks is not None:
            parts.append(_among("risk", self.risks, lor))
        if self.hours is not None:
            parts.append(f"hour >= {self.hours[0]} {land} hour <= {self.hours[1]}")
        if self.plans is not None:
            parts.append(_among("plan", self.plans, lor))
        return f" {land} ".join(parts)


def _among(name: str, words: tuple[str, ...], lor: str) -> str:
    return "(" + f" {lor} ".join(f'{name} == "{word}"' for word in words) + ")"


def written(count: int) -> list[Written]:
    """Return rules of 3 or 4 conditions. Ten countries share 50 of them; 5,000 are spread over all countries."""
    names = COUNTRIES if count <= 100 else tuple(sorted(country_names()))
    found = []
    for number in range(count):
        band = number // len(names)
        found.append(
            Written(
                f"rule-{number}",
                (names[number % len(names)], "CO" if count <= 100 else names[(number * 7 + 1) % len(names)]),
                band * 40 + 1,
                band * 40 + 60,
                ("low", "medium") if number % 2 else None,
                None if number % 2 else (6, 22),
                ("pro", "team") if number % 3 == 0 else None,
            )
        )
    return found


def ruleset_text(rules: list[Written], tail: str = "") -> str:
    lines = ["routing:", "  defaults: {offers: [card, usdt]}", "  rules:", *(rule.yaml() for rule in rules)]
    return "\n".join(lines) + "\n" + tail


def sessions(count: int, rules: int) -> list[RoutingFacts]:
    names = COUNTRIES if rules <= 100 else tuple(sorted(country_names()))
    return [
        RoutingFacts(
            country=names[number % len(names)],
            amount=Money.parse(str(1 + number % 240), WALLET_USD),
            at=datetime(2026, 11, 23, number % 24, tzinfo=UTC),
            mode=Mode.TEST,
            customer=f"customer-{number}",
            risk=("low", "medium", "high")[number % 3],
            metadata={"plan": ("free", "pro")[number % 2]},
        )
        for number in range(count)
    ]


def as_plain(facts: RoutingFacts) -> dict[str, Any]:
    """Return facts as the other engines want them."""
    return {
        "country": facts.country,
        "amount": int(facts.amount.units // 10**9),
        "risk": facts.risk or "",
        "hour": facts.at.hour,
        "plan": facts.metadata["plan"],
    }


def everything(_rail: str, _account: str, _currency: str) -> bool:
    return True
