"""Price files of our own: YAML for people, or LiteLLM's map as it is.

markup_bps: 2000            # on every price below, and on those of the base book
base: latest                # models that are not named here come from the platform's book; null: from nowhere
effective_from: 2026-12-01T00:00:00Z
models:
  gpt-5-mini: {input: "0.00000025", output: "0.000002", cache_read: "0.000000025"}    # dollars for one token
  claude-sonnet:
    per_million: {input: 3, output: 15}         # dollars for a million tokens
    request: "0.001"
    above: {200000: {per_million: {input: 6, output: "22.5"}}}    # a prompt of more tokens costs this
    markup_bps: 500                             # this model's own
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from orchestrator.config_source import load_document
from orchestrator.metering.litellm_prices import Imported, looks_like_map, parse_map, read_map
from orchestrator.metering.price_content import check_markup, check_model, model_prices, shown_prices
from orchestrator.metering.rating import TOKEN_TYPES, PriceInvalid

BYTES_MAX: Final = 20_000_000
_TOP: Final = frozenset({"markup_bps", "base", "effective_from", "note", "models"})
_MODEL: Final = frozenset({"per_million", "above", "markup_bps", *TOKEN_TYPES})


@dataclass(slots=True)
class PricesFile:
    """A file, read and checked."""

    kind: str
    """litellm | crossrail"""
    found: Imported
    markup_bps: int | None = None
    markups: dict[str, int] = field(default_factory=dict)
    base: str | None = "latest"
    effective_from: str | None = None
    note: str = ""

    def request(self) -> dict[str, Any]:
        """Return it as the body of ``PUT /v1/prices``."""
        models = self.found.models
        return {
            "base": self.base,
            "markup_bps": self.markup_bps or 0,
            "markups": self.markups,
            "models": {model: shown_prices(one.prices) for model, one in models.items()},
            "above": {
                model: {str(tokens): shown_prices(prices) for tokens, prices in one.above.items()}
                for model, one in models.items()
                if one.above
            },
            "effective_from": self.effective_from,
            "note": self.note,
        }


def read_file(path: Path, *, provider: str | None = None) -> PricesFile:
    """Read a price file of either kind. Raises PriceInvalid, ConfigInvalid (YAML), OSError."""
    if path.stat().st_size > BYTES_MAX:
        raise PriceInvalid(f"{path} is larger than {BYTES_MAX} bytes")
    if path.suffix == ".json":
        try:
            raw = parse_map(path.read_text("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PriceInvalid(f"{path} is not JSON: {error}") from None
        if looks_like_map(raw):
            found = read_map(raw, provider)
            return PricesFile("litellm", found, note=f"LiteLLM's price map, {len(found.models)} models")
    else:
        raw = load_document(path).data
    if not isinstance(raw, Mapping):
        raise PriceInvalid(f"{path} holds no price book")
    return _own(raw)


def _own(raw: Mapping[str, Any]) -> PricesFile:
    _known(raw, _TOP, "the file")
    file = PricesFile("crossrail", Imported(), base=raw.get("base", "latest"), note=str(raw.get("note") or ""))
    if raw.get("markup_bps") is not None:
        file.markup_bps = check_markup(_whole(raw["markup_bps"], "markup_bps"))
    if raw.get("effective_from") is not None:
        file.effective_from = str(raw["effective_from"])
    for name, given in (raw.get("models") or {}).items():
        model = check_model(str(name))
        if not isinstance(given, Mapping):
            raise PriceInvalid(f"{model}: a mapping of token type and price")
        _known(given, _MODEL, model)
        if given.get("markup_bps") is not None:
            file.markups[model] = check_markup(_whole(given["markup_bps"], f"{model}.markup_bps"))
        prices = _prices(given, model)
        steps = {
            _whole(tokens, f"{model}.above"): _prices(more, f"{model}.above")
            for tokens, more in (given.get("above") or {}).items()
        }
        if prices:
            file.found.models[model] = model_prices(prices, steps)
        elif model not in file.markups:
            raise PriceInvalid(f"{model} has neither a price nor a markup")
    return file


def _prices(given: Mapping[str, Any], where: str) -> dict[str, str]:
    """Return prices for one of each, as decimal strings."""
    million = given.get("per_million") or {}
    prices = {name: _decimal(value, where) for name, value in given.items() if name in TOKEN_TYPES}
    for name, value in million.items():
        if name in prices:
            raise PriceInvalid(f"{where}: {name} has two prices")
        prices[name] = _decimal(value, where) / 1_000_000
    return {name: f"{value:f}" for name, value in prices.items()}


def _decimal(value: Any, where: str) -> Decimal:
    text = str(value)
    if isinstance(value, bool) or not text.replace(".", "", 1).isdecimal() or len(text) > 30:
        raise PriceInvalid(f"{where}: {text[:40]!r} is not a price in dollars")
    return Decimal(text)


def _whole(value: Any, where: str) -> int:
    text = str(value)
    if not text.removeprefix("-").isdecimal() or len(text) > 12:
        raise PriceInvalid(f"{where}: {text[:40]!r} is not a whole number")
    return int(text)


def _known(given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        raise PriceInvalid(f"{where}: {', '.join(unknown)[:80]} is unknown; there are {', '.join(sorted(known))}")
