"""Disputes: what a payer's bank took back, the evidence against it, and how it ended."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown, listed
from orchestrator.database.tables import Dispute, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Invalid
from orchestrator.payments import evidence
from orchestrator.payments.dispute_rates import Month
from orchestrator.payments.dispute_terms import dispute_object
from orchestrator.services import Services

BOTH = ("write", PLATFORM)
READ = ("read", PLATFORM)


class AddEvidence(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"summary": "The buyer has used the credit for six months.", "submit": True}]}
    )

    summary: str = Field(
        default="", max_length=20_000, description="What you say; it comes before what our records say."
    )
    product: str = Field(default="", max_length=2_000)
    customer_ip: str = Field(default="", max_length=45)
    submit: bool = Field(default=False, description="Send it to the rail now: once, and finally.")


class DisputeQuery(Page):
    status: Literal["needs_answer", "under_review", "won", "lost", "closed"] | None = None
    payment: str | None = Field(default=None, max_length=80)


class DisputeShown(Shown):
    id: str
    payment: str
    wallet: str
    status: str
    inquiry: bool = Field(description="A question of the bank: no money has moved.")
    amount: dict[str, str] = Field(description="The credit that it stands for.")
    disputed: dict[str, str]
    withdrawn: dict[str, str] = Field(description="What the rail holds back now.")
    frozen: dict[str, str] = Field(description="Credit that is set aside while it is open.")
    clawed_back: dict[str, str]
    stage: int
    reason: str
    rail: str
    account: str
    rail_reference: str
    answer_by: str | None
    answered: str | None
    created_at: str
    updated_at: str


class RatesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    month: str | None = Field(
        default=None, pattern=r"^\d{4}-\d{2}$", description="Calendar month, UTC. Default: this one."
    )


async def _mine(context: Context[Services]) -> Row:
    platform = PLATFORM in context.caller.scopes
    return await context.services.disputes.find(
        context.path["id"], None if platform else context.merchant_id, context.mode
    )


async def list_disputes(context: Context[Services], query: DisputeQuery) -> Answer:
    table = table_of(Dispute)
    wanted = select(table).order_by(table.c.id.desc()).limit(query.limit + 1)
    if PLATFORM not in context.caller.scopes:
        wanted = wanted.where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    if query.status is not None:
        wanted = wanted.where(table.c.state == query.status)
    if query.payment is not None:
        wanted = wanted.where(table.c.payment_id == query.payment)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    rows, next_cursor = listed(await context.services.reads.all(wanted), query)
    return Answer({"data": [dispute_object(row) for row in rows], "next_cursor": next_cursor})


async def get_rates(context: Context[Services], query: RatesQuery) -> Answer:
    try:
        month = None if query.month is None else Month.parse(query.month)
    except ValueError:
        raise Invalid("month_invalid", "a month is written 2026-11", pointer="/month") from None
    platform = PLATFORM in context.caller.scopes
    mine = (context.merchant_id, context.mode)
    found = await context.services.dispute_rates.of_month(month)
    return Answer({
        "data": [
            {"merchant": merchant, "mode": mode, "programmes": [one.to_json() for one in standings]}
            for (merchant, mode), standings in found.items() if platform or (merchant, mode) == mine
        ]
    })  # fmt: skip


async def get_dispute(context: Context[Services]) -> Answer:
    return Answer(dispute_object(await _mine(context)))


async def get_evidence(context: Context[Services]) -> Answer:
    return Answer(await evidence.pack(context.services.reads, await _mine(context)))


async def add_evidence(context: Context[Services], body: AddEvidence) -> Answer:
    disputes, dispute = context.services.disputes, await _mine(context)
    said = body.model_dump(exclude={"submit"}, exclude_defaults=True)
    if said:
        dispute = await disputes.add_evidence(dispute, said)
    if body.submit:
        dispute = await disputes.submit(dispute, evidence.answer(await evidence.pack(context.services.reads, dispute)))
    return Answer(dispute_object(dispute))


async def accept_dispute(context: Context[Services]) -> Answer:
    return Answer(dispute_object(await context.services.disputes.accept(await _mine(context))))


ENDPOINTS = (
    Endpoint("GET", "/v1/dispute_rates", get_rates, summary="Disputes of a month against the card schemes' limits",
             tag="Disputes", query=RatesQuery, answer=dict[str, Any], scopes=READ,
             description="Merchants with a dispute in the month: count and ratio for each monitoring programme, and its level."),
    Endpoint("GET", "/v1/disputes", list_disputes, summary="List disputes, newest first", tag="Disputes",
             query=DisputeQuery, answer=Listed[DisputeShown], scopes=READ),
    Endpoint("GET", "/v1/disputes/{id}", get_dispute, summary="Look at a dispute", tag="Disputes",
             answer=DisputeShown, scopes=READ),
    Endpoint("GET", "/v1/disputes/{id}/evidence", get_evidence, summary="Read the evidence that our records make",
             tag="Disputes", answer=dict[str, Any], scopes=READ,
             description="Payment, price, delivery of the credit, every use of it since, history, and who bore what."),
    Endpoint("POST", "/v1/disputes/{id}/evidence", add_evidence, summary="Add to the evidence, and submit it",
             tag="Disputes", body=AddEvidence, answer=DisputeShown, scopes=BOTH, refusals=(409,)),
    Endpoint("POST", "/v1/disputes/{id}/accept", accept_dispute, summary="Give a dispute up", tag="Disputes",
             answer=DisputeShown, scopes=BOTH, refusals=(409,)),
)  # fmt: skip
