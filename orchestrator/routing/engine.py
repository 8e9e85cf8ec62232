"""The decision. Pure: the same facts, ruleset, catalogue, rates and health give the same decision, always.

1. Every option of the catalogue is kept or dropped (mode, method filter, country, currency, limits at mid, health).
2. Every rule is held against the facts; the first that matches makes the offers, in the order that it writes, unless it
   asks for a ``rank``. A token word (``usdt``) stands for its methods in the catalogue's order.
3. Where an offer does not name its rail, ``rail_choice`` picks one (first match wins); where that rail cannot serve,
   another that can stands in; without a match the first that can, in the order of config.yaml. One offer per entry.
4. No rule matched: the defaults. A rule matched and nothing that it offers can be had: the defaults too, unless the
   rule says ``otherwise: nothing``; ``Decision.source`` tells which it was. An empty ``offers`` is an answer as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.routing.catalogue import Catalogue, RailOption, Supports
from orchestrator.routing.compiled import MATCHED
from orchestrator.routing.costs import FeeTables
from orchestrator.routing.decision import Choice, Decision, PickedBy, Source, source_rule_of
from orchestrator.routing.eligibility import (
    Eligible,
    Health,
    Rates,
    Table,
    closed_for_maintenance,
    find_eligible,
    table_for,
)
from orchestrator.routing.facts import RoutingFacts, words_of
from orchestrator.routing.overlay import Applied, Overlay, OverlayRule
from orchestrator.routing.ranking import By, Candidate, Knowledge, Ranked, rank
from orchestrator.routing.ruleset import Offer, OnDecline, RailChoice, Ruleset, Target
from orchestrator.routing.split import draw, first_drawn


def decide(
    facts: RoutingFacts,
    ruleset: Ruleset,
    catalogue: Catalogue,
    *,
    rates: Rates,
    health: Health,
    supports: Supports,
    knowledge: Knowledge | None = None,
    overlay: Overlay | None = None,
) -> Decision:
    """Decide what a session is offered. No I/O; ``rates`` and ``health`` are asked, never kept.

    ``knowledge``: what ``rank: cost`` and ``rank: success`` go by; without it the order is as written.
    """
    table = table_for(facts, catalogue, supports)
    matched, outcomes = ruleset.try_rules(facts, table.method_words)
    return decide_by(
        facts,
        ruleset,
        catalogue,
        table,
        matched,
        outcomes,
        rates=rates,
        health=health,
        knowledge=knowledge,
        overlay=overlay,
    )


def decide_by(
    facts: RoutingFacts,
    ruleset: Ruleset,
    catalogue: Catalogue,
    table: Table,
    matched: int | None,
    outcomes: tuple[int, ...] | None,
    *,
    rates: Rates,
    health: Health,
    knowledge: Knowledge | None = None,
    overlay: Overlay | None = None,
) -> Decision:
    """Decide, once the static table is looked up and the rules were tried.

    Without ``rail_choices`` nothing is read of the facts from here on but the amount.
    """
    shut = closed_for_maintenance(ruleset.maintenance, catalogue, facts.at) if ruleset.maintenance else frozenset()
    eligible = find_eligible(facts, catalogue, table, rates, health, shut)
    ranked: Ranked | None = None
    chooser = _Chooser(facts, ruleset, catalogue, eligible)
    if matched is None:
        source, offers = Source.DEFAULTS, chooser.offers(ruleset.defaults, Source.DEFAULTS, None)
    else:
        rule = ruleset.rules[matched]
        source, offers = Source.RULE, chooser.offers(rule.offers, Source.RULE, rule.id)
        if rule.rank == "speed" or (rule.rank is not None and knowledge is not None):
            ranked = _ranked(rule.rank, offers, rule.id, facts, ruleset, knowledge or NOTHING_KNOWN)
            offers = [offers[place] for place in ranked.order]
        if not offers and rule.otherwise == "nothing":
            source = Source.NOTHING_AFTER_RULE
        elif not offers:
            source = Source.DEFAULTS_AFTER_RULE
            offers = chooser.offers(ruleset.defaults, source, rule.id)
    own = None if overlay is None else overlay.rule_for(facts, table.method_words)
    applied: Applied | None = None
    if overlay is not None and own is not None:
        offers, applied = _refined(offers, own, overlay, ruleset, chooser, catalogue)
    return Decision(
        offers=tuple(offers),
        source=source,
        matched_rule=matched,
        rule_outcomes=outcomes,
        choice_outcomes=chooser.choice_outcomes,
        option_outcomes=eligible.outcomes,
        rates=eligible.rates,
        ruleset_hash=ruleset.hash,
        facts=facts,
        catalogue=catalogue,
        ranked=ranked,
        overlay=applied,
    )


def _refined(
    offers: list[Choice], rule: OverlayRule, overlay: Overlay, ruleset: Ruleset, chooser: _Chooser, catalogue: Catalogue
) -> tuple[list[Choice], Applied]:
    """Let a merchant's rule drop, order and add, as far as the platform's limits allow it."""
    limits = ruleset.overlays
    drop = {method for word in rule.drop for method in catalogue.expand(word)} if "drop" in limits.may else set()
    kept = [offer for offer in offers if offer.method not in drop]
    added: list[Choice] = []
    if "add" in limits.may:
        there = {offer.method for offer in kept}
        written = tuple(
            Offer(word, None, None, OnDecline())
            for word in rule.add
            if limits.methods is None or word in limits.methods
        )
        more = chooser.offers(written, Source.RULE, f"{rule.id} (merchant)")
        added = [offer for offer in more if offer.method not in there]
    if offers and not kept and not added:
        return offers, Applied(overlay.hash, rule.id, (), (), reordered=False, refused="it would leave no offer")
    refined = [*kept, *added]
    if "order" in limits.may and rule.order:
        places = {method: n for n, word in enumerate(rule.order) for method in catalogue.expand(word)}
        refined.sort(key=lambda offer: places.get(offer.method, len(rule.order)))
    dropped = tuple(offer.method for offer in offers if offer.method in drop)
    moved = [offer.method for offer in refined if offer in kept] != [offer.method for offer in kept]
    return refined, Applied(overlay.hash, rule.id, dropped, tuple(offer.method for offer in added), reordered=moved)


NOTHING_KNOWN: Final = Knowledge(FeeTables({}))


def _ranked(
    by: By, offers: list[Choice], rule_id: str, facts: RoutingFacts, ruleset: Ruleset, knowledge: Knowledge
) -> Ranked:
    candidates = [
        Candidate(place, (one.rail, one.account, one.method), one.currency, one.capability.expected_seconds)
        for place, one in enumerate(offers)
    ]
    return rank(by, candidates, rule_id, facts, ruleset, knowledge)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One method of one written offer, and the options that may serve it."""

    method: str
    options: tuple[int, ...]
    on_decline: OnDecline
    names_rail: bool
    choices: dict[tuple[int, str, str, PickedBy, str | None], Choice]
    """What this entry became before: option, currency, rule, why, ``rail_choice`` -> the choice, made once."""

    def choice(self, option: RailOption, key: tuple[int, str, str, PickedBy, str | None]) -> Choice:
        _, currency, source_rule, picked_by, rail_choice = key
        made = self.choices[key] = Choice(
            self.method, option.rail, option.account, currency, option.capability, self.on_decline,
            source_rule, picked_by, rail_choice,
        )  # fmt: skip
        return made


