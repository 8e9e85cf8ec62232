"""Holds: set an amount aside before a call whose cost is not known yet, then charge what it cost."""

from __future__ import annotations

from typing import Final

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, MoneyBody, Shown
from orchestrator.errors import Invalid
from orchestrator.ledger.holds import HOLD, HoldTerms
from orchestrator.services import Services
from rates.money import WALLET_USD

LIFE_SECONDS: Final = 600
LIFE_SECONDS_MAX: Final = 7 * 24 * 3600
_USD: Final[JsonDict] = {"amount": "0.25", "currency": "USD"}


class CreateHold(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"wallet": "wal_0199", "amount": _USD}]})

    wallet: str = Field(max_length=80)
    amount: MoneyBody = Field(description="The most that the call can cost, USD, above 0.")
    expires_in: int = Field(default=LIFE_SECONDS, ge=1, le=LIFE_SECONDS_MAX, description="Seconds.")
    reference: str | None = Field(default=None, max_length=200, description="Your own name for the call.")


class CaptureHold(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": _USD}]})

    amount: MoneyBody = Field(description="What it cost, USD, from 0; more than was held is charged too.")


class HoldShown(Shown):
    id: str
    wallet: str
    status: str = Field(description="open, captured, voided or expired")
    amount: dict[str, str]
    captured: dict[str, str] | None
    reference: str | None
    expires_at: str
    created_at: str


class CapturedShown(HoldShown):
    captured_by: str = Field(description="amount, or usage: events that named the hold.")
    charged_to: dict[str, str] = Field(description="USD by the credit that paid: paid, promotional, provisional, debt.")


def terms(context: Context[Services], body: CreateHold, kind: str) -> HoldTerms:
    """Return what is asked for. Raises Invalid."""
    units = body.amount.money(WALLET_USD).units
    if units == 0:
        raise Invalid("amount_is_zero", "set aside more than nothing", pointer="/amount/amount")
    return HoldTerms(
        context.merchant_id,
        context.mode,
        context.resource_id,
        body.wallet,
        kind,
        units,
        body.expires_in * 1_000_000,
        body.reference,
    )


async def create_hold(context: Context[Services], body: CreateHold) -> Answer:
    return Answer(await context.services.holds.make(terms(context, body, HOLD)))


async def get_hold(context: Context[Services]) -> Answer:
    return Answer(await context.services.holds.get(context.merchant_id, context.mode, context.path["id"], HOLD))


async def capture_hold(context: Context[Services], body: CaptureHold) -> Answer:
    units = body.amount.money(WALLET_USD).units
    holds = context.services.holds
    return Answer(await holds.capture(context.merchant_id, context.mode, context.path["id"], HOLD, units))


async def void_hold(context: Context[Services]) -> Answer:
    return Answer(await context.services.holds.void(context.merchant_id, context.mode, context.path["id"], HOLD))


ENDPOINTS = (
    Endpoint("POST", "/v1/holds", create_hold, summary="Set an amount aside", tag="Holds", body=CreateHold,
             answer=HoldShown, status=201, creates="hold", refusals=(402, 404, 409)),
    Endpoint("GET", "/v1/holds/{id}", get_hold, summary="Look at a hold", tag="Holds", answer=HoldShown),
    Endpoint("POST", "/v1/holds/{id}/capture", capture_hold, summary="Charge what a hold was for", tag="Holds",
             body=CaptureHold, answer=CapturedShown,
             description="Never refused for money: usage beyond the hold takes other credit, then becomes debt. After the "
                         "hold's time it is a plain debit. Asked again with the same amount it answers the same."),
    Endpoint("POST", "/v1/holds/{id}/void", void_hold, summary="Give back what a hold set aside", tag="Holds",
             answer=HoldShown),
)  # fmt: skip
