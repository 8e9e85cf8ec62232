"""When a deposit counts: provisionally, for good, or not yet. Pure. Source: the money rules, rule 14.

A deposit is final when it is ``confirmations`` blocks deep and, unless the account says that depth decides alone, at or
below the block that the chain calls final. Before that, small ones are credited provisionally, within what the
customer, the merchant and the chain may have open at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.base import FinalityRule


@dataclass(frozen=True, slots=True)
class Place:
    """A deposit's block in its chain."""

    block_number: int
    cursor_number: int
    finalized_number: int

    @property
    def depth(self) -> int:
        """Blocks from its own to the newest one, both included."""
        return self.cursor_number - self.block_number + 1


def is_final(rule: FinalityRule, place: Place) -> bool:
    deep = place.depth >= rule.confirmations
    return deep and (rule.by_depth or place.block_number <= place.finalized_number)


def last_final(rule: FinalityRule, cursor_number: int, finalized_number: int) -> int:
    """Return the highest block whose deposits are final."""
    deep = cursor_number - rule.confirmations + 1
    return deep if rule.by_depth else min(deep, finalized_number)


def blocks_due(rule: FinalityRule, units: int) -> int | None:
    """Return after how many blocks so much (USD/9) is credited provisionally; None: only when it is final."""
    return next((tier.blocks for tier in rule.tiers if units <= tier.up_to.units), None)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Provisional credit that is open now, USD/9, and what backs the merchant's part."""

    customer_units: int
    merchant_units: int
    merchant_backing_units: int
    """What the merchant has available and in reserve."""
    chain_units: int


def refusal(rule: FinalityRule, units: int, exposure: Exposure) -> str | None:
    """Say which cap ``units`` more would break, or None."""
    if exposure.customer_units + units > rule.customer_max.units:
        return "customer_cap"
    if exposure.merchant_units + units > exposure.merchant_backing_units + rule.merchant_unsecured.units:
        return "merchant_cap"
    if exposure.chain_units + units > rule.chain_max.units:
        return "chain_cap"
    return None
