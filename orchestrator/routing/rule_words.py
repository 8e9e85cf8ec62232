"""The words, amounts and lists that rules are written in: each value by itself, with what to say where it is none."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from orchestrator.routing.countries import country_hint, is_country
from rates.money import WALLET_USD, Money, UnknownAsset, display_asset


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _as_set(value: tuple[str, ...]) -> tuple[str, ...]:
    """Order and repetition mean nothing in a set of words: the content hash must not see them."""
    return tuple(sorted(set(value)))


def _country(value: str) -> str:
    if not is_country(value):
        message = "{word} is no country (ISO 3166-1 alpha-2)"
        raise PydanticCustomError("unknown_country", message, {"word": value, "hint": country_hint(value)})
    return value


def _currency(value: str) -> str:
    try:
        display_asset(value)
    except UnknownAsset as error:
        hint = f"did you mean {value.upper()!r}?" if value != value.upper() else None
        raise PydanticCustomError("unknown_currency", "{reason}", {"reason": str(error), "hint": hint}) from None
    return value


def _amount(value: Any) -> Any:
    """Read a decimal number or text exactly; a float never gets here from YAML and is refused."""
    if isinstance(value, Money):
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise PydanticCustomError("no_amount", "must be an amount in USD, such as 20.00", {})
    amount = Money.parse(value if isinstance(value, str) else format(value, "f"), WALLET_USD)
    if amount.units < 0:
        raise PydanticCustomError("negative_amount", "an amount is not below zero", {})
    return amount


def _above_zero(value: Money) -> Money:
    if value.units == 0:
        raise PydanticCustomError("nothing_to_route", "nothing is routed for an amount of 0", {})
    return value


def _category(value: Any) -> Any:
    """Read a merchant category code. YAML reads 5734 as a number; one that begins with 0 must stand in quotes."""
    if isinstance(value, int) and not isinstance(value, bool) and 1000 <= value <= 9999:
        return str(value)
    if isinstance(value, str) and re.fullmatch("[0-9]{4}", value):
        return value
    raise PydanticCustomError(
        "no_category", "a merchant category code has four digits", {"hint": "a code that begins with 0 needs quotes"}
    )


def _form(pattern: str, words: str) -> tuple[Any, Any]:
    """Return what holds a text to a form, and says in words what the form is."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(pattern, value) is None:
            raise PydanticCustomError("bad_form", "{words}", {"words": words})
        return value

    return BeforeValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "description": words})


def _as_range(value: Any) -> Any:
    return {"min": value, "max": value} if isinstance(value, int) and not isinstance(value, bool) else value


Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
RuleId = Annotated[str, *_form(r"[a-z0-9][a-z0-9-]{0,63}", "an id is small letters, digits and hyphens: brazil-pix")]
Country = Annotated[str, BeforeValidator(lambda value: _country(value) if isinstance(value, str) else value)]
Currency = Annotated[str, BeforeValidator(lambda value: _currency(value) if isinstance(value, str) else value)]
Method = Annotated[str, *_form(r"[a-z0-9][a-z0-9_]{0,63}", "a method is one word, such as pix or usdt_tron")]
Corridor = Annotated[str, *_form(r"USD-([A-Z]{3,4}|\*)", "a corridor is USD and a currency, such as USD-BRL, or USD-*")]
AmountUsd = Annotated[
    Money,
    BeforeValidator(_amount),
    PlainSerializer(lambda amount: amount.decimal(2), return_type=str),
    WithJsonSchema({"type": ["string", "number"], "description": "USD, up to 9 decimals"}),
]
TestAmountUsd = Annotated[AmountUsd, AfterValidator(_above_zero)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Risk = Literal["low", "medium", "high"]

Bps = Annotated[StrictInt, Field(ge=0, le=5_000)]

LIST = BeforeValidator(_as_list)
SET = AfterValidator(_as_set)
Category = Annotated[
    str, BeforeValidator(_category), WithJsonSchema({"type": ["string", "integer"], "description": "four digits"})
]
Words = Annotated[tuple[Word, ...], LIST, Field(min_length=1), SET]
Countries = Annotated[tuple[Country, ...], LIST, Field(min_length=1), SET]
Currencies = Annotated[tuple[Currency, ...], LIST, Field(min_length=1), SET]
Methods = Annotated[tuple[Method, ...], LIST, Field(min_length=1), SET]
Categories = Annotated[tuple[Category, ...], LIST, Field(min_length=1), SET]
Weekdays = Annotated[tuple[Weekday, ...], LIST, Field(min_length=1), SET]
Risks = Annotated[tuple[Risk, ...], LIST, Field(min_length=1), SET]
WholeOrBand = BeforeValidator(_as_range)
"""A single number stands for a band of itself."""
