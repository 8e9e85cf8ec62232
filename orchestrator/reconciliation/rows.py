"""A line of a report and its match, as they are stored and as people see them."""

from __future__ import annotations

from typing import Any, Final

from adapters.operations import SettlementLine
from orchestrator.clock import to_us
from orchestrator.database.unit import Changes, Row, View
from orchestrator.reconciliation.matching import Found, State
from rates.money import Asset, Money

BY_SUBJECT: Final = ("merchant_id", "subject")
REASON: Final = "reconciliation_break"
"""Of the review that asks a person about a break."""


def row_of(line: SettlementLine, rail: str, account: str, mode: str) -> Row:
    return {
        "rail": rail, "account": account, "mode": mode, "line_id": line.line_id, "kind": line.kind.value,
        "word": line.word, "money_id": line.money_id, "attempt_id": line.attempt_id, "reference": line.reference,
        "asset": str(line.net.asset), "gross_units": line.gross.units, "fee_units": line.fee.units,
        "net_units": line.net.units, "occurred_us": to_us(line.occurred_at), "batch": line.batch, "recorded_us": 0,
        "original_asset": None if line.original is None else str(line.original.asset),
        "original_units": None if line.original is None else line.original.units,
        "exchange_rate": line.exchange_rate or None,
    }  # fmt: skip


def write_match(
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


def close_reviews(view: View, changes: Changes, merchants: set[str], subject: str) -> None:
    for merchant in sorted(merchants):
        for review in view.many("review", BY_SUBJECT, (merchant, subject)):
            if review["status"] == "open":
                changes.update("review", (merchant, review["id"]), status="resolved", resolved_us=view.now_us)


def shown(line: Row) -> dict[str, Any]:
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
