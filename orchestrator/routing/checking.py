"""What shapes alone cannot tell of a routing block: names that must exist elsewhere, sums, repetitions, empty places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.config_source import Document, Problem, Trail, suggest
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.countries import country_hint, is_country
from orchestrator.routing.rules import OfferEntry, RailChoiceEntry, RoutingBlock, When
from orchestrator.routing.ruleset import Target


def empty_places(document: Document, path: Trail) -> Iterator[Trail]:
    """Yield every place where a value is missing: ``country:`` with nothing behind it would match everybody."""
    match document.at(path):
        case None:
            yield path
        case dict() as mapping:
            for key in mapping:
                yield from empty_places(document, (*path, key))
        case list() as items:
            for index in range(len(items)):
                yield from empty_places(document, (*path, index))
        case _:
            return


class Checker:
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
        for index, choice in enumerate(block.rail_choice):
            path = (*prefix, "rail_choice", index)
            yield from self._repeated(choice.id, (*path, "id"), seen)
            yield from self._when(choice.when, (*path, "when"))
            yield from self._choice(choice, path)
        yield from self._pricing()
        yield from self._costs_and_windows()
        yield from self._live_countries()

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
        off = sorted((rail, account) for rail, account, word in self._catalogue.switched_off if word == method)
        if off:
            accounts = ", ".join(f"rails.{rail}.accounts.{account}" for rail, account in off)
            hint = f"{accounts}.enabled is false: switch it on, or offer something else"
            return self._document.problem(path, f"{method} is offered by nobody who is switched on", hint)
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
            off = sorted({at for name, at, _ in self._catalogue.switched_off if name == rail})
            if off:
                hint = f"rails.{rail}.accounts.{off[0]}.enabled is false"
            message = f"the rail {rail} is switched off" if off else f"no rail {rail} is loaded"
            yield self._document.problem(at_rail, message, hint)
        elif account is not None and account not in accounts:
            hint = suggest(account, accounts) or f"its accounts: {', '.join(accounts)}"
            yield self._document.problem((*path, "account"), f"{rail} has no account {account}", hint)
        elif not any(self._catalogue.find(method, rail, account) for method in methods):
            there = dict.fromkeys(option.method for option in of_rail if account in (None, option.account))
            others = dict.fromkeys(o.rail for o in self._catalogue.options if o.method in methods)
            name = rail if account is None else f"{rail}/{account}"
            hint = f"it offers {', '.join(there)}; {word} is offered by {', '.join(others)}"
            yield self._document.problem(at_rail, f"{name} does not offer {word}", hint)

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
        seen: dict[tuple[str, str | None, int], int] = {}
        for index, entry in enumerate(self._block.pricing):
            path: Trail = (*self._prefix, "pricing", index)
            if entry.method is not None and not self._catalogue.expand(entry.method):
                yield self._unknown_method(entry.method, (*path, "method"))
            first = seen.setdefault((entry.corridor, entry.method, entry.from_usd.units), index)
            if first != index:
                line = self._document.position((*self._prefix, "pricing", first))[0]
                yield self._document.problem(path, f"{entry.corridor} is priced twice; first in line {line}")

    def _costs_and_windows(self) -> Iterator[Problem]:
        seen: dict[tuple[str | None, ...], int] = {}
        for index, cost in enumerate(self._block.costs):
            path: Trail = (*self._prefix, "costs", index)
            yield from self._at_a_rail(path, cost.rail, None, cost.method)
            first = seen.setdefault((cost.method, cost.rail, cost.currency), index)
            if first != index:
                line = self._document.position((*self._prefix, "costs", first))[0]
                yield self._document.problem(path, f"these costs are said twice; first in line {line}")
        for index, window in enumerate(self._block.maintenance):
            path = (*self._prefix, "maintenance", index)
            yield from self._at_a_rail(path, window.rail, window.account, window.method)

    def _at_a_rail(self, path: Trail, rail: str | None, account: str | None, method: str | None) -> Iterator[Problem]:
        methods = list(self._catalogue.by_method) if method is None else list(self._catalogue.expand(method))
        if method is not None and not methods:
            yield self._unknown_method(method, (*path, "method"))
        elif rail is not None:
            yield from self._offered_by(methods, rail, account, method or "anything", path)

    def _live_countries(self) -> Iterator[Problem]:
        for word in self._block.live_countries or ():
            if word not in self._block.regions and not is_country(word):
                hint = country_hint(word) or suggest(word, self._block.regions)
                path = self._word(self._prefix, "live_countries", word)
                yield self._document.problem(path, f"{word} is no country and no region", hint)
