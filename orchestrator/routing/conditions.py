"""What a ``when`` means: small frozen conditions that can be held against facts, compared, and told to people.

``holds`` is the meaning; ``compiled`` writes the same meaning as one Python function, for speed, and a property test
holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, assert_never

from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.rules import When
from rates.money import WALLET_USD, Money

WordField = Literal["country", "currency", "merchant", "merchant_category", "risk", "weekday"]
NumberField = Literal["amount_usd", "customer_age_days", "hour"]


@dataclass(frozen=True, slots=True)
class OneOf:
    """A word of the facts is among some."""

    fact: WordField
    words: frozenset[str]
    said: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Between:
    """A number of the facts lies between two ends, both included. Amounts are nano-dollars."""

    fact: NumberField
    low: int | None
    high: int | None
    said: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class NamesMethod:
    """The session names one of these methods (in ``rail_choice``: it is the method in question)."""

    methods: frozenset[str]
    said: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class HasMetadata:
    key: str
    words: frozenset[str]
    said: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    part: Condition


Condition = OneOf | Between | NamesMethod | HasMetadata | AllOf | AnyOf | NoneOf

_WORD_FIELDS: Final[tuple[WordField, ...]] = ("currency", "merchant", "merchant_category", "risk", "weekday")


def leaves_of(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Yield the conditions that ask a fact, wherever they stand inside ``all``, ``any`` and ``not``."""
    for condition in conditions:
        match condition:
            case AllOf() | AnyOf():
                yield from leaves_of(condition.parts)
            case NoneOf():
                yield from leaves_of((condition.part,))
            case _:
                yield condition


def ask_age(conditions: Sequence[Condition]) -> bool:
    """Say whether some condition asks how long a customer is known: the one fact that costs a look into the database."""
    return any(isinstance(leaf, Between) and leaf.fact == "customer_age_days" for leaf in leaves_of(conditions))


def conditions_of(when: When, regions: Mapping[str, tuple[str, ...]]) -> tuple[Condition, ...]:
    """Return the conditions of a ``when``, in one fixed order, whatever order they were written in."""
    found: list[Condition] = []
    if when.country is not None:
        found.append(OneOf("country", frozenset(when.country), _said("country", when.country)))
    if when.region is not None:
        members = frozenset(country for region in when.region for country in regions[region])
        found.append(OneOf("country", members, _said("region", when.region)))
    for name in _WORD_FIELDS:
        words: tuple[str, ...] | None = getattr(when, name)
        if words is not None:
            found.append(OneOf(name, frozenset(words), _said(name, words)))
    if when.method is not None:
        found.append(NamesMethod(frozenset(when.method), _said("method", when.method)))
    found.extend(_bands(when))
    for key, words in sorted((when.metadata or {}).items()):
        found.append(HasMetadata(key, frozenset(words), _said(f"metadata.{key}", words)))
    if when.all_of is not None:
        found.append(AllOf(tuple(_whole(part, regions) for part in when.all_of)))
    if when.any_of is not None:
        found.append(AnyOf(tuple(_whole(part, regions) for part in when.any_of)))
    if when.none_of is not None:
        found.append(NoneOf(_whole(when.none_of, regions)))
    return tuple(found)


def _bands(when: When) -> list[Condition]:
    found: list[Condition] = []
    if (hour := when.hour) is not None:
        found.append(Between("hour", hour.min, hour.max, _band("hour", hour.min, hour.max)))
    if (band := when.amount_usd) is not None:
        low = None if band.min is None else band.min.units
        high = None if band.max is None else band.max.units
        ends = [None if end is None else end.decimal(2) for end in (band.min, band.max)]
        found.append(Between("amount_usd", low, high, _band("amount_usd", ends[0], ends[1])))
    if (age := when.customer_age_days) is not None:
        said = _band("customer_age_days", age.min, age.max)
        found.append(Between("customer_age_days", age.min, age.max, said))
    return found


def _whole(when: When, regions: Mapping[str, tuple[str, ...]]) -> Condition:
    parts = conditions_of(when, regions)
    return parts[0] if len(parts) == 1 else AllOf(parts)


