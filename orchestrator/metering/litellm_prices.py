"""Reading LiteLLM's public price map, ``model_prices_and_context_window.json``. Pure.

Source of the fields: https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.schema.json (2026): all costs
are USD per unit; every top-level key but ``sample_spec`` and ``fallback_generalizations`` is a model; new fields come often and
are to be passed over. ``..._above_200k_tokens`` holds once the prompt is longer than that. What a price stands for beside tokens of
the standard service (priority, flex and batch tiers, pixels, pages, video) has no token type here and is named as left out.

Numbers are read as decimals, never as floats: ``json.loads(text, parse_float=Decimal, parse_int=Decimal)``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from orchestrator.metering.price_content import ModelPrices, check_model
from orchestrator.metering.rating import PRICE_SCALE, PriceInvalid

NOT_MODELS: Final = frozenset({"sample_spec", "fallback_generalizations"})

FIELDS: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "cache_creation_input_audio_token_cost": "cache_write_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_image_token": "output_image",
    "output_cost_per_image": "image",
    "input_cost_per_image": "image_seen",
    "input_cost_per_audio_per_second": "audio",
    "input_cost_per_character": "character",
    "output_cost_per_character": "character_out",
    "input_cost_per_query": "query",
    "input_cost_per_request": "request",
}
"""Their field to our token type."""

_FIELDS_OF_MODE: Final[Mapping[tuple[str, str], str]] = {
    ("audio_transcription", "input_cost_per_second"): "audio",
    ("audio_speech", "output_cost_per_second"): "speech",
}
"""Per second of what depends on the model: of audio here, else of computing or video."""

_ABOVE: Final = re.compile(r"(.+)_above_([0-9]{1,5})k_tokens")
_PRICE: Final = re.compile(r"cost|price|pricing|multiplier")
DOLLARS_MAX: Final = 10**9


@dataclass(slots=True)
class Imported:
    """What a file gave, and what not."""

    models: dict[str, ModelPrices] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Model and why it was not taken."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Prices of models that were taken, but which have no token type here: field and how many models have it."""


def parse_map(text: str) -> Any:
    """Return the file's JSON with every number as Decimal. Raises json.JSONDecodeError."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def looks_like_map(raw: Any) -> bool:
    return isinstance(raw, dict) and any(isinstance(one, dict) and "litellm_provider" in one for one in raw.values())


def read_map(raw: Mapping[str, Any], provider: str | None = None) -> Imported:
    """Return the models of a parsed map (``provider``: of this ``litellm_provider`` only)."""
    found = Imported()
    for model, entry in raw.items():
        if model in NOT_MODELS or (provider is not None and _provider(entry) != provider):
            continue
        try:
            found.models[check_model(model)] = _model(entry, found.left_out)
        except PriceInvalid as error:
            found.skipped[model] = str(error)
    return found


def _provider(entry: Any) -> object:
    return entry.get("litellm_provider") if isinstance(entry, dict) else None


def _model(entry: Any, left_out: Counter[str]) -> ModelPrices:
    if not isinstance(entry, dict):
        raise PriceInvalid("not an object")
    prices: dict[str, int] = {}
    above: dict[int, dict[str, int]] = {}
    unused: list[str] = []
    for name, value in entry.items():
        if value is None or _PRICE.search(name) is None:
            continue
        place = _place(name, str(entry.get("mode")))
        if place is None:
            unused.append(name)
            continue
        token_type, tokens = place
        (prices if tokens is None else above.setdefault(tokens, {}))[token_type] = _price(name, value)
    if not prices:
        raise PriceInvalid(f"priced by {', '.join(sorted(unused))}" if unused else "no price")
    if not any(prices.values()) and not any(price for step in above.values() for price in step.values()):
        raise PriceInvalid("every price is 0: a model that is free is named in a file of your own")
    if "tiered_pricing" in unused:
        raise PriceInvalid("tiered_pricing: its prices by length of the prompt would be lost")
    left_out.update(unused)
    return ModelPrices(prices, above)


def _place(name: str, mode: str) -> tuple[str, int | None] | None:
    """Return the token type of a field and the prompt length from which it holds; None: it has no type here."""
    found = FIELDS.get(name) or _FIELDS_OF_MODE.get((mode, name))
    if found is not None:
        return found, None
    step = _ABOVE.fullmatch(name)
    found = FIELDS.get(step[1]) if step is not None else None
    return None if step is None or found is None else (found, int(step[2]) * 1000)


def _price(name: str, value: Any) -> int:
    if not isinstance(value, Decimal) or not value.is_finite() or not 0 <= value < DOLLARS_MAX:
        raise PriceInvalid(f"{name} is no price: {str(value)[:40]}")
    sign, digits, exponent = value.normalize().as_tuple()
    assert not sign
    assert isinstance(exponent, int), "it is finite"
    if exponent < -PRICE_SCALE:
        raise PriceInvalid(f"{name} {value} has more than {PRICE_SCALE} decimals")
    return int("".join(map(str, digits))) * int(10 ** (exponent + PRICE_SCALE))
