"""How an account stands: what the rail says it holds, what the books say, and what explains the difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from adapters.operations import NOT_CAPTURED
from orchestrator.clock import rfc3339
from orchestrator.database import tables
from orchestrator.database.reads import Snapshot
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from rates.money import Asset, Money


@dataclass(frozen=True, slots=True)
class Standing:
    """One rail account in one asset. Units of the asset."""

    asset: str
    books: int
    """``clearing`` over all merchants."""
    rail: int
    """The sum of the report's lines."""
    not_reported: int
    """What we booked and the report does not have yet."""
    not_booked: int
    """Lines that wait or are broken, and so are not in the books."""

    @property
    def unexplained(self) -> int:
        return self.books - self.rail - self.not_reported + self.not_booked

    def to_json(self) -> dict[str, Any]:
        def shown(units: int) -> str:
            text = Money(abs(units), Asset.parse(self.asset)).decimal()
            return f"-{text}" if units < 0 else text

        names = ("books", "rail", "not_reported", "not_booked", "unexplained")
        return {"currency": self.asset.partition("/")[0], **{name: shown(getattr(self, name)) for name in names}}


@dataclass(frozen=True, slots=True)
class AccountReport:
    rail: str
    account: str
    mode: str
    lines: int
    matched: int
    waiting: int
    breaks: list[dict[str, Any]]
    standings: list[Standing]
    read_at_us: int | None
    compared_at: Mapping[str, Any] | None = None
    """Of a chain: ``block`` and ``finality``, what makes that block one to judge by."""

    @property
    def ok(self) -> bool:
        return not self.breaks and all(one.unexplained == 0 for one in self.standings)

    def to_json(self) -> dict[str, Any]:
        return {
            "rail": self.rail, "account": self.account, "mode": self.mode, "lines": self.lines, "matched": self.matched,
            "waiting": self.waiting, "breaks": self.breaks, "balances": [one.to_json() for one in self.standings],
            "compared_at": None if self.compared_at is None else dict(self.compared_at),
            "read_at": None if self.read_at_us is None else rfc3339(self.read_at_us), "ok": self.ok,
        }  # fmt: skip


async def account_report(view: Snapshot, rail: str, account: str, mode: str, late_us: int) -> AccountReport:
    """Add everything up in one state of the database. ``late_us``: what was taken before it should have its line."""
    lines, matches = table_of(tables.SettlementLine), table_of(tables.SettlementMatch)
    place = {"rail": rail, "account": account, "mode": mode}
    joined = lines.join(
        matches,
        (matches.c.rail == lines.c.rail) & (matches.c.account == lines.c.account) & (matches.c.mode == lines.c.mode)
        & (matches.c.line_id == lines.c.line_id),
    )  # fmt: skip
    rows = await view.all(
        select(lines, matches.c.state, matches.c.broken, matches.c.object_id, matches.c.merchant_id)
        .select_from(joined).where(*(lines.c[name] == value for name, value in place.items()))
        .order_by(lines.c.occurred_us, lines.c.line_id)
    )  # fmt: skip
    booked = {(row["kind"], row["object_id"]) for row in rows if row["state"] == "matched"}
    standings = await _standings(view, place, rows, booked)
    breaks = [_broken(row) for row in rows if row["state"] == "open"]
    breaks += await _missing_there(view, place, booked, late_us)
    read = await view.all(
        select(table_of(tables.SettlementCursor)).where(
            *(table_of(tables.SettlementCursor).c[name] == value for name, value in place.items())
        )
    )
    states = [row["state"] for row in rows]
    return AccountReport(rail, account, mode, len(rows), states.count("matched"), states.count("waiting"), breaks,
                         standings, read[0]["read_us"] if read else None)  # fmt: skip


