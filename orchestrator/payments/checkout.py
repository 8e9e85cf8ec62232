"""Creating and expiring checkout sessions: screen, route, quote, price, store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import orjson

from adapters.base import Mode
from orchestrator.clock import Clock, to_us
from orchestrator.compliance.screening import ScreeningPolicy, screen_session
from orchestrator.database.unit import Applied, Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Invalid, NotFound
from orchestrator.ids import new_id
from orchestrator.payments.begin import payment_of_session
from orchestrator.payments.customer_age import KnownCustomers, age_days
from orchestrator.payments.customers import CustomerRef, ensure_customer
from orchestrator.payments.offers import Offer
from orchestrator.payments.payment import Command, Fact, Status, allows
from orchestrator.payments.pricer import FeeKey, Pricer
from orchestrator.payments.sellers import Sellers
from orchestrator.payments.story import Story
from orchestrator.routing.decision import Choice, Decision
from orchestrator.routing.facts import RoutingFacts
from rates.errors import RateError
from rates.money import WALLET_USD, Money


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a merchant asks for."""

    customer: CustomerRef
    amount: Money
    """USD/9 that shall reach the wallet."""
    methods: frozenset[str] | None = None
    currency: str | None = None
    """What the buyer asks to be charged in; None = what is usual where the buyer is."""
    risk: str | None = None
    """low, medium or high, as the merchant sees this buyer; None = it does not say."""
    locale: str = "en"
    success_url: str | None = None
    cancel_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires_in_s: int | None = None
    save_method: bool = False
    """Ask the buyer on the rail's page to save the method, so that it can be charged later."""
    session_id: str | None = None
    """Given where the call may be repeated (Idempotency-Key): the same id is never made twice."""


@dataclass(frozen=True, slots=True)
class MadeSession:
    row: Row
    offers: list[Offer] | None
    """What ``row["offers"]`` holds; None where the session was there already: then it is to be read."""


class Decides(Protocol):
    """The routing engine with the rules, rates and health in force now."""

    def asks_age(self, merchant: str, mode: str) -> bool: ...

    def decide(self, facts: RoutingFacts) -> Decision: ...


@dataclass(frozen=True, slots=True)
class CheckoutPolicy:
    session_ttl_s: int
    session_ttl_min_s: int
    session_ttl_max_s: int


@dataclass(frozen=True, slots=True)
class Checkout:
    """Makes sessions."""

    writer: Writer
    pricer: Pricer
    router: Decides
    clock: Clock
    screening: ScreeningPolicy
    policy: CheckoutPolicy
    sellers: Sellers
    known: KnownCustomers

    async def create(self, new: NewSession) -> Row:
        """Make a session with its offers and return its row. Raises Refusal."""
        return (await self.make(new)).row

    async def make(self, new: NewSession) -> MadeSession:
        """Make a session and return it with the offers that it was made of. Raises Refusal."""
        screen_session(
            self.screening, country=new.customer.country, reference=new.customer.reference, amount=new.amount
        )
        now = self.clock.now()
        expires = now + timedelta(seconds=self._ttl(new.expires_in_s))
        session_id = new.session_id or new_id("cs")
        seller = await self.sellers.of(new.customer.merchant_id)
        asked = self.router.asks_age(new.customer.merchant_id, new.customer.mode)
        age = await self.known.age_days(new.customer, to_us(now)) if asked else None
        facts = RoutingFacts(
            country=new.customer.country,
            amount=new.amount,
            at=now,
            mode=Mode(new.customer.mode),
            currency=new.currency,
            merchant=new.customer.merchant_id,
            merchant_category=seller.merchant_category,
            customer=new.customer.reference,
            customer_age_days=age,
            risk=new.risk,
            metadata=new.metadata,
            methods=new.methods,
        )
        decision = self.router.decide(facts)
        quoting = _Quoting(self.pricer, session_id, new.amount, now, expires)
        offers = [offer for choice in decision.offers if (offer := quoting.offer(choice)) is not None]
        if not offers:
            raise Invalid(
                "no_offer",
                f"no payment method serves {new.customer.country} for {new.amount.decimal(2)} USD now: "
                "`crossrail rules explain` or POST /v1/routing/explain says why",
            )
        rows = _Rows(new, session_id, decision, offers, quoting.quotes, to_us(expires))
        applied = await self.writer.submit(rows.unit(keyed=new.session_id is not None))
        return MadeSession(_session_of(applied), None if applied.duplicate else offers)

    def _ttl(self, asked: int | None) -> int:
        if asked is None:
            return self.policy.session_ttl_s
        if not self.policy.session_ttl_min_s <= asked <= self.policy.session_ttl_max_s:
            raise Invalid(
                "expires_in_out_of_range",
                f"expires_in is between {self.policy.session_ttl_min_s} and {self.policy.session_ttl_max_s} seconds",
                pointer="/expires_in",
            )
        return asked

    async def expire(self, merchant_id: str, mode: str, session_id: str) -> Row:
        """Close a session: no new attempt starts; money that still arrives is taken. Safe to repeat."""
        # The payment is locked by the id that it will have, so that one which begins this moment is expired too.
        locks = (
            row_lock("checkout_session", merchant_id, session_id),
            row_lock("payment", merchant_id, payment_of_session(session_id)),
        )

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            session = view.one("checkout_session", merchant_id, session_id)
            if session is None or session["mode"] != mode:
                raise NotFound("session_not_found", f"no checkout session {session_id}")
            if session["status"] != "open":
                return {"session": session}
            changes.update("checkout_session", (merchant_id, session_id), status="expired")
            if session["payment_id"] is not None:
                _expire_payment(view, changes, merchant_id, session["payment_id"])
            body = {"id": session_id, "status": "expired", "payment": session["payment_id"]}
            changes.emit("checkout.session.expired", session_id, orjson.dumps(body).decode())
            return {"session": {**session, "status": "expired"}}

        return _session_of(await self.writer.submit(Unit(merchant_id, mode, None, locks, decide)))


