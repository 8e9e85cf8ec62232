"""A refund that came first at the rail and is heard of after a dispute: the dispute makes room, as if it had been heard first.

Both vendors refund nothing of money that is disputed, so whatever was refunded was refunded before, or crossed the dispute
on its way. What counts is therefore: refunds first, disputes of what is left. Inside the flush; no network here.
Sources: https://docs.stripe.com/api/disputes/object (is_charge_refundable),
https://help.adyen.com/knowledge/risk/dispute-management/can-i-refund-a-dispute-or-chargeback, and on crossing
https://help.adyen.com/knowledge/risk/dispute-management/why-did-i-receive-a-chargeback-on-a-refunded-transaction
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson
from sqlalchemy import select

from orchestrator.database.onward import Onward
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Dispute, DisputeAllocation, table_of
from orchestrator.database.unit import Applied, Changes, Decide, Lock, NotLocked, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.events.catalog import EventType, emit
from orchestrator.ledger import dispute_recipes as recipes
from orchestrator.ledger.dispute_recipes import Borne
from orchestrator.payments import refund_words
from orchestrator.payments.dispute_book import DisputeBook
from orchestrator.payments.dispute_terms import BY_DISPUTE, LOOKS_MAX, DisputeAt, DisputesChanged, dispute_object
from orchestrator.payments.payment import Fact
from orchestrator.payments.refund_book import OF_PAYMENT, Book, MoneyRow, RefundWanted
from orchestrator.payments.refund_terms import Share
from orchestrator.payments.story import money_body
from rates.money import Asset, Money


async def taken_lots(reads: Reads, at: DisputeAt) -> list[Lock]:
    """Return the locks of lots that a lost dispute emptied: who gives back fills them again."""
    table = table_of(DisputeAllocation)
    rows = await reads.all(
        select(table.c.subject).where(table.c.merchant_id == at.merchant_id, table.c.dispute_id == at.dispute_id,
                                      table.c.source == "lot").distinct()
    )  # fmt: skip
    return [row_lock("lot", at.merchant_id, row["subject"]) for row in rows]


async def disputes_locks(reads: Reads, at: MoneyRow) -> list[Lock]:
    """Return what ``Disputed`` needs beside the locks of a refund."""
    table, locks = table_of(Dispute), []
    for row in await reads.all(
        select(table).where(table.c.merchant_id == at.merchant_id, table.c.payment_id == at.payment_id)
    ):
        dispute = DisputeAt.of_row(row)
        locks += [*dispute.locks(), *await taken_lots(reads, dispute)]
    return locks


@dataclass(slots=True)
class Yielding(DisputeBook):
    """One dispute whose money a refund is booked beside."""

    frozen_before: int = 0

    @classmethod
    def of(cls, view: View, changes: Changes, row: Row, returned: Collection[str]) -> Self:
        return cls._of(view, changes, DisputeAt.of_row(row), returned, row, None)

    @property
    def _local(self) -> Money:
        return Money(self.row["withdrawn_units"], Asset.parse(self.row["asset"]))

    def stand_back(self, wanted: int) -> int:
        """Undo what is booked of the credit, and leave ``wanted`` of the money; return how much that is."""
        self.frozen_before = sum(units for _, units in orjson.loads(self.row["frozen"]))
        units = min(wanted, int(self.row["withdrawn_units"]))
        local = Money(units, Asset.parse(self.row["asset"]))
        self.fact("gave_way", amount=money_body(local))
        if self.row["clawed_units"]:
            fact = f"{self.at.dispute_id}:{self.row['withdrawals']}:anew:{self.facts}"
            borne, debt = self._turn_round()
            self.changes.post(self._entries(fact).weighed_anew(self._local, borne, debt))
        self._thaw()
        if units:
            self.row["withdrawn_units"] -= units
            self.row["above_units"] += units
            self.capture["withdrawn_units"] -= units
            fact = f"{self.at.dispute_id}:{self.row['withdrawals']}:gave_way:{self.facts}"
            self.changes.post(recipes.above_after_all(fact, local, self.at.payment_id))
            self._ask("dispute_above_captured", above=money_body(local), said=money_body(self._local + local))
        self._write()
        return units

    def stand_again(self, frozen_before: int, *, clawed_before: bool) -> None:
        """Set aside, or take back, what there is now: as much as before, of what the refund left."""
        self.fact("stands_again")
        self.freeze()
        if frozen_before and not self.row["inquiry"]:
            # decided, and waiting for the word of the funds: what stood aside for it stands aside again
            self._freeze(min(frozen_before, self.row["units"]))
        if clawed_before and self.row["withdrawn_units"]:
            self._claw_back(self._local)
        elif clawed_before and not self._others_clawed():
            self.story.tell(Fact.DISPUTED, dispute=self.at.dispute_id)  # the refund had it all: nothing is clawed back
        self._write()
        emit(self.changes, EventType.DISPUTE_UPDATED, self.at.dispute_id, dispute_object(self.row), self.at.merchant_id)

    def _others_clawed(self) -> bool:
        disputes = self.view.many("dispute", OF_PAYMENT, (self.at.merchant_id, self.at.payment_id))
        return any(row["clawed_units"] for row in disputes if row["id"] != self.at.dispute_id)

    def _tell_loss(self, borne: Borne) -> None:
        """Loss and debt are old: they were told of when the dispute was lost."""


@dataclass(slots=True)
class Disputed:
    """The disputes of one piece of money that stand in a refund's way. They stand back while it is booked."""

    view: View
    changes: Changes
    at: MoneyRow
    returned: Collection[str]
    standing: list[tuple[str, int, bool]]

    @classmethod
    def of(cls, view: View, changes: Changes, at: MoneyRow, returned: Collection[str]) -> Self:
        return cls(view, changes, at, returned, [])

    def _rows(self, view: View) -> list[Row]:
        """Return them, the first one first."""
        found = view.many("dispute", OF_PAYMENT, (self.at.merchant_id, self.at.payment_id))
        mine = [row for row in found if row["capture_id"] == self.at.id]
        return sorted(mine, key=lambda row: (row["created_us"], row["id"]))

    def stand_back(self, local: Money) -> View:
        """Make room for a refund of ``local``; return what the refund is to look at. Raises DisputesChanged."""
        money = self.view.one(self.at.table, self.at.merchant_id, self.at.id)
        assert money is not None, "money is never deleted"
        gone = sum(money[f"{part}_units"] for part in ("refunding", "refunded", "withdrawn"))
        wanted = max(0, local.units - max(0, money["units"] - gone))
        for row in reversed(self._rows(self.view)):
            self._assert_locked(row)
            if not (row["clawed_units"] or row["withdrawn_units"] or row["frozen"] != "[]"):
                continue
            book = Yielding.of(Onward(self.view, self.changes), self.changes, row, self.returned)
            clawed = bool(row["clawed_units"])
            wanted -= book.stand_back(wanted)
            self.standing.append((row["id"], book.frozen_before, clawed))
        return Onward(self.view, self.changes) if self.standing else self.view

    def stand_again(self) -> None:
        for dispute_id, frozen, clawed in reversed(self.standing):
            view = Onward(self.view, self.changes)
            (row,) = [one for one in self._rows(view) if one["id"] == dispute_id]
            Yielding.of(view, self.changes, row, self.returned).stand_again(frozen, clawed_before=clawed)

    def _assert_locked(self, dispute: Row) -> None:
        """Look at what is not among a refund's own locks, before anything is decided."""
        key: Any = (dispute["merchant_id"], dispute["id"])
        try:
            allocations = self.view.many("dispute_allocation", BY_DISPUTE, key)
            self.view.many("dispute_fact", BY_DISPUTE, key)
            for row in allocations:
                if row["source"] == "lot":
                    self.view.one("lot", dispute["merchant_id"], row["subject"])
        except NotLocked:
            raise DisputesChanged(dispute["id"]) from None


