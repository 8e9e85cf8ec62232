"""A merchant's own statement: earnings, reserve, payouts, disputes; JSON, CSV, a page to print or a PDF."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Shown
from orchestrator.api.statements import AskStatement
from orchestrator.errors import Invalid
from orchestrator.ledger.merchant_statement import merchant_statement
from orchestrator.metering.merchant_paper import FORMS, as_file
from orchestrator.services import Services

Form = Literal["json", "csv", "html", "pdf"]


class AskMerchantStatement(AskStatement):
    format: Form | None = Field(  # type: ignore[assignment]  # one more than of a wallet's
        default=None, description="`html` is a page to print. None: by the header Accept; else JSON."
    )
    merchant: str | None = Field(default=None, max_length=80, description="For the platform: whose.")
    mode: Literal["test", "live"] | None = Field(default=None, description="For the platform. Default: live.")


class SidesShown(Shown):
    pending: str = Field(description="Earned, and waiting for its delay.")
    available: str
    reserve: str
    unfunded: str = Field(description="Used, but not covered by settled money (debt, provisional credit).")
    in_transit: str = Field(description="Asked for or sent to the bank.")
    owed: str = Field(description="What the merchant owes, below zero.")
    total: str = Field(description="The merchant's position: the sum of the others.")


class SideLineShown(Shown):
    at: str | None = Field(default=None, description="Of one entry.")
    day: str | None = Field(
        default=None, description="Of a day's sum: usage, holds, leases, debts that a top-up repaid."
    )
    kind: str
    source: str | None = Field(default=None, description="The fact behind one entry: a payout, a dispute, a refund.")
    entry: str | None = None
    changes: dict[str, str] = Field(description="What each account gained; those that did not move are left out.")
    amount: str = Field(description="Their sum: 0.00 where money moved within the merchant's accounts.")


class MerchantStatementShown(Shown):
    model_config = ConfigDict(populate_by_name=True)

    merchant: str
    name: str
    mode: str
    currency: str
    start: str = Field(alias="from")
    end: str = Field(alias="to")
    opening: SidesShown
    lines: list[SideLineShown]
    closing: SidesShown = Field(description="Opening and lines, account by account; checked before it is shown.")
    buyers_paid: dict[str, str] = Field(description="Beside the credit: fees and spread of the top-ups inside, USD.")
    dispute_fees: list[dict[str, str]] = Field(description="What rails took for disputes, by currency.")


async def get_merchant_statement(context: Context[Services], query: AskMerchantStatement) -> Answer:
    services = context.services
    merchant_id, mode = _whose(context, query)
    span = query.span(services.clock.now_us())
    found = await merchant_statement(services.reads, merchant_id, mode, span)
    form = query.format or _accepted(context.request.headers.get("Accept", ""))
    if form == "json":
        return Answer(found.shown())
    body, headers = as_file(found, form)
    return Answer(body, headers=headers)


def _whose(context: Context[Services], query: AskMerchantStatement) -> tuple[str, str]:
    """Return merchant and mode: a key's own, or what the platform names. Raises Invalid."""
    if PLATFORM in context.caller.scopes:
        if query.merchant is None:
            raise Invalid("merchant_missing", "say whose statement it is", pointer="/merchant")
        return query.merchant, query.mode or "live"
    if query.merchant is not None or query.mode is not None:
        raise Invalid("merchant_not_possible", "a key asks for its own merchant and mode only", pointer="/merchant")
    return context.merchant_id, context.mode


def _accepted(accept: str) -> str:
    return next((form for form, type_ in FORMS.items() if type_.partition(";")[0] in accept), "json")


ENDPOINTS = (
    Endpoint("GET", "/v1/balance/statement", get_merchant_statement, summary="The merchant's own statement",
             tag="Payouts", query=AskMerchantStatement, answer=MerchantStatementShown, scopes=("read", PLATFORM),
             refusals=(404,),
             description="Opening, what each account gained, closing: they add up or nothing is shown. JSON; CSV, "
                         "`format=html` prints, `format=pdf`."),
)  # fmt: skip