def _session_of(applied: Applied) -> Row:
    session: Row = applied.answer["session"]
    return session


def _expire_payment(view: View, changes: Changes, merchant_id: str, payment_id: str) -> None:
    payment = view.one("payment", merchant_id, payment_id)
    if payment is None:
        return
    story = Story(payment, changes, view.now_us)
    partly = story.status is Status.PARTIALLY_PAID
    if allows(story.status, Command.EXPIRE):
        story.tell(Fact.SESSION_EXPIRED)
        if partly:  # what arrived was credited when it came: nothing more is to be posted
            story.tell(Fact.CREDITED, units=0)
        story.write()


@dataclass(slots=True)
class _Quoting:
    """Quotes and prices of one session; offers in one currency with one spread share a quote."""

    pricer: Pricer
    session_id: str
    amount: Money
    now: datetime
    expires: datetime
    quotes: dict[tuple[str, int], StoredQuote] = field(default_factory=dict)

    def offer(self, choice: Choice) -> Offer | None:
        """Price one choice; None where its rate went away, or fees and spread push it over the rail's limits."""
        quote: StoredQuote | None = None
        try:
            tag = self.pricer.tag(
                self.amount, FeeKey(choice.rail, choice.account, choice.method), choice.currency, self.now
            )
            if choice.currency != WALLET_USD.code:
                quote = self._quote(choice.currency, tag.price.rate.spread_bps)
        except RateError:
            return None
        if not _within_limits(choice, tag.price.total):
            return None
        return Offer(
            id=new_id("off"),
            method=choice.method,
            rail=choice.rail,
            account=choice.account,
            flow=choice.capability.flow.value,
            price=tag.price,
            quote_id=None if quote is None else quote.id,
            quote=None if quote is None else quote.shown,
            expected_seconds=choice.capability.expected_seconds,
            on_decline={"soft": str(choice.on_decline.soft), "hard": str(choice.on_decline.hard)},
            tag=tag,
        )

    def _quote(self, currency: str, spread_bps: int) -> StoredQuote:
        key = (currency, spread_bps)
        found = self.quotes.get(key)
        if found is None:
            fields = self.pricer.quote_json(
                quote_id=new_id("quo"), session_id=self.session_id, currency=currency, spread_bps=spread_bps,
                now=self.now, expires_at=self.expires,
            )  # fmt: skip
            found = self.quotes[key] = StoredQuote.of(fields)
        return found


def _within_limits(choice: Choice, total: Money) -> bool:
    """Hold the final charge against the rail's limits: routing knew only its mid value."""
    low = choice.capability.amount_min.get(choice.currency)
    high = choice.capability.amount_max.get(choice.currency)
    return (low is None or low <= total) and (high is None or total <= high)


_SHOWN: Final = ("id", "rate", "mid", "spread_bps", "as_of", "sources", "expires_at", "sandbox")


def quote_shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a quote's JSON as the API shows it."""
    return {name: fields[name] for name in _SHOWN}


@dataclass(frozen=True, slots=True)
class StoredQuote:
    """A quote with the two forms of its JSON, made once."""

    id: str
    body: str
    shown: orjson.Fragment
    """Written out, for it stands in the answer and in the row, in every offer that it holds for."""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> StoredQuote:
        shown = orjson.Fragment(orjson.dumps(quote_shown(fields)))
        return cls(fields["id"], orjson.dumps(fields).decode(), shown)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What one new session writes."""

    new: NewSession
    session_id: str
    decision: Decision
    offers: list[Offer]
    quotes: Mapping[tuple[str, int], StoredQuote]
    expires_us: int

    def unit(self, *, keyed: bool) -> Unit:
        ref = self.new.customer
        key = f"checkout:{self.session_id}" if keyed else None
        return Unit(ref.merchant_id, ref.mode, key, (ref.lock(),), self._decide)

    def _decide(self, view: View, changes: Changes) -> dict[str, Any]:
        customer = ensure_customer(view, changes, self.new.customer)
        scope = {"merchant_id": self.new.customer.merchant_id, "mode": self.new.customer.mode}
        decision_id = new_id("dec")
        changes.insert(
            "decision", **scope, id=decision_id, ruleset_hash=self.decision.ruleset_hash,
            body=self.decision.to_json(age_days=age_days(customer["created_us"], view.now_us)), created_us=view.now_us,
        )  # fmt: skip
        for stored in self.quotes.values():
            changes.insert(
                "quote", **scope, id=stored.id, session_id=self.session_id, body=stored.body,
                used_by=None, expires_us=self.expires_us, created_us=view.now_us,
            )  # fmt: skip
        session = {
            **scope,
            "id": self.session_id,
            "customer_id": customer["id"],
            "customer_reference": customer["reference"],
            "wallet_id": customer["wallet_id"],
            "country": self.new.customer.country,
            "locale": self.new.locale,
            "status": "open",
            "amount_units": self.new.amount.units,
            "offers": orjson.dumps([offer.to_json() for offer in self.offers]).decode(),
            "decision_id": decision_id,
            "payment_id": None,
            "suggested_offer": None,
            "success_url": self.new.success_url,
            "cancel_url": self.new.cancel_url,
            "save_method": int(self.new.save_method),
            "quoted": " ".join(sorted(currency for currency, _spread_bps in self.quotes)),
            "metadata_json": orjson.dumps(dict(self.new.metadata)).decode(),
            "expires_us": self.expires_us,
            "created_us": view.now_us,
        }
        changes.insert("checkout_session", **session)
        return {"session": session}
