"""YAML -> Ruleset: checked against itself and against the rails that are loaded, compiled, and tested by its own tests.

Everything that is wrong is reported at once, each at its line and column; nothing invalid is ever half used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date

from orchestrator.config_source import ConfigInvalid, Document, Problem, Trail, check
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.checking import Checker, empty_places
from orchestrator.routing.compiled import compile_rules
from orchestrator.routing.conditions import Condition, ask_age, conditions_of, implies
from orchestrator.routing.index import RuleIndex, Widening
from orchestrator.routing.rules import MaintenanceEntry, OfferEntry, RailChoiceEntry, RoutingBlock, RuleEntry
from orchestrator.routing.ruleset import (
    OUTCOMES_MAX,
    Cost,
    Limits,
    Offer,
    OnDecline,
    Pricing,
    RailChoice,
    Rule,
    Ruleset,
    Target,
    Weights,
    Window,
    canonical_json,
    content_hash,
)
from orchestrator.routing.selftest import failed_tests


@dataclass(frozen=True, slots=True)
class Assembled:
    """Rules whose every word is known, and what still keeps them from being used."""

    block: RoutingBlock
    ruleset: Ruleset
    unreachable: tuple[Problem, ...]
    failing: tuple[Problem, ...]
    """Tests of their own that fail."""


def load_ruleset(document: Document, catalogue: Catalogue, *, today: date, prefix: Trail = ("routing",)) -> Ruleset:
    """Return the rules at ``prefix``, checked and compiled. Raises ConfigInvalid with every problem that was found.

    An expired rule still matches (money must not be routed by a date that somebody forgot); it is in ``warnings``.
    """
    assembled = assemble(document, catalogue, today=today, prefix=prefix)
    problems = assembled.unreachable or assembled.failing
    if problems:
        raise ConfigInvalid(_in_order(problems))
    return assembled.ruleset


def assemble(document: Document, catalogue: Catalogue, *, today: date, prefix: Trail = ("routing",)) -> Assembled:
    """Return the rules at ``prefix``, with what is wrong with them as a whole. Raises ConfigInvalid for the rest."""
    empty = [
        document.problem(path, "is empty: write a value or remove the key") for path in empty_places(document, prefix)
    ]
    if empty and document.at(prefix) is not None:
        raise ConfigInvalid(empty)
    block = check(RoutingBlock, document, prefix)
    problems = list(Checker(document, catalogue, block, prefix).problems())
    if problems:
        raise ConfigInvalid(_in_order(problems))
    ruleset = compiled(_ruleset(block))
    unreachable = [
        *_unreachable(document, (*prefix, "rules"), ruleset.rules),
        *_unreachable(document, (*prefix, "rail_choice"), ruleset.rail_choices),
    ]
    failing = [
        document.problem((*prefix, "rules", failure.rule, "tests", failure.test, "expect"), failure.message)
        for failure in failed_tests(block, ruleset, catalogue)
    ]
    warned = replace(ruleset, warnings=tuple(_expired(document, block, prefix, today)))
    return Assembled(block, warned, tuple(unreachable), tuple(failing))


def _ruleset(block: RoutingBlock) -> Ruleset:
    canonical = canonical_json(block)
    return Ruleset(
        hash=content_hash(canonical),
        canonical=canonical,
        regions=block.regions,
        rules=tuple(_rule(entry, block.regions) for entry in block.rules),
        defaults=tuple(_offer(entry) for entry in block.defaults.offers),
        rail_choices=tuple(_rail_choice(entry, block.regions) for entry in block.rail_choice),
        pricing=tuple(
            Pricing(
                entry.corridor,
                entry.spread_bps,
                entry.method,
                entry.from_usd.units,
                entry.volatility_percent,
                entry.volatility_bps_max,
            )
            for entry in block.pricing
        ),
        warnings=(),
        costs=tuple(Cost(**entry.model_dump()) for entry in block.costs),
        weights=Weights(**block.ranking.model_dump()),
        maintenance=tuple(_window(entry) for entry in block.maintenance),
        overlays=Limits(block.overlays.may, block.overlays.rules_max, block.overlays.methods),
    )


def compiled(ruleset: Ruleset) -> Ruleset:
    """Return a ruleset that can decide, from its rules."""
    conditions = [rule.conditions for rule in ruleset.rules]
    return replace(
        ruleset,
        varies=bool(ruleset.rail_choices or ruleset.maintenance)
        or any(rule.rank in ("cost", "success") for rule in ruleset.rules),
        asks_age=any(map(ask_age, [*conditions, *(choice.conditions for choice in ruleset.rail_choices)])),
        match=RuleIndex(conditions).match,
        evaluate_rules=compile_rules(conditions) if len(conditions) <= OUTCOMES_MAX else None,
        evaluate_choices=compile_rules([choice.conditions for choice in ruleset.rail_choices]),
    )


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _unreachable(document: Document, path: Trail, rules: Sequence[Rule | RailChoice]) -> Iterator[Problem]:
    """Yield the rules that an earlier one always takes everything from."""
    wide = Widening([rule.conditions for rule in rules])
    for later, rule in enumerate(rules):
        for earlier in (rules[number] for number in wide.may_cover(later)):
            if covers(earlier.conditions, rule.conditions):
                why = "has no conditions" if not earlier.conditions else "matches whenever this one would"
                message = f"{rule.id} can never match: {earlier.id}, further up, {why}"
                yield document.problem((*path, later, "id"), message, "move it up or remove it")
                break


def covers(earlier: Sequence[Condition], later: Sequence[Condition]) -> bool:
    """Say whether a rule certainly holds wherever another one does (False = not seen to)."""
    return all(any(implies(narrow, wide) for narrow in later) for wide in earlier)


def _expired(document: Document, block: RoutingBlock, prefix: Trail, today: date) -> Iterator[Problem]:
    lists: list[tuple[str, Sequence[RuleEntry | RailChoiceEntry]]] = [
        ("rules", block.rules),
        ("rail_choice", block.rail_choice),
    ]
    for name, entries in lists:
        for index, entry in enumerate(entries):
            if entry.expires is not None and entry.expires < today:
                message = f"{entry.id} expired on {entry.expires} and still matches; ask {entry.owner or 'its owner'}"
                yield document.problem((*prefix, name, index, "expires"), message)


def _offer(entry: OfferEntry) -> Offer:
    on_decline = OnDecline(entry.on_decline.soft, entry.on_decline.hard)
    return Offer(entry.method, entry.rail, entry.account, on_decline)


def _rule(entry: RuleEntry, regions: Mapping[str, tuple[str, ...]]) -> Rule:
    return Rule(
        id=entry.id,
        conditions=conditions_of(entry.when, regions),
        offers=tuple(_offer(offer) for offer in entry.offers),
        rank=entry.rank,
        otherwise=entry.otherwise,
        owner=entry.owner,
        expires=entry.expires,
    )


def _window(entry: MaintenanceEntry) -> Window:
    starts, ends = entry.starts.astimezone(UTC), entry.ends.astimezone(UTC)
    return Window(entry.rail, entry.account, entry.method, starts, ends, entry.reason)


def _rail_choice(entry: RailChoiceEntry, regions: Mapping[str, tuple[str, ...]]) -> RailChoice:
    weights = {entry.rail: 100} if entry.split is None and entry.rail else (entry.split.weights if entry.split else {})
    targets = tuple(Target.parse(name, weights[name]) for name in sorted(weights))
    return RailChoice(entry.id, conditions_of(entry.when, regions), targets)
