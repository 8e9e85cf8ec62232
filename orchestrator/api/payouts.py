"""Payouts: the merchant asks, the platform approves, confirms or fails; on terms that the platform sets."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, MoneyBody, Page, Shown, listed
from orchestrator.database.tables import Payout, table_of
from orchestrator.errors import Invalid, NotFound
from orchestrator.ledger.payouts import PayoutWanted, payout_object, terms_object
from orchestrator.services import Services
from rates.money import WALLET_USD

BOTH = ("write", PLATFORM)
DESTINATION = (
    "Where to. For files: `name` and `iban` (with `bic`), or `name`, `account_number`, `bank_code` and `bank_country`; "
    "other words are for payouts by hand."
)


class AskForPayout(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"amount": {"amount": "250.00", "currency": "USD"}}]})

    amount: MoneyBody | None = Field(default=None, description="Default: all that is available, in whole cents.")
    merchant: str | None = Field(default=None, max_length=80, description="For the platform: on whose behalf.")
    mode: str | None = Field(default=None, pattern="^(test|live)$", description="For the platform. Default: live.")


class ConfirmPayout(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"bank_reference": "FT26327KX81"}]})

    bank_reference: str = Field(min_length=1, max_length=80)


class FailPayout(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "account closed"}]})

    reason: str = Field(min_length=1, max_length=80)


class PayoutTerms(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"risk_tier": "standard", "destination": {"name": "Acme GmbH", "iban": "DE02120300000000202051"}}
            ]
        }
    )

    risk_tier: str | None = Field(default=None, max_length=80, description="A tier of the configuration.")
    destination: dict[str, str] | None = Field(default=None, description=DESTINATION)


class PayoutQuery(Page):
    merchant: str | None = Field(default=None, max_length=80, description="For the platform. Default: every merchant.")
    status: str | None = Field(default=None, pattern="^(requested|sent|paid|failed|canceled|returned)$")


class PayoutShown(Shown):
    id: str
    merchant: str
    status: str = Field(description="requested, sent, paid, failed, canceled or returned")
    amount: dict[str, str]
    destination: dict[str, str]
    requested_by: str
    approved_by: str | None
    bank_reference: str | None
    batch: str | None = Field(description="The file for the bank that it stands in.")
    failure: str | None
    created_at: str
    updated_at: str


class TermsShown(Shown):
    merchant: str
    risk_tier: str
    destination: dict[str, str] | None
    destination_by: str | None = Field(description="Who set it last.")
    destination_held: bool = Field(
        description="Nothing is paid to it before a person other than who set it confirms it on the dashboard."
    )


def is_platform(context: Context[Services]) -> bool:
    return PLATFORM in context.caller.scopes


def person(context: Context[Services]) -> str:
    """Return who acts, as it is written down: two names are needed for money out."""
    return context.caller.key_id if is_platform(context) else f"key:{context.caller.key_id}"


async def create_payout(context: Context[Services], body: AskForPayout) -> Answer:
    merchant_id, mode = context.merchant_id, context.mode
    if is_platform(context):
        if body.merchant is None:
            raise Invalid("merchant_missing", "say whose payout it is", pointer="/merchant")
        merchant_id, mode = body.merchant, body.mode or "live"
    elif body.merchant is not None or body.mode is not None:
        raise Invalid("merchant_not_possible", "a key asks for its own merchant and mode only", pointer="/merchant")
    units = None if body.amount is None else body.amount.money(WALLET_USD).units
    wanted = PayoutWanted(context.resource_id, merchant_id, mode, units, person(context))
    return Answer(await context.services.payouts.request(wanted))


async def get_payout(context: Context[Services]) -> Answer:
    table = table_of(Payout)
    query = select(table).where(table.c.id == context.path["id"])
    if not is_platform(context):
        query = query.where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    row = await context.services.reads.one(query)
    if row is None:
        raise NotFound("payout_not_found", f"there is no payout {context.path['id']}")
    return Answer(payout_object(row))


async def list_payouts(context: Context[Services], query: PayoutQuery) -> Answer:
    table = table_of(Payout)
    wanted = select(table).order_by(table.c.id.desc()).limit(query.limit + 1)
    if not is_platform(context):
        wanted = wanted.where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    elif query.merchant is not None:
        wanted = wanted.where(table.c.merchant_id == query.merchant)
    if query.status is not None:
        wanted = wanted.where(table.c.status == query.status)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    rows, next_cursor = listed(await context.services.reads.all(wanted), query)
    return Answer({"data": [payout_object(row) for row in rows], "next_cursor": next_cursor})


async def approve_payout(context: Context[Services]) -> Answer:
    return Answer(await context.services.payouts.approve(context.path["id"], person(context)))


async def confirm_payout(context: Context[Services], body: ConfirmPayout) -> Answer:
    return Answer(await context.services.payouts.confirm(context.path["id"], body.bank_reference))


async def fail_payout(context: Context[Services], body: FailPayout) -> Answer:
    return Answer(await context.services.payouts.fail(context.path["id"], body.reason))


async def return_payout(context: Context[Services], body: FailPayout) -> Answer:
    return Answer(await context.services.payouts.take_back(context.path["id"], body.reason))


async def get_terms(context: Context[Services]) -> Answer:
    return Answer(terms_object(await context.services.access.merchant(context.path["id"])))


async def put_terms(context: Context[Services], body: PayoutTerms) -> Answer:
    terms: Any = await context.services.payouts.set_terms(
        context.path["id"], tier=body.risk_tier, destination=body.destination, by=person(context)
    )
    return Answer(terms)


ENDPOINTS = (
    Endpoint("POST", "/v1/payouts", create_payout, summary="Ask for a payout", tag="Payouts", body=AskForPayout,
             answer=PayoutShown, status=201, scopes=BOTH, creates="po",
             description="The amount is set aside at once; another person of the platform approves it."),
    Endpoint("GET", "/v1/payouts", list_payouts, summary="List payouts, newest first", tag="Payouts",
             query=PayoutQuery, answer=Listed[PayoutShown], scopes=("read", PLATFORM)),
    Endpoint("GET", "/v1/payouts/{id}", get_payout, summary="Look at a payout", tag="Payouts", answer=PayoutShown,
             scopes=("read", PLATFORM)),
    Endpoint("POST", "/v1/payouts/{id}/approve", approve_payout, summary="Approve a payout", tag="Payouts",
             answer=PayoutShown, scopes=(PLATFORM,), refusals=(409,),
             description="Not by whoever asked for it. Balances and destination are checked again."),
    Endpoint("POST", "/v1/payouts/{id}/confirm", confirm_payout, summary="Note that the bank paid it", tag="Payouts",
             body=ConfirmPayout, answer=PayoutShown, scopes=(PLATFORM,), refusals=(409,)),
    Endpoint("POST", "/v1/payouts/{id}/fail", fail_payout, summary="Cancel a payout, or note that the bank refused it",
             tag="Payouts", body=FailPayout, answer=PayoutShown, scopes=(PLATFORM,), refusals=(409,),
             description="The merchant has the amount again."),
    Endpoint("POST", "/v1/payouts/{id}/return", return_payout, summary="Note that the bank sent a paid one back",
             tag="Payouts", body=FailPayout, answer=PayoutShown, scopes=(PLATFORM,), refusals=(409,),
             description="The merchant has the amount again, once however often it is said."),
    Endpoint("GET", "/v1/merchants/{id}/payout_terms", get_terms, summary="Look at a merchant's terms of payout",
             tag="Payouts", answer=TermsShown, scopes=(PLATFORM,)),
    Endpoint("PUT", "/v1/merchants/{id}/payout_terms", put_terms, summary="Set risk tier and destination",
             tag="Payouts", body=PayoutTerms, answer=TermsShown, scopes=(PLATFORM,),
             description="A new destination is held until an operator confirms it on the dashboard, not who set it (the first one"
             " too, unless `payouts.hold_first_destination` is off)."),
)  # fmt: skip
