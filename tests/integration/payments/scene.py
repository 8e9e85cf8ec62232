"""Payments over a real database with a rail that does what the test says: no routing, no sockets, a clock to set.

async with opened_scene(url) as scene:
    session = await scene.session()
    chosen = await scene.select(session)
    await scene.captured(chosen["attempt"], "pi_1")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import count
from typing import Any, Never

import orjson
from sqlalchemy import select

from adapters.base import (
    CancelOutcome,
    Capability,
    Decline,
    Flow,
    Mode,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RailEventKind,
    Redirect,
    Severity,
)
from orchestrator.clock import from_us, to_us
from orchestrator.compliance.screening import ScreeningPolicy
from orchestrator.database import tables
from orchestrator.database.reads import Reads
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Applied, Changes, Row, Unit, View
from orchestrator.database.writer import Writer, backend_for
from orchestrator.ids import new_id
from orchestrator.ledger.check import check
from orchestrator.payments.checkout import Checkout, CheckoutPolicy
from orchestrator.payments.closing import Closing
from orchestrator.payments.confirmation import Confirmation
from orchestrator.payments.customer_age import KnownCustomers
from orchestrator.payments.customers import CustomerRef, ensure_customer
from orchestrator.payments.finder import Finder
from orchestrator.payments.offers import Offer, offers_of
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.payment import Fact, fold
from orchestrator.payments.pricer import FeeKey, Pricer
from orchestrator.payments.pricing import FeeSchedule, Rate, price
from orchestrator.payments.selection import Selection
from orchestrator.payments.sellers import Sellers
from orchestrator.payments.watch import SettlementWatch, WatchPolicy
from orchestrator.routing.health import HealthBoard
from rates.build import market_from_config
from rates.money import WALLET_USD, Asset, Money
from rates.policy import MarketMode
from rates.spread import SpreadTable

MERCHANT, MODE = "mer_1", "test"
RAIL, ACCOUNT = "fake", "main"
METHODS = ("card", "bank", "voucher")
BRL = Asset("BRL", 2)
BRL_PER_USD = Fraction("5.4321")
MARKET = {
    "sources": {"fixed": {"rates": {"USD-BRL": {"rate": "5.4321", "as_of": "2026-11-20", "reason": "for tests"}}}},
    "minimum_sources": {"default": 1},
}
FEES = FeeSchedule(119, Money(130_000_000, WALLET_USD), Money.zero(WALLET_USD), 100)
SOFT = Decline(Severity.SOFT, "insufficient_funds", "Not enough money.")
HARD = Decline(Severity.HARD, "stolen_card", "Refused.")
SCREENING = ScreeningPolicy(
    frozenset({"KP"}),
    ("banned",),
    Money(10**9, WALLET_USD),
    Money(10**13, WALLET_USD),
    50,
    Money(5 * 10**13, WALLET_USD),
)


@dataclass
class SetClock:
    """Stands still until it is moved."""

    at_us: int = to_us(datetime.fromisoformat("2026-11-23T12:00:00+00:00"))

    def now(self) -> datetime:
        return from_us(self.at_us)

    def now_us(self) -> int:
        return self.at_us

    def pass_by(self, **time: float) -> None:
        self.at_us += int(timedelta(**time).total_seconds()) * 1_000_000


Answer = Callable[[PaymentOrder], Awaitable[PaymentStarted]]


async def redirected(order: PaymentOrder) -> PaymentStarted:
    return PaymentStarted(f"ref_{order.attempt_id}", Redirect("https://rail.example/pay"))


@dataclass
class FakeRail:
    """A rail whose every answer the test sets; it counts what it was asked."""

    account: RailAccount
    answer: Answer = redirected
    says: Sequence[RailEvent] = ()
    cancels: CancelOutcome = CancelOutcome.CANCELED
    resend_window_seconds: int = 3600
    created: list[PaymentOrder] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def capabilities(self) -> Sequence[Capability]:
        return tuple(Capability(method, Flow.REDIRECT, None, ("*",), 5) for method in METHODS)

    def supports_currency(self, currency: str) -> bool:
        return bool(currency)

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        self.created.append(order)
        return await self.answer(order)

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        self.asked.append(reference.attempt_id)
        return [event for event in self.says if event.attempt_id == reference.attempt_id]

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        self.canceled.append(reference.attempt_id)
        return self.cancels


class NoRouter:
    """These sessions are made by hand."""

    def asks_age(self, merchant: str, mode: str) -> bool:
        raise AssertionError(f"nobody routes here: {merchant} {mode}")

    def decide(self, facts: object) -> Never:
        raise AssertionError(f"nobody routes here: {facts}")


@dataclass
class Scene:
    """The parts, and what a test does with them."""

    writer: Writer
    reads: Reads
    clock: SetClock
    pricer: Pricer
    rail: FakeRail
    confirmation: Confirmation
    calls: RailCalls
    checkout: Checkout
    closing: Closing
    selection: Selection
    watch: SettlementWatch
    _numbers: count[int] = field(default_factory=count)

    async def session(self, *, usd: int = 20, methods: Sequence[str] = METHODS, customer: str | None = None) -> Row:
        """A session with one BRL offer per method, for half an hour."""
        session_id = new_id("cs")
        principal = Money(usd * 10**9, WALLET_USD)
        offers = [
            Offer(
                id=f"off_{number}_{session_id}",
                method=method,
                rail=RAIL,
                account=ACCOUNT,
                flow=Flow.REDIRECT.value,
                price=price(principal, FEES, Rate(BRL_PER_USD, 100), BRL),
                quote_id=None,
                quote=None,
                expected_seconds=5,
                on_decline={"soft": "next", "hard": "stop"},
            )
            for number, method in enumerate(methods)
        ]

        return await stored_session(self.writer, offers, principal, customer or f"customer of {session_id}", session_id)

    async def select(self, session: Row, number: int = 0) -> Mapping[str, Any]:
        return await self.selection.select(MERCHANT, MODE, session["id"], offers_of(session)[number].id)

    def event(self, attempt: str | None, kind: RailEventKind, **more: Any) -> RailEvent:
        """A statement of the rail; a new one each time unless ``event_id`` says otherwise."""
        number = f"{more.get('money_id', kind.value)}_{next(self._numbers)}"  # two scenes count each for itself
        fields: dict[str, Any] = {
            "rail": RAIL,
            "account": ACCOUNT,
            "mode": Mode.TEST,
            "event_id": f"evt_{attempt}_{number}",
            "kind": kind,
            "attempt_id": attempt,
            "rail_reference": f"ref_{attempt}",
            "occurred_at": self.clock.now(),
        }
        return RailEvent(**fields | more)

    def capture(self, attempt: str, money_id: str, amount: Money, **more: Any) -> RailEvent:
        return self.event(attempt, RailEventKind.CAPTURED, money_id=money_id, amount=amount, **more)

    async def captured(self, attempt: str, money_id: str, amount: Money | None = None, **more: Any) -> Applied:
        """The rail took the money (what was asked for, if nothing else is said)."""
        if amount is None:
            row = await self.attempt(attempt)
            amount = Money(row["units"], Asset.parse(row["asset"]))
        return await self.confirmation.apply(self.capture(attempt, money_id, amount, **more))

    async def attempt(self, attempt_id: str) -> Row:
        table = table_of(tables.Attempt)
        row = await self.reads.one(select(table).where(table.c.id == attempt_id))
        assert row is not None
        return row

    async def attempts(self, session: Row) -> list[Row]:
        table = table_of(tables.Attempt)
        return await self.reads.all(select(table).where(table.c.session_id == session["id"]).order_by(table.c.id))

    async def payment(self, session: Row) -> Row | None:
        table = table_of(tables.Payment)
        return await self.reads.one(select(table).where(table.c.session_id == session["id"]))

    async def session_now(self, session: Row) -> Row:
        table = table_of(tables.CheckoutSession)
        row = await self.reads.one(select(table).where(table.c.id == session["id"]))
        assert row is not None
        return row

    async def captures(self, payment_id: str) -> list[Row]:
        table = table_of(tables.Capture)
        return await self.reads.all(select(table).where(table.c.payment_id == payment_id))

    async def reviews(self) -> list[Row]:
        return await self.reads.all(select(table_of(tables.Review)))

    async def assert_sound(self, session: Row) -> None:
        """The books are right, and the session's payment is what its facts and its money say."""
        report = await check(self.reads)
        assert report.ok, report.findings
        payment = await self.payment(session)
        if payment is None:
            return
        fact = table_of(tables.PaymentFact)
        facts = await self.reads.all(select(fact).where(fact.c.payment_id == payment["id"]).order_by(fact.c.number))
        assert [row["number"] for row in facts] == list(range(1, payment["fact_count"] + 1))
        assert fold(Fact(row["kind"]) for row in facts).value == payment["status"] == facts[-1]["status"]
        captures = await self.captures(payment["id"])
        credited = sum(row["credited_units"] for row in captures)
        lot = table_of(tables.Lot)
        lots = await self.reads.all(select(lot).where(lot.c.payment_id == payment["id"]))
        assert payment["credited_units"] == credited == sum(row["units"] for row in lots)
        reviewed = {row["subject"] for row in await self.reviews()}
        for row in captures:
            assert (row["status"] == "review") == (row["id"] in reviewed)
            assert (row["status"] == "credited") == (row["credited_units"] > 0)


