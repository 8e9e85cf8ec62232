"""THE ONE DOOR for what a rail says: webhook, poll and answer all come here as a RailEvent.

One unit per event, executed wholly inside one flush: lock, drop what is known, check what was asked for, ask the pure
machines, write state, journal entry and outbox. No network here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from prometheus_client import Counter

from adapters.base import RailEvent, RailEventKind
from orchestrator.clock import Clock, to_us
from orchestrator.database.unit import Applied, Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.ids import new_id
from orchestrator.payments.attempt import AttemptStatus, after_event, closes
from orchestrator.payments.crediting import (
    MoneyAt,
    ask_a_person,
    credit_locks,
    credit_wallet,
    holding_of,
    is_claimed,
    put_in_suspense,
)
from orchestrator.payments.finder import AttemptAt, Finder
from orchestrator.payments.offers import next_offer, offers_of
from orchestrator.payments.payment import Fact, Status
from orchestrator.payments.pricer import Pricer
from orchestrator.payments.pricing import Price
from orchestrator.payments.story import Story, money_body
from orchestrator.payments.wire_json import charges_saved, steps_up
from rates.money import Asset, Money

OF_PAYMENT: Final = ("merchant_id", "payment_id")
AUTHORISATION: Final = "authorisation"
"""In the detail of an event: the money is reserved under this id, and not taken yet."""
_log = structlog.get_logger("confirmation")
_events = Counter("crossrail_rail_events", "What rails said", ["rail", "kind", "result"])
_unlisted = Counter("crossrail_declines_unlisted", "Decline codes that are in no table", ["rail", "code"])


class NotOurs(Exception):
    """The event names no attempt of this rail account: kept in the raw inbox for a person, never guessed."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Applies what rails say to our payments."""

    writer: Writer
    finder: Finder
    pricer: Pricer
    clock: Clock

    async def apply(self, event: RailEvent) -> Applied:
        """Apply one statement of a rail; the same statement again changes nothing. Raises NotOurs."""
        found = await self.finder.of_event(event)
        if found is None or (found.rail, found.account, found.mode) != (event.rail, event.account, event.mode.value):
            # Who signed decides: an event of one account never touches another's payment.
            _events.labels(event.rail, event.kind.value, "not_ours").inc()
            raise NotOurs(f"{event.rail}/{event.account} {event.event_id}: no attempt {event.attempt_id!r} there")
        applied = await self.writer.submit(self._unit(event, found))
        result = "known" if applied.duplicate else str(applied.answer.get("result", "applied"))
        _events.labels(event.rail, event.kind.value, result).inc()
        if event.decline is not None and not event.decline.listed and not applied.duplicate:
            _unlisted.labels(event.rail, event.decline.code[:40]).inc()
        _log.info(
            "rail_event_applied", rail=event.rail, account=event.account, rail_event=event.event_id, kind=event.kind.value,
            attempt=found.attempt_id, payment=found.payment_id, result=result,
        )  # fmt: skip
        return applied

    def _unit(self, event: RailEvent, found: AttemptAt) -> Unit:
        merchant = found.merchant_id
        locks = [
            row_lock("attempt", merchant, found.attempt_id),
            row_lock("payment", merchant, found.payment_id),
            row_lock("checkout_session", merchant, found.session_id),
        ]
        if event.kind is RailEventKind.CAPTURED or AUTHORISATION in event.detail:
            locks.append(row_lock("reservation", merchant, found.attempt_id))
        if event.kind is RailEventKind.CAPTURED:
            claim = (event.rail, event.account, event.mode.value, "capture", event.money_id or "")
            locks += credit_locks(merchant, found.mode, found.wallet_id, claim)
        if event.decline is not None and event.decline.step_up:
            locks.append(Lock("attempt", OF_PAYMENT, (merchant, found.payment_id)))
        now = self.clock.now()

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            scene = _Scene.of(view, changes, found, event)
            if event.kind is not RailEventKind.CAPTURED:
                return scene.word()
            assert event.amount is not None, "a captured event says how much"
            arrival = self.pricer.arrival(
                event.amount, rail=found.rail, account=found.account, method=scene.attempt["method"], now=now
            )
            return scene.money(event.amount, arrival)

        return Unit(merchant, found.mode, f"rail:{event.rail}:{event.account}:{event.event_id}", locks, decide)


