"""A merchant's statement: its own accounts, from what they held to what they hold. One that does not add up is not shown.

Amounts are what the merchant gains: earnings that wait, what may be paid out, the reserve, what is used but not covered yet,
what is on its way to the bank, and what it owes (below zero). Their sum is the merchant's position. Usage and other facts
of which there are thousands are one line per day and kind; payouts, disputes, refunds and releases are told one by one.
What buyers paid beside the credit (fees and spread) and what rails took for disputes is summed from the same entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select

from orchestrator.clock import DAY_US, from_us, rfc3339
from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.tables import JournalEntry, Merchant, Posting, table_of
from orchestrator.errors import Invalid, NotFound
from orchestrator.ledger.chart import Account
from orchestrator.ledger.shown import usd_text
from orchestrator.ledger.span import Span, StatementDoesNotAddUp
from rates.money import WALLET_USD, Asset, Money

LINES_MAX: Final = 10_000
SIDES: Final[Mapping[str, str]] = {
    Account.MERCHANT_PENDING.value: "pending",
    Account.MERCHANT_AVAILABLE.value: "available",
    Account.MERCHANT_RESERVE.value: "reserve",
    Account.MERCHANT_UNFUNDED.value: "unfunded",
    Account.PAYOUT_TRANSIT.value: "in_transit",
    Account.MERCHANT_RECEIVABLE.value: "owed",
}
FEES: Final[Mapping[str, str]] = {
    Account.FEES_PLATFORM.value: "platform_fee",
    Account.FEES_RAIL_RECHARGED.value: "rail_fee",
    Account.FX_SPREAD.value: "fx_spread",
    Account.ROUNDING.value: "rounding",
}
BY_DAY: Final = (
    "topup", "usage", "hold", "hold_capture", "hold_void", "hold_expiry",
    "lease", "lease_capture", "lease_void", "lease_expiry",
)  # fmt: skip
"""Kinds of which there are thousands a day."""
_USD: Final = str(WALLET_USD)

Sides = Mapping[str, int]
"""USD/9 by name of ``SIDES``: what the merchant has, or gains."""


@dataclass(frozen=True, slots=True)
class Line:
    kind: str
    at_us: int
    """Of one entry; of a day's sum: when the day began."""
    changes: Sides
    source: str | None = None
    """The fact behind one entry: a payout, a dispute, a refund. None: a day's sum."""
    entry: str | None = None

    @property
    def units(self) -> int:
        return sum(self.changes.values())

    @property
    def when(self) -> str:
        return rfc3339(self.at_us) if self.entry else from_us(self.at_us).date().isoformat()

    def shown(self) -> dict[str, Any]:
        told = {"entry": self.entry, "source": self.source}
        return {
            ("at" if self.entry else "day"): self.when,
            "kind": self.kind,
            **{name: text for name, text in told.items() if text is not None},
            "changes": {name: usd_text(units) for name, units in self.changes.items() if units},
            "amount": usd_text(self.units),
        }


@dataclass(frozen=True, slots=True)
class MerchantStatement:
    merchant: str
    name: str
    mode: str
    span: Span
    opening: Sides
    lines: tuple[Line, ...]
    closing: Sides
    fees: Mapping[str, int]
    """What buyers paid beside the credit, USD/9 by name of ``FEES``."""
    dispute_fees: tuple[Money, ...]
    """What rails took for disputes, in their currencies."""

    def check(self) -> MerchantStatement:
        """Return it. Raises StatementDoesNotAddUp."""
        for name in SIDES.values():
            total = self.opening[name] + sum(line.changes.get(name, 0) for line in self.lines)
            if total != self.closing[name]:
                raise StatementDoesNotAddUp(
                    "statement_does_not_add_up",
                    f"{name}: opening and lines make {usd_text(total)}, the books say {usd_text(self.closing[name])}",
                    merchant=self.merchant,
                )
        return self

    def shown(self) -> dict[str, Any]:
        return {
            "merchant": self.merchant,
            "name": self.name,
            "mode": self.mode,
            "currency": WALLET_USD.code,
            "from": rfc3339(self.span.first * DAY_US),
            "to": rfc3339(self.span.end * DAY_US),
            "opening": _with_total(self.opening),
            "lines": [line.shown() for line in self.lines],
            "closing": _with_total(self.closing),
            "buyers_paid": {name: usd_text(units) for name, units in self.fees.items()},
            "dispute_fees": [{"amount": one.decimal(), "currency": one.asset.code} for one in self.dispute_fees],
        }


def _with_total(sides: Sides) -> dict[str, str]:
    return {name: usd_text(units) for name, units in {**sides, "total": sum(sides.values())}.items()}


