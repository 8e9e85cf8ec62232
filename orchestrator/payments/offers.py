"""An offer as it is stored in its session, and what a buyer and the API see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from orchestrator.database.unit import Row
from orchestrator.payments.pricing import Price


@dataclass(frozen=True, slots=True)
class PriceTag:
    """A price with the forms in which it is stored and shown, as JSON, made once."""

    price: Price
    stored: orjson.Fragment
    total: orjson.Fragment
    lines: orjson.Fragment

    @classmethod
    def of(cls, price: Price) -> PriceTag:
        total = price.total
        lines = [
            {"type": name, "amount": line.decimal(line.asset.scale), "currency": line.asset.code}
            for name, line in price.local_lines()
        ]
        shown = {"amount": total.decimal(total.asset.scale), "currency": total.asset.code}
        return cls(price, *(orjson.Fragment(orjson.dumps(one)) for one in (price.to_json(), shown, lines)))


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
    quote: Any
    """Its JSON: a mapping once it is read back, a fragment while the session is made; None where dollars are charged."""
    expected_seconds: int
    on_decline: Mapping[str, str]
    tag: PriceTag | None = field(default=None, compare=False, repr=False)
    """The price written out, where that is at hand."""

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "method": self.method,
            "rail": self.rail,
            "account": self.account,
            "flow": self.flow,
            "price": self._tag().stored,
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
        return _shown(self._tag(), self.id, self.method, self.rail, self.quote, self.expected_seconds)

    def _tag(self) -> PriceTag:
        return self.tag or PriceTag.of(self.price)


def offers_of(session: Row) -> list[Offer]:
    return [Offer.from_json(data) for data in orjson.loads(session["offers"])]


def offers_shown(session: Row) -> list[dict[str, Any]]:
    """Return a session's offers in the API's form."""
    found = []
    for data in orjson.loads(session["offers"]):
        price = data["price"]
        tag = _tag_of(price["total"], price["asset"], price["mid"], price["spread_bps"], tuple(price["usd"]))
        found.append(_shown(tag, data["id"], data["method"], data["rail"], data["quote"], data["expected_seconds"]))
    return found


def _shown(tag: PriceTag, id_: str, method: str, rail: str, quote: Any, expected_seconds: int) -> dict[str, Any]:
    return {
        "id": id_,
        "method": method,
        "rail": rail,
        "price": tag.total,
        "lines": tag.lines,
        "quote": quote,
        "expected_seconds": expected_seconds,
    }


@lru_cache(maxsize=4096)
def _tag_of(total: int, asset: str, mid: str, spread_bps: int, usd: tuple[int, ...]) -> PriceTag:
    """Return a stored price's tag. Kept: buyers of one country choose among a few amounts at one rate."""
    price = Price.from_json({"total": total, "asset": asset, "mid": mid, "spread_bps": spread_bps, "usd": usd})
    return PriceTag.of(price)


def next_offer(offers: list[Offer], tried: Offer, severity: str) -> Offer | None:
    """Return the offer that the rule names after a decline: the next one, where ``on_decline`` says ``next``."""
    if tried.on_decline.get(severity, "stop") != "next":
        return None
    following = offers[offers.index(tried) + 1 :]
    return following[0] if following else None
