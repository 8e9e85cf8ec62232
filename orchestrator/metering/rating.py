"""What a use costs, exactly. Pure: integers only.

A price is whole units of 10**-18 dollar for one of something. With a markup in basis points, price times (10,000 + bps)
is whole units of 10**-22 dollar (USD/22), so the cost of any quantities is an integer. Wallets are charged in USD/9; what is
left below one nano-dollar is carried in the wallet, so that the sum of all charges is the sum of all costs, rounded down.

Quantities do not overlap: every token is counted under one type, and the cost is the sum over the types. Vendors report
sums of which others are parts; ``TOKEN_TYPES`` says what to take off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PRICE_SCALE: Final = 18
COST_SCALE: Final = 22
"""PRICE_SCALE and the four digits of the basis points."""
COST_PER_UNIT: Final = 10 ** (COST_SCALE - 9)
"""USD/22 in one nano-dollar."""
BPS: Final = 10_000
MARKUP_BPS_MIN: Final = -BPS
MARKUP_BPS_MAX: Final = 1_000_000
QUANTITY_MAX: Final = 10**12
"""Of one type in one event."""
CHARGE_UNITS_MAX: Final = 10**18
"""One event costs less than a billion dollars, or it is a mistake."""

TOKEN_TYPES: Final[Mapping[str, str]] = {
    "input": "Text tokens that the model read anew: without those read from a cache or written to one.",
    "output": "Text tokens of the answer, without reasoning tokens.",
    "cache_read": "Input tokens served from the provider's prompt cache; not counted in input.",
    "cache_write": "Input tokens written to the provider's prompt cache (5 minutes); not counted in input.",
    "cache_write_1h": "Input tokens written to the cache for an hour; not counted in cache_write.",
    "reasoning": "Thinking tokens; not counted in output. Without a price of their own they cost what output costs.",
    "input_audio": "Audio tokens that the model heard; not counted in input.",
    "output_audio": "Audio tokens that the model spoke; not counted in output.",
    "cache_read_audio": "Audio tokens served from the cache; not counted in cache_read.",
    "cache_write_audio": "Audio tokens written to the cache; not counted in cache_write.",
    "input_image": "Image tokens that the model saw; not counted in input.",
    "output_image": "Image tokens that the model made; not counted in output.",
    "image": "Whole images made.",
    "image_seen": "Whole images sent to the model, where it has a price per image.",
    "audio": "Seconds of audio heard (transcription).",
    "speech": "Seconds of audio spoken.",
    "character": "Characters read (speech is often priced so).",
    "character_out": "Characters written.",
    "query": "Searches or rerank queries.",
    "request": "Calls, where each has a price of its own.",
}
"""Every type that has a price, and what it counts."""

PROMPT_TYPES: Final = (
    "input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "cache_read_audio", "cache_write_audio",
    "input_image",
)  # fmt: skip
"""Together the length of the prompt, which decides whether long-context prices hold."""

INSTEAD: Final[Mapping[str, str]] = {"reasoning": "output"}
"""Whose price holds where a type has none. Any other type without a price is refused, never free."""

_DECIMAL: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,18}))?")


class PriceMissing(Exception):
    """The model has no price for a type that was used. ``token_type`` names it."""

    def __init__(self, token_type: str) -> None:
        super().__init__(f"no price for {token_type}")
        self.token_type = token_type


class PriceInvalid(ValueError):
    """Not a price: the text says why."""


def parse_price(text: str) -> int:
    """Return a price in 10**-18 dollar. Raises PriceInvalid."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise PriceInvalid(f"{text[:40]!r} is not a price in dollars such as 0.00000015, with at most 18 decimals")
    return int(found[1] + (found[2] or "").ljust(PRICE_SCALE, "0"))


def show_price(price: int) -> str:
    """Return a price in dollars, without zeros at its end."""
    whole, part = divmod(price, 10**PRICE_SCALE)
    return f"{whole}.{part:0{PRICE_SCALE}}".rstrip("0").rstrip(".")


def show_cost(cost: int) -> str:
    """Return an exact cost (USD/22, may be negative) in dollars."""
    whole, part = divmod(abs(cost), 10**COST_SCALE)
    text = f"{whole}.{part:0{COST_SCALE}}".rstrip("0").rstrip(".")
    return f"-{text}" if cost < 0 else text


def charge(remainder: int, cost: int) -> tuple[int, int]:
    """Return what to charge now in USD/9 (rounded down) and the remainder to carry, USD/22.

    ``remainder`` is 0 to 10**13 - 1, and so is what is returned. A negative cost (a correction) gives a negative charge.
    """
    return divmod(remainder + cost, COST_PER_UNIT)


def cost_of_amount(units_18: int) -> int:
    """Return the cost in USD/22 of an amount that was given in 10**-18 dollar. Amounts bear no markup."""
    return units_18 * BPS


@dataclass(frozen=True, slots=True)
class Rates:
    """What one model costs, markup included, in USD/22 for one of each type."""

    per: Mapping[str, int]
    above: tuple[tuple[int, Mapping[str, int]], ...] = field(default=())
    """Long context: (prompt tokens, rates), highest first. A prompt of more tokens costs these instead, all of it."""

    def cost(self, quantities: Mapping[str, int]) -> int:
        """Return the exact cost in USD/22. Raises PriceMissing."""
        per = self.per
        if self.above:
            prompt = sum(quantities.get(name, 0) for name in PROMPT_TYPES)
            for tokens, rates in self.above:
                if prompt > tokens:
                    per = rates
                    break
        cost = 0
        for name, quantity in quantities.items():
            try:
                cost += per[name] * quantity
            except KeyError:
                raise PriceMissing(name) from None
        return cost


def rates_of(prices: Mapping[str, int], above: Mapping[int, Mapping[str, int]], markup_bps: int) -> Rates:
    """Return a model's prices (10**-18 dollar) with the markup on them.

    A price that a long-context step does not name stays what it is below the step.
    """
    factor = BPS + markup_bps
    steps = sorted(above.items(), reverse=True)
    return Rates(_marked_up(prices, factor), tuple((at, _marked_up({**prices, **more}, factor)) for at, more in steps))


def _marked_up(prices: Mapping[str, int], factor: int) -> dict[str, int]:
    whole = {name: prices[other] for name, other in INSTEAD.items() if other in prices} | dict(prices)
    return {name: price * factor for name, price in whole.items()}
