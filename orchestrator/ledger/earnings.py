"""From pending to available: each UTC day's earnings become a row, wait for their tier's delay, then mature.

    pending -- the day is over: a row --> due -- mature --> available + reserve -- release --> available

A row covers a range of the journal that follows the row before it without a gap, so that every posting counts once,
also one that committed after midnight under a time before it: it counts for the next day. What is *moved* is decided
from the locked balances at maturity (``payout_recipes``); what was not there then is carried to the next day.

Days mature in their order. Every step has a key of its own, so that it happens once, whoever else does it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog
from sqlalchemy import Select, select

from orchestrator.clock import DAY_US, Clock, from_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Capture, Earning, JournalEntry, Posting, SettlementMatch, Shard, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.ledger.chart import Account
from orchestrator.ledger.merchant_side import side_locks, side_of
from orchestrator.ledger.payout_recipes import EARNING, mature, release
from orchestrator.settings import RiskTier
from rates.money import WALLET_USD

Book: TypeAlias = tuple[str, str]
"""Merchant and mode."""
CLOSES_AFTER_US: Final = 60_000_000
"""A day is closed a minute after midnight: what was decided before it has committed by then, as a rule."""
ROUND_MAX: Final = 200
DAY_READ_S_MAX: Final = 300
READ_ROWS: Final = 5000
LOOK_AGAIN_US: Final = 3600 * 1_000_000
"""For the payout of a rail that is not there yet: its report is read once a day."""
RETURNED: Final = "returned "
"""What ``SettlementMatch.payout`` of a line begins with whose payout the bank sent back; the line of the return follows."""
STANDARD: Final = "standard"

_log = structlog.get_logger("earnings")


class _NotYet(Exception):
    """Not this row's turn: another process was faster, or the day before it has not gone yet."""


@dataclass(frozen=True, slots=True)
class Day:
    """What one finished day brought to ``merchant:pending``, USD/9, and the range of the journal that it covers."""

    number: int
    """Days since 1970."""
    units: int
    first_sequence: int
    last_sequence: int


def may_mature_us(day: int, tier: RiskTier) -> int:
    """Return when a day's earnings may become available at the earliest; the rails' payouts may make it later."""
    return (day + 1 + tier.delay_days) * DAY_US


def batched(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[at : at + size] for at in range(0, len(ids), size))


def fact_of(day: int) -> str:
    """Return what the entries of a day are caused by, such as ``earning:2026-11-23``."""
    return f"earning:{from_us(day * DAY_US).date().isoformat()}"


