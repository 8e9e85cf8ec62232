"""The inbox of what no rule could place, for the platform: transfers to nobody, unknown tokens, deposits in suspense."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Shown
from orchestrator.payments.allotment import LISTED_MAX, Allotment, Decided
from orchestrator.services import Services

Reason = Annotated[str, Field(min_length=3, max_length=500, description="Why; kept beside it for ever.")]


class UnallocatedShown(Shown):
    id: str = Field(description="str_...: in no book yet; dep_...: in suspense")
    status: str = Field(
        description="open, unallocated, credited, refund_planned, refunding, refunded, ignored, orphaned or detected"
    )
    chain: str
    tx_hash: str
    ordinal: int
    amount: dict[str, str] | None = Field(description="null for a token that is not registered")
    merchant: str | None
    wallet: str | None
    block_number: int
    block_at: str
    reason: str | None = None
    contract: str | None = None
    address: str | None = None
    raw_value: str | None = None
    deposit: str | None = None
    note: str | None = None
    decided_by: str | None = None


class Inbox(Shown):
    data: list[UnallocatedShown]


class InboxQuery(Body):
    status: Literal["open", "credited", "refund_planned", "refunding", "refunded", "ignored", "orphaned"] = "open"
    limit: int = Field(default=100, ge=1, le=LISTED_MAX)


class Credit(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the customer showed the transaction"}]})

    reason: Reason
    wallet: str | None = Field(default=None, description="Whose it is, where the address has no owner.")


class NoCredit(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "spam token"}]})

    reason: Reason


def _desk(context: Context[Services]) -> Allotment:
    services = context.services
    return Allotment(services.writer, services.reads, services.deposits.desk, services.rails)


def _decided(reason: str) -> Decided:
    return Decided("platform", reason)


def _whole(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: shown.get(name) for name in UnallocatedShown.model_fields}


async def list_unallocated(context: Context[Services], query: InboxQuery) -> Answer:
    return Answer({"data": [_whole(one) for one in await _desk(context).inbox(query.status, query.limit)]})


async def credit_unallocated(context: Context[Services], body: Credit) -> Answer:
    return Answer(_whole(await _desk(context).credit(context.path["id"], _decided(body.reason), body.wallet)))


async def ignore_unallocated(context: Context[Services], body: NoCredit) -> Answer:
    made = await _desk(context).settle_without_credit(context.path["id"], _decided(body.reason), "ignored")
    return Answer(_whole(made))


async def refund_unallocated(context: Context[Services], body: NoCredit) -> Answer:
    made = await _desk(context).settle_without_credit(context.path["id"], _decided(body.reason), "refund_planned")
    return Answer(_whole(made))


ENDPOINTS = (
    Endpoint("GET", "/v1/unallocated", list_unallocated, summary="List what no rule could place", tag="Deposits",
             query=InboxQuery, answer=Inbox, scopes=(PLATFORM,)),
    Endpoint("POST", "/v1/unallocated/{id}/credit", credit_unallocated, summary="Credit it to a wallet", tag="Deposits",
             body=Credit, answer=UnallocatedShown, scopes=(PLATFORM,), refusals=(409,),
             description="A stray becomes a deposit and is credited when it is final; one in suspense at once."),
    Endpoint("POST", "/v1/unallocated/{id}/ignore", ignore_unallocated, summary="Leave it, with a reason",
             tag="Deposits", body=NoCredit, answer=UnallocatedShown, scopes=(PLATFORM,), refusals=(409,)),
    Endpoint("POST", "/v1/unallocated/{id}/refund", refund_unallocated, summary="Send it back", tag="Deposits",
             body=NoCredit, answer=UnallocatedShown, scopes=(PLATFORM,), refusals=(409,),
             description="One in suspense is sent once its customer has confirmed an address; of a stray it is a note."),
)  # fmt: skip
