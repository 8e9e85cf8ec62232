"""Rails: what each offers and how it does; why a session was offered what it was; "I paid, where is it?"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from prometheus_client import REGISTRY
from pydantic import ConfigDict, Field
from sqlalchemy import select

from adapters.base import Capability, Mode, RailAccount, ScansChain
from orchestrator.api.checkout import Metadata, MethodText, check_country, known_methods
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import (
    Body,
    CountryText,
    CurrencyText,
    Listed,
    MoneyBody,
    Page,
    Shown,
    check_currency,
    money_shown,
)
from orchestrator.clock import rfc3339, to_us
from orchestrator.database.tables import ChainCursor, Decision, Deposit, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.payments.sightings import Network, deposit_object
from orchestrator.routing.explain import DecisionUnreadable, explain
from orchestrator.routing.facts import RoutingFacts
from orchestrator.services import Services
from rates.money import WALLET_USD


class MethodShown(Shown):
    method: str
    flow: str
    countries: list[str] | None = Field(description="null: anywhere")
    currencies: list[str]
    expected_seconds: int
    amount_min: list[dict[str, str]]
    amount_max: list[dict[str, str]]
    health: str = Field(description="healthy | degraded | down | probing")
    calls: int = Field(description="In the window of the last minutes.")
    failures: int
    last_error_at: str | None
    reopens_at: str | None = Field(description="When a rail that is down is offered again.")
    maintenance: dict[str, str] | None = Field(
        description="What its operator announced for now: until when it is not offered, and why."
    )


class ChainShown(Shown):
    chain: str = Field(description="CAIP-2", examples=["eip155:56"])
    family: str
    confirmations: int
    scanned_block: int | None = Field(description="The last one that was read whole; null before the first.")
    scanned_at: str | None
    lag_blocks: int | None = Field(description="Null where no worker of this process reads the chain.")


class RailShown(Shown):
    rail: str
    account: str
    mode: str
    methods: list[MethodShown]
    chain: ChainShown | None


class Explain(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"country": "BR", "amount": {"amount": "20.00", "currency": "USD"}}]}
    )

    country: CountryText
    amount: MoneyBody = Field(description="What the wallet would receive, in USD.")
    currency: CurrencyText | None = Field(default=None, description="What the buyer asks to be charged in.")
    customer: str = Field(default="", max_length=200, description="Sticky splits hang on it.")
    customer_age_days: int | None = Field(default=None, ge=0, le=100_000)
    risk: Literal["low", "medium", "high"] | None = None
    merchant_category: str | None = Field(
        default=None, pattern="^[0-9]{4}$", description="As if the merchant had this code. Default: the merchant's own."
    )
    methods: list[MethodText] | None = Field(default=None, min_length=1, max_length=50)
    metadata: Metadata = Field(default_factory=dict, max_length=20)


class RuleShown(Shown):
    id: str
    matched: bool
    why: str


class ExplanationShown(Shown):
    ruleset_hash: str
    ruleset_at_hand: bool = Field(description="False: the rules have changed since; they are told by number only.")
    facts: dict[str, Any]
    source: dict[str, str]
    rules: list[RuleShown]
    rail_choice: dict[str, list[RuleShown]]
    options: list[dict[str, Any]] = Field(description="Every method of every rail: kept or dropped, and why.")
    offers: list[dict[str, Any]] = Field(description="Best first.")
    rates: dict[str, str | None]
    ranked: dict[str, Any] | None = Field(description="What the order was made of, where the rule asks for a rank.")
    overlay: dict[str, Any] | None = Field(description="What the merchant's own rules did.")


class DecisionShown(ExplanationShown):
    id: str
    created_at: str


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


async def list_rails(context: Context[Services]) -> Answer:
    services = context.services
    cursors = {row["network"]: row for row in await services.reads.all(select(table_of(ChainCursor)))}
    shown = [
        {
            "rail": rail,
            "account": account,
            "mode": context.mode,
            "methods": [_method(services, rail, account, capability) for capability in adapter.capabilities],
            "chain": _chain(adapter, adapter.account, cursors) if isinstance(adapter, ScansChain) else None,
        }
        for (rail, account), adapter in services.rails.items()
        if adapter.account.mode.value == context.mode
    ]
    return Answer({"data": shown, "next_cursor": None})


def _method(services: Services, rail: str, account: str, capability: Capability) -> dict[str, Any]:
    """Return one method with its health, without a failure's text: that is a rail's word to us, for operators."""
    report = services.health.report((rail, account, capability.method), services.clock.now())
    return {
        "method": capability.method,
        "flow": capability.flow.value,
        "countries": None if capability.countries is None else sorted(capability.countries),
        "currencies": list(capability.currencies),
        "expected_seconds": capability.expected_seconds,
        "amount_min": [money_shown(money) for money in capability.amount_min.values()],
        "amount_max": [money_shown(money) for money in capability.amount_max.values()],
        "health": report.state.value,
        "calls": report.calls,
        "failures": report.failures,
        "last_error_at": None if report.last_error_at is None else rfc3339(to_us(report.last_error_at)),
        "reopens_at": None if report.reopens_at is None else rfc3339(to_us(report.reopens_at)),
        "maintenance": _maintenance(services, rail, account, capability.method),
    }


def _maintenance(services: Services, rail: str, account: str, method: str) -> dict[str, str] | None:
    now = services.clock.now()
    windows = [
        window
        for window in services.routing.ruleset.maintenance
        if window.starts <= now < window.ends and window.covers(rail, account, method)
    ]
    if not windows:
        return None
    last = max(windows, key=lambda window: window.ends)
    return {"ends": rfc3339(to_us(last.ends)), "reason": last.reason}


def _chain(scanner: ScansChain, account: RailAccount, cursors: Mapping[str, Row]) -> dict[str, Any]:
    network = Network.of(account, scanner)
    cursor = cursors.get(network.name)
    # Who scans is a worker, which this floor does not know: its gauge is how it tells everybody.
    lag = REGISTRY.get_sample_value("crossrail_chain_lag_blocks", {"network": network.name})
    return {
        "chain": network.chain,
        "family": network.family,
        "confirmations": network.confirmations,
        "scanned_block": None if cursor is None else cursor["number"],
        "scanned_at": None if cursor is None else rfc3339(cursor["updated_us"]),
        "lag_blocks": None if lag is None else int(lag),
    }


async def explain_routing(context: Context[Services], body: Explain) -> Answer:
    services = context.services
    check_country(body.country, "/country")
    if body.currency is not None:
        check_currency(body.currency, "/currency")
    amount = body.amount.money(WALLET_USD, pointer="/amount")
    if amount.units == 0:
        raise Invalid("amount_out_of_range", "nothing is routed for an amount of 0", pointer="/amount/amount")
    facts = RoutingFacts(
        country=body.country,
        amount=amount,
        at=services.clock.now(),
        mode=Mode(context.mode),
        currency=body.currency,
        merchant=context.merchant_id,
        merchant_category=body.merchant_category or (await services.sellers.of(context.merchant_id)).merchant_category,
        customer=body.customer,
        customer_age_days=body.customer_age_days,
        risk=body.risk,
        metadata=body.metadata,
        methods=known_methods(services, body.methods),
    )
    decision = services.routing.decide(facts)
    return Answer(explain(decision.to_json(), await services.rules.ruleset(decision.ruleset_hash)))


async def get_decision(context: Context[Services]) -> Answer:
    services, table = context.services, table_of(Decision)
    row = await services.reads.one(
        select(table).where(
            table.c.merchant_id == context.merchant_id, table.c.id == context.path["id"], table.c.mode == context.mode
        )
    )
    if row is None:
        raise NotFound("decision_not_found", f"there is no decision {context.path['id']}")
    try:
        told = explain(row["body"], await services.rules.ruleset(row["ruleset_hash"]))
    except DecisionUnreadable as error:
        raise Conflict("decision_unreadable", str(error)) from None
    return Answer({"id": row["id"], "created_at": rfc3339(row["created_us"]), **told})


async def find_deposits(context: Context[Services], query: FindDeposits) -> Answer:
    table = table_of(Deposit)
    tx_hash = "0x" + query.tx_hash.lower().removeprefix("0x")
    wanted = select(table).where(
        table.c.tx_hash == tx_hash, table.c.merchant_id == context.merchant_id, table.c.mode == context.mode
    )
    rows = await context.services.reads.all(wanted.order_by(table.c.network, table.c.ordinal).limit(100))
    return Answer({"data": [deposit_object(row) for row in rows], "next_cursor": None})


ENDPOINTS = (
    Endpoint("GET", "/v1/rails", list_rails, summary="List rails, their methods and their health", tag="Rails",
             answer=Listed[RailShown]),
    Endpoint("POST", "/v1/routing/explain", explain_routing, summary="Explain what a session would be offered",
             tag="Routing", body=Explain, answer=ExplanationShown, scopes=("read", "write")),
    Endpoint("GET", "/v1/routing/decisions/{id}", get_decision, summary="Explain a decision that was made",
             tag="Routing", answer=DecisionShown, refusals=(409,)),
    Endpoint("GET", "/v1/deposits", find_deposits, summary="Find what a transaction paid", tag="Payments",
             query=FindDeposits, answer=Listed[DepositShown]),
)  # fmt: skip
