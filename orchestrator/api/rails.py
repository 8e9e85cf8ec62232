"""Rails: what each offers and how it does; why a session was offered what it was; "I paid, where is it?"."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import Field
from sqlalchemy import select

from adapters.base import Mode, ScansChain
from orchestrator.api.checkout import CustomerBody
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, CountryText, CurrencyText, Listed, MoneyBody, Page, Shown, listed
from orchestrator.api.quotes import known
from orchestrator.clock import rfc3339
from orchestrator.database.tables import ChainCursor, Decision, Deposit, Review, table_of
from orchestrator.errors import NotFound
from orchestrator.payments.sightings import Network, deposit_object
from orchestrator.routing.explain import explain
from orchestrator.routing.facts import RoutingFacts
from orchestrator.services import Services
from rates.money import WALLET_USD


class MethodShown(Shown):
    method: str
    flow: str
    countries: list[str] | None = Field(description="null: anywhere")
    currencies: list[str]
    expected_seconds: int
    health: str
    calls: int
    failures: int
    last_error: str | None


class RailShown(Shown):
    rail: str
    account: str
    mode: str
    methods: list[MethodShown]
    chain: dict[str, Any] | None


class Explain(Body):
    country: CountryText
    amount: MoneyBody
    currency: CurrencyText | None = None
    customer: str = Field(default="", max_length=200)
    methods: list[str] | None = None
    metadata: dict[str, str] = Field(default_factory=dict, max_length=20)


class FindDeposits(Page):
    tx_hash: str = Field(pattern=r"^(0x)?[0-9a-fA-F]{64}$")


class DepositShown(Shown):
    id: str
    status: str
    wallet: str
    payment: str | None
    chain: str
    tx_hash: str
    ordinal: int
    method: str
    amount: dict[str, str]
    credited: dict[str, str]
    block_number: int
    block_at: str


class ReviewShown(Shown):
    id: str
    reason: str
    subject: str
    payment: str | None
    status: str
    evidence: dict[str, Any]
    created_at: str


async def list_rails(context: Context[Services]) -> Answer:
    services, now = context.services, context.services.clock.now()
    table = table_of(ChainCursor)
    cursors = {row["network"]: row for row in await services.reads.all(select(table))}
    shown = []
    for (rail, account), adapter in services.rails.items():
        if adapter.account.mode.value != context.mode:
            continue
        methods = []
        for capability in adapter.capabilities:
            report = services.health.report((rail, account, capability.method), now)
            methods.append({
                "method": capability.method,
                "flow": capability.flow.value,
                "countries": None if capability.countries is None else sorted(capability.countries),
                "currencies": list(capability.currencies),
                "expected_seconds": capability.expected_seconds,
                "health": report.state.value,
                "calls": report.calls,
                "failures": report.failures,
                "last_error": report.last_error or None,
            })  # fmt: skip
        chain = None
        if isinstance(adapter, ScansChain):
            network = Network.of(adapter.account, adapter)
            cursor = cursors.get(network.name)
            chain = {
                "chain": network.chain,
                "confirmations": network.confirmations,
                "scanned_block": None if cursor is None else cursor["number"],
                "scanned_at": None if cursor is None else rfc3339(cursor["updated_us"]),
            }
        shown.append({"rail": rail, "account": account, "mode": context.mode, "methods": methods, "chain": chain})
    return Answer({"data": shown, "next_cursor": None})


async def explain_routing(context: Context[Services], body: Explain) -> Answer:
    services = context.services
    CustomerBody(reference=body.customer or "-", country=body.country).ref(context.merchant_id, "", pointer="")
    if body.currency is not None:
        known(body.currency, "/currency")
    amount = body.amount.money(WALLET_USD, pointer="/amount")
    facts = RoutingFacts(
        country=body.country,
        amount=amount,
        at=services.clock.now(),
        mode=Mode(context.mode),
        currency=body.currency,
        merchant=context.merchant_id,
        customer=body.customer,
        metadata=body.metadata,
        methods=None if body.methods is None else frozenset(body.methods),
    )
    decision = services.routing.decide(facts)
    return Answer(explain(decision.to_json(), services.routing.ruleset))


async def get_decision(context: Context[Services]) -> Answer:
    services, table = context.services, table_of(Decision)
    row = await services.reads.one(
        select(table).where(
            table.c.merchant_id == context.merchant_id, table.c.id == context.path["id"], table.c.mode == context.mode
        )
    )
    if row is None:
        raise NotFound("decision_not_found", f"there is no decision {context.path['id']}")
    ruleset = services.routing.ruleset
    told = explain(row["body"], ruleset if ruleset.hash == row["ruleset_hash"] else None)
    return Answer({"id": row["id"], "created_at": rfc3339(row["created_us"]), **told})


async def find_deposits(context: Context[Services], query: FindDeposits) -> Answer:
    table = table_of(Deposit)
    tx_hash = "0x" + query.tx_hash.lower().removeprefix("0x")
    wanted = select(table).where(
        table.c.tx_hash == tx_hash, table.c.merchant_id == context.merchant_id, table.c.mode == context.mode
    )
    rows = await context.services.reads.all(wanted.order_by(table.c.network, table.c.ordinal).limit(100))
    return Answer({"data": [deposit_object(row) for row in rows], "next_cursor": None})


async def list_reviews(context: Context[Services], query: Page) -> Answer:
    table = table_of(Review)
    wanted = select(table).where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    found = await context.services.reads.all(wanted.order_by(table.c.id.desc()).limit(query.limit + 1))
    rows, next_cursor = listed(found, query)
    shown = [
        {
            "id": row["id"],
            "reason": row["reason"],
            "subject": row["subject"],
            "payment": row["payment_id"],
            "status": row["status"],
            "evidence": orjson.loads(row["evidence"]),
            "created_at": rfc3339(row["created_us"]),
        }
        for row in rows
    ]
    return Answer({"data": shown, "next_cursor": next_cursor})


ENDPOINTS = (
    Endpoint("GET", "/v1/rails", list_rails, summary="List rails, their methods and their health", tag="Rails",
             answer=Listed[RailShown]),
    Endpoint("POST", "/v1/routing/explain", explain_routing, summary="Explain what a session would be offered",
             tag="Routing", body=Explain, answer=dict[str, Any], scopes=("read", "write")),
    Endpoint("GET", "/v1/routing/decisions/{id}", get_decision, summary="Explain a decision that was made",
             tag="Routing", answer=dict[str, Any]),
    Endpoint("GET", "/v1/deposits", find_deposits, summary="Find what a transaction paid", tag="Payments",
             query=FindDeposits, answer=Listed[DepositShown]),
    Endpoint("GET", "/v1/reviews", list_reviews, summary="List what needs a person, newest first", tag="Payments",
             query=Page, answer=Listed[ReviewShown]),
)  # fmt: skip
