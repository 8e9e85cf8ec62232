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
from adapters.operations import LineKind, ReportsSettlement, SettlementLine
from orchestrator.clock import Clock, to_us
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
    cut,
    fact_of,
    fee_entry,
    judge,
    payout_entry,
)
from orchestrator.reconciliation.reports import AccountReport, account_report
from rates.money import Asset, Money

PAGES_MAX: Final = 500
CALL_S_MAX: Final = 120
BY_OBJECT: Final = ("rail", "account", "mode", "object_id")
BY_SUBJECT: Final = ("merchant_id", "subject")
REASON: Final = "reconciliation_break"
Rails = Mapping[tuple[str, str], RailAdapter]
_log = structlog.get_logger("reconciliation")


@dataclass(frozen=True, slots=True)
class Reconciliation:
    writer: Writer
    reads: Reads
    rails: Rails
    clock: Clock
    refunds: Refunds

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
                await self._take(_row_of(line, rail, account, mode))
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
            .order_by(lines.c.occurred_us, lines.c.line_id)
        )  # fmt: skip
        return sum([await self._take(row) == State.MATCHED.value for row in rows])

    async def _take(self, line: Row) -> str:
        """Keep one line, judge it, book its fee: one unit."""
        if line["kind"] == LineKind.PAYOUT.value:
            return await self._payout(line)
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
            _write_match(changes, line, before, verdict.state, verdict.broken, found, view.now_us)
            if verdict.state is State.MATCHED:
                exchange = None if found is None else converted(line, found, holding_of(line["rail"], line["account"]))
                if exchange is not None:
                    changes.post(exchange)
                fee = fee_entry(line, holding_of(line["rail"], line["account"]), found.payment_id if found else None)
                if fee is not None:
                    changes.post(fee)
                _close_reviews(view, changes, {merchant, OWN_BOOK}, fact_of(line))
            elif verdict.state is State.OPEN and (before is None or before["state"] != State.OPEN.value):
                ask_a_person(view, changes, merchant, mode, reason=REASON, subject=fact_of(line),
                             payment_id=found.payment_id if found else None,
                             evidence={"type": verdict.broken, **_shown(line)})  # fmt: skip
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

    async def _payout(self, line: Row) -> str:
        """Book what the rail paid into the bank: each merchant's part is the sum of the lines that it is made of."""
        lines, matches = table_of(tables.SettlementLine), table_of(tables.SettlementMatch)
        place = {name: line[name] for name in ("rail", "account", "mode")}
        same = (matches.c.rail == lines.c.rail) & (matches.c.account == lines.c.account) & (
            matches.c.mode == lines.c.mode) & (matches.c.line_id == lines.c.line_id)  # fmt: skip
        rows = await self.reads.all(
            select(lines, matches.c.merchant_id)
            .join(matches, same)
            .where(*(lines.c[name] == value for name, value in place.items()), lines.c.asset == line["asset"],
                   lines.c.kind != LineKind.PAYOUT.value, matches.c.state == State.MATCHED.value, matches.c.payout == "")
            .order_by(lines.c.occurred_us, lines.c.line_id)
        )  # fmt: skip
        parts = cut(rows, -line["gross_units"])
        shares: dict[str, int] = {}
        for row in parts or ():
            shares[row["merchant_id"] or OWN_BOOK] = shares.get(row["merchant_id"] or OWN_BOOK, 0) + row["net_units"]
        holding = holding_of(line["rail"], line["account"])
        for merchant, units in shares.items():
            key = f"rail_payout:{fact_of(line)}"
            await self.writer.submit(Unit(merchant, line["mode"], key, (), _pays(line, units, holding)))
        return await self._payout_done(line, parts)

    async def _payout_done(self, line: Row, parts: Any) -> str:
        key = (line["rail"], line["account"], line["mode"], line["line_id"])
        state = State.OPEN if parts is None else State.MATCHED
        locks = [row_lock("settlement_match", *key), Lock("review", BY_SUBJECT, (OWN_BOOK, fact_of(line)))]
        locks += [row_lock("settlement_match", *key[:3], one["line_id"]) for one in parts or ()]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            before = view.one("settlement_match", *key)
            if before is not None and before["state"] == State.MATCHED.value:
                return {"state": before["state"]}
            broken = None if state is State.MATCHED else "amount"
            _write_match(changes, line, before, state, broken, None, view.now_us)
            for one in parts or ():
                changes.update("settlement_match", (*key[:3], one["line_id"]), payout=line["line_id"])
            if state is State.MATCHED:
                _close_reviews(view, changes, {OWN_BOOK}, fact_of(line))
            elif before is None:
                ask_a_person(view, changes, OWN_BOOK, line["mode"], reason=REASON, subject=fact_of(line),
                             payment_id=None, evidence={"type": "amount", **_shown(line)})  # fmt: skip
            return {"state": state.value}

        return str((await self.writer.submit(Unit(OWN_BOOK, line["mode"], None, locks, decide))).answer["state"])

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


