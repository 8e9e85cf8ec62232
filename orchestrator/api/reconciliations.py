"""Reconciliation: what the rails say they hold, against the books. The platform's: a report is over many merchants."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import ConfigDict, Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Shown
from orchestrator.errors import NotFound
from orchestrator.services import Services


class Reconcile(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rail": "stripe"}, {"rail": "adyen", "account": "main"}]}
    )

    rail: str | None = Field(default=None, max_length=40, description="Default: every rail that reports.")
    account: str | None = Field(default=None, max_length=40)


class Which(Body):
    rail: str | None = Field(default=None, max_length=40)
    account: str | None = Field(default=None, max_length=40)


class AccountShown(Shown):
    rail: str
    account: str
    mode: str
    lines: int
    matched: int
    waiting: int = Field(description="The other side may still come: no break.")
    breaks: list[dict[str, Any]]
    balances: list[dict[str, str]] = Field(
        description="books = rail + not_reported - not_booked, or it is unexplained."
    )
    compared_at: dict[str, Any] | None = Field(
        description="Of a chain: `block`, and its `finality`: `finalized` or `solidified` (what differed was judged at a block"
        " that the chain calls final), `newest_twice` (no node answers for one: the same difference in two looks at the newest"
        " block), `newest` (nothing differed, even in the newest block)."
    )
    read_at: str | None
    ok: bool


class Reconciled(Shown):
    ok: bool
    accounts: list[AccountShown]


async def reconcile(context: Context[Services], body: Reconcile) -> Answer:
    desk, chains = context.services.reconciliation, context.services.chain_desk
    watched = chains.accounts(body.rail, body.account)
    try:
        reporting = desk.accounts(body.rail, body.account)
    except NotFound:
        if not watched:
            raise
        reporting = []
    reports = [await desk.run(*place) for place in reporting]
    reports += await asyncio.gather(*(chains.run(*place) for place in watched))
    return Answer({"ok": all(one.ok for one in reports), "accounts": [one.to_json() for one in reports]})


async def standing(context: Context[Services], query: Which) -> Answer:
    desk = context.services.reconciliation
    reports = [await desk.report(*place) for place in desk.accounts(query.rail, query.account)]
    return Answer({"ok": all(one.ok for one in reports), "accounts": [one.to_json() for one in reports]})


ENDPOINTS = (
    Endpoint("POST", "/v1/reconciliations", reconcile, summary="Read the rails' reports and match them; look at chains",
             tag="Reconciliation", body=Reconcile, answer=Reconciled, scopes=(PLATFORM,), refusals=(404, 429)),
    Endpoint("GET", "/v1/reconciliations", standing, summary="How the rails' accounts stand by what was read",
             tag="Reconciliation", query=Which, answer=Reconciled, scopes=(PLATFORM,)),
)  # fmt: skip
