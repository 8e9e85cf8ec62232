"""Which options can serve a session at all, in which currency, and why the others cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from fractions import Fraction
from typing import Final

from orchestrator.routing.catalogue import Catalogue, OptionKey, RailOption, Supports
from orchestrator.routing.facts import RoutingFacts, token_word
from orchestrator.routing.health import HealthState
from orchestrator.routing.presentment import currency_candidates
from orchestrator.routing.ruleset import Window
from rates.money import WALLET_USD, Money, Rounding, round_units

Rates = Callable[[str], Fraction | None]
"""Currency -> how much of it one USD is, at mid; None = not quotable now."""
Health = Mapping[OptionKey, HealthState] | Callable[[OptionKey], HealthState | None]
"""What is not there was never called, and is healthy."""

PROBE_PERCENT: Final = 10
"""Share of the customers who try a rail that is coming back."""
TABLES_MAX: Final = 10_000
"""Static tables kept per catalogue; one per country, day, mode, wished currency, method filter and the accounts that a merchant may not use."""


class Reason(IntEnum):
    """Why an option was kept or dropped; stored as a number, so never renumber."""

    KEPT = 0
    KEPT_DEGRADED = 1
    OTHER_MODE = 2
    METHOD_NOT_ASKED_FOR = 3
    COUNTRY_NOT_SERVED = 4
    NO_COMMON_CURRENCY = 5
    """Nothing that it lists is in the rail's own exponent table."""
    NOT_QUOTABLE = 6
    """No rate now for any currency that it could charge."""
    BELOW_MINIMUM = 7
    ABOVE_MAXIMUM = 8
    RAIL_DOWN = 9
    MAINTENANCE = 10
    RAIL_PROBED = 11
    """It is coming back: a small share of the customers tries it first, and this one does not belong to it."""
    MERCHANT_NOT_SERVED = 12
    """Its account is for other merchants."""


OptionOutcome = tuple[int, str]
"""A Reason and its detail: the charge currency where kept, the limit, or what was tried."""


@dataclass(frozen=True, slots=True)
class Row:
    """One option that nothing but rates, amount and health can drop."""

    index: int
    key: OptionKey
    currencies: tuple[str, ...]
    minimum: Mapping[str, Money]
    maximum: Mapping[str, Money]


@dataclass(frozen=True, slots=True)
class Table:
    """What does not depend on the amount, rates or health."""

    outcomes: tuple[OptionOutcome, ...]
    rows: tuple[Row, ...]
    method_words: frozenset[str]
    """What a rule's ``method`` may be met by: the methods that the session names, spelled out, and their tokens."""


@dataclass(frozen=True, slots=True)
class Eligible:
    outcomes: tuple[OptionOutcome, ...]
    """One for every option of the catalogue."""
    currencies: Mapping[int, str]
    """Index of each option that is kept -> its charge currency."""
    rates: Mapping[str, Fraction | None]
    """Every rate that was asked for."""


def table_for(facts: RoutingFacts, catalogue: Catalogue, supports: Supports) -> Table:
    """Return the static part, worked out once."""
    closed = catalogue.not_for(facts.merchant)
    key = (facts.country, facts.mode, facts.methods, facts.currency, facts.at.date(), closed, supports)
    found: Table | None = catalogue.memo.get(key)
    if found is None:
        if len(catalogue.memo) >= TABLES_MAX:
            catalogue.memo.clear()
        found = catalogue.memo[key] = _build(facts, catalogue, closed, supports)
    return found


def _build(facts: RoutingFacts, catalogue: Catalogue, closed: tuple[int, ...], supports: Supports) -> Table:
    asked = None if facts.methods is None else _spelled_out(facts.methods, catalogue)
    outcomes: list[OptionOutcome] = []
    rows: list[Row] = []
    for index, option in enumerate(catalogue.options):
        capability = option.capability
        if option.mode is not facts.mode:
            outcomes.append((Reason.OTHER_MODE, option.mode.value))
        elif index in closed:
            outcomes.append((Reason.MERCHANT_NOT_SERVED, ""))
        elif asked is not None and option.method not in asked:
            outcomes.append((Reason.METHOD_NOT_ASKED_FOR, option.method))
        elif capability.countries is not None and facts.country not in capability.countries:
            outcomes.append((Reason.COUNTRY_NOT_SERVED, facts.country))
        elif not (found := currency_candidates(option, facts.country, facts.currency, facts.at.date(), supports)):
            outcomes.append((Reason.NO_COMMON_CURRENCY, ", ".join(capability.currencies)))
        else:
            outcomes.append((Reason.KEPT, ""))
            rows.append(Row(index, option.key, found, capability.amount_min, capability.amount_max))
    return Table(tuple(outcomes), tuple(rows), asked or frozenset())


def _spelled_out(words: frozenset[str], catalogue: Catalogue) -> frozenset[str]:
    methods = {method for word in words for method in catalogue.expand(word)}
    return words | methods | {token for method in methods if (token := token_word(method))}