def _pays(line: Row, units: int, holding: Any) -> Any:
    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        if units:
            changes.post(payout_entry(line, units, holding))
        return {}

    return decide


def _row_of(line: SettlementLine, rail: str, account: str, mode: str) -> Row:
    return {
        "rail": rail, "account": account, "mode": mode, "line_id": line.line_id, "kind": line.kind.value,
        "word": line.word, "money_id": line.money_id, "attempt_id": line.attempt_id, "reference": line.reference,
        "asset": str(line.net.asset), "gross_units": line.gross.units, "fee_units": line.fee.units,
        "net_units": line.net.units, "occurred_us": to_us(line.occurred_at), "batch": line.batch, "recorded_us": 0,
        "original_asset": None if line.original is None else str(line.original.asset),
        "original_units": None if line.original is None else line.original.units,
        "exchange_rate": line.exchange_rate or None,
    }  # fmt: skip


def _write_match(
    changes: Changes, line: Row, before: Row | None, state: State, broken: str | None, found: Found | None, now_us: int
) -> None:
    columns = {
        "state": state.value, "broken": "" if state is State.MATCHED or broken is None else str(broken),
        "object_id": "" if found is None else found.object_id,
        "merchant_id": "" if found is None else found.merchant_id, "updated_us": now_us,
    }  # fmt: skip
    key = {name: line[name] for name in ("rail", "account", "mode", "line_id")}
    if before is None:
        changes.insert("settlement_line", **{**line, "recorded_us": now_us})
        changes.insert("settlement_match", **key, kind=line["kind"], payout="", **columns)
    else:
        changes.update("settlement_match", tuple(key.values()), **columns)


def _close_reviews(view: View, changes: Changes, merchants: set[str], subject: str) -> None:
    for merchant in sorted(merchants):
        for review in view.many("review", BY_SUBJECT, (merchant, subject)):
            if review["status"] == "open":
                changes.update("review", (merchant, review["id"]), status="resolved", resolved_us=view.now_us)


def _shown(line: Row) -> dict[str, Any]:
    shown = {
        "rail": line["rail"], "account": line["account"], "line": line["line_id"], "kind": line["kind"],
        "word": line["word"], "amount": _text(line["gross_units"], line["asset"]),
        "currency": line["asset"].partition("/")[0], "money": line["money_id"], "reference": line["reference"],
    }  # fmt: skip
    if line["original_units"] is not None:
        shown["before_conversion"] = _text(line["original_units"], line["original_asset"])
        shown["before_conversion_currency"] = line["original_asset"].partition("/")[0]
        shown["exchange_rate"] = line["exchange_rate"]
    return shown


def _text(units: int, asset: str) -> str:
    text = Money(abs(units), Asset.parse(asset)).decimal()
    return f"-{text}" if units < 0 else text