class Earnings:
    """Closes days, matures them, releases reserves. May run in several processes at once."""

    def __init__(
        self, writer: Writer, reads: Reads, clock: Clock, tiers: Mapping[str, RiskTier],
        reporting: Collection[tuple[str, str]] = (),
    ) -> None:  # fmt: skip
        """``reporting``: (rail, account) whose payouts to us are waited for, by their reports (money rule 20)."""
        self._reporting = frozenset(reporting)
        self._writer = writer
        self._reads = reads
        self._clock = clock
        self._tiers = tiers
        self._closed: dict[Book, int] = {}
        """The day up to which a book has been closed, so that it is looked at once a day only."""

    async def run_once(self) -> int:
        """Do what is due; return how many days took a step."""
        return await self._close_days() + await self._mature_due() + await self._release_due()

    async def _close_days(self) -> int:
        today = (self._clock.now_us() - CLOSES_AFTER_US) // DAY_US
        shards = table_of(Shard)
        closed = 0
        for shard in await self._reads.all(select(shards.c.merchant_id, shards.c.mode)):
            book = (shard["merchant_id"], shard["mode"])
            if self._closed.get(book) == today:
                continue
            while (day := await self._next_day(book, today, before := await self._last_row(book))) is not None:
                await self._close(book, day, before["day"] if before else None)
                closed += 1
            self._closed[book] = today
        return closed

    async def _last_row(self, book: Book) -> Row | None:
        return await self._reads.one(_rows_of(book).order_by(table_of(Earning).c.day.desc()).limit(1))

    async def _next_day(self, book: Book, today: int, before: Row | None) -> Day | None:
        """Read the first finished day that has no row yet."""
        first_sequence = before["last_sequence"] + 1 if before else 1
        day: int | None = None
        units = last_sequence = 0
        after = (first_sequence, -1)
        async with asyncio.timeout(DAY_READ_S_MAX), self._reads.snapshot() as snapshot:
            while rows := await snapshot.all(_earned(book, after)):
                for row in rows:
                    if day is None:
                        day = max(row["created_us"] // DAY_US, before["day"] + 1 if before else 0)
                    if day >= today:
                        return None
                    if row["created_us"] >= (day + 1) * DAY_US:
                        return Day(day, units, first_sequence, last_sequence)
                    units -= row["units"]
                    last_sequence = row["sequence"]
                after = (rows[-1]["sequence"], rows[-1]["line"])
        return None if day is None else Day(day, units, first_sequence, last_sequence)

    async def _close(self, book: Book, day: Day, day_before: int | None) -> None:
        merchant_id, mode = book

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            tier = self._tier(view, merchant_id)
            before = None if day_before is None else view.one("earning", *book, day_before)
            # Never before the day that came first, whatever its tier was: days go in their order.
            due_us = max(may_mature_us(day.number, tier), before["due_us"] if before else 0)
            changes.insert(
                "earning",
                merchant_id=merchant_id, mode=mode, day=day.number, units=day.units, reserve_units=0, status="pending",
                first_sequence=day.first_sequence, last_sequence=day.last_sequence, due_us=due_us,
                reserve_due_us=due_us + tier.reserve_days * DAY_US, updated_us=view.now_us,
            )  # fmt: skip
            return {"day": day.number}

        locks = [row_lock("merchant", merchant_id), *_day_locks(book, day_before)]
        # The key is the start of the range: two processes that closed from the same posting on would count it twice.
        await self._writer.submit(Unit(merchant_id, mode, f"earning:from:{day.first_sequence}", locks, decide))

    async def _mature_due(self) -> int:
        table = table_of(Earning)
        due = select(table).where(table.c.status == "pending", table.c.due_us <= self._clock.now_us())
        return await self._each(due.order_by(table.c.merchant_id, table.c.mode, table.c.day), self._mature, self._waits)

    async def _waits(self, row: Row, day_before: int | None) -> bool:
        """Say whether a rail still owes us money that it took until the end of this day; look again in an hour then."""
        first_us = 0 if day_before is None else (day_before + 1) * DAY_US  # what came earlier kept that day waiting
        table = table_of(Capture)
        book = (row["merchant_id"], row["mode"])
        captures = await self._reads.all(
            select(table.c.id, table.c.rail, table.c.account).where(
                table.c.merchant_id == book[0], table.c.mode == book[1], table.c.status == "credited",
                table.c.created_us >= first_us, table.c.created_us < (row["day"] + 1) * DAY_US,
            )
        )  # fmt: skip
        owed = {one["id"] for one in captures if (one["rail"], one["account"]) in self._reporting}
        owed -= await self._paid_out(book[1], owed)
        if not owed:
            return False
        _log.info("earnings_wait_for_rail", merchant=book[0], day=row["day"], captures=len(owed))

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            mine = view.one("earning", *book, row["day"])
            if mine is not None and mine["status"] == "pending":
                changes.update("earning", (*book, row["day"]), due_us=view.now_us + LOOK_AGAIN_US)
            return {}

        await self._writer.submit(Unit(*book, None, _day_locks(book, row["day"]), decide))
        return True

    async def _paid_out(self, mode: str, captures: Collection[str]) -> set[str]:
        """Return which of these captures are part of a payout that a rail reports and that was booked."""
        table, paid = table_of(SettlementMatch), set[str]()
        for rail, account in self._reporting:
            for part in batched(sorted(captures), READ_ROWS):
                rows = await self._reads.all(
                    select(table.c.object_id).where(
                        table.c.rail == rail, table.c.account == account, table.c.mode == mode,
                        table.c.object_id.in_(part), table.c.kind == "payment", table.c.payout != "", ~table.c.payout.startswith(RETURNED),
                    )
                )  # fmt: skip
                paid |= {one["object_id"] for one in rows}
        return paid

    async def _release_due(self) -> int:
        table = table_of(Earning)
        due = select(table).where(table.c.status == "available", table.c.reserve_due_us <= self._clock.now_us())
        return await self._each(due.order_by(table.c.merchant_id, table.c.mode, table.c.day), self._release)

    async def _each(
        self, query: Select[Any], step: Callable[[Row, int | None], Unit],
        waits: Callable[[Row, int | None], Awaitable[bool]] | None = None,
    ) -> int:  # fmt: skip
        done = 0
        for row in await self._reads.all(query.limit(ROUND_MAX)):
            before = await self._day_before(row)
            if waits is not None and self._reporting and await waits(row, before):
                continue
            try:
                await self._writer.submit(step(row, before))
            except _NotYet as reason:
                _log.debug("earning_waits", merchant=row["merchant_id"], day=row["day"], reason=str(reason))
            else:
                done += 1
        return done

    async def _day_before(self, row: Row) -> int | None:
        """Return the day of the row before: it is there already, for days are closed in their order."""
        table = table_of(Earning)
        query = _rows_of((row["merchant_id"], row["mode"])).where(table.c.day < row["day"])
        before = await self._reads.one(query.order_by(table.c.day.desc()).limit(1))
        return None if before is None else int(before["day"])

    def _mature(self, row: Row, day_before: int | None) -> Unit:
        merchant_id, mode, day = row["merchant_id"], row["mode"], row["day"]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            mine, before = _turn(view, row, day_before, "pending", ("available", "released"))
            tier = self._tier(view, merchant_id)
            due = mine["units"] + (before["left_units"] if before else 0)
            step = mature(fact_of(day), due, side_of(view, merchant_id, mode), tier.reserve_bps)
            if step.entry is not None:
                changes.post(step.entry)
            # A day without a reserve still takes its turn in releasing: it carries what the day before lacked.
            reserve_due_us = view.now_us + (tier.reserve_days * DAY_US if step.reserve else 0)
            changes.update(
                "earning", (merchant_id, mode, day),
                status="available", reserve_units=step.reserve, left_units=step.left,
                reserve_due_us=max(reserve_due_us, before["reserve_due_us"] if before else 0), updated_us=view.now_us,
            )  # fmt: skip
            return {"available": step.available, "reserve": step.reserve, "repaid": step.repaid, "left": step.left}

        return Unit(merchant_id, mode, f"earning:{day}:mature", _locks(row, day_before), decide)

    def _release(self, row: Row, day_before: int | None) -> Unit:
        merchant_id, mode, day = row["merchant_id"], row["mode"], row["day"]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            mine, before = _turn(view, row, day_before, "available", ("released",))
            due = mine["reserve_units"] + (before["reserve_left_units"] if before else 0)
            step = release(fact_of(day), due, side_of(view, merchant_id, mode))
            if step.entry is not None:
                changes.post(step.entry)
            changes.update("earning", (merchant_id, mode, day),
                           status="released", reserve_left_units=step.left, updated_us=view.now_us)  # fmt: skip
            return {"available": step.available, "repaid": step.repaid, "left": step.left}

        return Unit(merchant_id, mode, f"earning:{day}:release", _locks(row, day_before), decide)

    def _tier(self, view: View, merchant_id: str) -> RiskTier:
        merchant = view.one("merchant", merchant_id)
        return tier_of(self._tiers, STANDARD if merchant is None else merchant["risk_tier"])


def tier_of(tiers: Mapping[str, RiskTier], name: str) -> RiskTier:
    """Return a tier by its name; one that the configuration does not know (any more) is the strictest that it has."""
    known = tiers.get(name)
    if known is not None:
        return known
    _log.error("risk_tier_unknown", tier=name)
    return RiskTier(
        delay_days=max(tier.delay_days for tier in tiers.values()),
        reserve_bps=max(tier.reserve_bps for tier in tiers.values()),
        reserve_days=max(tier.reserve_days for tier in tiers.values()),
    )


def _rows_of(book: Book) -> Select[Any]:
    table = table_of(Earning)
    return select(table).where(table.c.merchant_id == book[0], table.c.mode == book[1])


def _earned(book: Book, after: tuple[int, int]) -> Select[Any]:
    """Select what changed ``merchant:pending``, but for maturity itself, after a sequence and line."""
    posting, entry = table_of(Posting), table_of(JournalEntry)
    same = (posting.c.merchant_id == entry.c.merchant_id) & (posting.c.mode == entry.c.mode)
    later = (posting.c.sequence > after[0]) | (posting.c.line > after[1])
    return (
        select(posting.c.sequence, posting.c.line, posting.c.units, entry.c.created_us)
        .join(entry, same & (posting.c.sequence == entry.c.sequence))
        .where(
            posting.c.merchant_id == book[0],
            posting.c.mode == book[1],
            posting.c.subject == "",
            posting.c.code == Account.MERCHANT_PENDING.value,
            posting.c.asset == str(WALLET_USD),
            posting.c.sequence >= after[0],
            later,
            entry.c.kind != EARNING,
        )
        .order_by(posting.c.sequence, posting.c.line)
        .limit(READ_ROWS)
    )


def _day_locks(book: Book, *days: int | None) -> list[Lock]:
    return [row_lock("earning", *book, day) for day in days if day is not None]


def _locks(row: Row, day_before: int | None) -> Sequence[Lock]:
    book = (row["merchant_id"], row["mode"])
    return [row_lock("merchant", book[0]), *side_locks(*book), *_day_locks(book, day_before, row["day"])]


def _turn(view: View, row: Row, day_before: int | None, wanted: str, gone: tuple[str, ...]) -> tuple[Row, Row | None]:
    """Return the locked row and the one before it. Raises _NotYet where it is not this row's turn."""
    book = (row["merchant_id"], row["mode"])
    mine = view.one("earning", *book, row["day"])
    before = None if day_before is None else view.one("earning", *book, day_before)
    if mine is None or mine["status"] != wanted:
        raise _NotYet("it went already")
    if before is not None and before["status"] not in gone:
        raise _NotYet("the day before it has not gone yet")
    return mine, before
