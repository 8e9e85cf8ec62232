"""The review queue: everything that needs a person, and what the person decides. Each decision is one unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from sqlalchemy import select

from orchestrator.clock import Clock, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Capture, Payment, Review, Wallet, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, account_lock, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.events.catalog import EventType, emit
from orchestrator.ledger.accounts import top_up_locks
from orchestrator.ledger.chart import Account
from orchestrator.ledger.recipes import Holding
from orchestrator.payments.allotment import Allotment, Decided, Rails
from orchestrator.payments.confirmation import complete_session
from orchestrator.payments.crediting import MoneyAt, credit_claimed, holding_of
from orchestrator.payments.deposits import Deposits
from orchestrator.payments.payment import Fact
from orchestrator.payments.pricer import Pricer
from orchestrator.payments.pricing import Price
from orchestrator.payments.refunds import Refunds
from orchestrator.payments.review_actions import Action, actions_of, refunded_outside
from orchestrator.payments.story import Story, usd_body
from rates.money import Asset, Money

_DEPOSIT_STATUS: Final = {Action.PLAN_REFUND: "refund_planned", Action.IGNORE: "ignored"}


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    note: str
    """Why, in the person's words."""
    by: str
    wallet_id: str | None = None
    """For ``credit``: whose it is. Default: the wallet that the payment was for."""


@dataclass(frozen=True, slots=True)
class _Suspended:
    """A capture in suspense, and what hangs on it."""

    capture: Row
    payment: Row
    wallet_id: str

    @property
    def total(self) -> Money:
        return Money(self.capture["units"], Asset.parse(self.capture["asset"]))

    def locks(self, review: Row) -> list[Lock]:
        merchant, mode = review["merchant_id"], review["mode"]
        return [
            row_lock("review", merchant, review["id"]),
            row_lock("capture", merchant, self.capture["id"]),
            row_lock("payment", merchant, self.payment["id"]),
            row_lock("checkout_session", merchant, self.payment["session_id"]),
            account_lock(merchant, mode, Account.SUSPENSE.value, self.capture["id"], self.capture["asset"]),
            *top_up_locks(merchant, mode, self.wallet_id),
        ]


def review_object(row: Row) -> dict[str, Any]:
    """Return a review item as the API shows it."""
    return {
        "id": row["id"],
        "merchant": row["merchant_id"],
        "livemode": row["mode"] == "live",
        "reason": row["reason"],
        "subject": row["subject"],
        "payment": row["payment_id"],
        "status": row["status"],
        "evidence": orjson.loads(row["evidence"]),
        "actions": [action.value for action in actions_of(row)],
        "action": row["action"] or None,
        "note": row["note"] or None,
        "resolved_by": row["resolved_by"] or None,
        "outcome": orjson.loads(row["outcome"]),
        "created_at": rfc3339(row["created_us"]),
        "resolved_at": None if row["resolved_us"] is None else rfc3339(row["resolved_us"]),
    }


class Parts(Protocol):
    """What the queue is made of; ``orchestrator.services.Services`` fits."""

    @property
    def writer(self) -> Writer: ...
    @property
    def reads(self) -> Reads: ...
    @property
    def pricer(self) -> Pricer: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def deposits(self) -> Deposits: ...
    @property
    def rails(self) -> Rails: ...
    @property
    def refunds(self) -> Refunds: ...


def reviews_of(parts: Parts) -> Reviews:
    allotment = Allotment(parts.writer, parts.reads, parts.deposits.desk, parts.rails)
    return Reviews(parts.writer, parts.reads, parts.pricer, parts.clock, allotment, parts.refunds)