def _said(name: str, words: tuple[str, ...]) -> str:
    return f"{name} is {words[0]}" if len(words) == 1 else f"{name} is one of {', '.join(words)}"


def _band(name: str, low: int | str | None, high: int | str | None) -> str:
    if low is not None and high is not None:
        return f"{name} is {low}" if low == high else f"{name} is from {low} to {high}"
    return f"{name} is at least {low}" if high is None else f"{name} is at most {high}"


def holds(condition: Condition, facts: RoutingFacts, methods: frozenset[str]) -> bool:
    """Say whether a condition holds. ``methods`` are the words that ``method`` may be met by."""
    match condition:
        case OneOf():
            verdict = getattr(facts, condition.fact) in condition.words
        case Between():
            number = number_of(condition.fact, facts)
            above = number is not None and (condition.low is None or condition.low <= number)
            verdict = above and (condition.high is None or number is None or number <= condition.high)
        case NamesMethod():
            verdict = not condition.methods.isdisjoint(methods)
        case HasMetadata():
            verdict = facts.metadata.get(condition.key) in condition.words
        case AllOf():
            verdict = all(holds(part, facts, methods) for part in condition.parts)
        case AnyOf():
            verdict = any(holds(part, facts, methods) for part in condition.parts)
        case NoneOf():
            verdict = not holds(condition.part, facts, methods)
        case _:
            assert_never(condition)
    return verdict


def number_of(name: NumberField, facts: RoutingFacts) -> int | None:
    match name:
        case "amount_usd":
            return facts.amount.units
        case "customer_age_days":
            return facts.customer_age_days
        case "hour":
            return facts.at.hour
        case _:
            assert_never(name)


def describe(condition: Condition) -> str:
    """Say a condition in words: ``country is one of BR, MX``."""
    match condition:
        case OneOf() | Between() | NamesMethod() | HasMetadata():
            return condition.said
        case AllOf():
            return "all of (" + "; ".join(describe(part) for part in condition.parts) + ")"
        case AnyOf():
            return "any of (" + "; ".join(describe(part) for part in condition.parts) + ")"
        case NoneOf():
            return f"not ({describe(condition.part)})"
        case _:
            assert_never(condition)


def actual(condition: Condition, facts: RoutingFacts, methods: frozenset[str]) -> str:
    """Say what the facts have where a condition looks: ``country is US``."""
    match condition:
        case OneOf():
            return f"{condition.fact} is {getattr(facts, condition.fact) or 'not known'}"
        case Between():
            number = number_of(condition.fact, facts)
            shown = str(number) if number is not None else "not known"
            if condition.fact == "amount_usd" and number is not None:
                shown = Money(number, WALLET_USD).decimal(2)
            return f"{condition.fact} is {shown}"
        case NamesMethod():
            return f"method is {', '.join(sorted(methods))}" if methods else "no method is named"
        case HasMetadata():
            return f"metadata.{condition.key} is {facts.metadata.get(condition.key, 'not there')}"
        case AllOf() | AnyOf():
            return "; ".join(dict.fromkeys(actual(part, facts, methods) for part in condition.parts))
        case NoneOf():
            return actual(condition.part, facts, methods)
        case _:
            assert_never(condition)


def implies(narrow: Condition, wide: Condition) -> bool:
    """Say whether ``wide`` certainly holds wherever ``narrow`` does (False = not seen to)."""
    match narrow, wide:
        case OneOf(), OneOf():
            return narrow.fact == wide.fact and narrow.words <= wide.words
        case NamesMethod(), NamesMethod():
            return narrow.methods <= wide.methods
        case HasMetadata(), HasMetadata():
            return narrow.key == wide.key and narrow.words <= wide.words
        case Between(), Between():
            low = wide.low is None or (narrow.low is not None and wide.low <= narrow.low)
            high = wide.high is None or (narrow.high is not None and narrow.high <= wide.high)
            return narrow.fact == wide.fact and low and high
        case _:
            return narrow == wide
