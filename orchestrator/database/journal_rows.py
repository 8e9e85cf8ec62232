"""From entries and events to rows: gapless numbers, the balance after every line, a seal on every book. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from orchestrator.database.memory import Book
from orchestrator.database.pending import Pending
from orchestrator.database.seal import SealedEntry, seal_hash
from orchestrator.database.unit import Entry, Key, Line, OutgoingEvent, Row, Unit, View
from orchestrator.ids import new_id

LINES_MAX: Final = 1000
"""Of a merged entry: an export has an entry in one line."""


def merged(entries: Sequence[tuple[Unit, Entry]], flush_id: str) -> Iterator[tuple[str, str, Entry]]:
    """Yield merchant, mode and entry; those to be merged become one, in the place of the first of them.

    One takes in ``LINES_MAX`` lines, then another begins. What cancels out leaves no line, and an entry without lines is none.
    """
    groups: dict[Key, dict[tuple[str, str, str], int]] = {}
    places: list[tuple[Unit, Entry, dict[tuple[str, str, str], int] | None]] = []
    for unit, entry in entries:
        if entry.merge is None:
            places.append((unit, entry, None))
            continue
        group = (unit.merchant_id, unit.mode, entry.kind, entry.payment_id, entry.merge)
        sums = groups.get(group)
        if sums is None or len(sums) >= LINES_MAX:
            sums = groups[group] = {}
            places.append((unit, entry, sums))
        for code, subject, asset, units in entry.lines:
            account = (code, subject, asset)
            sums[account] = sums.get(account, 0) + units
    for unit, entry, sums in places:
        if sums is None:
            yield unit.merchant_id, unit.mode, entry
            continue
        lines = tuple(Line(*account, units) for account, units in sums.items() if units)
        if lines:
            yield unit.merchant_id, unit.mode, Entry(entry.kind, flush_id, lines, entry.payment_id)


def book_entries(pending: Pending, view: View, entries: Sequence[tuple[Unit, Entry]]) -> None:
    """Add the rows of the entries, their accounts' balances and one seal per book."""
    running: dict[Key, int] = {}
    sealed: dict[Book, list[SealedEntry]] = {}
    for merchant_id, mode, entry in merged(entries, view.flush_id):
        number = pending.next_number((merchant_id, mode), "entry_sequence")
        head = {
            "merchant_id": merchant_id, "mode": mode, "sequence": number, "id": new_id("ent"), "kind": entry.kind,
            "fact": entry.fact, "payment_id": entry.payment_id, "created_us": view.now_us,
        }  # fmt: skip
        lines: list[Row] = []
        for position, (code, subject, asset, units) in enumerate(entry.lines):
            account = (merchant_id, mode, code, subject, asset)
            balance = running.get(account)
            if balance is None:
                balance = pending.opening(account)
            running[account] = balance = balance + units
            posting = {
                "merchant_id": merchant_id, "mode": mode, "sequence": number, "line": position, "code": code,
                "subject": subject, "asset": asset, "units": units, "balance_after": balance,
            }  # fmt: skip
            pending.append("posting", posting)
            lines.append(posting)
        pending.append("journal_entry", head)
        sealed.setdefault((merchant_id, mode), []).append((head, lines))
    for account, balance in running.items():
        pending.balance(account, balance)
    for book, written in sealed.items():
        _seal(pending, view, book, written)


def _seal(pending: Pending, view: View, book: Book, entries: Sequence[SealedEntry]) -> None:
    """Add one link to a book's hash chain: its head stands in the shard, which is locked."""
    number = pending.next_number(book, "seal_number")
    shard: Any = view.find("shard", book)
    previous, shard["seal_hash"] = shard["seal_hash"], seal_hash(shard["seal_hash"], entries)
    pending.touch("shard", book, ("seal_hash",))
    pending.append("seal", {
        "merchant_id": book[0], "mode": book[1], "number": number,
        "first_sequence": entries[0][0]["sequence"], "last_sequence": entries[-1][0]["sequence"],
        "previous_hash": previous, "hash": shard["seal_hash"], "created_us": view.now_us,
    })  # fmt: skip


def write_events(pending: Pending, view: View, events: Sequence[tuple[Unit, OutgoingEvent]]) -> None:
    """Add the rows of the outbox."""
    for unit, event in events:
        merchant_id = event.merchant_id or unit.merchant_id
        pending.append("event", {
            "merchant_id": merchant_id, "mode": unit.mode,
            "sequence": pending.next_number((merchant_id, unit.mode), "event_sequence"),
            "id": new_id("evt"), "type": event.type, "object_id": event.object_id, "body": event.body,
            "created_us": view.now_us,
        })  # fmt: skip
