"""What a rail says of a refund, in whatever order and how often it is heard: the latest word, by the rail's own time, stands.

Neither Stripe nor Adyen documents that a refund which failed is through later (Stripe gives the money back to the balance and
sends nothing again; Adyen's REFUND may be followed by REFUND_FAILED or REFUNDED_REVERSED). Where one says so all the same, the
money has left: it is booked, and a person is asked. Sources: https://docs.stripe.com/refunds#failed-refunds,
https://docs.adyen.com/online-payments/refund
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from adapters.operations import RefundEvent, RefundState
from orchestrator.clock import to_us
from orchestrator.database.unit import Row
from orchestrator.events.catalog import EventType, emit
from orchestrator.ledger.merchant_side import side_of
from orchestrator.ledger.refund_recipes import refunded_above
from orchestrator.payments.refund_book import Book, RefundWanted
from orchestrator.payments.refund_terms import OPEN, Share, Sources, refund_object, take
from orchestrator.payments.story import money_body
from rates.money import Money

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"


class Stale(Exception):
    """The refund is not as it was when the word was weighed: weigh it again."""


@dataclass(frozen=True, slots=True)
class Word:
    """One statement about the end of a refund. ``at_us``: the rail's time; None = our own side's, of a call just made."""

    outcome: str
    at_us: int | None = None
    why: str = ""
    amount: Money | None = None
    reference: str | None = None

    def is_news_for(self, row: Row) -> bool:
        """Say whether it changes what is known. Failed is the later one of two words of one second: so it is at both rails."""
        if row["status"] in OPEN:
            return True
        if self.at_us is None:
            return False  # a call that was refused says nothing of what another one did
        if row["ended_us"] is None:
            return True
        return (self.at_us, self.outcome == FAILED) > (row["ended_us"], row["status"] == FAILED)

    @staticmethod
    def weighed_alike(before: Row, now: Row) -> bool:
        """Say whether the refund that a word was weighed against still stands as it did."""
        if before["status"] in OPEN and now["status"] in OPEN:
            return True
        return all(before[name] == now[name] for name in ("status", "turns", "ended_us", "sources"))

    def key_for(self, row: Row) -> str:
        """Return the key of the unit that books it: each turn of a refund once for ever."""
        turn = row["turns"] + int(self.outcome == SUCCEEDED and row["status"] == FAILED)
        return f"refund:{row['id']}:{self.outcome}" + (f":{turn}" if turn else "")


def word_of(event: RefundEvent) -> Word:
    through = event.state is RefundState.SUCCEEDED
    why = "" if through else event.reason or "the rail could not send it"
    return Word(SUCCEEDED if through else FAILED, to_us(event.occurred_at), why, event.amount, event.rail_reference)


def book_word(book: Book, row: Row, word: Word) -> None:
    """Book a word that is news and turns the refund."""
    said: dict[str, Any] = {"ended_us": word.at_us, "rail_reference": word.reference or row["rail_reference"]}
    match word.outcome, row["status"]:
        case ("failed", "succeeded"):
            book.come_back(row, word.why, **said)
        case ("failed", _):
            book.fail(row, word.why, **said)
        case (_, "failed"):
            through_after_all(book, row, word)
        case _:
            if word.amount is not None and word.amount != Share.of_row(row).local:
                book.differs(row, word.amount)
            book.succeed(row, **said)


def gone_at_rail(book: Book, wanted: RefundWanted, local: Money, word: Word) -> None:
    """Book a refund that nobody asked us for. It is a fact: what the customer has used of it, the merchant bears.

    More than is left of the money: the merchant owes the rest, and a person looks.
    """
    share, sources, over = _taken(book, local, None)
    row = book.write_row(wanted, share, sources, status=SUCCEEDED, origin="rail", rail_reference=word.reference,
                         ended_us=word.at_us, above_units=over.units)  # fmt: skip
    _leaves(book, row, over, by=wanted.by)
    book.ask_person(
        "refund_above_captured" if over.units else "refund_made_at_rail", wanted.id,
        refunded=money_body(local), above=money_body(over), reference=word.reference,
    )  # fmt: skip


def noted_as_failed(book: Book, wanted: RefundWanted, local: Money, word: Word) -> None:
    """Keep that a refund nobody asked us for has failed: an older word that it was through may come yet, and is none."""
    # What it would have been, disputes giving way to it; nothing is taken for it.
    room = min(local.units, max(0, book.room + book.money["withdrawn_units"]))
    share = book.whole.credit_for(Money(room, local.asset), book.before())
    book.write_row(wanted, share, Sources(), status=FAILED, origin="rail", rail_reference=word.reference,
                   ended_us=word.at_us, failure=word.why[:200])  # fmt: skip


def through_after_all(book: Book, row: Row, word: Word) -> None:
    """Book that a refund which had failed, or had come back, went out: its credit was given back, and is taken again."""
    asked = Share.of_row(row)
    local = word.amount or asked.local
    share, sources, over = _taken(book, local, asked)
    new = {
        "status": SUCCEEDED, "units": share.units, "local_units": share.local.units, "lines": share.lines_json(),
        "sources": sources.to_json(), "above_units": over.units, "turns": row["turns"] + 1, "failure": None,
        "ended_us": word.at_us, "rail_reference": word.reference or row["rail_reference"],
        "updated_us": book.view.now_us,
    }  # fmt: skip
    book.changes.update("refund", (row["merchant_id"], row["id"]), **new)
    _leaves(book, {**row, **new}, over, by="rail")
    book.ask_person(
        "refund_above_captured" if over.units else "refund_through_after_all", row["id"], refunded=money_body(local),
        above=money_body(over), failed_before=row["failure"], reference=new["rail_reference"],
    )  # fmt: skip


def _taken(book: Book, local: Money, asked: Share | None) -> tuple[Share, Sources, Money]:
    """Return what leaves of the credit, whose it is, and what the rail sent above what was left of the money."""
    before, room = book.before(), Money(min(local.units, max(0, book.room)), local.asset)
    left = book.whole.principal - sum(one.units for one in before)
    if asked is not None and asked.units and asked.local == local == room and asked.units <= left:
        share = asked  # to the last unit what was set aside for it before
    else:
        share = book.whole.credit_for(room, before)
    available = side_of(book.view, book.at.merchant_id, book.at.mode).available
    sources = take(share.units, book.at.id, book.lots(), available, used_too=True)
    assert sources is not None, "the merchant bears what is not there"
    return share, sources, local - room


def _leaves(book: Book, row: Row, over: Money, *, by: str) -> None:
    share, sources = Share.of_row(row), Sources.of_row(row)
    remaining = {lot["id"]: lot["remaining_units"] for lot in book.lots()}
    for lot_id, part in sources.lots:
        left = remaining[lot_id] - part
        closed = {} if left else {"open": 0}
        book.changes.update("lot", (book.at.merchant_id, lot_id), remaining_units=left, **closed)
    book.move(refunded_units=share.local.units)
    entries = book.entries(row)
    if share.units:
        book.changes.post(entries.asked())
    if share.units or share.local.units:
        book.changes.post(entries.done())
    if over.units and book.at.holding is not None:
        book.changes.post(refunded_above(entries.fact, over, book.at.holding, book.at.payment_id))
    book.story.refunds(gone=share.units)
    told: dict[str, Any] = {"refund": row["id"], "units": share.units, "by": by}
    book.story.tell(book.fact(), **told)
    book.story.write()
    emit(book.changes, EventType.REFUND_SUCCEEDED, row["id"], refund_object(row), book.at.merchant_id)