async def _standings(
    view: Snapshot, place: Mapping[str, str], rows: list[Row], booked: set[tuple[str, str]]
) -> list[Standing]:
    accounts = table_of(tables.Account)
    books: dict[str, int] = defaultdict(int)
    subject = f"{place['rail']}/{place['account']}"
    held = select(accounts.c.asset, accounts.c.balance).where(
        accounts.c.code == "clearing", accounts.c.subject == subject, accounts.c.mode == place["mode"]
    )
    for row in await view.all(held):
        books[row["asset"]] += row["balance"]
    rail: dict[str, int] = defaultdict(int)
    not_booked: dict[str, int] = defaultdict(int)
    for row in rows:
        rail[row["asset"]] += row["net_units"]
        if row["state"] != "matched":
            not_booked[row["asset"]] += row["net_units"]
    not_reported = await _not_reported(view, place, booked)
    return [
        Standing(asset, books[asset], rail[asset], not_reported.get(asset, 0), not_booked[asset])
        for asset in sorted({*books, *rail, *not_reported})
    ]


async def _not_reported(view: Snapshot, place: Mapping[str, str], booked: set[tuple[str, str]]) -> dict[str, int]:
    """Return what stands in the books of this account without a line of the report."""
    found: dict[str, int] = defaultdict(int)
    captures, refunds, disputes = (table_of(one) for one in (tables.Capture, tables.Refund, tables.Dispute))

    def mine(table: Any) -> list[Any]:
        return [table.c[name] == value for name, value in place.items()]

    for row in await view.all(select(captures.c.id, captures.c.asset, captures.c.units).where(*mine(captures))):
        if ("payment", row["id"]) not in booked:
            found[row["asset"]] += row["units"]
    query = select(refunds).where(*mine(refunds), refunds.c.destination == "source")
    for row in await view.all(query):
        if row["status"] == "succeeded" and ("refund", row["id"]) not in booked:
            found[row["asset"]] -= row["local_units"] + row["above_units"]
        if row["status"] == "failed":  # it may have left and come back: the two lines belong together
            left, back = ("refund", row["id"]) in booked, ("refund_failed", row["id"]) in booked
            found[row["asset"]] += row["local_units"] * (int(left) - int(back))
    for row in await view.all(select(disputes).where(*mine(disputes))):
        there = ("dispute", row["id"]) in booked and ("dispute_reversed", row["id"]) not in booked
        here = row["withdrawn_units"] + row["above_units"] > 0
        found[row["asset"]] += row["local_units"] * (int(there) - int(here))
    return found


async def _missing_there(
    view: Snapshot, place: Mapping[str, str], booked: set[tuple[str, str]], late_us: int
) -> list[dict[str, Any]]:
    captures, disputes = table_of(tables.Capture), table_of(tables.Dispute)
    never_came = select(disputes.c.capture_id).where(
        disputes.c.reason.startswith(NOT_CAPTURED), disputes.c.withdrawn_units > 0,
        *(disputes.c[name] == value for name, value in place.items()),
    )  # fmt: skip
    rows = await view.all(
        select(captures).where(*(captures.c[name] == value for name, value in place.items()),
                               captures.c.captured_us < late_us, captures.c.id.not_in(never_came))
    )  # fmt: skip
    return [
        {
            "type": "missing_there", "line": None, "kind": "payment", "word": None,
            "amount": Money(row["units"], Asset.parse(row["asset"])).decimal(),
            "currency": row["asset"].partition("/")[0], "object": row["id"], "merchant": row["merchant_id"],
            "reference": None, "money": row["money_id"], "at": rfc3339(row["captured_us"]),
        }
        for row in rows
        if ("payment", row["id"]) not in booked
    ]  # fmt: skip


def _broken(row: Row) -> dict[str, Any]:
    amount = Money(abs(row["gross_units"]), Asset.parse(row["asset"])).decimal()
    return {
        "type": row["broken"], "line": row["line_id"], "kind": row["kind"], "word": row["word"],
        "amount": f"-{amount}" if row["gross_units"] < 0 else amount, "currency": row["asset"].partition("/")[0],
        "object": row["object_id"] or None, "merchant": row["merchant_id"] or None, "reference": row["reference"],
        "money": row["money_id"], "at": rfc3339(row["occurred_us"]),
    }  # fmt: skip
