"""Offers that nobody can be made, and prices that lose money.

A method that its rails do not have there, in that currency or for that amount; a live country without an offer; a
currency without a spread, or with one below what the conversion costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from adapters.base import Mode
from orchestrator.config_source import Trail
from orchestrator.routing.catalogue import RailOption
from orchestrator.routing.conditions import Between, Condition, NamesMethod, OneOf
from orchestrator.routing.eligibility import amount_limits
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.lint import Finding, Scene
from orchestrator.routing.presentment import currency_candidates
from orchestrator.routing.quick import QuickRouter
from orchestrator.routing.ruleset import Cost, Offer, Pricing, Rule
from rates.errors import NoSpread
from rates.money import TOKEN_SCALES, WALLET_USD, Money
from rates.spread import SpreadTable

AMOUNTS_MAX: Final = 60
SHOWN_MAX: Final = 8


def offers(scene: Scene) -> Iterator[Finding]:
    for number, rule in enumerate(scene.ruleset.rules):
        countries = _countries(rule.conditions)
        for place, offer in enumerate(rule.offers):
            path: Trail = ("rules", number, "offers", place)
            yield from _offer(scene, rule, offer, countries, path)
        yield from _filtered(scene, rule, number)
    yield from _live_countries(scene)
    yield from _spreads(scene)


def _countries(conditions: Sequence[Condition]) -> list[str]:
    """Return the countries that a rule names; [] = any."""
    sets = [part.words for part in conditions if isinstance(part, OneOf) and part.fact == "country"]
    return sorted(frozenset.intersection(*sets)) if sets else []


def _offer(scene: Scene, rule: Rule, offer: Offer, countries: list[str], path: Trail) -> Iterator[Finding]:
    options = [
        scene.catalogue.options[index]
        for method in scene.catalogue.expand(offer.method)
        for index in scene.catalogue.find(method, offer.rail, offer.account)
    ]
    if not countries:
        return
    served = [country for country in countries if any(_serves(option, country) for option in options)]
    missing = [country for country in countries if country not in served]
    if not served:
        rails = list(dict.fromkeys(option.rail for option in options))
        verb = "does" if len(rails) == 1 else "do"
        message = f"{offer.method} cannot be offered in {_some(countries)}: {_some(rails)} {verb} not serve it there"
        yield scene.error("method-not-in-country", path, message, _instead(scene, countries))
        return
    if missing:
        message = f"{offer.method} does not serve {_some(missing)}, which this rule is for"
        yield scene.warning("method-not-everywhere", path, message, "sessions there skip this offer")
    yield from _currencies(scene, offer, options, served, path)
    yield from _amounts(scene, rule, offer, [one for one in options if any(_serves(one, c) for c in served)], path)


def _serves(option: RailOption, country: str) -> bool:
    return option.capability.countries is None or country in option.capability.countries


def _instead(scene: Scene, countries: list[str]) -> str:
    there = dict.fromkeys(
        option.method for option in scene.catalogue.options if any(_serves(option, country) for country in countries)
    )
    return f"offered there: {', '.join(there)}" if there else "no rail serves it at all"


def _currencies(
    scene: Scene, offer: Offer, options: Sequence[RailOption], served: Sequence[str], path: Trail
) -> Iterator[Finding]:
    without: list[str] = []
    unquoted: dict[str, None] = {}
    for country in served:
        candidates = [
            currency
            for option in options
            if _serves(option, country)
            for currency in currency_candidates(option, country, None, scene.now.date(), scene.supports)
        ]
        if not candidates:
            without.append(country)
        elif all(scene.rate(currency) is None for currency in candidates):
            unquoted.update(dict.fromkeys(candidates))
    if without:
        message = f"{offer.method} can charge no currency in {_some(without)}"
        yield scene.error("no-currency", path, message, "the rail's own table of currencies lacks what it lists")
    if unquoted:
        message = f"{offer.method} cannot be priced now: no rate for {_some(list(unquoted))}"
        yield scene.warning("not-quotable", path, message, "`crossrail rates show` says why")


def _amounts(scene: Scene, rule: Rule, offer: Offer, options: Sequence[RailOption], path: Trail) -> Iterator[Finding]:
    bands = [part for part in rule.conditions if isinstance(part, Between) and part.fact == "amount_usd"]
    if not bands:
        return
    low = max((band.low for band in bands if band.low is not None), default=None)
    high = min((band.high for band in bands if band.high is not None), default=None)
    limits = [found for option in options if (found := amount_limits(option, scene.rate)) is not None]
    if not limits:
        return
    least, most = [one for one, _ in limits], [one for _, one in limits]
    outside = all(
        (high is not None and one is not None and high < one) or (low is not None and other is not None and low > other)
        for one, other in limits
    )
    if outside:
        message = f"{offer.method} takes {_band(least, most)}, and this rule is for amounts outside of that"
        yield scene.error("amount-outside-limits", path, message)
        return
    above = high is not None and all(one is not None and high > one for one in most)
    below = low is not None and all(one is not None and low < one for one in least)
    if above or below:
        message = f"{offer.method} takes {_band(least, most)}; this rule goes beyond that"
        yield scene.warning("amount-partly-outside-limits", path, message, "amounts beyond skip this offer")


def _band(least: Sequence[int | None], most: Sequence[int | None]) -> str:
    low = None if None in least else min(one for one in least if one is not None)
    high = None if None in most else max(one for one in most if one is not None)
    words = [f"from {_usd(low)}"] if low is not None else []
    return " ".join([*words, f"to {_usd(high)}"] if high is not None else words) + " USD at today's rates"


def _usd(units: int) -> str:
    return Money(units, WALLET_USD).decimal(2)


def _filtered(scene: Scene, rule: Rule, number: int) -> Iterator[Finding]:
    """A session that names methods is offered nothing else: a rule that asks for one should offer it."""
    for part in rule.conditions:
        if not isinstance(part, NamesMethod):
            continue
        wanted = {method for word in part.methods for method in scene.catalogue.expand(word)}
        offered = {method for offer in rule.offers for method in scene.catalogue.expand(offer.method)}
        if wanted.isdisjoint(offered):
            message = f"{rule.id} asks that the session names {_some(sorted(part.methods))}, and offers none of it"
            hint = "a session that names methods is offered no others"
            yield scene.warning("offers-filtered", ("rules", number, "offers"), message, hint)


def _live_countries(scene: Scene) -> Iterator[Finding]:
    written = scene.block.live_countries
    regions = scene.ruleset.regions
    named = {c for rule in scene.ruleset.rules for c in _countries(rule.conditions)}
    live = named if written is None else {c for word in written for c in regions.get(word, (word,))}
    quick = QuickRouter(scene.ruleset, scene.catalogue, scene.rate, {}, scene.supports)
    modes = {option.mode for option in scene.catalogue.options}
    mode = Mode.LIVE if modes == {Mode.LIVE} else Mode.TEST
    low, high = scene.session_units
    amounts = _amount_points(scene, low, high)
    path: Trail = ("live_countries",) if written is not None else ("defaults", "offers")
    for country in sorted(live - scene.blocked_countries):
        for units in amounts:
            facts = RoutingFacts(country=country, amount=Money(units, WALLET_USD), at=scene.now, mode=mode)
            answer = quick.offers(facts)
            if not answer.offers:
                rule = None if answer.rule is None else scene.ruleset.rules[answer.rule]
                at: Trail = path if rule is None or written is not None else ("rules", answer.rule or 0, "offers")
                by = "the defaults" if rule is None else rule.id
                message = f"{country} has no offer for {_usd(units)} USD ({by} decides)"
                yield scene.error("country-without-offer", at, message, _instead(scene, [country]))
                break
    blocked = sorted(live & scene.blocked_countries) if written is not None else []
    if blocked:
        message = f"{_some(blocked)} is live here and blocked by compliance.blocked_countries: no session is made there"
        yield scene.warning("blocked-country", ("live_countries",), message, "take it out of one of the two")
    for number, rule in enumerate(scene.ruleset.rules):
        blocked = sorted(scene.blocked_countries & frozenset(_countries(rule.conditions)))
        if blocked:
            message = f"{_some(blocked)} is blocked by compliance.blocked_countries: this rule never sees it"
            yield scene.warning("blocked-country", ("rules", number, "when"), message)


def _amount_points(scene: Scene, low: int, high: int) -> list[int]:
    points = {low, high}
    for rule in scene.ruleset.rules:
        for part in rule.conditions:
            if isinstance(part, Between) and part.fact == "amount_usd":
                points |= {part.low, part.low - 1} if part.low is not None else set()
                points |= {part.high, part.high + 1} if part.high is not None else set()
    within = sorted(point for point in points if low <= point <= high)
    return within[:: max(1, len(within) // AMOUNTS_MAX)]


def _spreads(scene: Scene) -> Iterator[Finding]:
    entries = [one.entry() for one in scene.ruleset.pricing]
    table = SpreadTable.from_config(entries)
    without: dict[str, dict[str, None]] = {}
    for option in scene.catalogue.options:
        for currency in option.capability.currencies:
            if currency in {"*", WALLET_USD.code}:
                continue
            try:
                table.spread(WALLET_USD.code, currency, option.method)
            except NoSpread:
                without.setdefault(currency, {})[option.method] = None
    if without:
        told = [f"USD-{currency} ({', '.join(methods)})" for currency, methods in without.items()]
        message = f"no corridor of pricing covers {_some(told)}"
        hint = 'such offers are never made; add {corridor: "USD-*", spread_bps: 100}'
        yield scene.error("no-spread", ("pricing",), message, hint)
    yield from _below_cost(scene)


def _below_cost(scene: Scene) -> Iterator[Finding]:
    own = {one.corridor.partition("-")[2] for one in scene.ruleset.pricing}
    for number, priced in enumerate(scene.ruleset.pricing):
        currency = priced.corridor.partition("-")[2]
        concerned = [cost.fx_bps for cost in scene.ruleset.costs if _concerns(scene, cost, priced, currency, own)]
        cost = max(concerned, default=0)
        if priced.spread_bps < cost:
            message = f"{priced.corridor} earns {priced.spread_bps} bps, and converting costs {cost} bps"
            path: Trail = ("pricing", number, "spread_bps")
            yield scene.error("spread-below-cost", path, message, "every top-up loses money")


def _concerns(scene: Scene, cost: Cost, priced: Pricing, currency: str, own: set[str]) -> bool:
    """Say whether a spread must pay for a cost: the same currency, and a method that charges in it."""
    if cost.currency is not None and (cost.currency in own if currency == "*" else cost.currency != currency):
        return False
    methods = [method for word in (priced.method, cost.method) if word for method in scene.catalogue.expand(word)]
    return any(
        _charges(option, currency)
        for option in scene.catalogue.options
        if (not methods or methods.count(option.method) == bool(priced.method) + bool(cost.method))
        and cost.rail in (None, option.rail)
    )


def _charges(option: RailOption, currency: str) -> bool:
    listed = option.capability.currencies
    return currency in listed or ("*" in listed and currency not in TOKEN_SCALES)


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN_MAX} more" if len(words) > SHOWN_MAX else ""
    return ", ".join(words[:SHOWN_MAX]) + more
