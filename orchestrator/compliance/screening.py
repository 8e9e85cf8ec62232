"""Screening of a customer before a session and before an attempt. Pure: limits and lists come from config.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.clock import DAY_US
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict, Forbidden, Invalid
from rates.money import WALLET_USD, Money


@dataclass(frozen=True, slots=True)
class ScreeningPolicy:
    blocked_countries: frozenset[str]
    """ISO 3166-1 alpha-2: no session is made for them."""
    blocked_references: Sequence[str]
    """Customer references that may not pay."""
    session_min: Money
    session_max: Money
    daily_count_max: int
    """Attempts per customer and UTC day."""
    daily_units_max: Money
    """USD/9 asked for per customer and UTC day."""


def screen_session(policy: ScreeningPolicy, *, country: str, reference: str, amount: Money) -> None:
    """Refuse what may not even be offered. Raises Forbidden, Invalid."""
    if country in policy.blocked_countries:
        raise Forbidden("country_blocked", f"payments from {country} are not served (compliance.blocked_countries)")
    if reference in policy.blocked_references:
        raise Forbidden("customer_blocked", "this customer may not pay (compliance.blocked_customers)")
    if not policy.session_min.units <= amount.units <= policy.session_max.units:
        raise Invalid(
            "amount_out_of_range",
            f"a top-up is between {policy.session_min.decimal(2)} and {policy.session_max.decimal(2)} USD",
            pointer="/amount/amount",
        )


def count_attempt(policy: ScreeningPolicy, customer: Row, amount_units: int, now_us: int) -> Row:
    """Return the customer's new velocity counters after one more attempt. Raises Conflict above a limit."""
    day = now_us // DAY_US
    same_day = customer["velocity_day"] == day
    count = (customer["velocity_count"] if same_day else 0) + 1
    units = (customer["velocity_units"] if same_day else 0) + amount_units
    if count > policy.daily_count_max:
        raise Conflict("velocity_count", f"more than {policy.daily_count_max} payment attempts today: try tomorrow")
    if units > policy.daily_units_max.units:
        limit = Money(policy.daily_units_max.units, WALLET_USD).decimal(2)
        raise Conflict("velocity_amount", f"more than {limit} USD asked for today: try tomorrow")
    return {"velocity_day": day, "velocity_count": count, "velocity_units": units}
