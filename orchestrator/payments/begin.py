"""Starting an attempt: one unit that checks, counts, and stores the attempt as sent before the rail is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.base import Flow, PaymentOrder
from orchestrator.clock import from_us
from orchestrator.compliance.screening import ScreeningPolicy, count_attempt
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.errors import Conflict, NotFound
from orchestrator.ids import new_id
from orchestrator.payments.addresses import AddressOwner, address_locks, ensure_address
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.mandates import StandingCharge, ask_to_save
from orchestrator.payments.offers import Offer, offers_of
from orchestrator.payments.payment import Command, Fact, Status, allows
from orchestrator.payments.sellers import UNSAID, Seller
from orchestrator.payments.story import Story
from orchestrator.payments.wire_json import order_to_json


@dataclass(frozen=True, slots=True)
class ChainAddressing:
    """How a chain rail gives a wallet its address."""

    family: str
    derive: Callable[[int], bytes]
    show: Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What is needed to start an attempt of one session on one offer."""

    merchant_id: str
    mode: str
    session: Row
    """As read before: only what never changes is used of it."""
    offer: Offer
    screening: ScreeningPolicy
    return_url: str
    first_check_us: int
    """When the poller looks, should the answer never be stored."""
    chain: ChainAddressing | None
    save_method: bool = False
    """The rail's page asks the buyer to save the method."""
    standing: StandingCharge | None = None
    """A saved method is charged instead of showing a page."""
    capture_later: bool = False
    """The rail only reserves the money."""
    seller: Seller = UNSAID
    """What the rail is told of the merchant, where it takes it."""

    @property
    def payment_id(self) -> str:
        return payment_of_session(self.session["id"])

    def unit(self) -> Unit:
        merchant, session = self.merchant_id, self.session
        locks: list[Lock] = [
            row_lock("checkout_session", merchant, session["id"]),
            row_lock("payment", merchant, self.payment_id),
            Lock("attempt", ("merchant_id", "payment_id"), (merchant, self.payment_id)),
            row_lock("customer", merchant, self.mode, session["customer_reference"]),
        ]
        if self.offer.quote_id is not None:
            locks.append(row_lock("quote", merchant, self.offer.quote_id))
        if self.chain is not None:
            locks += address_locks(merchant, self.mode, session["wallet_id"], self.chain.family)
        if self.standing is not None:
            locks += self.standing.locks()
        return Unit(merchant, self.mode, None, locks, self._decide)

    def _decide(self, view: View, changes: Changes) -> Mapping[str, Any]:
        """Answer {attempt} (started), {existing} (the same offer again) or {close: [attempts]} (close these first)."""
        session = view.one("checkout_session", self.merchant_id, self.session["id"])
        if session is None:
            raise NotFound("session_not_found", f"no checkout session {self.session['id']}")
        attempts = view.many("attempt", ("merchant_id", "payment_id"), (self.merchant_id, self.payment_id))
        for attempt in attempts:
            # A saved method is charged once per session, whatever came of it: no repetition ever charges it again.
            if self.standing is not None or (attempt["offer_id"] == self.offer.id and attempt["status"] in IN_FLIGHT):
                return {"existing": attempt}
        if self.standing is not None:
            self.standing.check(view)
        if session["status"] != "open" or session["expires_us"] <= view.now_us:
            state = "expired" if session["status"] == "open" else session["status"]
            raise Conflict("session_" + state, f"this checkout session is {state}: create a new one")
        story = self._story(view, changes)
        if not allows(story.status, Command.SELECT):
            raise Conflict(
                "payment_" + story.status.value,
                f"the payment is {story.status.value.replace('_', ' ')}: wait for it, no second payment is started",
            )
        blocking = [a for a in attempts if a["status"] in IN_FLIGHT or self._still_payable(a)]
        if blocking:
            return {"close": blocking}
        self._count(view, changes, fresh=not attempts)
        step_up = any(_wants_step_up(one) for one in attempts if one["offer_id"] == self.offer.id)
        attempt = self._attempt(view, changes, step_up=step_up)
        said = {"step_up": True} if step_up else {}
        story.tell(Fact.SENT, attempt_id=attempt["id"], method=self.offer.method, rail=self.offer.rail, **said)
        story.write()
        changes.update(
            "checkout_session", (self.merchant_id, session["id"]), payment_id=self.payment_id, suggested_offer=None
        )
        return {"attempt": attempt}

    @staticmethod
    def _still_payable(attempt: Row) -> bool:
        """Say whether a buyer could still pay an attempt that is no longer in flight (a superseded one is let go)."""
        return bool(attempt["open_at_rail"]) and attempt["status"] != AttemptStatus.SUPERSEDED.value

    def _story(self, view: View, changes: Changes) -> Story:
        row = view.one("payment", self.merchant_id, self.payment_id)
        if row is not None:
            return Story(row, changes, view.now_us)
        fresh = {
            "merchant_id": self.merchant_id,
            "id": self.payment_id,
            "mode": self.mode,
            "session_id": self.session["id"],
            "wallet_id": self.session["wallet_id"],
            "customer_id": self.session["customer_id"],
            "status": Status.CREATED.value,
            "amount_units": self.session["amount_units"],
            "credited_units": 0,
            "refunding_units": 0,
            "refunded_units": 0,
            "fact_count": 0,
            "created_us": view.now_us,
            "updated_us": view.now_us,
        }
        return Story(fresh, changes, view.now_us, fresh=True)

    def _count(self, view: View, changes: Changes, *, fresh: bool) -> None:
        customer = view.one("customer", self.merchant_id, self.mode, self.session["customer_reference"])
        assert customer is not None, "a session has its customer"
        # The amount counts once per payment, its attempts each.
        units = self.session["amount_units"] if fresh else 0
        counters = count_attempt(self.screening, customer, units, view.now_us)
        changes.update("customer", (self.merchant_id, self.mode, customer["reference"]), **counters)
        if self.offer.quote_id is not None:
            quote = view.one("quote", self.merchant_id, self.offer.quote_id)
            if quote is None or quote["used_by"] not in {None, self.payment_id}:
                raise Conflict("quote_used", "this quote was used for another payment: create a new session")
            changes.update("quote", (self.merchant_id, self.offer.quote_id), used_by=self.payment_id)

    def _attempt(self, view: View, changes: Changes, *, step_up: bool) -> Row:
        attempt_id = new_id("att")
        address: str | None = None
        if self.chain is not None:
            owner = AddressOwner(self.merchant_id, self.session["wallet_id"])
            raw = ensure_address(
                view, changes, owner=owner, mode=self.mode, family=self.chain.family, derive=self.chain.derive
            )
            address = self.chain.show(raw)
        total = self.offer.price.total
        order = PaymentOrder(
            attempt_id=attempt_id,
            method=self.offer.method,
            amount=total,
            country=self.session["country"],
            description=f"Top-up {self.payment_id[-12:]}",
            return_url=self.return_url,
            expires_at=from_us(self.session["expires_us"]),
            locale=self.session["locale"],
            customer_reference=self.session["customer_reference"],
            deposit_address=address,
            save_method=self.save_method,
            saved=None if self.standing is None else self.standing.saved,
            step_up=step_up,
            capture_later=self.capture_later,
            statement_suffix="" if address else self.seller.statement_descriptor,
            merchant_category="" if address else self.seller.merchant_category,
        )
        row: Row = {
            "merchant_id": self.merchant_id,
            "id": attempt_id,
            "mode": self.mode,
            "payment_id": self.payment_id,
            "session_id": self.session["id"],
            "wallet_id": self.session["wallet_id"],
            "offer_id": self.offer.id,
            "rail": self.offer.rail,
            "account": self.offer.account,
            "method": self.offer.method,
            "status": AttemptStatus.SENT.value,
            "asset": str(total.asset),
            "units": total.units,
            "received_units": 0,
            "order_json": order_to_json(order),
            "lines": orjson.dumps(self.offer.price.to_json()).decode(),
            "quote_expires_us": self.session["expires_us"],
            "rail_reference": None,
            "next_action": None,
            "decline": None,
            "open_at_rail": 1,
            "next_check_us": self.first_check_us,
            "checks": 0,
            "created_us": view.now_us,
            "updated_us": view.now_us,
        }
        changes.insert(
            "attempt_index",
            attempt_id=attempt_id,
            merchant_id=self.merchant_id,
            mode=self.mode,
            rail=self.offer.rail,
            account=self.offer.account,
            payment_id=self.payment_id,
        )
        changes.insert("attempt", **row)
        if self.save_method:
            ask_to_save(changes, row, view.now_us)
        return row


def _wants_step_up(attempt: Row) -> bool:
    """Say whether the bank declined an attempt because it wants to see the buyer first."""
    return attempt["decline"] is not None and bool(orjson.loads(attempt["decline"]).get("step_up"))


def payment_of_session(session_id: str) -> str:
    """Return the id of the one payment that a session leads to, so that it can be locked before it exists."""
    return "pay_" + session_id.partition("_")[2]


def is_chain(offer: Offer) -> bool:
    return offer.flow == Flow.DEPOSIT_ADDRESS.value


def find_offer(session: Row, offer_id: str) -> Offer:
    for offer in offers_of(session):
        if offer.id == offer_id:
            return offer
    raise NotFound("offer_not_found", f"this session has no offer {offer_id}", pointer="/offer")
