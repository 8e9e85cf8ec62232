"""A wallet's statement: opening balance, lines, closing balance. One that does not add up is not shown.

The balance is everything in the wallet less its debt; holds move credit inside it and are no lines. Opening and closing are the
balances that stand in the postings; the lines are the entries between them. Usage is one line per model and month, from the
roll-ups, and must be what the journal took. Days are UTC; ``from`` is the first day inside, ``to`` the first one outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import func, select

from orchestrator.clock import DAY_US, rfc3339
from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.tables import JournalEntry, Posting, UsageRollup, Wallet, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Invalid, NotFound
from orchestrator.ledger.chart import WALLET_PARTS
from orchestrator.ledger.shown import usd_text
from orchestrator.ledger.span import Span, StatementDoesNotAddUp

LINES_MAX: Final = 10_000
PARTS: Final = [part.value for part in WALLET_PARTS]
SUMMED: Final = (
    "usage", "hold", "hold_capture", "hold_void", "hold_expiry", "lease", "lease_capture", "lease_void", "lease_expiry",
)  # fmt: skip
"""Kinds of which a busy wallet has thousands an hour: one line for all of them."""


@dataclass(frozen=True, slots=True)
class Line:
    kind: str
    units: int
    """USD/9; above 0 where the wallet gained."""
    at_us: int | None = None
    source: str | None = None
    """The fact behind the entry: a capture, a grant, a rerating."""
    entry: str | None = None
    model: str | None = None
    period: str | None = None
    events: int | None = None
    tokens: dict[str, int] | None = None

    def shown(self) -> dict[str, Any]:
        told = {
            "at": None if self.at_us is None else rfc3339(self.at_us),
            "entry": self.entry,
            "source": self.source,
            "model": self.model,
            "period": self.period,
            "events": self.events,
            "tokens": self.tokens,
        }
        said = {name: value for name, value in told.items() if value is not None}
        return {"kind": self.kind, "amount": usd_text(self.units), **said}


@dataclass(frozen=True, slots=True)
class Statement:
    wallet: Row
    span: Span
    opening: int
    lines: tuple[Line, ...]
    closing: int

    def check(self) -> Statement:
        """Return it. Raises StatementDoesNotAddUp."""
        total = self.opening + sum(line.units for line in self.lines)
        if total != self.closing:
            raise StatementDoesNotAddUp(
                "statement_does_not_add_up",
                f"opening and lines make {usd_text(total)}, the wallet closes with {usd_text(self.closing)}",
                wallet=self.wallet["id"],
            )
        return self

    def shown(self) -> dict[str, Any]:
        return {
            "wallet": self.wallet["id"],
            "customer": self.wallet["customer_id"],
            "reference": self.wallet["customer_reference"],
            "currency": "USD",
            "from": rfc3339(self.span.first * DAY_US),
            "to": rfc3339(self.span.end * DAY_US),
            "opening": usd_text(self.opening),
            "lines": [line.shown() for line in self.lines],
            "closing": usd_text(self.closing),
        }


async def statement(reads: Reads, merchant_id: str, mode: str, wallet_id: str, span: Span) -> Statement:
    """Return a wallet's statement, from one snapshot. Raises NotFound, Invalid, StatementDoesNotAddUp."""
    async with reads.snapshot() as snapshot:
        wallets = table_of(Wallet)
        found = await snapshot.all(
            select(wallets).where(
                wallets.c.merchant_id == merchant_id, wallets.c.id == wallet_id, wallets.c.mode == mode
            )
        )
        if not found:
            raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}")
        reading = _Reading(snapshot, merchant_id, mode, wallet_id)
        first, end = await span.sequences(snapshot, merchant_id, mode)
        opening, closing = await reading.balance(first), await reading.balance(end)
        lines = [*await reading.entries(first, end), *await reading.sums(first, end, span)]
    return Statement(found[0], span, opening, tuple(lines), closing).check()


