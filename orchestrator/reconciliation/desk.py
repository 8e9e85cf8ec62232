"""Reading the rails' reports: every line is kept once for ever, matched with what we have, and its fee is booked.

A line's unit writes line, match and entry together; the cursor moves after the page, so that a crash between two lines
reads them again and changes nothing. What does not fit is a break and a review item; no money is booked by a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import select

from adapters.base import RailAdapter, RailError
from adapters.operations import LineKind, ReportsSettlement
from orchestrator.clock import Clock
from orchestrator.database import tables
from orchestrator.database.reads import Reads
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Busy, NotFound
from orchestrator.payments.crediting import ask_a_person, holding_of
from orchestrator.payments.refunds import Refunds
from orchestrator.reconciliation.conversions import value_of_capture, value_of_refund
from orchestrator.reconciliation.matching import (
    OWN_BOOK,
    SETTLES_US,
    SIGNS,
    Found,
    State,
    converted,
    fact_of,
    fee_entry,
    judge,
)
from orchestrator.reconciliation.rail_payouts import RailPayouts, place_in_report
from orchestrator.reconciliation.reports import AccountReport, account_report
from orchestrator.reconciliation.rows import BY_SUBJECT, REASON, close_reviews, row_of, shown, write_match
from rates.money import Asset, Money

PAGES_MAX: Final = 500
CALL_S_MAX: Final = 120
BY_OBJECT: Final = ("rail", "account", "mode", "object_id")
Rails = Mapping[tuple[str, str], RailAdapter]
_log = structlog.get_logger("reconciliation")


@dataclass(frozen=True, slots=True)
class Reconciliation:
    writer: Writer
    reads: Reads
    rails: Rails
    clock: Clock
    refunds: Refunds

    @property
    def payouts(self) -> RailPayouts:
        return RailPayouts(self.writer, self.reads, self.rails, self.clock)

    def accounts(self, rail: str | None = None, account: str | None = None) -> list[tuple[str, str]]:
        """Return the accounts that report, of one rail or all. Raises NotFound where a name fits none."""
        found = [
            place for place, adapter in self.rails.items()
            if isinstance(adapter, ReportsSettlement) and rail in (None, place[0]) and account in (None, place[1])
        ]  # fmt: skip
        if not found and rail is not None:
            raise NotFound("account_not_found", f"no account of {rail} {account or ''} reports its settlements".strip())
        return found

    async def run(self, rail: str, account: str) -> AccountReport:
        """Read what is new, match it and what waited before; return how the account stands.

        Raises Busy where the rail does not answer; what was read until then is kept.
        """
        adapter = self.rails[rail, account]
        assert isinstance(adapter, ReportsSettlement), "accounts() names those that report"
        mode = adapter.account.mode.value
        cursor = await self._cursor(rail, account, mode)
        for _ in range(PAGES_MAX):
            try:
                async with asyncio.timeout(CALL_S_MAX):
                    page = await adapter.settlement_page(cursor)
            except (RailError, TimeoutError) as error:
                raise Busy("rail_did_not_answer", f"{rail}/{account}: {str(error)[:200]}") from None
            for line in page.lines:
                await self._take(row_of(line, rail, account, mode))
            cursor = page.next_cursor
            await self._keep(rail, account, mode, cursor)
            if not page.more:
                break
        await self.match_again(rail, account, mode)
        return await self.report(rail, account)

    async def report(self, rail: str, account: str) -> AccountReport:
        """Return how an account stands by what was read so far."""
        adapter = self.rails[rail, account]
        async with self.reads.snapshot() as view:
            return await account_report(
                view, rail, account, adapter.account.mode.value, self.clock.now_us() - SETTLES_US
            )

    async def run_once(self) -> int:
        """Reconcile every account; return how many have breaks. For the daily worker."""
        broken = 0
        for rail, account in self.accounts():
            try:
                report = await self.run(rail, account)
            except Busy as error:
                _log.warning("reconciliation_not_done", rail=rail, account=account, error=str(error))
                continue
            broken += not report.ok
            _log.log(40 if not report.ok else 20, "reconciled", rail=rail, account=account, lines=report.lines,
                     breaks=len(report.breaks), waiting=report.waiting)  # fmt: skip
        return broken

    # --- lines --------------------------------------------------------------------------------------------------------

    async def match_again(self, rail: str, account: str, mode: str) -> int:
        """Look once more at lines that had no counterpart; return how many fit now."""
        lines, matches = table_of(tables.SettlementLine), table_of(tables.SettlementMatch)
        rows = await self.reads.all(
            select(lines)
            .join(matches, (matches.c.rail == lines.c.rail) & (matches.c.account == lines.c.account)
                  & (matches.c.mode == lines.c.mode) & (matches.c.line_id == lines.c.line_id))
            .where(lines.c.rail == rail, lines.c.account == account, lines.c.mode == mode,
                   matches.c.state.in_((State.WAITING.value, State.OPEN.value)))
        )  # fmt: skip
        rows.sort(
            key=lambda row: (row["kind"] == LineKind.PAYOUT.value, place_in_report(row))
        )  # a payout after its lines
        return sum([await self._take(row) == State.MATCHED.value for row in rows])

    async def _take(self, line: Row) -> str:
        """Keep one line, judge it, book its fee: one unit."""
        if line["kind"] == LineKind.PAYOUT.value:
            return await self.payouts.take(line)
        found = await self._find(line)
        if found is not None and not found.happened and line["kind"] in {LineKind.REFUND, LineKind.REFUND_FAILED}:
            found = await self._hear(found, line)
        merchant, mode = (found.merchant_id, found.mode) if found is not None else (OWN_BOOK, line["mode"])
        key = (line["rail"], line["account"], line["mode"], line["line_id"])
        locks = [
            row_lock("settlement_match", *key),
            Lock("review", BY_SUBJECT, (merchant, fact_of(line))),
            Lock("review", BY_SUBJECT, (OWN_BOOK, fact_of(line))),
        ]
        if found is not None:
            locks.append(Lock("settlement_match", BY_OBJECT, (*key[:3], found.object_id)))

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            before = view.one("settlement_match", *key)
            if before is not None and before["state"] in {State.MATCHED.value, State.ACCEPTED.value}:
                return {"state": before["state"]}
            others = [] if found is None else view.many("settlement_match", BY_OBJECT, (*key[:3], found.object_id))
            taken = any(one["kind"] == line["kind"] and one["line_id"] != line["line_id"]
                        and one["state"] == State.MATCHED.value for one in others)  # fmt: skip
            verdict = judge(line, found, now_us=view.now_us, taken=taken)
            write_match(changes, line, before, verdict.state, verdict.broken, found, view.now_us)
            if verdict.state is State.MATCHED:
                exchange = None if found is None else converted(line, found, holding_of(line["rail"], line["account"]))
                if exchange is not None:
                    changes.post(exchange)
                fee = fee_entry(line, holding_of(line["rail"], line["account"]), found.payment_id if found else None)
                if fee is not None:
                    changes.post(fee)
                close_reviews(view, changes, {merchant, OWN_BOOK}, fact_of(line))
            elif verdict.state is State.OPEN and (before is None or before["state"] != State.OPEN.value):
                ask_a_person(view, changes, merchant, mode, reason=REASON, subject=fact_of(line),
                             payment_id=found.payment_id if found else None,
                             evidence={"type": verdict.broken, **shown(line)})  # fmt: skip
            return {"state": verdict.state.value}

        return str((await self.writer.submit(Unit(merchant, mode, None, locks, decide))).answer["state"])

    async def _find(self, line: Row) -> Found | None:
        """Find what a line is about, by the rail's own ids."""
        kind = LineKind(line["kind"])
        sign = SIGNS.get(kind)
        if sign is None:
            return None
        place = {name: line[name] for name in ("rail", "account", "mode")}
        if kind is LineKind.PAYMENT:
            row = await self._one(tables.Capture, **place, money_id=line["money_id"])
            if row is None and line["attempt_id"]:
                row = await self._one(tables.Capture, **place, attempt_id=line["attempt_id"])
            if row is None:
                return None
            units, happened, worth = row["units"], True, value_of_capture(row, row["units"])
        elif kind in {LineKind.REFUND, LineKind.REFUND_FAILED}:
            row = await self._one(tables.Refund, **place, rail_reference=line["reference"])
            if row is None:
                return None
            gone = {"succeeded", "failed"} if kind is LineKind.REFUND else {"failed"}
            units, happened = row["local_units"] + row["above_units"], row["status"] in gone or bool(row["turns"])
            worth = None if row["above_units"] else value_of_refund(row)
        else:
            row = await self._one(tables.Dispute, **place, rail_dispute_id=line["reference"])
            if row is None:
                return None
            back = kind is LineKind.DISPUTE_REVERSED
            units, happened = row["local_units"], row["withdrawals"] > 0 and (not back or row["returns"] > 0)
            capture = await self._one(tables.Capture, merchant_id=row["merchant_id"], id=row["capture_id"])
            worth = None if capture is None or row["above_units"] else value_of_capture(capture, units)
        amount = Money(sign * units, Asset.parse(row["asset"]))
        return Found(row["merchant_id"], row["mode"], row["id"], row["payment_id"], amount, happened, worth)

    async def _one(self, model: Any, **where: Any) -> Row | None:
        if any(value is None for value in where.values()):
            return None
        table = table_of(model)
        return await self.reads.one(select(table).where(*(table.c[name] == value for name, value in where.items())))

    async def _hear(self, found: Found, line: Row) -> Found | None:
        """A rail that reports a refund as through or as come back has a word for us that was lost: ask it now."""
        try:
            await self.refunds.ask(await self.refunds.find(found.object_id))
        except (RailError, TimeoutError) as error:
            _log.warning("refund_not_asked", refund=found.object_id, error=str(error)[:200])
            return found
        return await self._find(line)

    # --- the cursor -----------------------------------------------------------------------------------------------------

    async def _cursor(self, rail: str, account: str, mode: str) -> str:
        row = await self._one(tables.SettlementCursor, rail=rail, account=account, mode=mode)
        return "" if row is None else str(row["cursor"])

    async def _keep(self, rail: str, account: str, mode: str, cursor: str) -> None:
        key = (rail, account, mode)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if view.one("settlement_cursor", *key) is None:
                changes.insert("settlement_cursor", rail=rail, account=account, mode=mode, cursor=cursor,
                               read_us=view.now_us)  # fmt: skip
            else:
                changes.update("settlement_cursor", key, cursor=cursor, read_us=view.now_us)
            return {}

        await self.writer.submit(Unit(OWN_BOOK, mode, None, (row_lock("settlement_cursor", *key),), decide))
