"""The methods of payment that exist, as data: what each is, and which rail offers it under which name.

``catalogue.yaml`` is the one list; an adapter asks ``offered("stripe")`` for its capabilities and ``word_of`` for the
vendor's own name. A method that is not offered stays in the list with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ruamel.yaml import YAML

from adapters.base import Capability, Flow
from rates.money import Money, display_asset

FILE: Final = Path(__file__).with_name("catalogue.yaml")
ANY_CURRENCY: Final = ("*",)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AtRail(_Entry):
    """One method at one rail."""

    word: str | dict[str, str]
    """The vendor's own name of it; by country of the buyer where it has several."""
    source: str = Field(pattern="^https://")
    left_out: str = ""
    """Why our adapter does not offer it; empty = it does."""
    min: dict[str, str] = {}
    max: dict[str, str] = {}
    """By currency, as decimals, where the vendor documents them."""

    @property
    def words(self) -> frozenset[str]:
        return frozenset({self.word} if isinstance(self.word, str) else self.word.values())


class Method(_Entry):
    """One way to pay."""

    kind: Literal["card", "wallet", "bank", "voucher", "debit", "later", "mobile_money"]
    name: str
    countries: tuple[str, ...] | Literal["any"]
    currencies: tuple[str, ...] | Literal["any"]
    refund: Literal["full_and_partial", "full", "none"]
    disputable: bool
    delayed: bool
    seconds: int = Field(gt=0)
    rails: dict[str, AtRail] = {}
    unavailable: str = ""
    """What was searched, where no vendor document names it."""

    @model_validator(mode="after")
    def _somewhere_or_searched(self) -> Method:
        if bool(self.rails) is bool(self.unavailable):
            raise ValueError("a method has rails, or says what was searched")
        return self


class Catalogue(_Entry):
    methods: dict[str, Method]


@cache
def methods() -> Mapping[str, Method]:
    """Return every method by our name, offered or not."""
    document = YAML(typ="safe", pure=True).load(FILE.read_text(encoding="utf-8"))
    return Catalogue.model_validate(document).methods


@cache
def offered(rail: str) -> Mapping[str, Capability]:
    """Return what a rail's adapter can offer, by our name of the method."""
    return {
        name: _capability(name, method, method.rails[rail])
        for name, method in methods().items()
        if rail in method.rails and not method.rails[rail].left_out
    }


def word_of(rail: str, name: str, country: str) -> str:
    """Return the vendor's own name of a method for a buyer's country. Raises KeyError where it has none."""
    word = methods()[name].rails[rail].word
    return word if isinstance(word, str) else word[country]


def _capability(name: str, method: Method, at: AtRail) -> Capability:
    return Capability(
        method=name,
        flow=Flow.REDIRECT,
        countries=None if method.countries == "any" else frozenset(method.countries),
        currencies=ANY_CURRENCY if method.currencies == "any" else method.currencies,
        expected_seconds=method.seconds,
        amount_min=_amounts(at.min),
        amount_max=_amounts(at.max),
    )


def _amounts(by_currency: Mapping[str, str]) -> dict[str, Money]:
    return {code: Money.parse(text, display_asset(code)) for code, text in by_currency.items()}
