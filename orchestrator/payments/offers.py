"""An offer as it is stored in its session, and what a buyer and the API see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.database.unit import Row
from orchestrator.payments.pricing import Price


@dataclass(frozen=True, slots=True)
class Offer:
    """Method, rail, price and the rate it was made with."""

    id: str
    method: str
    rail: str
    account: str
    flow: str
    price: Price
    quote_id: str | None
    quote: Mapping[str, Any] | None
    expected_seconds: int
    on_decline: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "method": self.method,
            "rail": self.rail,
            "account": self.account,
            "flow": self.flow,
            "price": self.price.to_json(),
            "quote_id": self.quote_id,
            "quote": self.quote,
            "expected_seconds": self.expected_seconds,
            "on_decline": dict(self.on_decline),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Offer:
        return cls(**{**data, "price": Price.from_json(data["price"])})

    def shown(self) -> dict[str, Any]:
        """Return the API's form: the lines add up to the price."""
        total = self.price.total
        return {
            "id": self.id,
            "method": self.method,
            "rail": self.rail,
            "price": {"amount": total.decimal(total.asset.scale), "currency": total.asset.code},
            "lines": [
                {"type": name, "amount": line.decimal(line.asset.scale), "currency": line.asset.code}
                for name, line in self.price.local_lines()
            ],
            "quote": self.quote,
            "expected_seconds": self.expected_seconds,
        }


def offers_of(session: Row) -> list[Offer]:
    return [Offer.from_json(data) for data in orjson.loads(session["offers"])]


def next_offer(offers: list[Offer], tried: Offer, severity: str) -> Offer | None:
    """Return the offer that the rule names after a decline: the next one, where ``on_decline`` says ``next``."""
    if tried.on_decline.get(severity, "stop") != "next":
        return None
    following = offers[offers.index(tried) + 1 :]
    return following[0] if following else None
