"""What a rail paid into our bank: which lines of its report a payout is made of, and each merchant's part of it.

Three ways to know, the surest first: the rail names the lines (``NamesPayoutLines``); lines and payout stand in one batch of
the report; the payout is the oldest lines that add up to it. Only the last one is found by sums, so payouts are then taken
in their order: one whose lines are not all in the books yet waits, and so does every later one of the account.

A payout that the bank sent back stands in the report as a line of its own, above zero. It takes each merchant's part out of
our bank again, and the lines of the payout are to be paid once more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, and_, or_, select

from adapters.base import RailAdapter, RailError
from adapters.operations import LineKind, NamesPayoutLines
from orchestrator.clock import Clock
from orchestrator.database import tables
from orchestrator.database.reads import Reads
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.ledger.earnings import RETURNED, batched
from orchestrator.payments.crediting import ask_a_person, holding_of
from orchestrator.reconciliation.matching import OWN_BOOK, State, fact_of, payout_entry
from orchestrator.reconciliation.rows import BY_SUBJECT, REASON, close_reviews, shown, write_match

CALL_S_MAX: Final = 120
READ_ROWS: Final = 5000
SAYS_US_MAX: Final = 3 * 86_400 * 1_000_000
"""How long a rail may not say what a payout is made of (Stripe: a day as a rule); then a person looks."""
_SETTLED: Final = frozenset({State.MATCHED.value, State.ACCEPTED.value})
_DIGITS: Final = re.compile(r"(\d+)")
_log = structlog.get_logger("reconciliation")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a payout is made of; no lines: it waits for something, or it fits nothing."""

    state: State
    lines: Sequence[Row] = ()


def place_in_report(line: Row) -> tuple[int, list[str | int]]:
    """Return by what lines are in order: time, then name, in which 10 comes after 9."""
    return line["occurred_us"], [int(part) if part.isdigit() else part for part in _DIGITS.split(line["line_id"])]


def parts_of(payout: Row, others: Sequence[Row], named: frozenset[str] | None = None) -> Parts:
    """Find the lines of a payout among the other lines of its account and asset, as they are matched now. Pure.

    ``others``: with ``state`` and ``payout`` (what took the line; "" = nothing, RETURNED = a payout that came back) beside the
    line's own columns. ``named``: the ids of the payout's lines where the rail says them.
    """
    lines = sorted((row for row in others if row["kind"] != LineKind.PAYOUT.value), key=place_in_report)
    free = [row for row in lines if not row["payout"] or row["payout"].startswith(RETURNED)]
    if named is not None:
        known = {row["line_id"]: row for row in others}
        back = [known[id_] for id_ in named & known.keys() if known[id_]["kind"] == LineKind.PAYOUT.value]
        if not named <= known.keys() or any(row["state"] not in _SETTLED for row in back):
            return Parts(State.WAITING)  # they are still to be read, or a payout that came back is still to be booked
        found = [row for row in free if row["line_id"] in named or row["payout"].removeprefix(RETURNED) in named]
        return _judged(found if sum(row["net_units"] for row in found) == -payout["gross_units"] else None)
    free = [row for row in free if row["occurred_us"] <= payout["occurred_us"]]
    if payout["batch"]:
        return _judged(_oldest(payout, [row for row in free if row["batch"] == payout["batch"]]))
    here = place_in_report(payout)
    earlier = [row for row in others if row["kind"] == LineKind.PAYOUT.value and place_in_report(row) < here]
    if any(row["state"] not in _SETTLED for row in earlier):
        return Parts(State.WAITING)
    return _judged(_oldest(payout, free))


def _oldest(payout: Row, lines: Sequence[Row]) -> Sequence[Row] | None:
    """Return the oldest lines whose nets add up to a payout, in the books or not; None where no such cut exists."""
    total = 0
    for number, line in enumerate(lines, start=1):
        total += line["net_units"]
        if total == -payout["gross_units"]:
            return lines[:number]
    return None


def returned_by(line: Row, others: Sequence[Row]) -> Row | None:
    """Find the payout that came back: the one with the same reference and amount. Pure."""
    payouts = [row for row in others if row["kind"] == LineKind.PAYOUT.value and line["reference"]]
    same = (
        row for row in payouts if row["reference"] == line["reference"] and row["gross_units"] == -line["gross_units"]
    )
    return next(same, None)


def parts_returned(original: Row | None, others: Sequence[Row]) -> Parts:
    """Return the lines of the payout that came back. Pure."""
    if original is None:
        return Parts(State.OPEN)
    if original["state"] != State.MATCHED.value:
        return Parts(State.WAITING)
    return _judged([row for row in others if row["payout"] == original["line_id"]])


def _judged(found: Sequence[Row] | None) -> Parts:
    if not found:
        return Parts(State.OPEN)
    if any(row["state"] != State.MATCHED.value for row in found):
        return Parts(State.WAITING)
    return Parts(State.MATCHED, found)


