"""Which rail a customer belongs to, when several share a method: always the same one, without a table to remember it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from orchestrator.routing.ruleset import Target


def first_drawn(choice_id: str, customer: str, targets: Sequence[Target]) -> int:
    """Return the place of the customer's rail among the targets: the first that ``draw`` yields. -1: none has weight."""
    total = sum(target.weight for target in targets)
    if total == 0:
        return -1
    point = int.from_bytes(hashlib.sha256(f"{choice_id}\x00{customer}".encode()).digest()[:8]) % total
    for place, target in enumerate(targets):
        if point < target.weight:
            return place
        point -= target.weight
    raise AssertionError("the point lies within the sum of the weights")


def draw(choice_id: str, customer: str, targets: Sequence[Target]) -> Iterator[Target]:
    """Yield the customer's rail, then who stands in for it where it cannot serve; weight 0 is never drawn.

    A hash of the rule's id and the customer decides, and not of the ruleset: an edit elsewhere moves nobody, and
    moving a weight by n percent between two rails moves n percent of the customers.
    """
    left = [target for target in targets if target.weight > 0]
    stand_in = 0
    while left:
        seed = f"{choice_id}\x00{customer}" + (f"\x00{stand_in}" if stand_in else "")
        total = sum(target.weight for target in left)
        point = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % total
        for target in left:
            if point < target.weight:
                yield target
                left.remove(target)
                break
            point -= target.weight
        stand_in += 1
