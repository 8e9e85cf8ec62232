"""In which currency an option charges a buyer."""

from __future__ import annotations

from datetime import date
from typing import Final

from orchestrator.routing.catalogue import RailOption, Supports
from orchestrator.routing.countries import local_currencies

ANY_CURRENCY: Final = "*"


def currency_candidates(
    option: RailOption, country: str, wanted: str | None, on: date, supports: Supports
) -> tuple[str, ...]:
    """Return the currencies that an option may charge, best first; the first that has a rate is taken.

    What the buyer asked for, then the tender of the buyer's country, then what the rail lists in its own order, then
    USD where the rail takes any currency. Each must be listed by the capability (or ``*``) and be in the rail's own
    exponent table. A chain lists only its token. Empty = this option can charge nothing.
    """
    listed = option.capability.currencies
    takes_any = ANY_CURRENCY in listed
    wishes = [
        *([wanted] if wanted else []),
        *local_currencies(country, on),
        *(currency for currency in listed if currency != ANY_CURRENCY),
        *(["USD"] if takes_any else []),
    ]
    return tuple(
        currency
        for currency in dict.fromkeys(wishes)
        if (takes_any or currency in listed) and supports(option.rail, option.account, currency)
    )
