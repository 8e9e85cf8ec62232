"""Rates and quotes: what a dollar is worth, by whose word, and what it costs with the corridor's spread."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import AliasChoices, ConfigDict, Field
from sqlalchemy import select

from orchestrator.api.checkout import known_methods
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, CurrencyText, MoneyBody, Shown, check_currency
from orchestrator.clock import rfc3339, to_us
from orchestrator.database.tables import Quote, table_of
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.payments.checkout import quote_shown
from orchestrator.payments.story import money_body
from orchestrator.services import Services
from rates.agreement import decimal_text
from rates.errors import RateError
from rates.money import WALLET_USD, Rounding
from rates.sources.port import SourceRate


class CreateQuote(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"quote": "BRL", "amount": {"amount": "20.00", "currency": "USD"}}]}
    )

    base: CurrencyText = Field(default=WALLET_USD.code, description="What wallets hold: USD.")
    quote: CurrencyText = Field(
        validation_alias=AliasChoices("quote", "currency"), description="What the buyer would pay in."
    )
    amount: MoneyBody | None = Field(default=None, description="USD to convert, without fees.")
    method: str | None = Field(default=None, pattern=r"^[a-z0-9_]{2,40}$", description="Spreads may differ by method.")


class QuoteShown(Shown):
    id: str
    base: str
    currency: str = Field(description="What the buyer would pay in.")
    rate: str = Field(description="mid with the spread, rounded for reading")
    mid: str
    spread_bps: int
    as_of: str
    sources: list[dict[str, Any]]
    expires_at: str
    sandbox: bool = Field(description="True: as of the newest embedded date, never for real money.")
    amount: dict[str, str] | None = None
    price: dict[str, str] | None = None


class GetRate(Body):
    base: CurrencyText = "USD"
    quote: CurrencyText


class RateShown(Shown):
    base: str
    quote: str
    mid: str
    as_of: str
    sources: list[dict[str, str]]
    legs: list[dict[str, str]] = Field(description="The printed rates that the winner was crossed from, if it was.")
    dropped: list[dict[str, str]] = Field(description="Sources that were left out, and why.")
    sandbox: bool


async def create_quote(context: Context[Services], body: CreateQuote) -> Answer:
    services, now = context.services, context.services.clock.now()
    if body.base != WALLET_USD.code:
        raise Invalid("base_not_possible", f"wallets hold {WALLET_USD.code}: quote from it", pointer="/base")
    check_currency(body.quote, "/quote")
    if body.method is not None:
        known_methods(services, [body.method], pointer="/method")
    usd = None if body.amount is None else body.amount.money(WALLET_USD, pointer="/amount")
    ttl_seconds = services.settings.checkout.session_ttl_s
    try:
        quote = services.pricer.quote(
            quote_id=context.resource_id, session_id="none", currency=body.quote, method=body.method, now=now,
            ttl_seconds=ttl_seconds,
        )  # fmt: skip
    except RateError as error:
        raise Conflict("no_rate", str(error)) from None
    fields = quote.to_json()
    shown = quote_shown(fields) | {"base": WALLET_USD.code, "currency": body.quote, "amount": None, "price": None}
    if body.amount is not None and usd is not None:
        shown |= {"amount": body.amount.model_dump(), "price": money_body(quote.convert(usd, Rounding.UP))}

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        changes.insert(
            "quote", merchant_id=context.merchant_id, id=quote.id, mode=context.mode, session_id=None,
            body=orjson.dumps(fields | {"shown": shown}).decode(), used_by=None, expires_us=to_us(quote.expires_at),
            created_us=view.now_us,
        )  # fmt: skip
        return {"shown": shown}

    # The quote's id is the key: a request that is resumed after a crash gets the quote that was locked first.
    unit = Unit(context.merchant_id, context.mode, f"quote:{quote.id}", (), decide)
    return Answer((await services.writer.submit(unit)).answer["shown"])


async def get_quote(context: Context[Services]) -> Answer:
    table = table_of(Quote)
    row = await context.services.reads.one(
        select(table).where(
            table.c.merchant_id == context.merchant_id, table.c.id == context.path["id"], table.c.mode == context.mode
        )
    )
    if row is None:
        raise NotFound("quote_not_found", f"there is no quote {context.path['id']}")
    fields = orjson.loads(row["body"])
    currency = fields["quote"].partition("/")[0]
    shown = fields.get("shown") or quote_shown(fields) | {"base": WALLET_USD.code, "currency": currency}
    return Answer(shown)


async def get_rate(context: Context[Services], query: GetRate) -> Answer:
    check_currency(query.base, "/base")
    check_currency(query.quote, "/quote")
    market = context.services.pricer.market
    try:
        mid = market.mid(query.base, query.quote, context.services.clock.now())
    except RateError as error:
        raise Conflict("no_rate", str(error)) from None
    return Answer({
        "base": mid.base,
        "quote": mid.quote,
        "mid": decimal_text(mid.rate),
        "as_of": rfc3339(to_us(mid.as_of)),
        "sources": [_printed(one) for one in mid.sources],
        "legs": [_printed(one) for one in mid.legs],
        "dropped": [{"source": source, "reason": reason} for source, reason in mid.dropped],
        "sandbox": mid.sandbox_as_of is not None,
    })  # fmt: skip


def _printed(one: SourceRate) -> dict[str, str]:
    return {"source": one.source, "base": one.base, "quote": one.quote, "rate": decimal_text(one.rate),
            "as_of": rfc3339(to_us(one.as_of))}  # fmt: skip


ENDPOINTS = (
    Endpoint("POST", "/v1/quotes", create_quote, summary="Lock a rate", tag="Rates", body=CreateQuote,
             answer=QuoteShown, status=201, creates="quo", refusals=(409,)),
    Endpoint("GET", "/v1/quotes/{id}", get_quote, summary="Look at a quote", tag="Rates", answer=QuoteShown),
    Endpoint("GET", "/v1/rates", get_rate, summary="Look at a mid rate and its sources", tag="Rates", query=GetRate,
             answer=RateShown, refusals=(409,)),
)  # fmt: skip