@dataclass(frozen=True, slots=True)
class Reviews:
    writer: Writer
    reads: Reads
    pricer: Pricer
    clock: Clock
    allotment: Allotment
    refunds: Refunds

    async def find(self, review_id: str) -> Row:
        """Return one ``review`` row of any merchant. Raises NotFound."""
        table = table_of(Review)
        row = await self.reads.one(select(table).where(table.c.id == review_id))
        if row is None:
            raise NotFound("review_not_found", f"there is no review {review_id}")
        return row

    async def resolve(self, review_id: str, decision: Decision) -> Row:
        """Decide an item; the same decision again changes nothing.

        Raises NotFound; Invalid where the action is not one of the item's; Conflict where it was decided otherwise.
        """
        review = await self.find(review_id)
        if review["status"] != "open" and review["action"] == decision.action.value:
            return review
        if decision.action not in actions_of(review):
            if review["status"] != "open":
                raise Conflict("review_is_resolved", f"{review_id} was resolved: {review['action'] or 'by itself'}")
            known = ", ".join(actions_of(review))
            raise Invalid("action_not_possible", f"{review_id} can be resolved by: {known}", pointer="/action")
        if decision.wallet_id is not None and decision.action is not Action.CREDIT:
            raise Invalid("wallet_not_possible", "a wallet is named for a credit only", pointer="/wallet")
        if review["subject"].startswith("dep_") and decision.action is not Action.ACCEPT:
            await self._deposit(review, decision)
        else:
            await self.writer.submit(await self._unit(review, decision))
        return await self.find(review_id)

    async def _deposit(self, review: Row, decision: Decision) -> None:
        """The inbox of deposits books, marks and resolves in one unit of its own."""
        if decision.wallet_id is not None:
            raise Invalid("wallet_not_possible", "a deposit is of its address's wallet", pointer="/wallet")
        decided = Decided(decision.by, decision.note)
        if decision.action is Action.CREDIT:
            await self.allotment.credit(review["subject"], decided)
        else:
            await self.allotment.settle_without_credit(review["subject"], decided, _DEPOSIT_STATUS[decision.action])

    async def _unit(self, review: Row, decision: Decision) -> Unit:
        match decision.action:
            case Action.CREDIT:
                return await self._credit(review, decision)
            case Action.REFUNDED_OUTSIDE:
                return await self._refunded(review, decision)
            case Action.NOT_REFUNDED:
                return await self._not_refunded(review, decision)
            case Action.CHECK_AGAIN:
                return self._check_again(review, decision)
            case _:
                locks = [row_lock("review", review["merchant_id"], review["id"])]
                return _unit_of(review, decision, locks, lambda _view, _changes: {})

    async def _credit(self, review: Row, decision: Decision) -> Unit:
        found = await self._suspended(review, decision.wallet_id)
        capture, total = found.capture, found.total
        priced = self.pricer.arrival(
            total, rail=capture["rail"], account=capture["account"], method=await self._method(capture),
            now=self.clock.now(),
        )  # fmt: skip
        if isinstance(priced, str):
            raise Conflict("money_has_no_price", f"{capture['id']} cannot be credited now: {priced}")
        price: Price = priced

        def book(view: View, changes: Changes) -> Mapping[str, Any]:
            self._in_suspense(view, found)
            money = MoneyAt(
                merchant_id=capture["merchant_id"], mode=capture["mode"], rail=capture["rail"],
                account=capture["account"], kind="capture", rail_id=capture["money_id"], object_id=capture["id"],
                wallet_id=found.wallet_id, payment_id=capture["payment_id"], total=total,
                holding=Holding(Account.SUSPENSE, capture["id"]),
            )  # fmt: skip
            credited = credit_claimed(view, changes, money, price)
            key = (capture["merchant_id"], capture["id"])
            lines = orjson.dumps(price.to_json()).decode()
            changes.update("capture", key, status="credited", credited_units=credited, lines=lines)
            payment = view.one("payment", capture["merchant_id"], capture["payment_id"])
            session = view.one("checkout_session", capture["merchant_id"], found.payment["session_id"])
            assert payment is not None, "a capture has its payment"
            assert session is not None, "a payment has its session"
            story = Story(payment, changes, view.now_us)
            told: dict[str, Any] = {"attempt_id": capture["attempt_id"], "review": review["id"]}
            story.tell(Fact.SETTLED, **told)
            story.credited(credited)
            story.tell(Fact.CREDITED, units=credited, **told)
            story.write()
            complete_session(changes, session)
            return {"wallet": found.wallet_id, "credited": usd_body(credited), "capture": capture["id"]}

        return _unit_of(review, decision, found.locks(review), book)

    async def _refunded(self, review: Row, decision: Decision) -> Unit:
        found = await self._suspended(review, None)
        capture = found.capture

        def book(view: View, changes: Changes) -> Mapping[str, Any]:
            self._in_suspense(view, found)
            held = holding_of(capture["rail"], capture["account"])
            changes.post(refunded_outside(capture["id"], found.total, held, capture["payment_id"]))
            changes.update("capture", (capture["merchant_id"], capture["id"]), status="returned")
            return {"capture": capture["id"]}

        return _unit_of(review, decision, found.locks(review), book)

    async def _not_refunded(self, review: Row, decision: Decision) -> Unit:
        refund = await self.refunds.find(review["subject"])
        locks = [row_lock("review", review["merchant_id"], review["id"]), *self.refunds.locks(refund)]

        def book(view: View, changes: Changes) -> Mapping[str, Any]:
            self.refunds.never_happened(view, changes, refund, decision.note)
            return {"refund": refund["id"], "returned": usd_body(refund["units"])}

        return _unit_of(review, decision, locks, book)

    def _check_again(self, review: Row, decision: Decision) -> Unit:
        attempt_key = (review["merchant_id"], review["subject"])

        def book(view: View, changes: Changes) -> Mapping[str, Any]:
            attempt = view.one("attempt", *attempt_key)
            if attempt is None or not attempt["open_at_rail"]:
                raise Conflict("attempt_is_closed", "the rail takes no money for it any more: accept the item")
            changes.update("attempt", attempt_key, next_check_us=view.now_us)
            return {"attempt": review["subject"]}

        locks = [row_lock("review", review["merchant_id"], review["id"]), row_lock("attempt", *attempt_key)]
        return _unit_of(review, decision, locks, book)

    @staticmethod
    def _in_suspense(view: View, found: _Suspended) -> None:
        """Raise Conflict unless the whole capture is in suspense."""
        capture = view.one("capture", found.capture["merchant_id"], found.capture["id"])
        assert capture is not None, "captures are never deleted"
        held = -view.balance(
            capture["merchant_id"], capture["mode"], Account.SUSPENSE.value, capture["id"], capture["asset"]
        )  # fmt: skip
        if capture["status"] != "review" or held != capture["units"]:
            raise Conflict("not_in_suspense", f"{capture['id']} is {capture['status']}, {held} units are in suspense")

    async def _suspended(self, review: Row, wallet_id: str | None) -> _Suspended:
        captures, payments, wallets = table_of(Capture), table_of(Payment), table_of(Wallet)
        merchant = review["merchant_id"]
        capture = await self.reads.one(
            select(captures).where(captures.c.merchant_id == merchant, captures.c.id == review["subject"])
        )
        assert capture is not None, "captures are never deleted"
        payment = await self.reads.one(
            select(payments).where(payments.c.merchant_id == merchant, payments.c.id == capture["payment_id"])
        )
        assert payment is not None, "a capture has its payment"
        if wallet_id is not None:
            mine = (wallets.c.merchant_id == merchant, wallets.c.mode == review["mode"], wallets.c.id == wallet_id)
            if await self.reads.one(select(wallets.c.id).where(*mine)) is None:
                raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}", pointer="/wallet")
        return _Suspended(capture, payment, wallet_id or payment["wallet_id"])

    async def _method(self, capture: Row) -> str:
        table = table_of(Attempt)
        query = select(table.c.method).where(
            table.c.merchant_id == capture["merchant_id"], table.c.id == capture["attempt_id"]
        )
        row = await self.reads.one(query)
        assert row is not None, "a capture has its attempt"
        return str(row["method"])


def _unit_of(review: Row, decision: Decision, locks: list[Lock], book: Any) -> Unit:
    """Return the unit that books a decision and notes who made it: once for ever, under its key."""
    key = (review["merchant_id"], review["id"])

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        now = view.one("review", *key)
        assert now is not None, "reviews are never deleted"
        if decision.action not in actions_of(now):
            raise Conflict("review_is_resolved", f"{review['id']} was resolved: {now['action'] or 'by itself'}")
        outcome = book(view, changes)
        new: Row = {
            "status": "resolved", "action": decision.action.value, "note": decision.note, "resolved_by": decision.by,
            "resolved_us": view.now_us, "outcome": orjson.dumps(outcome).decode(),
        }  # fmt: skip
        changes.update("review", key, **new)
        emit(changes, EventType.REVIEW_RESOLVED, review["id"], review_object({**now, **new}))
        return {"review": review["id"]}

    return Unit(review["merchant_id"], review["mode"], f"review:{review['id']}:{decision.action}", locks, decide)
