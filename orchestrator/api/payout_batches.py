"""Payouts as files for a bank: one person builds a batch, another approves it, then the file can be fetched."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, MoneyBody, Page, Shown, listed
from orchestrator.api.payouts import person
from orchestrator.database.tables import PayoutBatch, table_of
from orchestrator.ledger.payout_batches import (
    CSV_TYPE,
    LINES_MAX,
    BankAnswer,
    BatchWanted,
    batch_object,
    file_headers,
)
from orchestrator.services import Services
from rates.money import WALLET_USD

ANSWER_BYTES_MAX = 512 * 1024
Mode = Literal["test", "live"]


class BuildBatch(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"mode": "live"}]})

    mode: Mode = "live"
    payouts: list[str] | None = Field(
        default=None, min_length=1, max_length=LINES_MAX,
        description="Which. Default: every approved one of the mode that is in no batch, oldest first.",
    )  # fmt: skip


class BatchQuery(Page):
    mode: Mode | None = Field(default=None, description="Default: both.")
    status: Literal["built", "approved", "canceled"] | None = None


class BankAnswerLine(Body):
    payout: str = Field(min_length=1, max_length=80)
    result: Literal["paid", "failed", "returned"]
    amount: MoneyBody | None = Field(default=None, description="Where the bank names it: it must be the payout's.")
    words: str = Field(min_length=1, max_length=80, description="The bank's reference where it paid, else its reason.")


class BankAnswers(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"lines": [{"payout": "po_0199", "result": "paid", "words": "FT26327KX81"}]}]}
    )

    lines: list[BankAnswerLine] = Field(min_length=1, max_length=LINES_MAX)


class BatchShown(Shown):
    id: str
    mode: str
    status: str = Field(description="built, approved or canceled")
    lines: int
    amount: dict[str, str]
    content_hash: str = Field(description="SHA-256 of the file, hex.")
    built_by: str
    approved_by: str | None
    canceled_by: str | None
    fetched_by: str | None = Field(description="Who took the file first: from then on it cannot be canceled.")
    fetched_at: str | None
    created_at: str
    updated_at: str


class BatchBuilt(BatchShown):
    left_out: list[dict[str, str]] = Field(description="Approved payouts that no file can hold now, and why.")


class BatchWithLines(BatchShown):
    payouts: list[dict[str, Any]]
    open: int = Field(description="How many lines the bank has not answered.")


class BatchAnswered(BatchWithLines):
    results: list[dict[str, Any]] = Field(description="For each line of the answer: done, or the refusal.")


async def build_batch(context: Context[Services], body: BuildBatch) -> Answer:
    wanted = BatchWanted(context.resource_id, body.mode, body.payouts, person(context))
    return Answer(await context.services.payout_batches.build(wanted))


async def list_batches(context: Context[Services], query: BatchQuery) -> Answer:
    table = table_of(PayoutBatch)
    wanted = select(table).order_by(table.c.id.desc()).limit(query.limit + 1)
    if query.mode is not None:
        wanted = wanted.where(table.c.mode == query.mode)
    if query.status is not None:
        wanted = wanted.where(table.c.status == query.status)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    rows, next_cursor = listed(await context.services.reads.all(wanted), query)
    return Answer({"data": [batch_object(row) for row in rows], "next_cursor": next_cursor})


async def get_batch(context: Context[Services]) -> Answer:
    return Answer(await context.services.payout_batches.show(context.path["id"]))


async def approve_batch(context: Context[Services]) -> Answer:
    return Answer(await context.services.payout_batches.approve(context.path["id"], person(context)))


async def cancel_batch(context: Context[Services]) -> Answer:
    return Answer(await context.services.payout_batches.cancel(context.path["id"], person(context)))


async def get_batch_file(context: Context[Services]) -> Answer:
    batch_id = context.path["id"]
    content = await context.services.payout_batches.fetch(batch_id, person(context))
    return Answer(content, headers=file_headers(batch_id, content))


async def answer_batch(context: Context[Services], body: BankAnswers) -> Answer:
    answers = [
        BankAnswer(
            line.payout,
            line.result,
            None if line.amount is None else line.amount.money(WALLET_USD, pointer=f"/lines/{number}/amount").units,
            line.words,
        )
        for number, line in enumerate(body.lines)
    ]
    return Answer(await context.services.payout_batches.answer(context.path["id"], answers))


ENDPOINTS = (
    Endpoint("POST", "/v1/payout_batches", build_batch, summary="Build a batch of approved payouts", tag="Payouts",
             body=BuildBatch, answer=BatchBuilt, status=201, scopes=(PLATFORM,), creates="pob", refusals=(404, 409),
             body_bytes_max=ANSWER_BYTES_MAX,
             description="A payout stands in one batch only; until its file is out it neither ends nor fails."),
    Endpoint("GET", "/v1/payout_batches", list_batches, summary="List batches, newest first", tag="Payouts",
             query=BatchQuery, answer=Listed[BatchShown], scopes=(PLATFORM,)),
    Endpoint("GET", "/v1/payout_batches/{id}", get_batch, summary="Look at a batch and its payouts", tag="Payouts",
             answer=BatchWithLines, scopes=(PLATFORM,)),
    Endpoint("POST", "/v1/payout_batches/{id}/approve", approve_batch, summary="Approve a batch", tag="Payouts",
             answer=BatchShown, scopes=(PLATFORM,), refusals=(409,),
             description="Not by whoever built it. Destinations are checked again, and once more when the file goes out."),
    Endpoint("POST", "/v1/payout_batches/{id}/cancel", cancel_batch, summary="Cancel a batch whose file is not out",
             tag="Payouts", answer=BatchShown, scopes=(PLATFORM,), refusals=(409,),
             description="Its payouts may go into another batch."),
    Endpoint("GET", "/v1/payout_batches/{id}/file", get_batch_file, summary="Fetch an approved batch's file",
             tag="Payouts", content_type=CSV_TYPE, scopes=(PLATFORM,), refusals=(409,),
             description="The same bytes each time, with their Content-Digest. The first time is noted."),
    Endpoint("POST", "/v1/payout_batches/{id}/answer", answer_batch, summary="Take the bank's answer, line by line",
             tag="Payouts", body=BankAnswers, answer=BatchAnswered, scopes=(PLATFORM,), refusals=(409,),
             body_bytes_max=ANSWER_BYTES_MAX,
             description="Each line is done or refused by itself. Safe to repeat."),
)  # fmt: skip
