"""What it costs to bring one dollar into a wallet: the rail's fees, the exchange, the chain, refunds and disputes. PURE.

Fee tables come from the configuration's rail accounts and have a version: the hash of what they say. Chain fees are
live estimates where there are any. All amounts are nano-dollars, rounded up: a cost is never told too low.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import orjson

from orchestrator.routing.catalogue import OptionKey
from orchestrator.routing.facts import token_word
from orchestrator.routing.ruleset import Cost, Pricing, Ruleset
from rates.errors import NoSpread
from rates.money import WALLET_USD
from rates.spread import Spread, SpreadTable

BPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class FeeLine:
    """What a method costs on one rail account."""

    rail_bps: int
    """Of the total that is charged."""
    rail_fixed_units: int
    network_fixed_units: int
    """Per transfer on a chain; a live estimate stands in for it."""


@dataclass(frozen=True, slots=True)
class FeeTables:
    """All of them, as one version."""

    lines: Mapping[OptionKey, FeeLine]
    version: str = field(default="")

    @classmethod
    def of(cls, lines: Mapping[OptionKey, FeeLine]) -> FeeTables:
        """Return the tables with their version."""
        plain = [
            ["/".join(key), line.rail_bps, line.rail_fixed_units, line.network_fixed_units]
            for key, line in sorted(lines.items())
        ]
        return cls(dict(lines), hashlib.sha256(orjson.dumps(plain)).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class Landed:
    """The cost of one top-up beyond what reaches the wallet, in nano-dollars."""

    rail: int
    exchange: int
    network: int
    refunds: int
    disputes: int

    @property
    def units(self) -> int:
        return self.rail + self.exchange + self.network + self.refunds + self.disputes


def landed_cost(
    units: int,
    key: OptionKey,
    currency: str,
    ruleset: Ruleset,
    fees: FeeTables,
    network_units: int | None = None,
    volatility_bps: int | None = None,
) -> Landed | None:
    """Return what a top-up of ``units`` costs on an option; None: it has no fee table, or its currency no spread.

    ``network_units``: what a transfer costs on its chain now; None = as the table says. ``volatility_bps``: how much the
    currency moved lately; None = nobody knows, so that it adds nothing to the spread.
    """
    line = fees.lines.get(key)
    if line is None:
        return None
    rail, _, method = key
    spread_bps = 0
    if currency != WALLET_USD.code:
        found = _spread(ruleset.pricing, currency, method, _table(ruleset.pricing).tier_of(units))
        if found is None:
            return None
        spread_bps = found.bps(volatility_bps)
    network = line.network_fixed_units if network_units is None else network_units
    base = units + network + line.rail_fixed_units
    total = _up(base * (BPS + spread_bps), BPS - line.rail_bps)
    rail_share = min(_up(total * line.rail_bps, BPS), total - base)
    risk = cost_entry(ruleset.costs, rail, method, currency)
    return Landed(
        rail=line.rail_fixed_units + rail_share,
        exchange=total - base - rail_share,
        network=network,
        refunds=0 if risk is None else _up(total * risk.refund_bps, BPS),
        disputes=0 if risk is None else _up(total * risk.dispute_bps, BPS),
    )


def cost_entry(costs: tuple[Cost, ...], rail: str, method: str, currency: str) -> Cost | None:
    """Return the most specific entry that holds: one that names the currency, then the rail, then the method."""
    holding = [
        cost
        for cost in costs
        if cost.rail in (None, rail)
        and cost.currency in (None, currency)
        and (cost.method is None or cost.method in (method, token_word(method)))
    ]
    return max(
        holding, key=lambda one: (one.currency is not None, one.rail is not None, one.method is not None), default=None
    )


@lru_cache(maxsize=4096)
def _spread(pricing: tuple[Pricing, ...], currency: str, method: str, tier: int) -> Spread | None:
    table = _table(pricing)
    units = table.steps[tier - 1] if tier else 0
    try:
        return table.spread(WALLET_USD.code, currency, method, units)
    except NoSpread:
        return None


@lru_cache(maxsize=16)
def _table(pricing: tuple[Pricing, ...]) -> SpreadTable:
    return SpreadTable.from_config([one.entry() for one in pricing])


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
