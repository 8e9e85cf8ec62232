"""What the units of a refund decide, inside the flush: set credit aside, let it go, put it back. No network here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.database.unit import Changes, Lock, Row, View, row_lock
from orchestrator.errors import Conflict, Invalid
from orchestrator.events.catalog import EventType, emit
from orchestrator.ids import new_id
from orchestrator.ledger.accounts import reversal_locks
from orchestrator.ledger.merchant_side import side_locks, side_of
from orchestrator.ledger.purse import OPEN_LOTS
from orchestrator.ledger.recipes import Holding
from orchestrator.ledger.refund_recipes import Refunding, returned_above, to_wallet
from orchestrator.payments.crediting import ask_a_person, holding_of
from orchestrator.payments.payment import Command, Fact, Status, allows
from orchestrator.payments.pricing import Price
from orchestrator.payments.refund_questions import withdraw
from orchestrator.payments.refund_terms import Share, Sources, Whole, free_of, refund_object, take
from orchestrator.payments.story import Story, money_body, usd_body
from rates.money import Asset, Money

OF_PAYMENT: Final = ("merchant_id", "payment_id")
UNDECIDED: Final = frozenset({"needs_answer", "under_review"})
"""States of a dispute; a payment has more than one where its bank disputes parts of it one by one."""


@dataclass(frozen=True, slots=True)
class MoneyRow:
    """One piece of money that can go back: a capture or a deposit."""

    table: str
    merchant_id: str
    mode: str
    id: str
    payment_id: str
    wallet_id: str
    rail: str
    account: str

    @property
    def on_chain(self) -> bool:
        return self.table == "deposit"

    @property
    def holding(self) -> Holding | None:
        """Where it lies; None on a chain, whose transfers are booked by themselves."""
        return None if self.on_chain else holding_of(self.rail, self.account)

    def locks(self) -> list[Lock]:
        """Return what every unit of a refund of this money locks, in the order of the money rules."""
        return [
            row_lock("payment", self.merchant_id, self.payment_id),
            row_lock(self.table, self.merchant_id, self.id),
            Lock("refund", OF_PAYMENT, (self.merchant_id, self.payment_id)),
            Lock("dispute", OF_PAYMENT, (self.merchant_id, self.payment_id)),
            row_lock("wallet", self.merchant_id, self.wallet_id),
            Lock("lot", OPEN_LOTS, (self.merchant_id, self.wallet_id, 1)),
            *reversal_locks(self.merchant_id, self.mode, self.wallet_id),
            *side_locks(self.merchant_id, self.mode),
        ]


@dataclass(frozen=True, slots=True)
class RefundWanted:
    """A command. ``units``: credit that goes, USD/9; None = all that can."""

    id: str
    merchant_id: str
    mode: str
    payment_id: str
    units: int | None
    reason: str
    destination: str
    """source | wallet | address"""
    forced: bool
    """An operator's: what the customer has used is taken from other paid credit and from the merchant."""
    by: str


