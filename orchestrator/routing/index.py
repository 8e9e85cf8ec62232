"""Which rule matches first, among thousands: one bit per rule, one mask per value of a fact.

For every fact there is a mask of the rules whose conditions on it hold, so the rules that may match are a few ANDs of
whole numbers, and the first of them is the lowest bit: 5,000 rules cost little more than 50. What no mask can tell
(``any``, ``not``, metadata) is held against the facts, only for rules that are left. Built without ``exec``: a set of
5,000 rules never holds the interpreter for long while it is swapped in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from orchestrator.routing.conditions import (
    AllOf,
    Between,
    Condition,
    NamesMethod,
    OneOf,
    WordField,
    holds,
)
from orchestrator.routing.facts import RoutingFacts

Match = Callable[[RoutingFacts, frozenset[str]], int | None]
"""Index of the first rule whose conditions all hold, or None."""

Mask = int
_WORDS: Final[tuple[WordField, ...]] = ("country", "currency", "merchant", "merchant_category", "risk", "weekday")


class RuleIndex:
    """The masks of one list of rules. ``match`` says the same as trying them one by one."""

    def __init__(self, rules: Sequence[Sequence[Condition]]) -> None:
        flat = [_flattened(rule) for rule in rules]
        count = len(flat)
        self._all: Mask = (1 << count) - 1
        self._words: dict[str, tuple[Mapping[str | None, Mask], Mask]] = {
            name: _word_masks(name, flat) for name in _WORDS if _mentions(flat, name)
        }
        self._amounts = _band_masks("amount_usd", flat)
        self._ages = _band_masks("customer_age_days", flat)
        self._hours = _band_masks("hour", flat)
        self._methods = _method_masks(flat)
        self._rest: dict[int, tuple[Condition, ...]] = {}
        for number, rule in enumerate(flat):
            rest = _unmasked(rule)
            if rest:
                self._rest[number] = rest

    def candidates(self, facts: RoutingFacts, methods: frozenset[str]) -> Mask:
        """Return the rules that the masks leave; those with conditions beyond masks may still fail."""
        mask = self._all
        for name, (by_word, others) in self._words.items():
            mask &= by_word.get(getattr(facts, name), others)
        if self._amounts is not None:
            mask &= self._amounts.at(facts.amount.units)
        if self._hours is not None:
            mask &= self._hours.at(facts.at.hour)
        if self._ages is not None:
            age = facts.customer_age_days
            mask &= self._ages.unknown if age is None else self._ages.at(age)
        if self._methods is not None:
            by_method, free = self._methods
            named = free
            for method in methods:
                named |= by_method.get(method, 0)
            mask &= named
        return mask

    def match(self, facts: RoutingFacts, methods: frozenset[str]) -> int | None:
        """Return the first rule that matches."""
        mask = self.candidates(facts, methods)
        rest = self._rest
        while mask:
            lowest = mask & -mask
            number = lowest.bit_length() - 1
            conditions = rest.get(number)
            if conditions is None or all(holds(condition, facts, methods) for condition in conditions):
                return number
            mask ^= lowest
        return None


class _Bands:
    """Masks of a number's ranges: between two ends nothing changes."""

    def __init__(self, starts: Sequence[int], masks: Sequence[Mask], unknown: Mask) -> None:
        self._starts = starts
        self._masks = masks
        self.unknown = unknown
        """The rules that ask nothing of the number."""

    def at(self, number: int) -> Mask:
        return self._masks[bisect_right(self._starts, number)]


def _flattened(rule: Sequence[Condition]) -> tuple[Condition, ...]:
    """Spell out ``all``: its parts must hold like any other condition."""
    found: list[Condition] = []
    for condition in rule:
        found.extend(_flattened(condition.parts) if isinstance(condition, AllOf) else (condition,))
    return tuple(found)


def _mentions(rules: Sequence[Sequence[Condition]], name: str) -> bool:
    return any(isinstance(part, OneOf) and part.fact == name for rule in rules for part in rule)