async def merchant_statement(reads: Reads, merchant_id: str, mode: str, span: Span) -> MerchantStatement:
    """Return a merchant's statement, from one snapshot. Raises NotFound, Invalid, StatementDoesNotAddUp."""
    merchants = table_of(Merchant)
    async with reads.snapshot() as snapshot:
        found = await snapshot.all(select(merchants.c.name).where(merchants.c.id == merchant_id))
        if not found:
            raise NotFound("no_such_merchant", f"there is no merchant {merchant_id}")
        first, end = await span.sequences(snapshot, merchant_id, mode)
        reading = _Reading(snapshot, merchant_id, mode, first, end)
        opening, closing = await reading.balances(first), await reading.balances(end)
        lines = sorted(
            [*await reading.days(), *await reading.single()], key=lambda line: (line.at_us, line.entry or "")
        )
        fees, dispute_fees = await reading.fees()
    name = found[0]["name"]
    return MerchantStatement(merchant_id, name, mode, span, opening, tuple(lines), closing, fees, dispute_fees).check()


@dataclass(frozen=True, slots=True)
class _Reading:
    snapshot: Snapshot
    merchant_id: str
    mode: str
    first: int
    """Sequence of the first entry inside."""
    end: int
    """Of the first one after."""

    async def balances(self, before: int) -> Sides:
        """Return what each account held before an entry."""
        posting = table_of(Posting)
        found = {}
        for code, name in SIDES.items():
            rows = await self.snapshot.all(
                select(posting.c.balance_after)
                .where(*self._mine([code]), posting.c.sequence < before)
                .order_by(posting.c.sequence.desc(), posting.c.line.desc())
                .limit(1)
            )
            found[name] = -rows[0]["balance_after"] if rows else 0
        return found

    def _mine(self, codes: Iterable[str], *, usd: bool = True) -> list[Any]:
        posting = table_of(Posting)
        return [
            posting.c.merchant_id == self.merchant_id,
            posting.c.mode == self.mode,
            posting.c.subject == "",
            posting.c.code.in_(list(codes)),
            *([posting.c.asset == _USD] if usd else []),
        ]

    def _entries(self, *columns: Any) -> Any:
        """Select from the postings of the merchant's accounts inside, each with its entry."""
        posting, entry = table_of(Posting), table_of(JournalEntry)
        same = (posting.c.merchant_id == entry.c.merchant_id) & (posting.c.mode == entry.c.mode)
        return (
            select(*columns, posting.c.code, func.sum(posting.c.units).label("units"))
            .join(entry, same & (posting.c.sequence == entry.c.sequence))
            .where(*self._mine(SIDES), posting.c.sequence >= self.first, posting.c.sequence < self.end)
            .group_by(*columns, posting.c.code)
        )

    async def days(self) -> list[Line]:
        entry = table_of(JournalEntry)
        day = (entry.c.created_us // DAY_US).label("day")
        rows = await self.snapshot.all(self._entries(day, entry.c.kind).where(entry.c.kind.in_(BY_DAY)))
        sums: dict[tuple[int, str], dict[str, int]] = {}
        for row in rows:
            sums.setdefault((row["day"], row["kind"]), {})[SIDES[row["code"]]] = -int(row["units"])
        return [Line(kind, day * DAY_US, changes) for (day, kind), changes in sums.items() if any(changes.values())]

    async def single(self) -> list[Line]:
        """Return one line per entry that is told by itself. Raises Invalid where they are too many."""
        entry = table_of(JournalEntry)
        columns = (entry.c.sequence, entry.c.id, entry.c.kind, entry.c.fact, entry.c.created_us)
        query = self._entries(*columns).where(entry.c.kind.not_in(BY_DAY)).order_by(entry.c.sequence)
        lines: dict[int, Line] = {}
        for row in await self.snapshot.all(query.limit(LINES_MAX * len(SIDES) + 1)):
            line = Line(row["kind"], row["created_us"], {}, row["fact"], row["id"])
            known = lines.setdefault(row["sequence"], line)
            lines[row["sequence"]] = Line(
                known.kind,
                known.at_us,
                {**known.changes, SIDES[row["code"]]: -int(row["units"])},
                known.source,
                known.entry,
            )
        if len(lines) > LINES_MAX:
            raise Invalid("statement_is_too_long", f"more than {LINES_MAX} lines: take fewer days", pointer="/to")
        return [line for line in lines.values() if any(line.changes.values())]

    async def fees(self) -> tuple[dict[str, int], tuple[Money, ...]]:
        posting = table_of(Posting)
        disputes = Account.DISPUTE_FEES.value
        rows = await self.snapshot.all(
            select(posting.c.code, posting.c.asset, func.sum(posting.c.units).label("units"))
            .where(
                *self._mine([*FEES, disputes], usd=False),
                posting.c.sequence >= self.first,
                posting.c.sequence < self.end,
            )
            .group_by(posting.c.code, posting.c.asset)
            .order_by(posting.c.asset)
        )
        paid = dict.fromkeys(FEES.values(), 0)
        for row in rows:
            if row["code"] in FEES and row["asset"] == _USD:
                paid[FEES[row["code"]]] = -int(row["units"])
        taken = [
            Money(int(row["units"]), Asset.parse(row["asset"]))
            for row in rows
            if row["code"] == disputes and row["units"]
        ]
        return paid, tuple(taken)


__all__ = ["BY_DAY", "FEES", "SIDES", "Line", "MerchantStatement", "merchant_statement"]