@dataclass(slots=True)
class _Scene:
    """One event meeting one attempt, inside the flush."""

    view: View
    changes: Changes
    found: AttemptAt
    event: RailEvent
    attempt: Row
    session: Row
    story: Story

    @classmethod
    def of(cls, view: View, changes: Changes, found: AttemptAt, event: RailEvent) -> _Scene:
        attempt = view.one("attempt", found.merchant_id, found.attempt_id)
        payment = view.one("payment", found.merchant_id, found.payment_id)
        session = view.one("checkout_session", found.merchant_id, found.session_id)
        assert attempt is not None, "the index is written with the attempt"
        assert payment is not None, "an attempt has its payment"
        assert session is not None, "a payment has its session"
        return cls(view, changes, found, event, attempt, session, Story(payment, changes, view.now_us))

    @property
    def at_us(self) -> int:
        return to_us(self.event.occurred_at)

    def word(self) -> dict[str, Any]:
        """Take a word that moves no money."""
        status, fact = after_event(AttemptStatus(self.attempt["status"]), self.event)
        changed: Row = {}
        if fact is not None:
            changed["status"] = status.value
            self.story.tell(fact, at_us=self.at_us, attempt_id=self.found.attempt_id, **self._detail())
        if closes(self.event):
            changed["open_at_rail"] = 0
        if self.event.decline is not None and fact is not None:
            changed["decline"] = orjson.dumps(_decline(self.event)).decode()
            self._suggest()
        if self.attempt["rail_reference"] is None and self.event.rail_reference:
            changed["rail_reference"] = self.event.rail_reference
        if changed:
            self._update_attempt(**changed)
        if AUTHORISATION in self.event.detail:
            self._reserve(str(self.event.detail[AUTHORISATION]))
        self.story.write()
        return {"result": "applied" if fact is not None else "noted", "payment": self.found.payment_id}

    def _reserve(self, authorisation: str) -> None:
        """Note that the money is reserved: it is taken, or let go, by ``reservations``. The first word counts."""
        if self._reservation() is not None:
            return
        self.changes.insert(
            "reservation", merchant_id=self.found.merchant_id, attempt_id=self.found.attempt_id, mode=self.found.mode,
            payment_id=self.found.payment_id, rail=self.found.rail, account=self.found.account,
            authorisation=authorisation, state="held", authorised_us=self.at_us, next_us=self.view.now_us, tries=0,
            created_us=self.view.now_us,
        )  # fmt: skip

    def _reservation(self) -> Row | None:
        return self.view.one("reservation", self.found.merchant_id, self.found.attempt_id)

    def money(self, amount: Money, arrival: Price | str) -> dict[str, Any]:
        """Take money: credit it, or hold it in suspense for a person; never ignore it."""
        if amount.units <= 0:
            return self._nothing(amount)
        money = self._money_at(amount)
        if is_claimed(self.view, money):
            return {"result": "known_money", "payment": self.found.payment_id}
        # A second success on one payment is money too: it is credited under its own claim and lot.
        if self.story.row["credited_units"] > 0 and self.story.status is Status.CREDITED:
            _log.warning("second_success", payment=self.found.payment_id, money=money.rail_id)
        self.story.tell(
            Fact.CAPTURED, at_us=self.at_us, attempt_id=self.found.attempt_id,
            money=money.rail_id, received=money_body(amount), **self._detail(),
        )  # fmt: skip
        priced = self._price(amount, arrival)
        credited = 0
        if isinstance(priced, str):
            put_in_suspense(
                self.view, self.changes, money, priced,
                asked=money_body(Money(self.attempt["units"], Asset.parse(self.attempt["asset"]))),
            )  # fmt: skip
            self.story.tell(Fact.REVIEW, attempt_id=self.found.attempt_id, reason=priced)
        else:
            credited = credit_wallet(self.view, self.changes, money, priced)
            self.story.tell(Fact.SETTLED, at_us=self.at_us, attempt_id=self.found.attempt_id)
            self.story.credited(credited)
            self.story.tell(Fact.CREDITED, attempt_id=self.found.attempt_id, units=credited)
            complete_session(self.changes, self.session)
        self._capture(money, credited, priced)
        self._update_attempt(
            status=AttemptStatus.SUCCEEDED.value,
            open_at_rail=0,
            received_units=self.attempt["received_units"] + (amount.units if self._same_asset(amount) else 0),
            rail_reference=self.attempt["rail_reference"] or self.event.rail_reference,
        )
        self.story.write()
        result = "review" if isinstance(priced, str) else "credited"
        return {"result": result, "payment": self.found.payment_id, "credited_units": credited}

    def _nothing(self, amount: Money) -> dict[str, Any]:
        """A capture of nothing (or less) moves no money and claims none: a person looks at what the rail meant."""
        ask_a_person(
            self.view, self.changes, self.found.merchant_id, self.found.mode, reason="captured_nothing",
            subject=self.found.attempt_id, payment_id=self.found.payment_id,
            evidence={"received": money_body(amount), **self._detail()},
        )  # fmt: skip
        return {"result": "nothing", "payment": self.found.payment_id}

    def _price(self, amount: Money, arrival: Price | str) -> Price | str:
        """The locked price, if this is what was asked for and in time; the rate of arrival for late money."""
        if not self._same_asset(amount):
            return "currency_mismatch"
        if amount.units != self.attempt["units"]:
            return "amount_mismatch"
        held = self._reservation()
        paid_us = self.at_us if held is None else min(self.at_us, held["authorised_us"])  # the buyer paid then
        if paid_us <= self.attempt["quote_expires_us"]:
            return Price.from_json(orjson.loads(self.attempt["lines"]))
        return arrival

    def _same_asset(self, amount: Money) -> bool:
        return bool(str(amount.asset) == self.attempt["asset"])

    def _money_at(self, amount: Money) -> MoneyAt:
        if not self.event.money_id:
            raise ValueError(f"{self.event.rail} {self.event.event_id}: captured money without an id of its own")
        return MoneyAt(
            merchant_id=self.found.merchant_id,
            mode=self.found.mode,
            rail=self.found.rail,
            account=self.found.account,
            kind="capture",
            rail_id=self.event.money_id,
            object_id=new_id("cap"),
            wallet_id=self.found.wallet_id,
            payment_id=self.found.payment_id,
            total=amount,
            holding=holding_of(self.found.rail, self.found.account),
        )

    def _capture(self, money: MoneyAt, credited: int, priced: Price | str) -> None:
        self.changes.insert(
            "capture",
            merchant_id=money.merchant_id,
            id=money.object_id,
            mode=money.mode,
            payment_id=self.found.payment_id,
            attempt_id=self.found.attempt_id,
            rail=money.rail,
            account=money.account,
            money_id=money.rail_id,
            asset=str(money.total.asset),
            units=money.total.units,
            status="review" if isinstance(priced, str) else "credited",
            credited_units=credited,
            lines=None if isinstance(priced, str) else orjson.dumps(priced.to_json()).decode(),
            captured_us=self.at_us,
            created_us=self.view.now_us,
        )

    def _suggest(self) -> None:
        """After a decline: name the same offer where the bank only wants to see the buyer, else the one of the rule."""
        decline = self.event.decline
        assert decline is not None, "only declines suggest"
        offers = offers_of(self.session)
        tried = next(offer for offer in offers if offer.id == self.attempt["offer_id"])
        following = tried if self._may_step_up() else next_offer(offers, tried, decline.severity.value)
        key = (self.found.merchant_id, self.session["id"])
        self.changes.update("checkout_session", key, suggested_offer=following.id if following else None)

    def _may_step_up(self) -> bool:
        """Once per payment: a bank that was shown the buyer and still asks is not asked again."""
        decline = self.event.decline
        if decline is None or not decline.step_up or charges_saved(self.attempt["order_json"]):
            return False
        attempts = self.view.many("attempt", OF_PAYMENT, (self.found.merchant_id, self.found.payment_id))
        return not any(steps_up(one["order_json"]) for one in attempts)

    def _update_attempt(self, **columns: Any) -> None:
        key = (self.found.merchant_id, self.found.attempt_id)
        self.changes.update("attempt", key, updated_us=self.view.now_us, **columns)

    def _detail(self) -> dict[str, Any]:
        detail = {"event": self.event.event_id, **self.event.detail}
        return detail if self.event.decline is None else {**detail, "decline": _decline(self.event)}


def complete_session(changes: Changes, session: Row) -> None:
    """Close a session whose payment was credited, and say so."""
    if session["status"] == "complete":
        return
    changes.update("checkout_session", (session["merchant_id"], session["id"]), status="complete")
    body = {"id": session["id"], "status": "complete", "payment": session["payment_id"]}
    changes.emit("checkout.session.completed", session["id"], orjson.dumps(body).decode(), session["merchant_id"])


def _decline(event: RailEvent) -> dict[str, Any]:
    assert event.decline is not None
    said: dict[str, Any] = {
        "severity": event.decline.severity.value,
        "code": event.decline.code,
        "message": event.decline.message,
    }
    return {**said, "step_up": True} if event.decline.step_up else said
