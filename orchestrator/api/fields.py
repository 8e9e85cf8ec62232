"""What bodies and queries are made of. A mistake is told with what to send instead."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestrator.database.unit import Row
from orchestrator.errors import Invalid
from rates.money import Asset, Money, MoneyError, UnknownAsset, display_asset

AMOUNT_PATTERN: Final = r"^[0-9]{1,19}(\.[0-9]{1,18})?$"
_AMOUNT: Final = re.compile(AMOUNT_PATTERN.removesuffix("$"))
LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100
EXPAND_MAX: Final = 10


class Body(BaseModel):
    """What a caller sends: an unknown field is a mistake, not something to drop."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """What we answer."""

    model_config = ConfigDict(frozen=True)


def _amount(value: Any) -> Any:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "amount_is_not_text", 'an amount is a decimal string such as "20.00": a JSON number may lose digits'
        )
    if _AMOUNT.fullmatch(value) is None:
        raise PydanticCustomError(
            "amount_is_not_decimal", 'an amount is a plain decimal such as "20.00": no sign, exponent, comma or space'
        )
    return value


AmountText = Annotated[
    str,
    BeforeValidator(_amount),
    WithJsonSchema({"type": "string", "pattern": AMOUNT_PATTERN, "examples": ["20.00"], "title": "Amount"}),
]
CurrencyText = Annotated[str, Field(pattern=r"^[A-Z]{3,5}$", examples=["USD"])]
CountryText = Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["BR"], description="ISO 3166-1 alpha-2")]


def check_currency(code: str, pointer: str) -> None:
    """Raise Invalid where nobody knows the currency."""
    try:
        display_asset(code)
    except UnknownAsset as error:
        raise Invalid("currency_unknown", str(error), pointer=pointer) from None


class MoneyBody(Body):
    """An amount from 0 and its currency (ISO 4217) or token."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": "20.00", "currency": "USD"}]})

    amount: AmountText
    currency: CurrencyText

    def money(self, asset: Asset | None = None, *, pointer: str = "/amount") -> Money:
        """Return it in an asset of the same currency (default: as a buyer sees it). ``pointer``: where it stood.

        Raises Invalid: unknown or other currency, more decimals than the asset has, more than fits.
        """
        try:
            asset = asset or display_asset(self.currency)
        except UnknownAsset as error:
            raise Invalid("currency_unknown", str(error), pointer=f"{pointer}/currency") from None
        if asset.code != self.currency:
            raise Invalid("currency_not_possible", f"this amount is in {asset.code}", pointer=f"{pointer}/currency")
        try:
            return Money.parse(self.amount, asset)
        except MoneyError as error:
            raise Invalid("amount_invalid", str(error), pointer=f"{pointer}/amount") from None


def money_shown(money: Money) -> dict[str, str]:
    """Return the form of the API: at least the decimals that a buyer sees, more only where they are not zero."""
    return {"amount": money.decimal(display_asset(money.asset.code).scale), "currency": money.asset.code}


# --- lists ------------------------------------------------------------------------------------------------------------


class Page(Body):
    """Which part of a list."""

    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="How many, at most.")
    after: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_.:-]{1,80}$", description="`next_cursor` of the page before."
    )


T = TypeVar("T")


class Listed(Shown, Generic[T]):
    data: list[T]
    next_cursor: str | None = Field(description="Send it as `after` for the next page; null: there is no more.")


def listed(rows: list[Row], page: Page, *, cursor: str = "id") -> tuple[list[Row], str | None]:
    """Cut rows, read with ``limit=page.limit + 1``, into a page and its next cursor."""
    if len(rows) <= page.limit:
        return rows, None
    kept = rows[: page.limit]
    return kept, str(kept[-1][cursor])


class Expandable(Body):
    """Mix in where a reference can be replaced by its object."""

    expand: list[str] = Field(
        default_factory=list, alias="expand[]", max_length=EXPAND_MAX, description="Fields to show as whole objects."
    )

    def expansions(self, possible: Collection[str]) -> frozenset[str]:
        """Return what was asked for. Raises Invalid where it is not possible."""
        for name in self.expand:
            if name not in possible:
                known = ", ".join(sorted(possible))
                raise Invalid("expand_unknown", f"{name[:60]!r} cannot be expanded; {known} can", pointer="/expand[]")
        return frozenset(self.expand)
