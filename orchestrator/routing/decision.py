"""What was decided, and everything that led to it, small enough to be stored with every session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Any, Final

import orjson

from adapters.base import Capability
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.eligibility import OptionOutcome
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.overlay import Applied
from orchestrator.routing.ranking import Ranked
from orchestrator.routing.rules import DEFAULTS_ID
from orchestrator.routing.ruleset import OnDecline

FORMAT: Final = 1
"""Version of the stored form."""


class Source(StrEnum):
    """Where the offers come from."""

    RULE = "rule"
    DEFAULTS = "defaults"
    """No rule matched."""
    DEFAULTS_AFTER_RULE = "defaults_after_rule"
    """A rule matched, but nothing that it offers can be had now: the defaults stand in, and this says so."""
    NOTHING_AFTER_RULE = "nothing_after_rule"
    """The same, and the rule says ``otherwise: nothing``."""


class PickedBy(IntEnum):
    """Why this rail serves the method; stored as a number, so never renumber."""

    WRITTEN = 0
    """The offer names the rail."""
    CATALOGUE = 1
    """The first that can serve, in the order of config.yaml."""
    RAIL_CHOICE = 2
    RAIL_CHOICE_STAND_IN = 3
    """``rail_choice`` picked another one, which cannot serve now."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One offer to make: what the buyer chooses, who serves it, and in which currency."""

    method: str
    rail: str
    account: str
    currency: str
    capability: Capability
    on_decline: OnDecline
    source_rule: str
    """The id of the rule that offers it, or ``defaults``."""
    picked_by: PickedBy
    rail_choice: str | None
    """The id of the ``rail_choice`` that matched, if one did."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The offers, best first, with an outcome for every rule and every option."""

    offers: tuple[Choice, ...]
    source: Source
    matched_rule: int | None
    """Index of the first rule that matched."""
    rule_outcomes: tuple[int, ...] | None
    """For every rule: 0 = matched, n = its n-th condition (from 1) failed first. None in a large set: facts and ruleset
    are kept, and the outcomes are worked out again when somebody reads them."""
    choice_outcomes: Mapping[str, tuple[int, ...]]
    """For every method whose rail was to be chosen: the same, for every ``rail_choice``."""
    option_outcomes: tuple[OptionOutcome, ...]
    """For every option of the catalogue: kept or dropped, and why."""
    rates: Mapping[str, Fraction | None]
    """The mid rates that were used, units of the currency for one USD."""
    ruleset_hash: str
    facts: RoutingFacts
    catalogue: Catalogue
    ranked: Ranked | None = None
    """Why the offers are in this order, where the rule asked for a rank."""
    overlay: Applied | None = None
    """What the merchant's own rules did to it."""
    written: Mapping[str, orjson.Fragment] | None = field(default=None, compare=False, repr=False)
    """What ``to_json`` stores besides the facts, where it is at hand."""

    def for_facts(self, facts: RoutingFacts) -> Decision:
        """Return the same decision for another session, about which everything comes out the same."""
        written = self.written
        if written is None:
            written = {name: orjson.Fragment(orjson.dumps(part)) for name, part in self._besides_facts().items()}
        return Decision(
            self.offers, self.source, self.matched_rule, self.rule_outcomes, self.choice_outcomes,
            self.option_outcomes, self.rates, self.ruleset_hash, facts, self.catalogue, self.ranked, self.overlay, written,
        )  # fmt: skip

    def to_json(self, *, age_days: int | None = None) -> str:
        """Return the compact form to store; ``explain`` turns it into words.

        ``age_days``: how long the customer is known, kept for other rules where the ones that decided did not ask.
        """
        facts = self.facts.to_json()
        if age_days is not None:
            facts.setdefault("customer_age_days", age_days)
        first = {"v": FORMAT, "ruleset": self.ruleset_hash, "facts": facts}
        return orjson.dumps({**first, **(self.written or self._besides_facts())}).decode()

    def _besides_facts(self) -> dict[str, Any]:
        return {
            "source": self.source.value,
            "matched": self.matched_rule,
            "rules": self.rule_outcomes,
            "rail_choice": self.choice_outcomes,
            "options": [
                [*option.key, int(code), detail]
                for option, (code, detail) in zip(self.catalogue.options, self.option_outcomes, strict=True)
            ],
            "offers": [
                {
                    "method": offer.method,
                    "rail": offer.rail,
                    "account": offer.account,
                    "currency": offer.currency,
                    "on_decline": {"soft": offer.on_decline.soft, "hard": offer.on_decline.hard},
                    "rule": offer.source_rule,
                    "picked_by": int(offer.picked_by),
                    "rail_choice": offer.rail_choice,
                }
                for offer in self.offers
            ],
            "rates": {currency: None if rate is None else str(rate) for currency, rate in self.rates.items()},
            **({} if self.ranked is None else {"ranked": self.ranked.to_json()}),
            **({} if self.overlay is None else {"overlay": self.overlay.to_json()}),
        }


def source_rule_of(source: Source, rule_id: str | None) -> str:
    """Return the name that offers carry: the rule's id, or ``defaults``."""
    return rule_id if source is Source.RULE and rule_id is not None else DEFAULTS_ID
