"""YAML -> Ruleset: checked against itself and against the rails that are loaded, compiled, and tested by its own tests.

Everything that is wrong is reported at once, each at its line and column; nothing invalid is ever half used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from orchestrator.config_source import ConfigInvalid, Document, Problem, Trail, check, suggest
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.compiled import compile_rules
from orchestrator.routing.conditions import Condition, conditions_of, implies
from orchestrator.routing.index import RuleIndex, Widening
from orchestrator.routing.rules import OfferEntry, RailChoiceEntry, RoutingBlock, RuleEntry, When
from orchestrator.routing.ruleset import (
    OUTCOMES_MAX,
    Offer,
    OnDecline,
    Pricing,
    RailChoice,
    Rule,
    Ruleset,
    Target,
    canonical_json,
    content_hash,
)
from orchestrator.routing.selftest import failed_tests


def load_ruleset(document: Document, catalogue: Catalogue, *, today: date, prefix: Trail = ("routing",)) -> Ruleset:
    """Return the rules at ``prefix``, checked and compiled. Raises ConfigInvalid with every problem that was found.

    An expired rule still matches (money must not be routed by a date that somebody forgot); it is in ``warnings``.
    """
    empty = [document.problem(path, "is empty: write a value or remove the key") for path in _empty(document, prefix)]
    if empty and document.at(prefix) is not None:
        raise ConfigInvalid(empty)
    block = check(RoutingBlock, document, prefix)
    problems = list(_Checker(document, catalogue, block, prefix).problems())
    if problems:
        raise ConfigInvalid(_in_order(problems))
    rules = tuple(_rule(entry, block.regions) for entry in block.rules)
    choices = tuple(_rail_choice(entry, block.regions) for entry in block.rail_choice)
    problems = [
        *_unreachable(document, (*prefix, "rules"), rules),
        *_unreachable(document, (*prefix, "rail_choice"), choices),
    ]
    if problems:
        raise ConfigInvalid(_in_order(problems))
    canonical = canonical_json(block)
    ruleset = Ruleset(
        hash=content_hash(canonical),
        canonical=canonical,
        regions=block.regions,
        rules=rules,
        defaults=tuple(_offer(entry) for entry in block.defaults.offers),
        rail_choices=choices,
        pricing=tuple(Pricing(entry.corridor, entry.spread_bps, entry.method) for entry in block.pricing),
        warnings=(),
    )
    ruleset = compiled(ruleset)
    problems = [
        document.problem((*prefix, "rules", failure.rule, "tests", failure.test, "expect"), failure.message)
        for failure in failed_tests(block, ruleset, catalogue)
    ]
    if problems:
        raise ConfigInvalid(_in_order(problems))
    return replace(ruleset, warnings=tuple(_expired(document, block, prefix, today)))


def compiled(ruleset: Ruleset) -> Ruleset:
    """Return a ruleset that can decide, from its rules."""
    conditions = [rule.conditions for rule in ruleset.rules]
    return replace(
        ruleset,
        match=RuleIndex(conditions).match,
        evaluate_rules=compile_rules(conditions) if len(conditions) <= OUTCOMES_MAX else None,
        evaluate_choices=compile_rules([choice.conditions for choice in ruleset.rail_choices]),
    )


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _empty(document: Document, path: Trail) -> Iterator[Trail]:
    """Yield every place where a value is missing: ``country:`` with nothing behind it would match everybody."""
    match document.at(path):
        case None:
            yield path
        case dict() as mapping:
            for key in mapping:
                yield from _empty(document, (*path, key))
        case list() as items:
            for index in range(len(items)):
                yield from _empty(document, (*path, index))
        case _:
            return


class _Checker:
    """What shapes alone cannot tell: names that must exist elsewhere, sums, repetitions."""

    def __init__(self, document: Document, catalogue: Catalogue, block: RoutingBlock, prefix: Trail) -> None:
        self._document = document
        self._catalogue = catalogue
        self._block = block
        self._prefix = prefix
        self._rails = list(dict.fromkeys(option.rail for option in catalogue.options))

    def problems(self) -> Iterator[Problem]:
        block, prefix = self._block, self._prefix
        yield from self._offers(block.defaults.offers, (*prefix, "defaults", "offers"))
        seen: dict[str, Trail] = {}
        for index, rule in enumerate(block.rules):
            path: Trail = (*prefix, "rules", index)
            yield from self._repeated(rule.id, (*path, "id"), seen)
            yield from self._when(rule.when, (*path, "when"))
            yield from self._offers(rule.offers, (*path, "offers"))
            yield from self._rank(rule, path)
        for index, choice in enumerate(block.rail_choice):
            path = (*prefix, "rail_choice", index)
            yield from self._repeated(choice.id, (*path, "id"), seen)
            yield from self._when(choice.when, (*path, "when"))
            yield from self._choice(choice, path)
        yield from self._pricing()

    def _repeated(self, rule_id: str, path: Trail, seen: dict[str, Trail]) -> Iterator[Problem]:
        if rule_id in seen:
            line = self._document.position(seen[rule_id])[0]
            yield self._document.problem(path, f"the id {rule_id} is used twice; first in line {line}")
        seen.setdefault(rule_id, path)

    def _when(self, when: When, path: Trail, *, inside: bool = False) -> Iterator[Problem]:
        if inside and when.is_empty:
            yield self._document.problem(path, "has no condition, so it always holds", "write one or remove it")
        for region in when.region or ():
            if region not in self._block.regions:
                hint = suggest(region, self._block.regions) or "regions are named under routing.regions"
                yield self._document.problem(self._word(path, "region", region), f"no region {region}", hint)
        for method in when.method or ():
            if not self._catalogue.expand(method):
                yield self._unknown_method(method, self._word(path, "method", method))
        for key, parts in (("all", when.all_of), ("any", when.any_of)):
            for index, part in enumerate(parts or ()):
                yield from self._when(part, (*path, key, index), inside=True)
        if when.none_of is not None:
            yield from self._when(when.none_of, (*path, "not"), inside=True)

    def _word(self, path: Trail, key: str, word: str) -> Trail:
        """Return where one word of a condition stands: sets are sorted when they are read, the file is not."""
        written: Any = self._document.at((*path, key))
        return (*path, key, written.index(word)) if isinstance(written, list) else (*path, key)

    def _unknown_method(self, method: str, path: Trail) -> Problem:
        known = self._catalogue.words()
        hint = suggest(method, known) or f"offered by the rails that are loaded: {', '.join(known)}"
        return self._document.problem(path, f"no rail offers the method {method}", hint)

    def _offers(self, offers: Sequence[OfferEntry], path: Trail) -> Iterator[Problem]:
        for index, offer in enumerate(offers):
            here: Trail = (*path, index)
            methods = self._catalogue.expand(offer.method)
            if not methods:
                yield self._unknown_method(offer.method, (*here, "method"))
            elif offer.rail is not None:
                yield from self._offered_by(methods, offer.rail, offer.account, offer.method, here)

    def _offered_by(
        self, methods: Sequence[str], rail: str, account: str | None, word: str, path: Trail
    ) -> Iterator[Problem]:
        """Check that a rail is there, that the account is, and that it offers at least one of the methods."""
        of_rail = [option for option in self._catalogue.options if option.rail == rail]
        accounts = list(dict.fromkeys(option.account for option in of_rail))
        at_rail = (*path, "rail")
        if not of_rail:
            hint = suggest(rail, self._rails) or f"loaded: {', '.join(self._rails)}"
            yield self._document.problem(at_rail, f"no rail {rail} is loaded", hint)
        elif account is not None and account not in accounts:
            hint = suggest(account, accounts) or f"its accounts: {', '.join(accounts)}"
            yield self._document.problem((*path, "account"), f"{rail} has no account {account}", hint)
        elif not any(self._catalogue.find(method, rail, account) for method in methods):
            there = dict.fromkeys(option.method for option in of_rail if account in (None, option.account))
            others = dict.fromkeys(o.rail for o in self._catalogue.options if o.method in methods)
            name = rail if account is None else f"{rail}/{account}"
            hint = f"it offers {', '.join(there)}; {word} is offered by {', '.join(others)}"
            yield self._document.problem(at_rail, f"{name} does not offer {word}", hint)

    def _rank(self, rule: RuleEntry, path: Trail) -> Iterator[Problem]:
        if rule.rank in ("cost", "success"):
            message = f"ranking by {rule.rank} needs figures that this version does not keep yet"
            yield self._document.problem((*path, "rank"), message, "write the order out, or rank: speed")

    def _choice(self, choice: RailChoiceEntry, path: Trail) -> Iterator[Problem]:
        methods = [method for word in choice.when.method or () for method in self._catalogue.expand(word)]
        methods = methods or list(self._catalogue.by_method)
        word = ", ".join(choice.when.method or ("anything",))
        if choice.rail is not None:
            target = Target.parse(choice.rail)
            yield from self._offered_by(methods, target.rail, target.account, word, path)
        elif choice.split is not None:
            weights: Mapping[str, int] = choice.split.weights
            at_weights = (*path, "split", "weights")
            if sum(weights.values()) != 100:
                message = f"the weights add up to {sum(weights.values())}, not 100"
                yield self._document.problem(at_weights, message)
            for name in weights:
                target = Target.parse(name)
                for problem in self._offered_by(methods, target.rail, target.account, word, path):
                    found = self._document.problem((*at_weights, name), problem.message, problem.hint, on_key=True)
                    yield found

    def _pricing(self) -> Iterator[Problem]:
        seen: dict[tuple[str, str | None], int] = {}
        for index, entry in enumerate(self._block.pricing):
            path: Trail = (*self._prefix, "pricing", index)
            if entry.method is not None and not self._catalogue.expand(entry.method):
                yield self._unknown_method(entry.method, (*path, "method"))
            first = seen.setdefault((entry.corridor, entry.method), index)
            if first != index:
                line = self._document.position((*self._prefix, "pricing", first))[0]
                yield self._document.problem(path, f"{entry.corridor} is priced twice; first in line {line}")


def _unreachable(document: Document, path: Trail, rules: Sequence[Rule | RailChoice]) -> Iterator[Problem]:
    """Yield the rules that an earlier one always takes everything from."""
    wide = Widening([rule.conditions for rule in rules])
    for later, rule in enumerate(rules):
        for earlier in (rules[number] for number in wide.may_cover(later)):
            if _covers(earlier.conditions, rule.conditions):
                why = "has no conditions" if not earlier.conditions else "matches whenever this one would"
                message = f"{rule.id} can never match: {earlier.id}, further up, {why}"
                yield document.problem((*path, later, "id"), message, "move it up or remove it")
                break


def _covers(earlier: Sequence[Condition], later: Sequence[Condition]) -> bool:
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
        rank="speed" if entry.rank == "speed" else None,
        otherwise=entry.otherwise,
        owner=entry.owner,
        expires=entry.expires,
    )


def _rail_choice(entry: RailChoiceEntry, regions: Mapping[str, tuple[str, ...]]) -> RailChoice:
    weights = {entry.rail: 100} if entry.split is None and entry.rail else (entry.split.weights if entry.split else {})
    targets = tuple(Target.parse(name, weights[name]) for name in sorted(weights))
    return RailChoice(entry.id, conditions_of(entry.when, regions), targets)
