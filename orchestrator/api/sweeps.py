"""Sweeps, for the platform: what lies on deposit addresses, moving it, and the transactions on their way."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown, listed
from orchestrator.database.tables import ChainTransaction, table_of
from orchestrator.services import Services
from orchestrator.sweeps.transaction import transaction_object


class SweepPlanned(Shown):
    network: str
    merchant: str
    wallet: str
    address: str
    token: str
    amount: str
    cost_usd: str
    fuel: str = Field(description="Coins that the address lacks, in the chain's smallest unit.")
    coin: str
    worth: bool
    why: str


class SweepPlan(Shown):
    data: list[SweepPlanned]


class SweepsBuilt(Shown):
    sweeps: list[str]


class Broadcast(Shown):
    moved: int = Field(description="Transactions that went a step further.")


class ChainTransactionShown(Shown):
    id: str
    merchant: str
    network: str
    purpose: str = Field(description="fuel, sweep, refund or x402")
    subject: str
    status: str = Field(description="built, signed, sent, final, failed, expired or void")
    note: str
    asset: str
    units: int
    nonce: int | None
    tx_hash: str | None
    sender: str
    recipient: str
    unsigned: str = Field(description="What is signed, in hex: `crossrail signer read` says what it does.")
    approvals: int
    block_number: int | None
    fee: str | None


class Approval(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"signature": "ab" * 65}]})

    signature: str = Field(pattern="^(0x)?[0-9a-fA-F]{130}$", description="Of `crossrail signer approve`.")


class TransactionQuery(Page):
    status: str | None = Field(default=None, pattern="^(built|signed|sent|final|failed|expired|void)$")


async def plan_sweeps(context: Context[Services]) -> Answer:
    planned = await context.services.sweeps.plan()
    return Answer({"data": [one.to_json(network) for network, one in planned]})


async def build_sweeps(context: Context[Services]) -> Answer:
    return Answer({"sweeps": await context.services.sweeps.build()})


async def broadcast_sweeps(context: Context[Services]) -> Answer:
    return Answer({"moved": await context.services.sweeps.run_once()})


async def list_transactions(context: Context[Services], query: TransactionQuery) -> Answer:
    table = table_of(ChainTransaction)
    wanted = select(table).order_by(table.c.id.desc()).limit(query.limit + 1)
    if query.status is not None:
        wanted = wanted.where(table.c.status == query.status)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    rows, next_cursor = listed(await context.services.reads.all(wanted), query)
    return Answer({"data": [_shown(context.services, row) for row in rows], "next_cursor": next_cursor})


async def approve_transaction(context: Context[Services], body: Approval) -> Answer:
    machine = context.services.sweeps.machine
    return Answer(_shown(context.services, await machine.approve(context.path["id"], body.signature)))


async def void_transaction(context: Context[Services]) -> Answer:
    machine = context.services.sweeps.machine
    return Answer(_shown(context.services, await machine.void(context.path["id"])))


def _shown(services: Services, row: dict[str, Any]) -> dict[str, Any]:
    return transaction_object(row, services.sweeps.machine.networks.get(row["network"]))


ENDPOINTS = (
    Endpoint("GET", "/v1/sweeps/plan", plan_sweeps, summary="Weigh what lies on deposit addresses", tag="Sweeps",
             answer=SweepPlan, scopes=(PLATFORM,)),
    Endpoint("POST", "/v1/sweeps", build_sweeps, summary="Begin sweeps of all that is worth it", tag="Sweeps",
             answer=SweepsBuilt, scopes=(PLATFORM,), description="Stores transactions; nothing is sent by it."),
    Endpoint("POST", "/v1/sweeps/broadcast", broadcast_sweeps, summary="Sign, send and close what is on its way",
             tag="Sweeps", answer=Broadcast, scopes=(PLATFORM,), description="Safe to repeat; workers do it too."),
    Endpoint("GET", "/v1/chain_transactions", list_transactions, summary="List our own transactions, newest first",
             tag="Sweeps", query=TransactionQuery, answer=Listed[ChainTransactionShown], scopes=(PLATFORM,)),
    Endpoint("POST", "/v1/chain_transactions/{id}/approve", approve_transaction, summary="Hand in an approval",
             tag="Sweeps", body=Approval, answer=ChainTransactionShown, scopes=(PLATFORM,), refusals=(409,),
             description="A person's own signature. Only the signer judges it."),
    Endpoint("POST", "/v1/chain_transactions/{id}/void", void_transaction, summary="Give up one that was never signed",
             tag="Sweeps", answer=ChainTransactionShown, scopes=(PLATFORM,), refusals=(409,)),
)  # fmt: skip
