"""What the payment page needs to know of one session, read at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select

from adapters.base import ScansChain
from orchestrator.database.reads import Reads
from orchestrator.database.tables import (
    Attempt,
    ChainCursor,
    CheckoutSession,
    Deposit,
    Merchant,
    Payment,
    PaymentFact,
    table_of,
)
from orchestrator.database.unit import Row
from orchestrator.payments.outcome import Rails
from orchestrator.payments.payment import Fact

FACTS_READ_MAX = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """One transfer to the buyer's address and how deep it is."""

    deposit: Row
    confirmations: int
    needed: int


@dataclass(frozen=True, slots=True)
class Sight:
    session: Row
    merchant: str
    """The shop's name; empty where it has none."""
    payment: Row | None
    attempt: Row | None
    """The last one."""
    seen: tuple[Seen, ...]
    now_us: int

    @property
    def over(self) -> bool:
        return bool(self.session["expires_us"] <= self.now_us)

    @property
    def action(self) -> Mapping[str, Any] | None:
        """The last attempt's next action."""
        if self.attempt is None or not self.attempt["next_action"]:
            return None
        action: Mapping[str, Any] = orjson.loads(self.attempt["next_action"])
        return action


async def find_session(reads: Reads, session_id: str) -> Row | None:
    table = table_of(CheckoutSession)
    return await reads.one(select(table).where(table.c.id == session_id))


async def look(reads: Reads, rails: Rails, session: Row, now_us: int) -> Sight:
    """Read payment, last attempt and transfers of a session in one view of the database."""
    merchants, payments, attempts = table_of(Merchant), table_of(Payment), table_of(Attempt)
    merchant_id, payment_id = session["merchant_id"], session["payment_id"]
    async with reads.snapshot() as snapshot:
        names = await snapshot.all(select(merchants.c.name).where(merchants.c.id == merchant_id))
        name = names[0]["name"] if names else ""
        if payment_id is None:
            return Sight(session, name, None, None, (), now_us)
        found = await snapshot.all(
            select(payments).where(payments.c.merchant_id == merchant_id, payments.c.id == payment_id)
        )
        last = await snapshot.all(
            select(attempts)
            .where(attempts.c.merchant_id == merchant_id, attempts.c.payment_id == payment_id)
            .order_by(attempts.c.id.desc())
            .limit(1)
        )
        deposits = await snapshot.all(deposits_of(merchant_id, await snapshot.all(_pending(merchant_id, payment_id))))
        cursors = {row["network"]: row["number"] for row in await snapshot.all(select(table_of(ChainCursor)))}
    seen = tuple(_seen(row, cursors, rails) for row in deposits)
    return Sight(session, name, found[0] if found else None, last[0] if last else None, seen, now_us)


def _pending(merchant_id: str, payment_id: str) -> Any:
    facts = table_of(PaymentFact)
    return (
        select(facts.c.body)
        .where(
            facts.c.merchant_id == merchant_id,
            facts.c.payment_id == payment_id,
            facts.c.kind == Fact.PENDING.value,
        )
        .order_by(facts.c.number)
        .limit(FACTS_READ_MAX)
    )


def deposits_of(merchant_id: str, facts: list[Row]) -> Any:
    """Select the deposits that a payment's facts name: by their keys, so that no table is searched."""
    bodies = [orjson.loads(fact["body"]) for fact in facts]
    ids = sorted({body["deposit"] for body in bodies if "deposit" in body})
    deposits = table_of(Deposit)
    standing = deposits.c.status != "orphaned"  # what fell away with its block is shown again when it is mined again
    mine = deposits.c.merchant_id == merchant_id
    return select(deposits).where(mine, standing, deposits.c.id.in_(ids)).order_by(deposits.c.id)


def _seen(deposit: Row, cursors: Mapping[str, int], rails: Rails) -> Seen:
    needed = _confirmations(rails.get((deposit["rail"], deposit["account"])))
    depth = cursors.get(deposit["network"], 0) - deposit["block_number"] + 1
    return Seen(deposit, max(0, min(depth, needed)), needed)


def _confirmations(adapter: object) -> int:
    return adapter.confirmations if isinstance(adapter, ScansChain) else 1
