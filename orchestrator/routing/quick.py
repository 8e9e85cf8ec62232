"""Decisions without their reasons, a hundred thousand a second: for replays, canaries in the shadow, and comparisons.

Rates and health stand still here, so what can serve changes with the amount only where a limit lies: between two
limits, sessions of one country that match one rule are offered the same. ``offers`` says what ``engine.decide`` says.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from orchestrator.routing.catalogue import Catalogue, OptionKey, Supports
from orchestrator.routing.conditions import NamesMethod
from orchestrator.routing.decision import Choice, PickedBy
from orchestrator.routing.eligibility import Health, Rates, Table, in_probe, limits_in_usd, table_for
from orchestrator.routing.engine import decide_by
from orchestrator.routing.facts import RoutingFacts, words_of
from orchestrator.routing.health import HealthState
from orchestrator.routing.index import RuleIndex
from orchestrator.routing.ranking import Knowledge
from orchestrator.routing.ruleset import Ruleset
from orchestrator.routing.split import first_drawn

_FIGURED: Final = frozenset({"cost", "success"})
KEPT_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a session is offered, best first."""

    offers: tuple[Choice, ...]
    rule: int | None
    """Index of the rule that matched."""

    @property
    def keys(self) -> tuple[OptionKey, ...]:
        return tuple((offer.rail, offer.account, offer.method) for offer in self.offers)


@dataclass(slots=True)
class QuickRouter:
    """One ruleset at the rates and the health of one moment."""

    ruleset: Ruleset
    catalogue: Catalogue
    rates: Rates
    health: Health
    supports: Supports
    knowledge: Knowledge | None = None
    _probing: tuple[OptionKey, ...] = field(default=(), init=False, repr=False)
    _bounds: dict[int, tuple[Table, list[int]]] = field(default_factory=dict, init=False, repr=False)
    _known: dict[tuple[object, ...], Answer] = field(default_factory=dict, init=False, repr=False)
    _choices: RuleIndex | None = field(default=None, init=False, repr=False)
    _methods: tuple[tuple[str, frozenset[str]], ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        state_of = self.health if callable(self.health) else self.health.get
        keys = (option.key for option in self.catalogue.options)
        self._probing = tuple(key for key in keys if state_of(key) is HealthState.PROBING)
        if self.ruleset.rail_choices:
            self._choices = RuleIndex([choice.conditions for choice in self.ruleset.rail_choices])
            every = ((method, words_of(method)) for method in self.catalogue.by_method)
            self._methods = tuple((method, words) for method, words in every if self._may_be_chosen(words))

    def _may_be_chosen(self, words: frozenset[str]) -> bool:
        """Say whether any ``rail_choice`` is about this method at all."""
        return any(
            not any(isinstance(part, NamesMethod) and part.methods.isdisjoint(words) for part in choice.conditions)
            for choice in self.ruleset.rail_choices
        )

    def offers(self, facts: RoutingFacts) -> Answer:
        """Return what a session like this is offered."""
        table = table_for(facts, self.catalogue, self.supports)
        matched = self.ruleset.match(facts, table.method_words)
        if matched is not None and self.ruleset.rules[matched].rank in _FIGURED:
            return self._decide(facts, table, matched)  # the order hangs on the very amount, and on the customer
        drawn = self._drawn(facts) if self._choices is not None else None
        shut = self._shut(facts) if self.ruleset.maintenance else None
        probed = self._probed(facts) if self._probing else None
        key = (id(table), self._segment(table, facts), matched, drawn, shut, probed)
        found = self._known.get(key)
        if found is None:
            found = self._decide(facts, table, matched)
            if drawn is None or not _stood_in(found):
                if len(self._known) >= KEPT_MAX:
                    self._known.clear()
                self._known[key] = found
        return found

    def _decide(self, facts: RoutingFacts, table: Table, matched: int | None) -> Answer:
        decision = decide_by(
            facts,
            self.ruleset,
            self.catalogue,
            table,
            matched,
            None,
            rates=self.rates,
            health=self.health,
            knowledge=self.knowledge,
        )
        return Answer(decision.offers, matched)

    def _shut(self, facts: RoutingFacts) -> tuple[bool, ...]:
        return tuple(window.starts <= facts.at < window.ends for window in self.ruleset.maintenance)

    def _probed(self, facts: RoutingFacts) -> tuple[bool, ...]:
        return tuple(in_probe(key, facts) for key in self._probing)

    def _segment(self, table: Table, facts: RoutingFacts) -> int:
        """Return between which two limits the amount lies."""
        known = self._bounds.get(id(table))
        if known is None or known[0] is not table:
            known = self._bounds[id(table)] = (table, sorted(_bounds_of(table, self.catalogue, self.rates)))
        return bisect_left(known[1], facts.amount.units)

    def _drawn(self, facts: RoutingFacts) -> tuple[object, ...]:
        """Return who is drawn for every method: what may differ between two customers of one rule."""
        assert self._choices is not None
        found: list[object] = []
        for _, words in self._methods:
            number = self._choices.match(facts, words)
            if number is None:
                found.append(None)
                continue
            choice = self.ruleset.rail_choices[number]
            shared = len(choice.targets) > 1
            found.append((number, first_drawn(choice.id, facts.customer, choice.targets) if shared else 0))
        return tuple(found)


def _stood_in(answer: Answer) -> bool:
    """Say whether a stand-in serves: who that is hangs on the customer too."""
    return any(offer.picked_by is PickedBy.RAIL_CHOICE_STAND_IN for offer in answer.offers)


def _bounds_of(table: Table, catalogue: Catalogue, rates: Rates) -> set[int]:
    """Return the amounts above which another option starts or stops to serve, in nano-dollars."""
    found: set[int] = set()
    for row in table.rows:
        for currency in row.currencies:
            rate = Fraction(1) if currency == "USD" else rates(currency)
            if rate is None:
                continue
            low, high = limits_in_usd(row, currency, rate, catalogue)
            found |= {low - 1} if low is not None else set()
            found |= {high} if high is not None else set()
            break
    return found