@dataclass(slots=True)
class Book:
    """One payment's refunds under their locks."""

    view: View
    changes: Changes
    at: MoneyRow
    money: Row
    story: Story
    returned: Collection[str]
    """Fee lines that go back."""

    @classmethod
    def open(cls, view: View, changes: Changes, at: MoneyRow, returned: Collection[str]) -> Book:
        money = view.one(at.table, at.merchant_id, at.id)
        payment = view.one("payment", at.merchant_id, at.payment_id)
        assert money is not None, "money is never deleted"
        assert payment is not None, "credited money has its payment"
        return cls(view, changes, at, money, Story(payment, changes, view.now_us), returned)

    # --- what there is ----------------------------------------------------------------------------------------------

    @property
    def whole(self) -> Whole:
        if self.money["lines"] is None:
            raise Conflict("money_not_refundable", f"{self.at.id} was never credited at a price of its own")
        return Whole.of(Price.from_json(orjson.loads(self.money["lines"])), self.returned)

    def refunds(self) -> list[Row]:
        return self.view.many("refund", OF_PAYMENT, (self.at.merchant_id, self.at.payment_id))

    def before(self) -> list[Share]:
        """Return what went back of this money, or is on its way."""
        return [
            Share.of_row(row)
            for row in self.refunds()
            if row["money_id"] == self.at.id and row["status"] != "failed" and row["destination"] != "wallet"
        ]

    def lots(self) -> list[Row]:
        return self.view.many("lot", OPEN_LOTS, (self.at.merchant_id, self.at.wallet_id, 1))

    @property
    def room(self) -> int:
        money = self.money
        return int(
            money["units"] - money["refunding_units"] - money["refunded_units"] - money["withdrawn_units"]
        )  # fmt: skip

    # --- asked ------------------------------------------------------------------------------------------------------

    def ask(self, wanted: RefundWanted) -> Mapping[str, Any]:
        """Set the credit aside. Raises Conflict, Invalid; then nothing was written."""
        self._may_refund(wanted)
        whole, before = self.whole, self.before()
        left = whole.principal - sum(one.units for one in before)
        own = sum(max(0, free_of(lot)) for lot in self.lots() if lot["source"] == self.at.id)
        units = wanted.units if wanted.units is not None else (left if wanted.forced else min(left, own))
        if units > left or units <= 0:
            raise Conflict(
                "refund_exceeds_payment", f"{usd_body(left)['amount']} USD of {self.at.id} can still go back"
            )
        available = side_of(self.view, self.at.merchant_id, self.at.mode).available
        sources = take(units, self.at.id, self.lots(), available, used_too=wanted.forced)
        if sources is None:
            detail = f"{usd_body(own)['amount']} USD of this payment's credit is unspent and free; an operator can force more"
            raise Conflict("credit_was_used", detail)
        share = whole.share(units, before)
        if share.local.units <= 0:
            raise Invalid("amount_too_small", "that is less than the smallest unit of the currency that was paid",
                          pointer="/amount/amount")  # fmt: skip
        if share.local.units > self.room:
            raise Conflict("refund_exceeds_money", "refunds and disputes together would exceed what was paid")
        return self._set_aside(wanted, share, sources)

    def _may_refund(self, wanted: RefundWanted) -> None:
        status = self.story.status
        others = self.view.many("dispute", OF_PAYMENT, (self.at.merchant_id, self.at.payment_id))
        contested = any(row["state"] in UNDECIDED and not row["inquiry"] for row in others)
        if contested or status is Status.DISPUTED or self.money["withdrawn_units"]:
            raise Conflict("payment_is_disputed", "while the payer's bank decides, nothing is refunded")
        if not allows(status, Command.REFUND):
            raise Conflict("payment_not_refundable", f"a payment that is {status} has nothing to refund")
        wallet = self.view.one("wallet", self.at.merchant_id, self.at.wallet_id)
        assert wallet is not None, "credited money has its wallet"
        if wallet["status"] == "frozen" and not wanted.forced:
            raise Conflict("wallet_is_frozen", f"{wallet['id']} is frozen: an operator can force a refund")

    def write_row(self, wanted: RefundWanted, share: Share, sources: Sources, **columns: Any) -> Row:
        """Write a refund's row and return it."""
        now_us = self.view.now_us
        row = {
            "merchant_id": self.at.merchant_id, "id": wanted.id, "mode": self.at.mode, "payment_id": self.at.payment_id,
            "money_id": self.at.id, "wallet_id": self.at.wallet_id, "rail": self.at.rail, "account": self.at.account,
            "status": "created", "origin": "api", "destination": wanted.destination, "reason": wanted.reason,
            "requested_by": wanted.by, "units": share.units, "asset": str(share.local.asset),
            "local_units": share.local.units, "lines": share.lines_json(), "sources": sources.to_json(),
            "rail_reference": None, "failure": None, "next_check_us": now_us, "checks": 0, "created_us": now_us,
            "updated_us": now_us, "turns": 0, "above_units": 0, **columns,
        }  # fmt: skip
        self.changes.insert("refund", **row)
        return row

    def _set_aside(self, wanted: RefundWanted, share: Share, sources: Sources) -> Row:
        row = self.write_row(wanted, share, sources)
        frozen = {lot["id"]: lot["frozen_units"] for lot in self.lots()}
        for lot_id, part in sources.lots:
            self.changes.update("lot", (self.at.merchant_id, lot_id), frozen_units=frozen[lot_id] + part)
        self.move(refunding_units=share.local.units)
        self.changes.post(self.entries(row).asked())
        self.story.tell(Fact.REFUND_ASKED, refund=wanted.id, units=share.units, by=wanted.by)
        self.story.refunds(opened=share.units)
        self.story.write()
        emit(self.changes, EventType.REFUND_CREATED, wanted.id, refund_object(row), self.at.merchant_id)
        return row

    def give_back(self, wanted: RefundWanted) -> Mapping[str, Any]:
        """Give used credit back into the wallet, at the merchant's cost: no money leaves, so that it is done at once."""
        self._may_refund(wanted)
        credited, refunded = self.money["credited_units"], sum(one.units for one in self.before())
        given = sum(
            row["units"]
            for row in self.refunds()
            if row["destination"] == "wallet" and row["money_id"] == self.at.id and row["status"] == "succeeded"
        )
        unspent = sum(
            lot["remaining_units"] - lot["frozen_units"] for lot in self.lots() if lot["source"] == self.at.id
        )
        used = credited - refunded - given - unspent
        units = used if wanted.units is None else wanted.units
        if not 0 < units <= used:
            raise Conflict(
                "credit_not_used", f"{usd_body(max(0, used))['amount']} USD of this payment's credit was used"
            )
        available = min(units, max(0, side_of(self.view, self.at.merchant_id, self.at.mode).available))
        sources = Sources((), available, units - available)
        nothing = Money.zero(Asset.parse(self.money["asset"]))
        row = self.write_row(wanted, Share(units, nothing, {}), sources, status="succeeded")
        self.changes.post(
            to_wallet(
                wanted.id, self.at.wallet_id, self.at.payment_id, available=available, receivable=units - available
            )
        )
        self.changes.insert(
            "lot", merchant_id=self.at.merchant_id, id=new_id("lot"), mode=self.at.mode, wallet_id=self.at.wallet_id,
            kind="paid", source=wanted.id, payment_id=self.at.payment_id, units=units, remaining_units=units,
            created_us=self.view.now_us,
        )  # fmt: skip
        self.story.tell(Fact.REFUND_NOTED, refund=wanted.id, units=units, to="wallet")
        self.story.write()
        for type_ in (EventType.REFUND_CREATED, EventType.REFUND_SUCCEEDED):
            emit(self.changes, type_, wanted.id, refund_object(row), self.at.merchant_id)
        return row

    def differs(self, refund: Row, said: Money) -> None:
        """The rail refunded another amount than it was asked to: a person looks."""
        share = Share.of_row(refund)
        self.ask_person("refund_amount_differs", refund["id"], asked=money_body(share.local), said=money_body(said))

    def ask_person(self, reason: str, subject: str, **evidence: Any) -> None:
        ask_a_person(
            self.view, self.changes, self.at.merchant_id, self.at.mode, reason=reason, subject=subject,
            payment_id=self.at.payment_id, evidence=evidence,
        )  # fmt: skip

    # --- ended ------------------------------------------------------------------------------------------------------

    def succeed(self, refund: Row, **said: Any) -> None:
        """The money is with the payer: the credit goes, and the fee lines that go with it. ``said``: columns."""
        share, sources = Share.of_row(refund), Sources.of_row(refund)
        self._let_go(sources)
        self.move(refunding_units=-share.local.units, refunded_units=share.local.units)
        if share.units:
            self.changes.post(self.entries(refund).done())
        self.story.refunds(opened=-share.units, gone=share.units)
        self._end(refund, "succeeded", EventType.REFUND_SUCCEEDED, **said)

    def fail(self, refund: Row, why: str, *, asks: bool = True, **said: Any) -> None:
        """The rail did not carry it out: the credit is back where it was taken from. ``said``: columns, its own words.

        ``asks``: a person does not know yet.
        """
        share, sources = Share.of_row(refund), Sources.of_row(refund)
        self._put_back(sources, gone=False)
        self.move(refunding_units=-share.local.units)
        self.changes.post(self.entries(refund).failed())
        self.story.refunds(opened=-share.units)
        self._end(refund, "failed", EventType.REFUND_FAILED, failure=why[:200], **said)
        if asks:
            self.ask_person("refund_failed", refund["id"], why=why[:200], amount=usd_body(share.units))

    def come_back(self, refund: Row, why: str, **said: Any) -> None:
        """A refund that was through came back: the money is with us again, and so is the credit."""
        share, sources = Share.of_row(refund), Sources.of_row(refund)
        self._put_back(sources, gone=True)
        self.move(refunded_units=-share.local.units)
        entries = self.entries(refund)
        if share.units or share.local.units:
            self.changes.post(entries.returned())
        if share.units:
            self.changes.post(entries.failed())
        above = Money(refund["above_units"], share.local.asset)
        if above.units and self.at.holding is not None:
            self.changes.post(returned_above(entries.fact, above, self.at.holding, self.at.payment_id))
        self.story.refunds(back=share.units)
        self._end(refund, "failed", EventType.REFUND_REVERSED, failure=why[:200], above_units=0, **said)
        self.ask_person("refund_returned", refund["id"], why=why[:200], amount=usd_body(share.units))

    def _wake_disputes(self) -> None:
        """A dispute took more than there was while this refund was under way: it takes over what the refund did not."""
        for row in self.view.many("dispute", OF_PAYMENT, (self.at.merchant_id, self.at.payment_id)):
            if row["above_units"]:
                self.changes.update("dispute", (row["merchant_id"], row["id"]), next_check_us=self.view.now_us)

    def _end(self, refund: Row, status: str, type_: EventType, **columns: Any) -> None:
        if status == "failed":
            self._wake_disputes()
        new = {"status": status, "updated_us": self.view.now_us, **columns}
        self.changes.update("refund", (self.at.merchant_id, refund["id"]), **new)
        withdraw(self.view, self.changes, refund)
        self.story.tell(self.fact(), refund=refund["id"], outcome=status)
        self.story.write()
        emit(self.changes, type_, refund["id"], refund_object({**refund, **new}), self.at.merchant_id)

    def fact(self) -> Fact:
        payment = self.story.row
        if payment["refunding_units"]:
            return Fact.REFUND_NOTED
        if not payment["refunded_units"]:
            return Fact.REFUND_FAILED
        return Fact.REFUNDED if payment["refunded_units"] >= payment["credited_units"] else Fact.PART_REFUNDED

    def _let_go(self, sources: Sources) -> None:
        for lot_id, part in sources.lots:
            lot = self._lot(lot_id)
            remaining = lot["remaining_units"] - part
            columns = {"remaining_units": remaining, "frozen_units": lot["frozen_units"] - part}
            self.changes.update("lot", (self.at.merchant_id, lot_id), **columns, **({} if remaining else {"open": 0}))

    def _put_back(self, sources: Sources, *, gone: bool) -> None:
        for lot_id, part in sources.lots:
            lot = self._lot(lot_id)
            if gone:
                columns = {"remaining_units": lot["remaining_units"] + part, "open": 1}
            else:
                columns = {"frozen_units": lot["frozen_units"] - part}
            self.changes.update("lot", (self.at.merchant_id, lot_id), **columns)

    def _lot(self, lot_id: str) -> Row:
        row = self.view.one("lot", self.at.merchant_id, lot_id)
        assert row is not None, "lots are never deleted"
        return row

    def move(self, **by: int) -> None:
        """Count what goes back of the money; the row in hand follows, for a second step of the same unit."""
        columns = {name: self.money[name] + units for name, units in by.items()}
        self.changes.update(self.at.table, (self.at.merchant_id, self.at.id), **columns)
        self.money = {**self.money, **columns}

    def entries(self, refund: Mapping[str, Any]) -> Refunding:
        sources = Sources.of_row(dict(refund))
        return Refunding(
            fact=f"{refund['id']}:{refund['turns']}" if refund["turns"] else refund["id"], wallet_id=self.at.wallet_id, payment_id=self.at.payment_id, of_credit=sources.credit,
            of_available=sources.available, of_receivable=sources.receivable, lines=orjson.loads(refund["lines"]),
            local=Money(refund["local_units"], Asset.parse(refund["asset"])), holding=self.at.holding,
        )  # fmt: skip


def lot_locks(refund: Row) -> list[Lock]:
    """Return the locks of the lots that a refund took credit from; they may be closed by now."""
    return [row_lock("lot", refund["merchant_id"], lot_id) for lot_id, _ in Sources.of_row(refund).lots]
