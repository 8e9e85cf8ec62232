"""Statements of wallets, closing of months, and pricing a past period again."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Shown
from orchestrator.api.prices import WhoseBook
from orchestrator.clock import DAY_US, to_us
from orchestrator.errors import Invalid
from orchestrator.ledger.span import Span
from orchestrator.metering import periods
from orchestrator.metering.rerating import rerating_shown
from orchestrator.metering.statement import statement
from orchestrator.metering.statement_paper import csv_text, html_page
from orchestrator.metering.usage_input import period_of_day
from orchestrator.papers.layout import PAGE_HEADERS
from orchestrator.services import Services

CSV_TYPE: Final = "text/csv; charset=utf-8"
HTML_TYPE: Final = "text/html; charset=utf-8"


class AskStatement(Body):
    start: date | None = Field(default=None, alias="from", description="First day inside, UTC. None: of this month.")
    end: date | None = Field(default=None, alias="to", description="First day outside, UTC. None: tomorrow.")
    period: str | None = Field(default=None, description="A month such as 2026-11, instead of both.")
    format: Literal["json", "csv", "html"] | None = Field(
        default=None, description="`html` is a page to print. None: by the header Accept; else JSON."
    )

    def span(self, now_us: int) -> Span:
        """Return the days. Raises Invalid."""
        if self.period is not None:
            if self.start is not None or self.end is not None:
                raise Invalid("period_or_days", "a period, or from and to: not both", pointer="/period")
            return periods.span_of(self.period)
        today = now_us // DAY_US
        first = periods.span_of(period_of_day(today)).first if self.start is None else _day(self.start)
        return Span(first, today + 1 if self.end is None else _day(self.end))


class LineShown(Shown):
    kind: str = Field(description="usage, topup, grant, rerate, expiry ...")
    amount: str = Field(description="Dollars; above 0 where the wallet gained.")
    at: str | None = None
    entry: str | None = None
    source: str | None = Field(default=None, description="What caused the entry.")
    model: str | None = Field(default=None, description="Of usage, which is one line per model and month.")
    period: str | None = Field(
        default=None, description="The month that the usage belongs to: an earlier one came late."
    )
    events: int | None = None
    tokens: dict[str, int] | None = None


class StatementShown(Shown):
    model_config = ConfigDict(populate_by_name=True)

    wallet: str
    customer: str
    reference: str
    currency: str
    start: str = Field(alias="from")
    end: str = Field(alias="to")
    opening: str = Field(description="Everything in the wallet, held credit too, less its debt.")
    lines: list[LineShown]
    closing: str = Field(description="Opening and lines; checked before it is shown.")


class MonthUsage(Shown):
    events: int
    amount: str


class PeriodShown(Shown):
    period: str
    last_sequence: int = Field(description="Of the last journal entry inside it.")
    usage: dict[str, MonthUsage] = Field(description="Booked in it, by the month that it belongs to.")
    closed_at: str


class NewRerating(WhoseBook):
    start: datetime = Field(alias="from", description="Usage from this `at` on.")
    end: datetime = Field(alias="to", description="Up to, and without, this one.")
    version: str = Field(pattern=r"^[A-Za-z0-9_]{1,80}$", description="Price version: its id or number.")


class PostRerating(WhoseBook):
    pass


class DifferenceShown(Shown):
    wallet: str
    model: str
    events: int
    before: str = Field(description="Exact cost then, dollars.")
    after: str
    difference: str


class ReratingShown(Shown):
    model_config = ConfigDict(populate_by_name=True)

    id: str
    start: str = Field(alias="from")
    end: str = Field(alias="to")
    version: str
    status: str = Field(description="reported | posting | posted")
    lines: list[DifferenceShown]
    wallets: dict[str, str] = Field(description="Difference by wallet, where there is one.")
    unpriced_events: int = Field(description="Events that this version has no price for: they stay as they are.")
    created_at: str
    posted: dict[str, str] | None = Field(default=None, description="Dollars charged by wallet; below 0: given back.")


async def get_statement(context: Context[Services], query: AskStatement) -> Answer:
    services = context.services
    span = query.span(services.clock.now_us())
    found = await statement(services.reads, context.merchant_id, context.mode, context.path["id"], span)
    match query.format or _accepted(context.request.headers.get("Accept", "")):
        case "csv":
            name = f'attachment; filename="statement-{context.path["id"]}.csv"'
            return Answer(csv_text(found).encode(), headers={"Content-Type": CSV_TYPE, "Content-Disposition": name})
        case "html":
            return Answer(html_page(found).encode(), headers={"Content-Type": HTML_TYPE, **PAGE_HEADERS})
        case _:
            return Answer(found.shown())


def _accepted(accept: str) -> str:
    return "csv" if "text/csv" in accept else "html" if "text/html" in accept else "json"


async def close_period(context: Context[Services]) -> Answer:
    services, period = context.services, context.path["period"]
    return Answer(await periods.close(services.writer, services.reads, context.merchant_id, context.mode, period))


async def create_rerating(context: Context[Services], body: NewRerating) -> Answer:
    merchant_id, mode = body.of(context.caller)
    _not_base(merchant_id)
    shown = await context.services.reratings.report(
        merchant_id, mode, rerating_id=context.resource_id, from_us=_us(body.start, "/from"),
        to_us=_us(body.end, "/to"), version=body.version,
    )  # fmt: skip
    return Answer(shown)


async def get_rerating(context: Context[Services], query: WhoseBook) -> Answer:
    merchant_id, mode = query.of(context.caller)
    return Answer(rerating_shown(await context.services.reratings.find(merchant_id, mode, context.path["id"])))


async def post_rerating(context: Context[Services], body: PostRerating) -> Answer:
    merchant_id, mode = body.of(context.caller)
    return Answer(await context.services.reratings.post(merchant_id, mode, context.path["id"]))


def _not_base(merchant_id: str) -> None:
    if merchant_id == PLATFORM:
        raise Invalid("merchant_needed", "say whose usage is priced again", pointer="/merchant")


def _us(moment: datetime, pointer: str) -> int:
    if moment.tzinfo is None:
        raise Invalid("time_without_zone", "the time needs its zone, such as Z", pointer=pointer)
    return to_us(moment)


def _day(day: date) -> int:
    return to_us(datetime.combine(day, time(tzinfo=UTC))) // DAY_US


_WRITERS: Any = ("write", PLATFORM)

ENDPOINTS = (
    Endpoint("GET", "/v1/wallets/{id}/statement", get_statement, summary="Look at a wallet's statement", tag="Wallets",
             query=AskStatement, answer=StatementShown,
             description="JSON; CSV (`format=csv` or `Accept: text/csv`); a page to print (`format=html`)."),
    Endpoint("POST", "/v1/periods/{period}/close", close_period, summary="Close a month", tag="Usage",
             answer=PeriodShown,
             description="Later usage of it is booked in the open month and says so. Closing again changes nothing."),
    Endpoint("POST", "/v1/reratings", create_rerating, tag="Prices", scopes=_WRITERS, body=NewRerating, status=201,
             summary="Price a past period again: what would differ", answer=ReratingShown, creates="rer",
             refusals=(404,)),
    Endpoint("GET", "/v1/reratings/{id}", get_rerating, summary="Look at a rerating", tag="Prices",
             scopes=("read", PLATFORM), query=WhoseBook, answer=ReratingShown),
    Endpoint("POST", "/v1/reratings/{id}/post", post_rerating, tag="Prices", scopes=_WRITERS, body=PostRerating,
             summary="Post a rerating's corrections: once for ever", answer=ReratingShown),
)  # fmt: skip