@dataclass(frozen=True, slots=True)
class Returned:
    """Fee lines that go back: with a refund, with a lost dispute."""

    refund: Collection[str]
    dispute: Collection[str]


def book_word(
    view: View, changes: Changes, at: MoneyRow, returned: Returned, refund: Row, word: refund_words.Word
) -> None:  # fmt: skip
    """Book a word that turns a refund; one that had failed and went out all the same needs its room anew."""
    anew = (refund["status"], word.outcome) == (refund_words.FAILED, refund_words.SUCCEEDED)
    local = word.amount or Share.of_row(refund).local

    def book_it(book: Book) -> None:
        refund_words.book_word(book, refund, word)

    _first(view, changes, at, returned, local if anew else None, book_it)


def made_at_rail(
    view: View, changes: Changes, at: MoneyRow, returned: Returned, wanted: RefundWanted, local: Money,
    word: refund_words.Word,
) -> None:  # fmt: skip
    """Book what became of a refund that nobody asked us for."""
    through = word.outcome == refund_words.SUCCEEDED
    book_it = refund_words.gone_at_rail if through else refund_words.noted_as_failed
    _first(view, changes, at, returned, local if through else None, lambda book: book_it(book, wanted, local, word))


def _first(
    view: View, changes: Changes, at: MoneyRow, returned: Returned, local: Money | None, book_it: Callable[[Book], None]
) -> None:  # fmt: skip
    """Book a refund of ``local`` before whatever disputes there are; None = it needs no room. Raises DisputesChanged."""
    disputed = Disputed.of(view, changes, at, returned.dispute)
    seen = view if local is None else disputed.stand_back(local)
    book_it(Book.open(seen, changes, at, returned.refund))
    disputed.stand_again()


async def submit_beside(
    writer: Writer, reads: Reads, at: MoneyRow, own: Sequence[Lock], key: str, decide: Decide
) -> Applied:  # fmt: skip
    """Execute a unit with the locks of the payment's disputes too; begin anew where another one came meanwhile."""
    for looks_left in reversed(range(LOOKS_MAX)):
        locks = [*own, *await disputes_locks(reads, at)]
        try:
            return await writer.submit(Unit(at.merchant_id, at.mode, key, locks, decide))
        except DisputesChanged:
            if not looks_left:
                raise
    raise AssertionError("the last look returns or raises")