async def stored_session(
    writer: Writer, offers: Sequence[Offer], principal: Money, customer: str, session_id: str | None = None
) -> Row:
    """Store a session that nobody routed."""
    session_id = session_id or new_id("cs")
    ref = CustomerRef(MERCHANT, MODE, customer, "BR")

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        owner = ensure_customer(view, changes, ref)
        row = {
            "merchant_id": MERCHANT, "id": session_id, "mode": MODE, "customer_id": owner["id"],
            "customer_reference": customer, "wallet_id": owner["wallet_id"], "country": "BR", "locale": "en",
            "status": "open", "amount_units": principal.units,
            "offers": orjson.dumps([offer.to_json() for offer in offers]).decode(), "decision_id": "dec_none",
            "payment_id": None, "suggested_offer": None, "success_url": None, "cancel_url": None,
            "metadata_json": "{}", "expires_us": view.now_us + 1800 * 10**6, "created_us": view.now_us,
        }  # fmt: skip
        changes.insert("checkout_session", **row)
        return {"session": row}

    answer = (await writer.submit(Unit(MERCHANT, MODE, None, (ref.lock(),), decide))).answer
    row: Row = answer["session"]
    return row


@asynccontextmanager
async def opened_scene(url: str) -> AsyncIterator[Scene]:
    clock = SetClock()
    market = market_from_config(MARKET, MarketMode.SANDBOX)
    await market.refresh(clock.now())
    fees = {FeeKey(RAIL, ACCOUNT, method): FEES for method in METHODS}
    spreads = SpreadTable.from_config([{"corridor": "USD-*", "spread_bps": 100}])
    pricer = Pricer(market, spreads, fees, b"a secret of tests, long enough to sign")
    writer, reads = Writer(backend_for(url), clock), Reads(url)
    await writer.open()
    try:
        rail = FakeRail(RailAccount(RAIL, ACCOUNT, Mode.TEST, {}))
        confirmation = Confirmation(writer, Finder(reads), pricer, clock)
        calls = RailCalls(writer, confirmation, {(RAIL, ACCOUNT): rail}, HealthBoard(), clock, 1_000_000)
        closing, sellers, known = Closing(calls, reads), Sellers(writer, reads), KnownCustomers(reads)
        checkout = Checkout(
            writer, pricer, NoRouter(), clock, SCREENING, CheckoutPolicy(1800, 300, 86_400), sellers, known
        )
        selection = Selection(calls, closing, reads, SCREENING, "https://pay.example", sellers)
        watch = SettlementWatch(calls, reads, WatchPolicy(2.0, 3600.0))
        yield Scene(writer, reads, clock, pricer, rail, confirmation, calls, checkout, closing, selection, watch)
    finally:
        await writer.close()
        await reads.close()
        await asyncio.sleep(0)
