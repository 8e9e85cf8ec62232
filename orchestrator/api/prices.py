"""Prices: versions of the price book. A version is never changed; the next one is made."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, NonNegativeInt

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Caller, Context, Endpoint
from orchestrator.api.fields import Body, Shown
from orchestrator.clock import to_us
from orchestrator.errors import Forbidden, Invalid, NotFound
from orchestrator.metering.price_book import NewVersion, Version
from orchestrator.metering.price_content import (
    MODELS_MAX,
    Content,
    check_markup,
    check_model,
    model_prices,
    shown_prices,
)
from orchestrator.metering.rating import MARKUP_BPS_MAX, MARKUP_BPS_MIN, TOKEN_TYPES, PriceInvalid, show_cost
from orchestrator.services import Services

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
_TYPES = ", ".join(TOKEN_TYPES)


class WhoseBook(Body):
    """A merchant's key leaves both out. The admin token means the base book, or names a merchant and mode."""

    merchant: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_]{1,80}$", description="With the admin token only; none: the base book."
    )
    mode: Literal["test", "live"] | None = None

    def of(self, caller: Caller) -> tuple[str, str]:
        """Return whose book is meant. Raises Invalid, Forbidden."""
        if PLATFORM in caller.scopes:
            if self.merchant is None:
                return PLATFORM, "live"
            if self.mode is None:
                raise Invalid("mode_needed", "say which mode: test or live", pointer="/mode")
            return self.merchant, self.mode
        if self.merchant not in {None, caller.merchant_id} or self.mode not in {None, caller.mode}:
            raise Forbidden("other_book", "a merchant's key speaks for its own merchant and mode only")
        return caller.merchant_id, caller.mode


class PutPrices(WhoseBook):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "markup_bps": 2000,
                    "models": {
                        "gpt-5-mini": {"input": "0.00000025", "output": "0.000002", "cache_read": "0.000000025"}
                    },
                    "markups": {"gpt-5": 500},
                }
            ]
        }
    )

    base: str | None = Field(
        default="latest",
        description="Models that are not named here come from this version of the platform's base book: its id, or "
        "`latest`: the one in force when this version begins, for ever. null: from nowhere.",
    )
    markup_bps: int = Field(
        default=0, ge=MARKUP_BPS_MIN, le=MARKUP_BPS_MAX, description="Added to every price: 2000 = 20 %."
    )
    markups: dict[str, int] = Field(
        default_factory=dict, max_length=MODELS_MAX, description="A model's own markup, instead of `markup_bps`."
    )
    models: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        max_length=MODELS_MAX,
        description=f"Per model and token type, dollars for one, up to 18 decimals. Types (they do not overlap): {_TYPES}.",
    )
    above: dict[str, dict[NonNegativeInt, dict[str, str]]] = Field(
        default_factory=dict,
        max_length=MODELS_MAX,
        description="Long context: per model and number of prompt tokens, the prices of a longer prompt.",
    )
    effective_from: datetime | None = Field(
        default=None, description="When it begins; none: now, or as soon as every process has seen it."
    )
    note: str = Field(default="", max_length=500)

    def content(self) -> Content:
        """Return what the version says. Raises Invalid."""
        try:
            for model in (*self.models, *self.markups):
                check_model(model)
            models = {model: model_prices(prices, self.above.get(model)) for model, prices in self.models.items()}
            markups = {model: check_markup(bps) for model, bps in self.markups.items()}
        except PriceInvalid as error:
            raise Invalid("price_invalid", str(error), pointer="/models") from None
        lost = self.above.keys() - self.models.keys()
        if lost:
            raise Invalid("price_invalid", f"{min(lost)[:80]} has no prices below its step", pointer="/above")
        return Content(models, self.markup_bps, markups)


class AskPrices(WhoseBook):
    version: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_]{1,80}$", description="Id or number; none: the one in force."
    )
    model: str | None = Field(default=None, max_length=200, description="Only this model.")


class ModelShown(Shown):
    prices: dict[str, str] = Field(description="Dollars for one, before the markup.")
    markup_bps: int
    charged: dict[str, str] = Field(description="Dollars for one, with the markup: what a wallet pays, exactly.")
    above: dict[str, dict[str, str]] = Field(description="`charged` for prompts of more tokens.")
    own: bool = Field(description="Named by this book; else taken over from its base.")


class PricesShown(Shown):
    id: str = Field(examples=["prv_0199f3a0c0de7d0f8a3b5c7d9e1f2a3b"])
    number: int
    base: str | None
    markup_bps: int
    markups: dict[str, int]
    author: str
    note: str
    effective_from: str
    created_at: str
    models: dict[str, ModelShown]


async def put_prices(context: Context[Services], body: PutPrices) -> Answer:
    merchant_id, mode = body.of(context.caller)
    if merchant_id not in {PLATFORM, context.caller.merchant_id}:
        await context.services.access.merchant(merchant_id)
    starts = body.effective_from
    if starts is not None and starts.tzinfo is None:
        raise Invalid("time_without_zone", "the time needs its zone, such as Z", pointer="/effective_from")
    wanted = NewVersion(
        body.content(), body.base, None if starts is None else to_us(starts), context.caller.key_id, body.note
    )
    version, made = await context.services.prices.put(merchant_id, mode, wanted)
    return Answer(version.shown() | {"models": _models(version, None)}, status=201 if made else 200)


async def get_prices(context: Context[Services], query: AskPrices) -> Answer:
    merchant_id, mode = query.of(context.caller)
    prices = context.services.prices
    version: Version | None
    if query.version is not None:
        version = await prices.version(merchant_id, mode, query.version)
    else:
        version = (await prices.book(merchant_id, mode)).in_force(context.services.clock.now_us())
    if version is None:
        raise NotFound("no_prices", "there are no prices yet: PUT /v1/prices makes the first version")
    models = _models(version, query.model)
    if query.model is not None and not models:
        raise NotFound("model_not_found", "this version has no such model")
    return Answer(version.shown() | {"models": models})


def _models(version: Version, only: str | None) -> dict[str, Any]:
    names = {**(version.base.content.models if version.base else {}), **version.content.models}
    shown = {}
    for model in sorted(names) if only is None else [only] * (only in names):
        rates, found = version.rates(model), names[model]
        assert rates is not None, "the name came from the book"
        shown[model] = {
            "prices": shown_prices(found.prices),
            "markup_bps": version.content.markup(model),
            "charged": {name: show_cost(cost) for name, cost in rates.per.items()},
            "above": {
                str(tokens): {name: show_cost(cost) for name, cost in per.items()} for tokens, per in rates.above
            },
            "own": model in version.content.models,
        }
    return shown


ENDPOINTS = (
    Endpoint("GET", "/v1/prices", get_prices, summary="Look at a version of the price book", tag="Prices",
             scopes=("read", PLATFORM), query=AskPrices, answer=PricesShown, refusals=(404,)),
    Endpoint("PUT", "/v1/prices", put_prices, summary="Make the next version of the price book", tag="Prices",
             scopes=("write", PLATFORM), body=PutPrices, answer=PricesShown, body_bytes_max=BODY_BYTES_MAX,
             refusals=(404, 429), description="The same content again is the same version (200), not a new one (201)."),
)  # fmt: skip
