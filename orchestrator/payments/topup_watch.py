"""What became of authorisations that a facilitator elsewhere was asked to settle: the scanner's deposits tell.

A deposit from the payer, of that amount, to that address settles an attempt. An authorisation that ended in a block that
we have read, with no such deposit, never will be used. Nobody else is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import func, select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import ChainHeader, ChainTransaction, Deposit, X402Attempt, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.payments.sightings import deposit_object
from orchestrator.payments.story import usd_body
from orchestrator.payments.topups import OF_TOPUP

ENDED_GRACE_US: Final = 3600 * 1_000_000
"""After an authorisation's end, by the blocks that we have read."""
ROUND_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class TopupWatch:
    writer: Writer
    reads: Reads

    async def run_once(self) -> int:
        """Look for what was settled elsewhere; return how many attempts are decided."""
        attempts, ours = table_of(X402Attempt), table_of(ChainTransaction)
        rows = await self.reads.all(
            select(attempts)
            .outerjoin(ours, (ours.c.merchant_id == attempts.c.merchant_id) & (ours.c.subject_id == attempts.c.id))
            .where(attempts.c.status == "settling", ours.c.id.is_(None))
            .order_by(attempts.c.id)
            .limit(ROUND_MAX)
        )
        return sum([await self._decide(row) for row in rows])

    async def _decide(self, row: Row) -> bool:
        found = await self._deposit(row)
        if found is None and not await self._ended(row):
            return False

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            mine = view.many("x402_attempt", OF_TOPUP, (row["merchant_id"], row["topup_id"]))
            now = next(one for one in mine if one["id"] == row["id"])
            if now["status"] != "settling" or any(one["tx_hash"] == found for one in mine if found and one is not now):
                return {"decided": False}
            key = (row["network"], row["asset"], row["payer"], row["nonce"])
            changes.update(
                "x402_attempt", key, status="settled" if found else "failed", tx_hash=found or now["tx_hash"],
                reason="" if found else "ended_unused", updated_us=view.now_us,
            )  # fmt: skip
            return {"decided": True}

        locks = (Lock("x402_attempt", OF_TOPUP, (row["merchant_id"], row["topup_id"])),)
        applied = await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))
        return bool(applied.answer["decided"])

    async def _deposit(self, row: Row) -> str | None:
        """Return the transaction of a deposit that only this authorisation explains."""
        table, attempts = table_of(Deposit), table_of(X402Attempt)
        authorization = orjson.loads(row["payload"])["payload"]["authorization"]
        taken = select(attempts.c.tx_hash).where(attempts.c.tx_hash.is_not(None), attempts.c.id != row["id"])
        found = await self.reads.one(
            select(table.c.tx_hash)
            .where(
                table.c.merchant_id == row["merchant_id"], table.c.network == row["network"],
                table.c.recipient == bytes.fromhex(authorization["to"][2:]), table.c.sender == row["payer"],
                table.c.raw_value == authorization["value"], table.c.created_us >= row["created_us"],
                table.c.status != "orphaned", table.c.tx_hash.not_in(taken),
            )
            .order_by(table.c.id)
        )  # fmt: skip
        return None if found is None else str(found["tx_hash"])

    async def _ended(self, row: Row) -> bool:
        table = table_of(ChainHeader)
        query = select(func.max(table.c.timestamp_us).label("newest")).where(table.c.network == row["network"])
        newest = (await self.reads.one(query) or {}).get("newest") or 0
        ends_s = int(orjson.loads(row["payload"])["payload"]["authorization"]["validBefore"])
        return bool(newest > ends_s * 1_000_000 + ENDED_GRACE_US)


async def topup_object(reads: Reads, topup: Row, attempts: list[Row], url: str) -> dict[str, Any]:
    """Return a top-up as the API shows it: its state is what its attempts and the scanner's deposits say."""
    deposits = await _deposits(reads, topup, attempts)
    states = {row["status"] for row in attempts}
    credited = sum(int(row["credited_units"]) for row in deposits)
    if any(row["status"] == "credited" for row in deposits):
        status = "credited"
    else:
        status = "settled" if "settled" in states else "processing" if "settling" in states else "open"
    return {
        "id": topup["id"], "wallet": topup["wallet_id"], "status": status, "amount": usd_body(topup["units"]),
        "credited": usd_body(credited), "url": url,
        "offers": [one["shown"] for one in orjson.loads(topup["offers"])],
        "attempts": [attempt_object(row) for row in attempts],
        "deposits": [deposit_object(row) for row in deposits],
        "expires_at": rfc3339(topup["expires_us"]), "created_at": rfc3339(topup["created_us"]),
    }  # fmt: skip


def attempt_object(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"], "status": row["status"], "network": row["network"].partition(":")[2],
        "payer": "0x" + bytes(row["payer"]).hex(), "tx_hash": row["tx_hash"], "reason": row["reason"],
    }  # fmt: skip


async def _deposits(reads: Reads, topup: Row, attempts: list[Row]) -> list[Row]:
    ours, table = table_of(ChainTransaction), table_of(Deposit)
    mine = [row["id"] for row in attempts]
    sent = await reads.all(
        select(ours.c.tx_hash).where(
            ours.c.merchant_id == topup["merchant_id"], ours.c.subject_id.in_(mine), ours.c.tx_hash.is_not(None)
        )
    )
    hashes = {row["tx_hash"] for row in [*sent, *attempts] if row["tx_hash"]}
    query = select(table).where(
        table.c.tx_hash.in_(sorted(hashes)), table.c.merchant_id == topup["merchant_id"],
        table.c.wallet_id == topup["wallet_id"],
    )  # fmt: skip
    return await reads.all(query.order_by(table.c.id)) if hashes else []
