"""Rails, rules and facts to route with: the shape of the demo's configuration."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

from adapters.base import Capability, Flow, Mode
from orchestrator.config_source import load_document
from orchestrator.routing.catalogue import Catalogue, RailOption
from orchestrator.routing.decision import Decision
from orchestrator.routing.eligibility import Health
from orchestrator.routing.engine import decide
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.ruleset import Ruleset
from rates.money import WALLET_USD, Money, display_asset

TODAY = date(2026, 11, 23)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # a Monday
RATES = {"EUR": Fraction(9, 10), "BRL": Fraction(5), "PHP": Fraction(58), "VND": Fraction(25_000), "USDT": Fraction(1)}


def option(
    method: str,
    rail: str,
    account: str = "main",
    *,
    countries: str | None = None,
    currencies: tuple[str, ...] = ("*",),
    seconds: int = 10,
    least: str | None = None,
    most: str | None = None,
    mode: Mode = Mode.TEST,
) -> RailOption:
    """Build an option; ``least`` and ``most`` are amounts such as ``100 BRL``."""
    capability = Capability(
        method=method,
        flow=Flow.DEPOSIT_ADDRESS if "_" in method else Flow.REDIRECT,
        countries=None if countries is None else frozenset(countries.split()),
        currencies=currencies,
        expected_seconds=seconds,
        amount_min=_limit(least),
        amount_max=_limit(most),
    )
    return RailOption(rail, account, mode, capability)


def _limit(text: str | None) -> dict[str, Money]:
    if text is None:
        return {}
    amount, _, code = text.partition(" ")
    return {code: Money.parse(amount, display_asset(code))}


DEMO = Catalogue(
    (
        option("card", "stripe"),
        option("pix", "adyen", countries="BR", currencies=("BRL",), least="1 BRL", most="15000 BRL"),
        option("ideal", "adyen", countries="NL", currencies=("EUR",)),
        option("gcash", "adyen", countries="PH", currencies=("PHP",)),
        option("usdt_tron", "tron", "tron", currencies=("USDT",), seconds=60),
        option("usdt_bsc", "evm", "bsc", currencies=("USDT",), seconds=45),
        option("usdt_ethereum", "evm", "ethereum", currencies=("USDT",), seconds=900),
    )
)

DEMO_ROUTING = """\
routing:
  regions:
    latam: [BR, MX, AR, CO, CL]
    sea: [VN, PH, ID, TH, MY]
    west-africa: [NG, GH, SN, CI]
  defaults:
    offers:
      - {method: card, on_decline: {soft: next}}
      - usdt
  rules:
    - id: brazil-pix
      when: {country: BR, amount_usd: {max: 3000}}
      offers:
        - {method: pix, rail: adyen}
        - {method: card, rail: stripe, on_decline: {soft: next, hard: stop}}
        - {method: usdt_tron}
      owner: ops-latam
      expires: 2027-06-30
      tests:
        - given: {country: BR, amount_usd: 50}
          expect: {first: pix, offers: [pix, card, usdt_tron], rule: brazil-pix}
        - given: {country: BR, amount_usd: 3000.01}
          expect: {first: card, rule: defaults}
    - id: netherlands-ideal
      when: {country: NL}
      offers: [{method: ideal, rail: adyen}, {method: card, on_decline: {soft: next}}, usdt]
      owner: ops-europe
      expires: 2027-06-30
      tests:
        - given: {country: NL}
          expect: {first: ideal, rail: adyen}
    - id: germany-card
      when: {country: DE}
      offers: [{method: card, on_decline: {soft: next}}, usdt]
      owner: ops-europe
      expires: 2027-06-30
      tests:
        - given: {country: DE}
          expect: {first: card, rail: stripe}
        - given: {country: DE, methods: [usdt]}
          expect: {offers: [usdt_tron, usdt_bsc, usdt_ethereum]}
    - id: philippines-gcash
      when: {country: PH}
      offers: [{method: gcash, rail: adyen}, {method: card, on_decline: {soft: next}}, usdt_tron]
      owner: ops-sea
      expires: 2027-06-30
      tests:
        - given: {country: PH, amount_usd: 20}
          expect: {first: gcash, offers: [gcash, card, usdt_tron]}
    - id: sea-usdt-tron
      when: {region: sea}
      offers: [usdt_tron, usdt_bsc, {method: card, on_decline: {soft: next}}]
      owner: ops-sea
      expires: 2027-06-30
      tests:
        - given: {country: VN}
          expect: {first: usdt_tron, rule: sea-usdt-tron}
        - given: {country: PH}
          expect: {rule: philippines-gcash}
    - id: west-africa-usdt-bsc
      when: {region: west-africa}
      offers: [usdt_bsc, usdt_tron, {method: card, on_decline: {soft: next}}]
      owner: ops-africa
      expires: 2027-06-30
      tests:
        - given: {country: NG, amount_usd: 10}
          expect: {first: usdt_bsc, rail: evm}
  rail_choice:
    - id: card-at-stripe
      when: {method: card}
      rail: stripe
  pricing:
    - {corridor: "USD-NGN", spread_bps: 250}
    - {corridor: "USD-VND", spread_bps: 200}
    - {corridor: "USD-BRL", spread_bps: 120}
    - {corridor: "USD-PHP", spread_bps: 120}
    - {corridor: "USD-EUR", spread_bps: 75}
    - {corridor: "USD-USDT", spread_bps: 0}
    - {corridor: "USD-*", spread_bps: 100}
"""


def rules(text: str, catalogue: Catalogue = DEMO) -> Ruleset:
    return load_ruleset(load_document(text), catalogue, today=TODAY)


def routing(body: str, defaults: str = "[card, usdt]") -> str:
    """Build a config around rules, written from the left margin."""
    inner = "\n".join(f"  {line}" if line else "" for line in body.splitlines())
    return f"routing:\n  defaults: {{offers: {defaults}}}\n{inner}\n"


def facts(country: str = "BR", amount: str = "50", **known: Any) -> RoutingFacts:
    given = {"at": NOON, "mode": Mode.TEST, **known}
    return RoutingFacts(country=country, amount=Money.parse(amount, WALLET_USD), **given)


def everything(_rail: str, _account: str, _currency: str) -> bool:
    return True


def route(
    session: RoutingFacts, ruleset: Ruleset, catalogue: Catalogue = DEMO, health: Health | None = None
) -> Decision:
    states: Health = health if health is not None else {}
    return decide(session, ruleset, catalogue, rates=RATES.get, health=states, supports=everything)


def methods(decision: Decision) -> list[str]:
    return [offer.method for offer in decision.offers]
