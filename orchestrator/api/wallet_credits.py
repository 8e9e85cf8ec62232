"""A wallet's credit: its lots, and free credit given and taken back."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, ConfigDict, Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Listed, MoneyBody, Page, Shown, listed
from orchestrator.api.keys import Whose
from orchestrator.clock import to_us
from orchestrator.errors import Invalid
from orchestrator.ledger.credits import give_credit, lots_of, revoke_credit
from orchestrator.ledger.grants import Grant, lot_shown
from orchestrator.payments.wallets import find_wallet
from orchestrator.services import Services
from rates.money import WALLET_USD

REASON_CHARS_MAX = 500


class GiveCredit(Whose):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"amount": {"amount": "5.00", "currency": "USD"}, "kind": "promotional", "reason": "welcome",
                 "expires_at": "2027-01-01T00:00:00Z"}
            ]
        }
    )  # fmt: skip

    amount: MoneyBody = Field(description="USD, above 0.")
    kind: Literal["promotional", "compensation"]
    reason: str = Field(min_length=1, max_length=REASON_CHARS_MAX, description="Stays in the event of the credit.")
    expires_at: AwareDatetime | None = Field(default=None, description="RFC 3339; null: never.")
    priority: int = Field(
        default=0, ge=-1000, le=1000, description="Lower is spent first among those that expire alike."
    )


class RevokeCredit(Whose):
    reason: str = Field(min_length=1, max_length=REASON_CHARS_MAX)


class LotShown(Shown):
    id: str
    wallet: str
    kind: str = Field(description="paid, promotional, compensation or provisional")
    amount: dict[str, str]
    remaining: dict[str, str] = Field(description="Not spent; what holds have set aside is part of it.")
    held: dict[str, str]
    source: str = Field(description="The capture, deposit or grant that it came from.")
    priority: int
    expires_at: str | None
    created_at: str


async def create_credit(context: Context[Services], body: GiveCredit) -> Answer:
    merchant_id, mode = body.of(context.caller)
    units = body.amount.money(WALLET_USD).units
    if units == 0:
        raise Invalid("amount_is_zero", "give more than nothing", pointer="/amount/amount")
    grant = Grant(
        merchant_id=merchant_id,
        mode=mode,
        id=context.resource_id,
        wallet_id=context.path["id"],
        kind=body.kind,
        units=units,
        priority=body.priority,
        expires_us=None if body.expires_at is None else to_us(body.expires_at),
        reason=body.reason,
    )
    return Answer(await give_credit(context.services.writer, grant))


async def list_credits(context: Context[Services], query: Page) -> Answer:
    reads = context.services.reads
    wallet = await find_wallet(reads, context.merchant_id, context.mode, context.path["id"])
    rows, next_cursor = listed(await lots_of(reads, wallet, query.limit + 1, query.after), query)
    return Answer({"data": [lot_shown(row) for row in rows], "next_cursor": next_cursor})


async def take_back_credit(context: Context[Services], body: RevokeCredit) -> Answer:
    merchant_id, mode = body.of(context.caller)
    wallet_id, lot_id = context.path["id"], context.path["credit"]
    return Answer(await revoke_credit(context.services.writer, merchant_id, mode, wallet_id, lot_id, body.reason))


_MAY = ("write", PLATFORM)

ENDPOINTS = (
    Endpoint("POST", "/v1/wallets/{id}/credits", create_credit, summary="Give free credit", tag="Wallets", scopes=_MAY,
             body=GiveCredit, answer=LotShown, status=201, creates="lot"),
    Endpoint("GET", "/v1/wallets/{id}/credits", list_credits, summary="List a wallet's lots of credit, newest first",
             tag="Wallets", query=Page, answer=Listed[LotShown]),
    Endpoint("POST", "/v1/wallets/{id}/credits/{credit}/revoke", take_back_credit, tag="Wallets", scopes=_MAY,
             summary="Take back what is neither spent nor held of free credit", body=RevokeCredit, answer=LotShown),
)  # fmt: skip