def _word_masks(name: str, rules: Sequence[Sequence[Condition]]) -> tuple[Mapping[str | None, Mask], Mask]:
    free: Mask = 0
    bits: dict[str, Mask] = {}
    for number, rule in enumerate(rules):
        asked = [part.words for part in rule if isinstance(part, OneOf) and part.fact == name]
        if not asked:
            free |= 1 << number
            continue
        for word in frozenset.intersection(*asked):
            bits[word] = bits.get(word, 0) | 1 << number
    return {word: mask | free for word, mask in bits.items()}, free


def _band_masks(name: str, rules: Sequence[Sequence[Condition]]) -> _Bands | None:
    free: Mask = 0
    changes: dict[int, Mask] = {}
    start: Mask = 0
    for number, rule in enumerate(rules):
        bands = [part for part in rule if isinstance(part, Between) and part.fact == name]
        bit = 1 << number
        if not bands:
            free |= bit
            continue
        lows = [band.low for band in bands if band.low is not None]
        highs = [band.high for band in bands if band.high is not None]
        low, high = max(lows, default=None), min(highs, default=None)
        if low is not None and high is not None and high < low:
            continue  # holds for no number
        if low is None:
            start |= bit
        else:
            changes[low] = changes.get(low, 0) ^ bit
        if high is not None:
            changes[high + 1] = changes.get(high + 1, 0) ^ bit
    if not changes and not start:
        return None if free == (1 << len(rules)) - 1 else _Bands((), (free,), free)
    starts = sorted(changes)
    masks = [free | start]
    for point in starts:
        masks.append(masks[-1] ^ changes[point])
    return _Bands(starts, masks, free)


def _method_masks(rules: Sequence[Sequence[Condition]]) -> tuple[Mapping[str, Mask], Mask] | None:
    """Masks for rules that name methods once; a rule that does so twice is held against the facts."""
    free: Mask = 0
    bits: dict[str, Mask] = {}
    for number, rule in enumerate(rules):
        asked = [part.methods for part in rule if isinstance(part, NamesMethod)]
        if not asked:
            free |= 1 << number
            continue
        for method in asked[0]:
            bits[method] = bits.get(method, 0) | 1 << number
    return (bits, free) if bits else None


def _unmasked(rule: Sequence[Condition]) -> tuple[Condition, ...]:
    named = 0
    rest: list[Condition] = []
    for part in rule:
        match part:
            case OneOf() | Between():
                continue
            case NamesMethod():
                named += 1
                if named > 1:
                    rest.append(part)
            case _:
                rest.append(part)
    return tuple(rest)


class Widening:
    """Finds, for a rule, the earlier ones that could take everything from it, without comparing all with all."""

    def __init__(self, rules: Sequence[Sequence[Condition]]) -> None:
        self._rules = rules
        self._free = {name: _free(name, rules) for name in _WORDS}
        self._words = {name: _word_masks(name, rules)[0] for name in _WORDS}

    def may_cover(self, later: int) -> list[int]:
        """Return the numbers of the earlier rules that ask nothing that this one leaves open."""
        mask: Mask = (1 << later) - 1
        for name in _WORDS:
            asked = [part for part in self._rules[later] if isinstance(part, OneOf) and part.fact == name]
            allowed = self._free[name]
            for part in asked:  # an earlier rule must take every word of one of the conditions: so any one of them too
                for word in [min(part.words, default="")] if len(asked) == 1 else part.words:
                    allowed |= self._words[name].get(word, 0)
            mask &= allowed
        found: list[int] = []
        while mask:
            lowest = mask & -mask
            found.append(lowest.bit_length() - 1)
            mask ^= lowest
        return found


def _free(name: str, rules: Sequence[Sequence[Condition]]) -> Mask:
    mask: Mask = 0
    for number, rule in enumerate(rules):
        if not any(isinstance(part, OneOf) and part.fact == name for part in rule):
            mask |= 1 << number
    return mask
