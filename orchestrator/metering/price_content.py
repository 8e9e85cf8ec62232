"""What one version of a price book says, in the form in which it is stored and compared. Pure.

The stored JSON: ``{"models": {model: {type: "0.00000015"}}, "above": {model: {"200000": {type: "..."}}}, "markups": {model: bps}}``.
Prices are dollars for one of a type. The markup goes on every price, own or taken over from the base book; a model's own markup
stands instead of the default one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from orchestrator.metering.rating import (
    MARKUP_BPS_MAX,
    MARKUP_BPS_MIN,
    TOKEN_TYPES,
    PriceInvalid,
    Rates,
    parse_price,
    rates_of,
    show_price,
)

Prices = Mapping[str, int]
"""Token type to price in 10**-18 dollar."""

MODELS_MAX = 20_000
MODEL_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """What one model costs before the markup."""

    prices: Prices
    above: Mapping[int, Prices] = field(default_factory=dict)
    """Long context: from more than so many prompt tokens on, these prices."""


@dataclass(frozen=True, slots=True)
class Content:
    """One book: models, and what is added to them."""

    models: Mapping[str, ModelPrices]
    markup_bps: int = 0
    markups: Mapping[str, int] = field(default_factory=dict)

    def body(self) -> str:
        """Return the stored JSON: the same book gives the same text."""
        shown = {
            "models": {model: shown_prices(one.prices) for model, one in self.models.items()},
            "above": {
                model: {str(tokens): shown_prices(prices) for tokens, prices in one.above.items()}
                for model, one in self.models.items()
                if one.above
            },
            "markups": dict(self.markups),
        }
        return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS).decode()

    def rates(self, model: str, base: Content | None) -> Rates | None:
        """Return what a model costs, markup included; None: neither this book nor its base knows it."""
        found = self.find(model, base)
        return None if found is None else rates_of(found.prices, found.above, self.markup(model))

    def find(self, model: str, base: Content | None) -> ModelPrices | None:
        own = self.models.get(model)
        return own if own is not None or base is None else base.models.get(model)

    def markup(self, model: str) -> int:
        return self.markups.get(model, self.markup_bps)


def digest(content: Content, base_version: str | None) -> str:
    """Return what two versions with the same meaning share."""
    whole = f"{base_version or ''}\n{content.markup_bps}\n{content.body()}"
    return hashlib.sha256(whole.encode()).hexdigest()


def stored(body: str, markup_bps: int) -> Content:
    """Read what ``Content.body`` wrote."""
    raw = orjson.loads(body)
    above = raw["above"]
    models = {
        model: ModelPrices(
            _parsed(prices), {int(tokens): _parsed(more) for tokens, more in above.get(model, {}).items()}
        )
        for model, prices in raw["models"].items()
    }
    return Content(models, markup_bps, raw["markups"])


def model_prices(given: Mapping[str, str], above: Mapping[int, Mapping[str, str]] | None = None) -> ModelPrices:
    """Read prices as decimal strings. Raises PriceInvalid."""
    return ModelPrices(_read(given), {tokens: _read(prices) for tokens, prices in (above or {}).items()})


def check_markup(bps: int) -> int:
    if not MARKUP_BPS_MIN <= bps <= MARKUP_BPS_MAX:
        raise PriceInvalid(f"a markup is {MARKUP_BPS_MIN} to {MARKUP_BPS_MAX} basis points, not {bps}")
    return bps


def check_model(name: str) -> str:
    if not (0 < len(name) <= MODEL_CHARS_MAX and name.isprintable() and name.strip() == name):
        raise PriceInvalid(f"a model's name has 1 to {MODEL_CHARS_MAX} printable characters, not {name[:60]!r}")
    return name


def shown_prices(prices: Prices) -> dict[str, str]:
    return {name: show_price(price) for name, price in prices.items()}


def _read(given: Mapping[str, str]) -> Prices:
    for name in given:
        if name not in TOKEN_TYPES:
            raise PriceInvalid(f"{name[:40]!r} is no token type: there are {', '.join(TOKEN_TYPES)}")
    return _parsed(given)


def _parsed(given: Mapping[str, str]) -> Prices:
    return {name: parse_price(text) for name, text in given.items()}
