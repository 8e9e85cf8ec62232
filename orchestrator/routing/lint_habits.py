"""What works and still is likely a mistake, or will be one: gaps and overlaps of amounts, rules that nobody owns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from orchestrator.config_source import Trail
from orchestrator.routing.conditions import Between, Condition
from orchestrator.routing.facts import token_word
from orchestrator.routing.lint import Finding, Scene
from orchestrator.routing.ruleset import Offer, Rule
from rates.money import WALLET_USD, Money

SOON: Final = timedelta(days=14)
CENT: Final = 10**7
"""Nano-dollars: bands that end at 100 and begin at 100.01 leave nothing out that anybody pays."""


def habits(scene: Scene) -> Iterator[Finding]:
    for number, rule in enumerate(scene.block.rules):
        path: Trail = ("rules", number)
        if rule.owner is None:
            hint = "owner: who is asked when it fails or expires"
            yield scene.warning("no-owner", (*path, "id"), f"{rule.id} belongs to nobody", hint)
        if not rule.tests:
            hint = "tests: [{given: {country: BR}, expect: {first: pix}}]"
            yield scene.warning("no-test", (*path, "id"), f"{rule.id} has no test", hint)
        if rule.expires is not None and scene.now.date() <= rule.expires <= (scene.now + SOON).date():
            yield scene.warning("expires-soon", (*path, "expires"), f"{rule.id} expires on {rule.expires}")
        if rule.rank is not None and len(rule.offers) == 1 and len(scene.catalogue.expand(rule.offers[0].method)) == 1:
            yield scene.warning("rank-of-one", (*path, "rank"), f"{rule.id} ranks a single offer")
        yield from _repeated(scene, scene.ruleset.rules[number].offers, (*path, "offers"))
    for number, choice in enumerate(scene.block.rail_choice):
        if choice.owner is None:
            yield scene.warning("no-owner", ("rail_choice", number, "id"), f"{choice.id} belongs to nobody")
    yield from _repeated(scene, scene.ruleset.defaults, ("defaults", "offers"))
    yield from _unused_regions(scene)
    yield from _unused_choices(scene)
    yield from _bands(scene)
    yield from _past_windows(scene)


def _repeated(scene: Scene, offers: Sequence[Offer], path: Trail) -> Iterator[Finding]:
    seen: dict[tuple[str, str | None], str] = {}
    for place, offer in enumerate(offers):
        again = [(method, offer.rail) for method in scene.catalogue.expand(offer.method)]
        if again and all(one in seen or (one[0], None) in seen for one in again):
            message = f"{offer.method} is offered already, further up in this list"
            yield scene.warning("repeated-offer", (*path, place), message, "it is never shown twice: remove it")
        seen.update(dict.fromkeys(again, offer.method))


def _unused_regions(scene: Scene) -> Iterator[Finding]:
    used: set[str] = set(scene.block.live_countries or ())
    waiting = [rule.when for rule in scene.block.rules] + [choice.when for choice in scene.block.rail_choice]
    while waiting:
        when = waiting.pop()
        used.update(when.region or ())
        waiting += [*(when.all_of or ()), *(when.any_of or ()), *([when.none_of] if when.none_of else [])]
    for name in scene.block.regions:
        if name not in used:
            yield scene.warning("unused-region", ("regions", name), f"no rule uses the region {name}")


def _unused_choices(scene: Scene) -> Iterator[Finding]:
    """A rail_choice picks only where an offer leaves the rail open."""
    lists = [rule.offers for rule in scene.ruleset.rules] + [scene.ruleset.defaults]
    free = {
        method
        for offers in lists
        for offer in offers
        if offer.rail is None
        for method in scene.catalogue.expand(offer.method)
    }
    words = free | {word for method in free if (word := token_word(method)) is not None}
    for number, choice in enumerate(scene.block.rail_choice):
        if choice.when.method is not None and words.isdisjoint(choice.when.method):
            message = f"{choice.id} never picks: every offer of {', '.join(choice.when.method)} names its rail"
            yield scene.warning("rail-choice-unused", ("rail_choice", number, "id"), message)


def _bands(scene: Scene) -> Iterator[Finding]:
    """Rules that differ in nothing but the amount are bands of one thing: they should meet."""
    groups: dict[frozenset[Condition], list[tuple[int, Rule, Between]]] = {}
    for number, rule in enumerate(scene.ruleset.rules):
        bands = [part for part in rule.conditions if isinstance(part, Between) and part.fact == "amount_usd"]
        if len(bands) == 1:
            rest = frozenset(part for part in rule.conditions if part is not bands[0])
            groups.setdefault(rest, []).append((number, rule, bands[0]))
    for group in groups.values():
        ordered = sorted(group, key=lambda one: (one[2].low or 0, one[0]))
        for (_, below, low), (number, rule, high) in itertools.pairwise(ordered):
            path: Trail = ("rules", number, "when", "amount_usd")
            if low.high is None:
                continue
            start = high.low or 0
            if start > low.high + CENT:
                message = f"between {below.id} (to {_usd(low.high)}) and {rule.id} (from {_usd(start)}) is a gap"
                yield scene.warning("amount-gap", path, message, "amounts between go to a later rule, or the defaults")
            elif start < low.high and not _wider(high, low):
                first = min(below.id, rule.id, key=[one.id for one in scene.ruleset.rules].index)
                message = f"{below.id} (to {_usd(low.high)}) and {rule.id} (from {_usd(start)}) overlap"
                yield scene.warning("amount-overlap", path, message, f"what both are for goes to {first}")


def _wider(one: Between, other: Between) -> bool:
    """Say whether a band holds another whole: the usual way to write "and the rest"."""
    low = (one.low or 0) <= (other.low or 0)
    return low and (one.high is None or (other.high is not None and one.high >= other.high))


def _usd(units: int) -> str:
    return Money(units, WALLET_USD).decimal(2)


def _past_windows(scene: Scene) -> Iterator[Finding]:
    for number, window in enumerate(scene.ruleset.maintenance):
        if window.ends < scene.now:
            message = f"this maintenance of {window.rail} ended on {window.ends:%Y-%m-%d %H:%M} UTC"
            yield scene.warning("maintenance-over", ("maintenance", number), message, "remove it")