@dataclass(frozen=True, slots=True)
class _Reading:
    snapshot: Snapshot
    merchant_id: str
    mode: str
    wallet_id: str

    async def balance(self, before: int) -> int:
        """Return what the wallet held before an entry, debt taken off."""
        posting = table_of(Posting)
        total = 0
        for part in PARTS:
            rows = await self.snapshot.all(
                select(posting.c.balance_after)
                .where(*self._mine(posting), posting.c.code == part, posting.c.sequence < before)
                .order_by(posting.c.sequence.desc(), posting.c.line.desc())
                .limit(1)
            )
            total -= rows[0]["balance_after"] if rows else 0
        return total

    def _mine(self, posting: Any) -> tuple[Any, ...]:
        return (
            posting.c.merchant_id == self.merchant_id,
            posting.c.mode == self.mode,
            posting.c.subject == self.wallet_id,
        )

    def _between(self, columns: tuple[Any, ...], first: int, end: int) -> Any:
        posting, entry = table_of(Posting), table_of(JournalEntry)
        same = (posting.c.merchant_id == entry.c.merchant_id) & (posting.c.mode == entry.c.mode)
        return (
            select(*columns)
            .join(entry, same & (posting.c.sequence == entry.c.sequence))
            .where(
                *self._mine(posting), posting.c.code.in_(PARTS), posting.c.sequence >= first, posting.c.sequence < end
            )
        )

    async def entries(self, first: int, end: int) -> list[Line]:
        """Return one line per entry that is told by itself. Raises Invalid where they are too many."""
        posting, entry = table_of(Posting), table_of(JournalEntry)
        names = (entry.c.sequence, entry.c.id, entry.c.kind, entry.c.fact, entry.c.created_us)
        query = (
            self._between((*names, func.sum(posting.c.units).label("units")), first, end)
            .where(entry.c.kind.not_in(SUMMED))
            .group_by(*names)
            .order_by(entry.c.sequence)
            .limit(LINES_MAX + 1)
        )
        rows = await self.snapshot.all(query)
        if len(rows) > LINES_MAX:
            raise Invalid("statement_is_too_long", f"more than {LINES_MAX} lines: take fewer days", pointer="/to")
        return [
            Line(row["kind"], -int(row["units"]), row["created_us"], row["fact"], row["id"])
            for row in rows
            if row["units"]
        ]

    async def sums(self, first: int, end: int, span: Span) -> list[Line]:
        """Return one line per model and month for usage, one per kind for the rest. Raises StatementDoesNotAddUp."""
        posting, entry = table_of(Posting), table_of(JournalEntry)
        query = self._between((entry.c.kind, func.sum(posting.c.units).label("units")), first, end)
        rows = await self.snapshot.all(query.where(entry.c.kind.in_(SUMMED)).group_by(entry.c.kind))
        sums = {row["kind"]: -int(row["units"]) for row in rows}
        usage = await self._usage(span)
        posted, used = sums.pop("usage", 0), sum(line.units for line in usage)
        if posted != used:
            raise StatementDoesNotAddUp(
                "statement_does_not_add_up",
                f"usage events make {usd_text(used)}, the journal {usd_text(posted)}",
                wallet=self.wallet_id,
            )
        return [*usage, *(Line(kind, units) for kind, units in sorted(sums.items()) if units)]

    async def _usage(self, span: Span) -> list[Line]:
        rollup = table_of(UsageRollup)
        rows = await self.snapshot.all(
            select(rollup).where(
                rollup.c.merchant_id == self.merchant_id,
                rollup.c.mode == self.mode,
                rollup.c.wallet_id == self.wallet_id,
                rollup.c.day >= span.first,
                rollup.c.day < span.end,
            )
        )
        found: dict[tuple[str, str], tuple[int, int, dict[str, int]]] = {}
        for row in rows:
            events, units, tokens = found.get((row["period"], row["model"]), (0, 0, {}))
            for name, quantity in orjson.loads(row["tokens"]).items():
                tokens[name] = tokens.get(name, 0) + quantity
            found[row["period"], row["model"]] = (events + row["events"], units + row["units"], tokens)
        return [
            Line("usage", -units, model=model, period=period, events=events, tokens=dict(sorted(tokens.items())))
            for (period, model), (events, units, tokens) in sorted(found.items())
        ]
