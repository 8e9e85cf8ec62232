"""For whom each rail account of the configuration is: by country or region of the buyer, and by merchant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapters.agent_payments import TakesAgentPayments
from adapters.base import RailAdapter, ScansChain
from adapters.operations import CapturesLater
from orchestrator.config_source import ConfigInvalid, Document, Problem, Trail
from orchestrator.routing.catalogue import AccountLimits, Catalogue
from orchestrator.routing.countries import country_hint, is_country
from orchestrator.settings import RailAccountBlock, Serves, Settings

Rails = Mapping[tuple[str, str], RailAdapter]


def catalogue_of(settings: Settings, document: Document, rails: Rails) -> Catalogue:
    """Return what the accounts offer, each to those whom it is for. Raises ConfigInvalid with line and column."""
    blocks = {place: settings.rails[place[0]].accounts[place[1]] for place in rails}
    limits: dict[tuple[str, str], AccountLimits] = {}
    problems: list[Problem] = []
    for place, block in blocks.items():
        adapter = rails[place]
        if block.capture == "manual" and not (isinstance(adapter, CapturesLater) and adapter.later_methods):
            trail = ("rails", place[0], "accounts", place[1], "capture")
            problems.append(document.problem(trail, "this rail takes money at once: it reserves none"))
        if block.serves == Serves():
            continue
        limits[place] = AccountLimits(_countries(block, document), block.serves.merchants)
        problems += _problems(("rails", place[0], "accounts", place[1], "serves"), rails[place], block, document)
    if problems:
        raise ConfigInvalid(problems)
    enabled = (adapter for place, adapter in rails.items() if blocks[place].enabled)
    off = {
        (*place, capability.method)
        for place, block in blocks.items()
        if not block.enabled
        for capability in rails[place].capabilities
    }
    return Catalogue.of(enabled, frozenset(off), limits)


def reserving(settings: Settings) -> frozenset[tuple[str, str]]:
    """Return the accounts where money is only reserved first."""
    return frozenset(
        (rail, name)
        for rail, block in settings.rails.items()
        for name, account in block.accounts.items()
        if account.capture == "manual"
    )


def _regions(document: Document) -> Mapping[str, tuple[str, ...]]:
    """Return what ``routing.regions`` names, as far as it is readable; the rest is told with the rules."""
    named = document.at(("routing", "regions"))
    named = named if isinstance(named, dict) else {}
    return {str(name): tuple(map(str, there)) for name, there in named.items() if isinstance(there, list)}


def _countries(block: RailAccountBlock, document: Document) -> frozenset[str] | None:
    serves, regions = block.serves, _regions(document)
    if serves.countries is None and serves.regions is None:
        return None
    named = {country for region in serves.regions or () for country in regions.get(region, ())}
    return frozenset(named | (serves.countries or set()))


def _problems(trail: Trail, adapter: RailAdapter, block: RailAccountBlock, document: Document) -> Iterator[Problem]:
    serves, regions = block.serves, _regions(document)
    if isinstance(adapter, (ScansChain, TakesAgentPayments)):
        yield document.problem(
            trail,
            "a chain is for everybody: a customer's address takes what is sent to it",
            "switch it off: enabled: false",
        )
        return
    for country in sorted(serves.countries or ()):
        if not is_country(country):
            yield document.problem((*trail, "countries"), f"{country} is no country", country_hint(country))
    for region in sorted(serves.regions or ()):
        if region not in regions:
            hint = f"named under routing.regions: {', '.join(regions) or 'none'}"
            yield document.problem((*trail, "regions"), f"there is no region {region}", hint)
    there = _countries(block, document)
    for capability in adapter.capabilities:
        if there is not None and capability.countries is not None and not there & capability.countries:
            text = f"{capability.method} is sold in none of the countries that this account is for"
            yield document.problem(trail, text, "leave it out of the account's methods")
