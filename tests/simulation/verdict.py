"""The books against the world, once everything is at rest: every sentence that does not hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson

from adapters.operations import DisputeState, LineKind, RefundState, SettlementLine
from orchestrator.database import tables
from orchestrator.database.unit import Row
from orchestrator.ledger.check import check
from orchestrator.payments.payment import Fact, fold
from orchestrator.payments.pricing import Price
from orchestrator.payments.refund_questions import LOST
from tests.simulation.bank import Bank
from tests.simulation.bank_state import Taken
from tests.simulation.house import MERCHANT, MODE, House

ENDED = frozenset({"credited", "review", "declined", "canceled", "expired", "disputed", "clawed_back", "late_paid"})


async def verdict(house: House) -> list[str]:
    """Return what is wrong; nothing if every unit is where it should be."""
    found = list(house.rules_broken)
    report = await check(house.services.reads)
    found += [f"books: {finding}" for finding in report.findings]
    reviews = await house.rows(tables.Review)
    for bank in house.banks.values():
        found += [*await _money(house, bank, reviews)]
        found += [*await _refunds(house, bank, reviews)]
        found += [*await _disputes(house, bank)]
        found += [*await _clearing(house, bank)]
    found += [*await _our_bank(house)]
    found += [*await _chain(house, reviews)]
    stands = await house.services.chain_desk.run("evm", "scripted")
    found += [] if stands.ok else [f"chain: {stands.to_json()}"]
    found += [*await _payments(house, reviews)]
    found += [*await _prices(house)]
    events = await house.rows(tables.Event, merchant_id=MERCHANT, mode=MODE)
    for listener in house.listeners.values():
        found += listener.verdict(sorted(events, key=lambda row: int(row["sequence"])))
    found += [f"inbox: {row['id']} is {row['state']}: {row['note']}" for row in await house.rows(tables.RawWebhook)
              if row["state"] not in {"processed", "rejected", "unplaced"}]  # fmt: skip
    return found


async def _money(house: House, bank: Bank, reviews: list[Row]) -> Iterator[str]:
    """Money that the bank took = credited once, or in review, for the amount that it was."""
    captures = {row["money_id"]: row for row in await house.rows(tables.Capture, rail=bank.name)}
    in_review = {row["subject"] for row in reviews}
    lines = {line.money_id: line.line_id for line in bank.lines if line.kind.value == "payment"}
    unheard = _unheard(bank, reviews)
    lost: dict[str, int] = defaultdict(int)
    for refund in await house.rows(tables.Refund, rail=bank.name, status="sent"):
        lost[refund["money_id"]] += refund["local_units"]

    def say() -> Iterator[str]:
        for money in bank.taken.values():
            row = captures.pop(money.money_id, None)
            if row is not None:
                yield from (f"{bank.name}: {money} {wrong}" for wrong in _standing(money, row, in_review))
                back = sum(one.gross.units for one in unheard if one.money_id == money.money_id)
                gone = (row["refunded_units"] - back, row["refunding_units"])
                if gone != (money.refunded, lost[row["id"]]):
                    yield f"{bank.name}: {money}: refunded and on its way {gone} in the books"
                if not money.withdrawn - lost[row["id"]] <= row["withdrawn_units"] <= money.withdrawn:
                    yield f"{bank.name}: {money}: {row['withdrawn_units']} withdrawn in the books"
            elif f"{bank.name}/main:{lines[money.money_id]}" not in in_review:
                yield f"{bank.name}: {money} is neither in the books nor in review"
        yield from (f"{bank.name}: {money_id} is in the books, and was never taken" for money_id in captures)

    return say()


async def _prices(house: House) -> Iterator[str]:
    """Money that came late or in another amount is priced at a rate that somebody said, never at a guess."""
    rows = [row for model in (tables.Capture, tables.Deposit) for row in await house.rows(model) if row["lines"]]

    def say() -> Iterator[str]:
        for row in rows:
            price = Price.from_json(orjson.loads(row["lines"]))
            if price.rate.mid not in house.rates.ever.get(price.total.asset.code, ()):
                yield f"{row['id']} was priced at {price.rate.mid}, which no source ever said"

    return say()


def _standing(money: Taken, row: Row, in_review: set[str]) -> Iterator[str]:
    if (row["units"], row["asset"]) != (money.amount.units, str(money.amount.asset)):
        yield f"was booked as {row['units']} {row['asset']}"
    if row["status"] == "review" and row["id"] not in in_review:
        yield "waits for a review that does not exist"
    if (row["status"] == "credited") != (row["credited_units"] > 0):
        yield f"is {row['status']} with {row['credited_units']}"


def _unheard(bank: Bank, reviews: list[Row]) -> list[SettlementLine]:
    """Refunds that came back and of which the only word was lost: the report has them, and a person was asked."""
    asked = {row["subject"] for row in reviews if row["reason"] == "reconciliation_break" and row["status"] == "open"}
    return [line for line in bank.lines
            if line.kind is LineKind.REFUND_FAILED and f"{bank.name}/main:{line.line_id}" in asked]  # fmt: skip


async def _refunds(house: House, bank: Bank, reviews: list[Row]) -> Iterator[str]:
    rows = {row["id"]: row for row in await house.rows(tables.Refund, rail=bank.name)}
    unheard = {line.reference for line in _unheard(bank, reviews)}
    asked = {row["subject"] for row in reviews if row["reason"] in LOST and row["status"] == "open"}

    def say() -> Iterator[str]:
        for id_, refund in bank.refunds.items():
            row = rows.pop(id_, None)
            failed = refund.state is RefundState.FAILED and refund.reference not in unheard
            wanted = "failed" if failed else "succeeded"
            if id_ in asked:
                yield f"{bank.name}: a person is still asked about refund {id_}, which was found"
            if row is None or row["status"] != wanted or row["local_units"] != refund.order.amount.units:
                yield f"{bank.name}: refund {id_} is {refund.state} there ({refund.order.amount}), here {row}"
        for row in rows.values():
            if row["status"] == "sent" and row["id"] in asked:
                continue  # its call was lost, and the rail kept the key no longer when it could be asked again
            if row["destination"] == "source" and row["status"] != "failed":
                yield f"{bank.name}: refund {row['id']} is {row['status']}, and the bank has none"

    return say()


async def _disputes(house: House, bank: Bank) -> Iterator[str]:
    rows = {row["rail_dispute_id"]: row for row in await house.rows(tables.Dispute, rail=bank.name)}
    known = {row["money_id"] for row in await house.rows(tables.Capture, rail=bank.name)}

    def say() -> Iterator[str]:
        for dispute in bank.disputes.values():
            row = rows.pop(dispute.id, None)
            if dispute.money_id not in known:
                continue  # the money itself is in review
            held = dispute.amount.units if dispute.state is DisputeState.LOST else 0
            stands = None if row is None else row["withdrawn_units"] + row["above_units"]
            if row is None or row["state"] != dispute.state.value or stands != held:
                yield f"{bank.name}: {dispute.id} is {dispute.state} there, here {row}"
            elif orjson.loads(row["frozen"]) and dispute.state is DisputeState.WON:
                yield f"{bank.name}: {dispute.id} was won, and credit is still frozen: {row['frozen']}"
        for id_ in rows:
            yield f"{bank.name}: dispute {id_} was made up"

    return say()


async def _clearing(house: House, bank: Bank) -> Iterator[str]:
    """The account of a bank in the books holds what the bank says it holds, but for what waits in review."""
    accounts = await house.rows(tables.Account, code="clearing", subject=f"{bank.name}/main")
    books: dict[str, int] = defaultdict(int)
    for row in accounts:
        books[row["asset"]] += int(row["balance"])
    report = await house.services.reconciliation.report(bank.name, "main")

    def say() -> Iterator[str]:
        for one in report.standings:
            if one.unexplained:
                yield f"{bank.name}: {one}"
        held = bank.balance()
        not_booked = {one.asset: one.not_booked for one in report.standings}
        for asset in sorted({*books, *held}):
            if books[asset] + not_booked.get(asset, 0) != held.get(asset, 0):
                yield f"{bank.name}: {books[asset]} {asset} in the books, {held.get(asset, 0)} there, {not_booked} known"
        for broken in report.breaks:
            if broken["type"] != "missing_here":  # money that waits for a person; a payout with it in it waits as well
                yield f"{bank.name}: a break {broken}"

    return say()


async def _our_bank(house: House) -> Iterator[str]:
    """What the books say lies in our own bank account = what was paid out less what came back, as far as it is booked."""
    matches = await house.rows(tables.SettlementMatch)
    waits = {(row["rail"], row["line_id"]) for row in matches if row["state"] != "matched"}
    accounts = await house.rows(tables.Account, code="bank")

    def say() -> Iterator[str]:
        there: dict[str, int] = defaultdict(int)
        for bank in house.banks.values():
            lines = [(line, (bank.name, line.line_id) in waits) for line in bank.lines]
            missing = {line.net.asset for line, waiting in lines if waiting and line.kind is not LineKind.PAYOUT}
            for line, waiting in lines:
                if line.kind is LineKind.PAYOUT and not waiting:
                    there[str(line.net.asset)] -= line.net.units
                elif line.kind is LineKind.PAYOUT and line.net.asset not in missing:
                    yield f"{bank.name}: {line} waits for nothing"
        here: dict[str, int] = defaultdict(int)
        for row in accounts:
            here[row["asset"]] += int(row["balance"])
        for asset in sorted({*there, *here}):
            if there[asset] != here[asset]:
                yield f"our bank: {here[asset]} {asset} in the books, {there[asset]} there"

    return say()


async def _chain(house: House, reviews: list[Row]) -> Iterator[str]:
    """What stands in the chain = credited, or listed for a person; what was orphaned is in no wallet."""
    in_review = {row["subject"] for row in reviews}
    rows = {(row["tx_hash"], row["ordinal"]): row for row in await house.rows(tables.Deposit)}
    ours = house.shown_addresses
    truth = {
        (transfer.tx_hash, transfer.receipt_ordinal): transfer
        for block in house.chain.blocks for transfer in block.transfers if transfer.recipient in ours
    }  # fmt: skip

    def say() -> Iterator[str]:
        for place, transfer in truth.items():
            row = rows.pop(place, None)
            if row is None:
                yield f"chain: {transfer} was not seen"
            elif row["units"] != transfer.amount.units:
                yield f"chain: {transfer} was booked as {row['units']}"
            elif row["status"] not in {"credited", "unallocated", "dust"}:
                yield f"chain: {transfer} is {row['status']}"
            elif row["status"] == "unallocated" and row["id"] not in in_review:
                yield f"chain: {transfer} waits for a review that does not exist"
            elif (row["status"] == "credited") != (row["credited_units"] > 0):
                yield f"chain: {transfer} is {row['status']} with {row['credited_units']}"
        for place, row in rows.items():
            if row["status"] != "orphaned" or row["credited_units"]:
                yield f"chain: {place} is {row['status']}, and no longer in the chain"

    return say()


async def _payments(house: House, reviews: list[Row]) -> Iterator[str]:
    """Every payment stands where its facts lead, and holds what its money was credited."""
    credited: dict[str, int] = defaultdict(int)
    for model in (tables.Capture, tables.Deposit):
        for row in await house.rows(model):
            if row["payment_id"]:
                credited[row["payment_id"]] += row["credited_units"]
    facts: dict[str, list[Any]] = defaultdict(list)
    for row in await house.rows(tables.PaymentFact):
        facts[row["payment_id"]].append(row)
    payments = await house.rows(tables.Payment)
    attempts = await house.rows(tables.Attempt)

    def say() -> Iterator[str]:
        for row in payments:
            mine = sorted(facts[row["id"]], key=lambda fact: int(fact["number"]))
            if fold(Fact(fact["kind"]) for fact in mine).value != row["status"]:
                yield f"{row['id']} is {row['status']}, and its facts are {[fact['kind'] for fact in mine]}"
            if row["credited_units"] != credited[row["id"]]:
                yield f"{row['id']} has {row['credited_units']}, its money {credited[row['id']]}"
        for row in attempts:
            # Nobody found it at its rail within the life of its key: a person was asked, and it is still watched.
            if row["status"] in {"sent", "outcome_unknown"} and row["id"] not in {one["subject"] for one in reviews}:
                yield f"attempt {row['id']} at {row['rail']} is still {row['status']}"

    return say()
