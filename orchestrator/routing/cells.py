"""Every kind of session that some conditions can tell apart: one example of each. PURE.

Conditions cut the space of facts into cells; within one cell all of them answer alike. So whether a rule can match at
all, or is always forestalled, is decided by asking one session of every cell: no theory, no false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Final

from adapters.base import Mode
from orchestrator.routing.conditions import (
    Between,
    Condition,
    HasMetadata,
    NamesMethod,
    OneOf,
    leaves_of,
)
from orchestrator.routing.facts import RISKS, RoutingFacts
from rates.money import UNITS_MAX, WALLET_USD, Money

CELLS_MAX: Final = 20_000
METHODS_MAX: Final = 6
_MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
_OTHER_COUNTRY: Final = "QZ"
"""No country: stands for every one that no condition names."""

Example = tuple[RoutingFacts, frozenset[str]]


def examples(
    conditions: Sequence[Condition], method_sets: Sequence[frozenset[str]] | None = None
) -> Iterator[Example] | None:
    """Return one session of every cell; None where there are more than ``CELLS_MAX``.

    ``method_sets``: what ``method`` may be met by, where that is fixed; else every set of the methods that are named.
    """
    leaves = list(leaves_of(conditions))
    methods = _method_sets(leaves) if method_sets is None else list(method_sets)
    if methods is None:
        return None
    countries = _words(leaves, "country", (_OTHER_COUNTRY,))
    currencies = _words(leaves, "currency", (None, "XXX"))
    sellers = list(product(_words(leaves, "merchant", ("",)), _words(leaves, "merchant_category", ("",))))
    risks = [None, *RISKS] if _asks(leaves, "risk") else [None]
    weekdays = list(range(7)) if _asks(leaves, "weekday") else [0]
    hours = sorted({0, *(edge for edge in _edges(leaves, "hour") if 0 <= edge <= 23)})
    amounts = sorted({1, *(edge for edge in _edges(leaves, "amount_usd") if 1 <= edge <= UNITS_MAX)})
    ages: list[int | None] = [None, *sorted({0, *_edges(leaves, "customer_age_days")})]
    if not any(isinstance(leaf, Between) and leaf.fact == "customer_age_days" for leaf in leaves):
        ages = [None]
    metadata = _metadata(leaves)
    sizes = (countries, currencies, sellers, risks, weekdays, hours, amounts, ages, metadata, methods)
    cells = 1
    for dimension in sizes:
        cells *= len(dimension)
    if cells > CELLS_MAX:
        return None

    def made() -> Iterator[Example]:
        for country, currency, (merchant, category), risk, day, hour, amount, age, known, named in product(
            countries, currencies, sellers, risks, weekdays, hours, amounts, ages, metadata, methods
        ):
            yield (
                RoutingFacts(
                    country=country or _OTHER_COUNTRY,
                    amount=Money(amount, WALLET_USD),
                    at=_MONDAY + timedelta(days=day, hours=hour),
                    mode=Mode.TEST,
                    currency=currency,
                    merchant=merchant or "",
                    merchant_category=category or "",
                    customer_age_days=age,
                    risk=risk,
                    metadata=dict(known),
                ),
                named,
            )

    return made()


def _asks(leaves: Sequence[Condition], fact: str) -> bool:
    return any(isinstance(leaf, OneOf) and leaf.fact == fact for leaf in leaves)


def _words(leaves: Sequence[Condition], fact: str, others: tuple[str | None, ...]) -> list[str | None]:
    """Return one word of every class that the conditions tell apart, and what none of them names."""
    sets = [leaf.words for leaf in leaves if isinstance(leaf, OneOf) and leaf.fact == fact]
    classes: dict[tuple[bool, ...], str] = {}
    for word in sorted(set().union(*sets)):
        classes.setdefault(tuple(word in words for words in sets), word)
    return [*others, *classes.values()]


def _edges(leaves: Sequence[Condition], fact: str) -> set[int]:
    found: set[int] = set()
    for leaf in leaves:
        if isinstance(leaf, Between) and leaf.fact == fact:
            found |= {leaf.low} if leaf.low is not None else set()
            found |= {leaf.high + 1} if leaf.high is not None else set()
    return found


def _metadata(leaves: Sequence[Condition]) -> list[tuple[tuple[str, str], ...]]:
    keys: dict[str, set[str]] = {}
    for leaf in leaves:
        if isinstance(leaf, HasMetadata):
            keys.setdefault(leaf.key, set()).update(leaf.words)
    choices = [[None, *((key, word) for word in sorted(words))] for key, words in sorted(keys.items())]
    return [tuple(pair for pair in chosen if pair is not None) for chosen in product(*choices)]


def _method_sets(leaves: Sequence[Condition]) -> list[frozenset[str]] | None:
    words = sorted(set().union(*(leaf.methods for leaf in leaves if isinstance(leaf, NamesMethod))))
    if len(words) > METHODS_MAX:
        return None
    return [frozenset(some) for size in range(len(words) + 1) for some in combinations(words, size)]