class _Chooser:
    """Turns written offers into choices for one session."""

    def __init__(self, facts: RoutingFacts, ruleset: Ruleset, catalogue: Catalogue, eligible: Eligible) -> None:
        self._facts = facts
        self._ruleset = ruleset
        self._catalogue = catalogue
        self._eligible = eligible
        self.choice_outcomes: dict[str, tuple[int, ...]] = {}

    def offers(self, written: tuple[Offer, ...], source: Source, rule_id: str | None) -> list[Choice]:
        found: list[Choice] = []
        taken: set[int] = set()
        kept = self._eligible.currencies
        source_rule = source_rule_of(source, rule_id)
        for entry in _entries(written, self._catalogue):
            able = [index for index in entry.options if index in kept]
            if not able:
                continue
            picked_by, rail_choice = PickedBy.WRITTEN, None
            index: int | None = able[0]
            if not entry.names_rail:
                index, picked_by, rail_choice = self._pick(entry.method, able)
            if index is None or index in taken:
                continue
            taken.add(index)
            key = (index, kept[index], source_rule, picked_by, rail_choice)
            found.append(entry.choices.get(key) or entry.choice(self._catalogue.options[index], key))
        return found

    def _pick(self, method: str, able: list[int]) -> tuple[int | None, PickedBy, str | None]:
        """Return who serves a method: what ``rail_choice`` says, else its stand-in, else the first that can."""
        choice = self._rail_choice(method)
        if choice is None:
            return able[0], PickedBy.CATALOGUE, None
        first = first_drawn(choice.id, self._facts.customer, choice.targets)
        if first >= 0 and (index := self._served_by(choice.targets[first], able)) is not None:
            return index, PickedBy.RAIL_CHOICE, choice.id
        for target in draw(choice.id, self._facts.customer, choice.targets):
            index = self._served_by(target, able)
            if index is not None:
                return index, PickedBy.RAIL_CHOICE_STAND_IN, choice.id
        shut = [target for target in choice.targets if target.weight == 0]  # weight 0 = no traffic, not even now
        index = next((index for index in able if not any(self._is_at(index, target) for target in shut)), None)
        return index, PickedBy.RAIL_CHOICE_STAND_IN, choice.id

    def _served_by(self, target: Target, able: list[int]) -> int | None:
        for index in able:
            if self._is_at(index, target):
                return index
        return None

    def _rail_choice(self, method: str) -> RailChoice | None:
        if not self._ruleset.rail_choices:
            return None
        outcomes = self.choice_outcomes.get(method)
        if outcomes is None:
            outcomes = self.choice_outcomes[method] = self._ruleset.evaluate_choices(self._facts, words_of(method))
        return self._ruleset.rail_choices[outcomes.index(MATCHED)] if MATCHED in outcomes else None

    def _is_at(self, index: int, target: Target) -> bool:
        option = self._catalogue.options[index]
        return option.rail == target.rail and target.account in (None, option.account)


def _entries(written: tuple[Offer, ...], catalogue: Catalogue) -> tuple[_Entry, ...]:
    """Spell out token words and look the options up, once for each list of written offers.

    A list is known by its identity (hashing it costs more than all the rest): it is kept beside what it became.
    """
    known: tuple[tuple[Offer, ...], tuple[_Entry, ...]] | None = catalogue.memo.get(id(written))
    if known is not None and known[0] is written:
        return known[1]
    entries = tuple(
        _Entry(method, catalogue.find(method, offer.rail, offer.account), offer.on_decline, offer.rail is not None, {})
        for offer in written
        for method in catalogue.expand(offer.method)
    )
    catalogue.memo[id(written)] = (written, entries)
    return entries
