"""Wallets against the books: lots, holds and debt add up to the accounts, part by part. Rows are streamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import orjson
from sqlalchemy import select, text

from orchestrator.database import tables
from orchestrator.database.reads import Snapshot
from orchestrator.database.tables import table_of
from orchestrator.ledger.chart import Account
from orchestrator.ledger.lots import PROMO_KINDS
from orchestrator.ledger.report import FINDINGS_MAX, Report

AccountKey: TypeAlias = tuple[str, str, str, str, str]
WalletPart: TypeAlias = tuple[str, str, str, str]
"""Merchant, mode, wallet, part."""
LotKey: TypeAlias = tuple[str, str]

_PART_OF: Final[Mapping[str, str]] = {
    Account.WALLET_PAID.value: "paid",
    Account.WALLET_PROMO.value: "promo",
    Account.WALLET_PROVISIONAL.value: "provisional",
    Account.WALLET_HELD_PAID.value: "held_paid",
    Account.WALLET_HELD_PROMO.value: "held_promo",
    Account.WALLET_FROZEN.value: "frozen",
    Account.WALLET_REFUNDING.value: "frozen",
}
"""Which part of the lots an account must equal; a lot's frozen units are those of disputes and of refunds."""


async def check_wallets(reads: Snapshot, report: Report, rebuilt: Mapping[AccountKey, int]) -> None:
    """Compare lots, holds and what is unfunded with the rebuilt accounts."""
    allocated, uncovered = await _holds(reads, report)
    await _lots(reads, report, rebuilt, allocated)
    await _uncovered(reads, report, uncovered)
    await _unfunded(reads, report, rebuilt)


async def _holds(reads: Snapshot, report: Report) -> tuple[dict[LotKey, int], dict[LotKey, int]]:
    """Return what open holds have of each lot, and what no lot backs by wallet."""
    hold = table_of(tables.Hold)
    allocated: dict[LotKey, int] = defaultdict(int)
    uncovered: dict[LotKey, int] = defaultdict(int)
    async for rows in reads.stream(select(hold).where(hold.c.status == "open")):
        for row in rows:
            parts = orjson.loads(row["allocations"])
            for lot_id, _, units in parts:
                allocated[row["merchant_id"], lot_id] += units
            if row["uncovered_units"]:
                uncovered[row["merchant_id"], row["wallet_id"]] += row["uncovered_units"]
            held = row["uncovered_units"] + sum(units for _, _, units in parts)
            if held != row["units"]:
                report.find(f"hold {row['id']}: is for {row['units']}, has {held}")
    ended = select(hold.c.id).where(hold.c.status != "open", hold.c.allocations != "[]").limit(FINDINGS_MAX)
    for row in await reads.all(ended):
        report.find(f"hold {row['id']}: has ended and still has parts of lots")
    return allocated, uncovered


async def _lots(
    reads: Snapshot, report: Report, rebuilt: Mapping[AccountKey, int], allocated: dict[LotKey, int]
) -> None:
    differences: dict[WalletPart, int] = defaultdict(int)
    for (merchant, mode, code, subject, _), balance in rebuilt.items():
        part = _PART_OF.get(code)
        if part is not None:
            differences[merchant, mode, subject, part] -= balance  # what we owe is a credit, below zero
    async for rows in reads.stream(select(table_of(tables.Lot))):
        for lot in rows:
            _one_lot(report, lot, allocated.pop((lot["merchant_id"], lot["id"]), 0))
            wallet = (lot["merchant_id"], lot["mode"], lot["wallet_id"])
            kind = "promo" if lot["kind"] in PROMO_KINDS else lot["kind"]
            held, frozen = lot["held_units"], lot["frozen_units"]
            differences[*wallet, kind] -= lot["remaining_units"] - held - frozen
            if held:
                differences[*wallet, f"held_{kind}"] -= held
            if frozen:
                differences[*wallet, "frozen"] -= frozen
    await _refunding(reads, differences)
    for (merchant, mode, wallet_id, part), difference in differences.items():
        if difference:
            report.find(f"{merchant} {mode} {wallet_id}: lots of {part} differ from the balance by {difference}")
    for (merchant, lot_id), units in allocated.items():
        report.find(f"{merchant}: open holds have {units} of {lot_id}, which is not there")


async def _refunding(reads: Snapshot, differences: dict[WalletPart, int]) -> None:
    """Count what open refunds took from the merchant, because the customer had used it: no lot holds that."""
    refund = table_of(tables.Refund)
    async for rows in reads.stream(select(refund).where(text(tables.OPEN_REFUND))):
        for row in rows:
            sources = orjson.loads(row["sources"])
            wallet = (row["merchant_id"], row["mode"], row["wallet_id"])
            differences[*wallet, "frozen"] -= sources["available"] + sources["receivable"]


def _one_lot(report: Report, lot: Mapping[str, Any], allocated: int) -> None:
    name, remaining, held = lot["id"], lot["remaining_units"], lot["held_units"]
    if lot["open"] != (1 if remaining else 0):
        report.find(f"{name}: {remaining} remain and open is {lot['open']}")
    if min(held, lot["frozen_units"]) < 0 or held + lot["frozen_units"] > remaining:
        report.find(f"{name}: {held} held and {lot['frozen_units']} frozen of {remaining}")
    if held != allocated:
        report.find(f"{name}: {held} held, open holds have {allocated} of it")


async def _uncovered(reads: Snapshot, report: Report, uncovered: dict[LotKey, int]) -> None:
    wallet = table_of(tables.Wallet)
    query = select(wallet.c.merchant_id, wallet.c.id, wallet.c.held_uncovered_units).where(
        wallet.c.held_uncovered_units != 0
    )
    async for rows in reads.stream(query):
        for row in rows:
            wanted = uncovered.pop((row["merchant_id"], row["id"]), 0)
            if row["held_uncovered_units"] != wanted:
                report.find(f"{row['id']}: {row['held_uncovered_units']} uncovered, its open holds say {wanted}")
    for (_, wallet_id), units in uncovered.items():
        report.find(f"{wallet_id}: 0 uncovered, its open holds say {units}")


async def _unfunded(reads: Snapshot, report: Report, rebuilt: Mapping[AccountKey, int]) -> None:
    """Rule 1: what the merchant was not paid for is debt, or was spent from deposits that are not final."""
    differences: dict[tuple[str, str], int] = defaultdict(int)
    for (merchant, mode, code, _, _), balance in rebuilt.items():
        if code in {Account.MERCHANT_UNFUNDED.value, Account.WALLET_DEBT.value}:
            differences[merchant, mode] -= balance  # unfunded is a credit, debt a debit
    lot, deposit = table_of(tables.Lot), table_of(tables.Deposit)
    waiting = (
        select(lot.c.merchant_id, lot.c.mode, (lot.c.units - lot.c.remaining_units).label("spent"))
        .join(deposit, (deposit.c.merchant_id == lot.c.merchant_id) & (deposit.c.id == lot.c.source))
        .where(lot.c.kind == "provisional", deposit.c.status == "provisional")
    )
    async for rows in reads.stream(waiting):
        for row in rows:
            differences[row["merchant_id"], row["mode"]] -= row["spent"]
    for (merchant, mode), difference in differences.items():
        if difference:
            report.find(
                f"{merchant} {mode}: merchant:unfunded is {difference} more than debt and spent provisional credit"
            )
