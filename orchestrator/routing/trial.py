"""What became of a canary's customers and of everybody else's, read from payments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, Select, case, func, select

from orchestrator.database.reads import Reads, Snapshot
from orchestrator.database.tables import (
    Attempt,
    CheckoutSession,
    Decision,
    Merchant,
    Payment,
    PaymentFact,
    table_of,
)
from orchestrator.database.unit import Row
from orchestrator.routing.rollout import Arm

PAYMENTS_MAX: Final = 20_000
"""Of one merchant, the newest: what happened lately says more than what happened first."""
SETTLED: Final = frozenset(
    {"settled", "credited", "refund_pending", "partially_refunded", "refunded", "disputed", "clawed_back"}
)
ENDED: Final = SETTLED | {"failed", "expired", "canceled"}
ERRORS: Final = frozenset({"not_sent", "outcome_unknown"})
BATCH: Final = 1_000
"""Rows between which others have their turn."""


async def arms(reads: Reads, trial: Row) -> tuple[Arm, Arm]:
    """Return (base, draft): the payments that began since the trial did, by whose rules they were offered.

    The database counts, for this is asked every few seconds while a canary runs; only how long each credit took comes
    here, a batch at a time, for the middle is that of all merchants.
    """
    base, draft = _Counting(), _Counting()
    sides = {trial["base_hash"]: base, trial["hash"]: draft}
    async with reads.snapshot() as snapshot:
        merchants = table_of(Merchant)
        for row in await snapshot.all(select(merchants.c.id)):
            await _count(snapshot, row["id"], _first_id(trial["started_us"]), sides)
    return base.arm(), draft.arm()


def _first_id(since_us: int) -> str:
    """Return the beginning of the ids that are made from a moment on: they begin with their time (UUIDv7)."""
    return f"{since_us // 1_000:012x}"


async def _count(snapshot: Snapshot, merchant: str, first: str, sides: Mapping[str, _Counting]) -> None:
    mine = _payments(merchant, first, list(sides)).cte("mine")
    of_side = mine.c.ruleset_hash
    begun = select(
        of_side, _many(), _many(mine.c.status.in_(ENDED)).label("ended"), _many(mine.c.status.in_(SETTLED)).label("settled")
    ).group_by(of_side)  # fmt: skip
    for row in await snapshot.all(begun):
        side = sides[row["ruleset_hash"]]
        side.decided += row["many"]
        side.ended += row["ended"]
        side.settled += row["settled"]
    attempts = table_of(Attempt)
    calls = (
        select(of_side, _many(), _many(attempts.c.status.in_(ERRORS)).label("errors"))
        .join(attempts, (attempts.c.merchant_id == merchant) & (attempts.c.payment_id == mine.c.id))
        .where(attempts.c.status != "pending_send")
        .group_by(of_side)
    )
    for row in await snapshot.all(calls):
        sides[row["ruleset_hash"]].calls += row["many"]
        sides[row["ruleset_hash"]].errors += row["errors"]
    async for rows in snapshot.stream(_credits(merchant, mine), BATCH):
        for row in rows:
            sides[row["ruleset_hash"]].credit_seconds.append(row["took_us"] / 1_000_000)


def _many(where: ColumnElement[bool] | None = None) -> ColumnElement[int]:
    """Return how many rows there are, or those for which ``where`` holds."""
    if where is None:
        return func.count().label("many")
    return func.count(case((where, 1)))


def _credits(merchant: str, mine: CTE) -> Select[Any]:
    """How long the first credit of each payment took: {ruleset_hash, took_us}."""
    facts = table_of(PaymentFact)
    took_us = func.min(facts.c.recorded_us) - mine.c.created_us
    return (
        select(mine.c.ruleset_hash, took_us.label("took_us"))
        .join(facts, (facts.c.merchant_id == merchant) & (facts.c.payment_id == mine.c.id))
        .where(facts.c.kind == "credited")
        .group_by(mine.c.id, mine.c.ruleset_hash, mine.c.created_us)
    )


def _payments(merchant: str, first: str, hashes: list[str]) -> Select[Any]:
    payments, sessions, decisions = table_of(Payment), table_of(CheckoutSession), table_of(Decision)
    return (
        select(payments.c.id, payments.c.status, payments.c.created_us, decisions.c.ruleset_hash)
        .join(sessions, (sessions.c.merchant_id == payments.c.merchant_id) & (sessions.c.id == payments.c.session_id))
        .join(
            decisions,
            (decisions.c.merchant_id == sessions.c.merchant_id) & (decisions.c.id == sessions.c.decision_id),
        )
        .where(
            payments.c.merchant_id == merchant,
            payments.c.id >= f"pay_{first}",
            decisions.c.ruleset_hash.in_(hashes),
        )
        .order_by(payments.c.id.desc())
        .limit(PAYMENTS_MAX)
    )


class _Counting:
    def __init__(self) -> None:
        self.decided = self.ended = self.settled = self.calls = self.errors = 0
        self.credit_seconds: list[float] = []

    def arm(self) -> Arm:
        return Arm(self.decided, self.ended, self.settled, self.calls, self.errors, tuple(sorted(self.credit_seconds)))
