"""What the demo's resellers do once wallets are full: charge usage, send it again, hold and capture; to the nano-dollar."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from orchestrator.cli.buyers import Shop
from orchestrator.ids import new_id

MODEL: Final = "demo-chat"
PRICES: Final = {"input": "0.00000015", "output": "0.0000006", "cache_read": "0.0000000000333"}
"""Dollars per token: the last one is worth less than a nano-dollar, so remainders are carried."""
TOKENS: Final = {"input": 823, "output": 121, "cache_read": 77}
EVENTS: Final = 500
HELD, COST = "0.25", "0.31"
NANO: Final = 10**9


@dataclass(frozen=True, slots=True)
class Spent:
    """What came of it, over all wallets."""

    wallets: int
    events: int
    duplicates: int
    """The same events, sent a second time: charged once."""
    charged: str
    right: bool
    """Every wallet holds what it held before, less the exact cost rounded down, less what was captured."""

    def to_json(self) -> dict[str, Any]:
        return {
            "wallets": self.wallets,
            "events": self.events,
            "duplicates": self.duplicates,
            "charged": {"amount": self.charged, "currency": "USD"},
            "right": self.right,
        }


async def spend(shop: Shop, references: list[tuple[str, str]]) -> Spent:
    """Charge every customer's wallet; ``references`` are (reference, country)."""
    await shop.call("PUT", "/v1/prices", {"models": {MODEL: PRICES}})
    wallets = [
        await shop.call("POST", "/v1/wallets", {"customer": {"reference": reference, "country": country}})
        for reference, country in references
    ]
    results = await asyncio.gather(*(_spend(shop, wallet) for wallet in wallets))
    return Spent(
        len(wallets),
        sum(result.events for result in results),
        sum(result.duplicates for result in results),
        decimal(sum(result.units for result in results)),
        all(result.right for result in results),
    )


@dataclass(frozen=True, slots=True)
class _One:
    events: int
    duplicates: int
    units: int
    right: bool


async def _spend(shop: Shop, wallet: Mapping[str, Any]) -> _One:
    id_ = wallet["id"]
    events = [{"id": new_id("use"), "wallet": id_, "model": MODEL, "tokens": TOKENS} for _ in range(EVENTS)]
    first, again = await asyncio.gather(*(shop.call("POST", "/v1/usage", {"events": events}) for _ in range(2)))
    hold = await shop.call("POST", "/v1/holds", {"wallet": id_, "amount": {"amount": HELD, "currency": "USD"}})
    await shop.call("POST", f"/v1/holds/{hold['id']}/capture", {"amount": {"amount": COST, "currency": "USD"}})
    exact = EVENTS * sum(Fraction(PRICES[kind]) * count for kind, count in TOKENS.items())
    charged = int(exact * NANO)
    before, after = wallet["balance"], (await shop.call("GET", f"/v1/wallets/{id_}"))["balance"]
    used = nano(before["available"]) - nano(after["available"])
    accepted = first["accepted"] + again["accepted"]
    right = used == charged + nano(COST) and accepted == EVENTS and nano(after["held"]) == nano(after["debt"]) == 0
    return _One(accepted, first["duplicate"] + again["duplicate"], used, right)


def nano(text: str) -> int:
    """Return a decimal string of dollars in USD/9."""
    return int(Fraction(text) * NANO)


def decimal(units: int) -> str:
    return f"{units // NANO}.{units % NANO:09}".rstrip("0")