def find_eligible(
    facts: RoutingFacts,
    catalogue: Catalogue,
    table: Table,
    rates: Rates,
    health: Health,
    shut: frozenset[OptionKey] = frozenset(),
) -> Eligible:
    """Return which options are kept, and why the others are not.

    Limits are held against the amount at mid, before fees and spread: what is charged in the end is checked again
    where it is known, at checkout.
    """
    state_of = health if callable(health) else health.get
    units = facts.amount.units
    known: dict[str, Fraction | None] = {"USD": _ONE}
    outcomes = list(table.outcomes)
    kept: dict[int, str] = {}
    for row in table.rows:
        state = state_of(row.key)
        if row.key in shut:
            outcomes[row.index] = _MAINTENANCE
            continue
        if state is HealthState.DOWN or (state is HealthState.PROBING and not in_probe(row.key, facts)):
            outcomes[row.index] = _DOWN if state is HealthState.DOWN else _PROBED
            continue
        for currency in row.currencies:
            rate = known[currency] if currency in known else _ask(currency, rates, known)
            if rate is not None:
                break
        else:
            outcomes[row.index] = (Reason.NOT_QUOTABLE, ", ".join(row.currencies))
            continue
        if currency in row.minimum or currency in row.maximum:
            low, high = limits_in_usd(row, currency, rate, catalogue)
            if low is not None and units < low:
                outcomes[row.index] = (Reason.BELOW_MINIMUM, str(row.minimum[currency]))
                continue
            if high is not None and units > high:
                outcomes[row.index] = (Reason.ABOVE_MAXIMUM, str(row.maximum[currency]))
                continue
        kept[row.index] = currency
        outcomes[row.index] = (Reason.KEPT_DEGRADED if state in _UNWELL else Reason.KEPT, currency)
    return Eligible(tuple(outcomes), kept, known)


def health_of(outcomes: Iterable[tuple[OptionKey, OptionOutcome]]) -> dict[OptionKey, HealthState]:
    """Return the health that a decision was made with, from what it says of every option."""
    states = {
        Reason.KEPT_DEGRADED: HealthState.DEGRADED,
        Reason.RAIL_DOWN: HealthState.DOWN,
        Reason.RAIL_PROBED: HealthState.DOWN,
    }
    return {key: states[Reason(code)] for key, (code, _) in outcomes if code in states}


_ONE: Final = Fraction(1)
_DOWN: Final[OptionOutcome] = (Reason.RAIL_DOWN, "")
_PROBED: Final[OptionOutcome] = (Reason.RAIL_PROBED, "")
_MAINTENANCE: Final[OptionOutcome] = (Reason.MAINTENANCE, "")
_UNWELL: Final = frozenset({HealthState.DEGRADED, HealthState.PROBING})


def in_probe(key: OptionKey, facts: RoutingFacts) -> bool:
    """Say whether a customer belongs to the share that tries a rail which is coming back."""
    seed = f"probe\x00{'/'.join(key)}\x00{facts.merchant}\x00{facts.customer}".encode()
    return int.from_bytes(hashlib.sha256(seed).digest()[:8]) % 100 < PROBE_PERCENT


def closed_for_maintenance(windows: Sequence[Window], catalogue: Catalogue, at: datetime) -> frozenset[OptionKey]:
    """Return the options that their operators announced to be closed at a moment."""
    open_windows = [window for window in windows if window.starts <= at < window.ends]
    return frozenset(
        option.key for option in catalogue.options if any(window.covers(*option.key) for window in open_windows)
    )


def _ask(currency: str, rates: Rates, known: dict[str, Fraction | None]) -> Fraction | None:
    rate = rates(currency)
    if rate is not None and rate.numerator <= 0:
        raise ValueError(f"a rate is above zero; one USD cannot be {rate} {currency}")
    known[currency] = rate
    return rate


def amount_limits(option: RailOption, rate_of: Rates) -> tuple[int | None, int | None] | None:
    """Return an option's limits in nano-dollars at mid, in its first currency that has limits and a rate.

    None: it has no limits that can be told in dollars.
    """
    minimum, maximum = option.capability.amount_min, option.capability.amount_max
    for currency in dict.fromkeys((*minimum, *maximum)):
        rate = Fraction(1) if currency == WALLET_USD.code else rate_of(currency)
        if rate is not None:
            low, high = minimum.get(currency), maximum.get(currency)
            return (
                None if low is None else _in_usd(low, rate, Rounding.UP),
                None if high is None else _in_usd(high, rate, Rounding.DOWN),
            )
    return None


def limits_in_usd(row: Row, currency: str, rate: Fraction, catalogue: Catalogue) -> tuple[int | None, int | None]:
    """Return the limits in nano-dollars: smallest amount that reaches the minimum, largest within the maximum."""
    memo_key = (row.key, currency)
    found = catalogue.memo.get(memo_key)
    if found is None or (found[0] is not rate and found[0] != rate):
        low, high = row.minimum.get(currency), row.maximum.get(currency)
        found = catalogue.memo[memo_key] = (
            rate,
            None if low is None else _in_usd(low, rate, Rounding.UP),
            None if high is None else _in_usd(high, rate, Rounding.DOWN),
        )
    return found[1], found[2]


def _in_usd(limit: Money, rate: Fraction, rounding: Rounding) -> int:
    return round_units(limit.value / rate * 10**WALLET_USD.scale, rounding, WALLET_USD)