@dataclass(frozen=True, slots=True)
class RailPayouts:
    """Books what rails paid into the bank."""

    writer: Writer
    reads: Reads
    rails: Mapping[tuple[str, str], RailAdapter]
    clock: Clock

    async def take(self, line: Row) -> str:
        """Book a payout, or keep it as one that waits or is a break; return its state. Safe to repeat.

        What it is made of is written down first and stands from then on, whatever lines come later. Then each merchant's part
        has a unit of its own, keyed by the payout; it is matched when all of them are booked.
        """
        taker = line["line_id"] if line["gross_units"] < 0 else f"{RETURNED}{line['line_id']}"
        taken = await self._read(line, table_of(tables.SettlementMatch).c.payout == taker)
        parts = Parts(State.MATCHED, taken) if taken else await self._parts(line)
        if parts.lines and not taken and not await self._mark(line, taker, parts.lines):
            parts = Parts(State.WAITING)  # somebody else was at it: what stands now is looked at the next time
        sign = 1 if line["gross_units"] < 0 else -1
        shares: dict[str, int] = {}
        for row in parts.lines:
            merchant = row["merchant_id"] or OWN_BOOK
            shares[merchant] = shares.get(merchant, 0) + sign * row["net_units"]
        for merchant, units in shares.items():
            key = f"rail_payout:{fact_of(line)}"
            await self.writer.submit(Unit(merchant, line["mode"], key, (), _pays(line, units)))
        return await self._keep(line, parts.state)

    async def _mark(self, line: Row, taker: str, parts: Sequence[Row]) -> bool:
        """Write down what a payout is made of; False where it is matched already, or one of its lines is taken by now."""
        key = (line["rail"], line["account"], line["mode"])
        places = [(*key, one["line_id"]) for one in parts]
        locks = [row_lock("settlement_match", *place) for place in ((*key, line["line_id"]), *places)]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            before = view.one("settlement_match", *key, line["line_id"])
            now = [view.one("settlement_match", *place) for place in places]
            alike = (row is not None and row["payout"] == one["payout"] for row, one in zip(now, parts, strict=True))
            if (before is not None and before["state"] in _SETTLED) or not all(alike):
                return {"mine": False}
            if before is None:
                write_match(changes, line, None, State.WAITING, None, None, view.now_us)
            for place in places:
                changes.update("settlement_match", place, payout=taker)
            return {"mine": True}

        return bool((await self.writer.submit(Unit(OWN_BOOK, line["mode"], None, locks, decide))).answer["mine"])

    async def _parts(self, line: Row) -> Parts:
        lines, matches = table_of(tables.SettlementLine), table_of(tables.SettlementMatch)
        others = await self._read(line, or_(matches.c.payout == "", matches.c.payout.startswith(RETURNED),
                                            lines.c.kind == LineKind.PAYOUT.value))  # fmt: skip
        if line["gross_units"] > 0:
            original = returned_by(line, others)
            if original is not None:
                others += await self._read(line, matches.c.payout == original["line_id"])
            return parts_returned(original, others)
        named: frozenset[str] | None = None
        adapter = self.rails.get((line["rail"], line["account"]))
        if isinstance(adapter, NamesPayoutLines) and line["reference"]:
            try:
                async with asyncio.timeout(CALL_S_MAX):
                    named = await adapter.payout_lines(line["reference"])
            except (RailError, TimeoutError) as error:
                _log.warning("payout_not_read", rail=line["rail"], payout=line["line_id"], error=str(error)[:200])
                late = line["recorded_us"] and self.clock.now_us() - line["recorded_us"] > SAYS_US_MAX
                return Parts(State.OPEN if late else State.WAITING)
        known = {row["line_id"] for row in others}
        for part in batched(sorted((named or frozenset()) - known), READ_ROWS):
            others += await self._read(line, lines.c.line_id.in_(part))
        return parts_of(line, others, named)

    async def _read(self, line: Row, which: ColumnElement[bool]) -> list[Row]:
        """Read lines of the account and asset beside this one, as they are matched now."""
        lines, matches = table_of(tables.SettlementLine), table_of(tables.SettlementMatch)
        place, names = ("rail", "account", "mode", "line_id"), ("rail", "account", "mode", "asset")
        return await self.reads.all(
            select(lines, matches.c.merchant_id, matches.c.state, matches.c.payout)
            .join(matches, and_(*(matches.c[name] == lines.c[name] for name in place)))
            .where(*(lines.c[name] == line[name] for name in names), lines.c.line_id != line["line_id"], which)
        )

    async def _keep(self, line: Row, state: State) -> str:
        key = (line["rail"], line["account"], line["mode"], line["line_id"])
        locks = (row_lock("settlement_match", *key), Lock("review", BY_SUBJECT, (OWN_BOOK, fact_of(line))))

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            before = view.one("settlement_match", *key)
            if before is not None and before["state"] in _SETTLED:
                return {"state": before["state"]}
            write_match(changes, line, before, state, "amount" if state is State.OPEN else None, None, view.now_us)
            if state is not State.OPEN:
                close_reviews(view, changes, {OWN_BOOK}, fact_of(line))
            elif before is None or before["state"] != State.OPEN.value:
                ask_a_person(view, changes, OWN_BOOK, line["mode"], reason=REASON, subject=fact_of(line),
                             payment_id=None, evidence={"type": "amount", **shown(line)})  # fmt: skip
            return {"state": state.value}

        return str((await self.writer.submit(Unit(OWN_BOOK, line["mode"], None, locks, decide))).answer["state"])


def _pays(line: Row, units: int) -> Any:
    holding = holding_of(line["rail"], line["account"])

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        if units:
            changes.post(payout_entry(line, units, holding))
        return {}

    return decide
