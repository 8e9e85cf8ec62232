"""What became of a canary's customers and of everybody else's, read from payments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Select, select

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


async def arms(reads: Reads, trial: Row) -> tuple[Arm, Arm]:
    """Return (base, draft): the payments that began since the trial did, by whose rules they were offered."""
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
    of_payment: dict[str, _Counting] = {}
    begun: dict[str, int] = {}
    for row in await snapshot.all(_payments(merchant, first, list(sides))):
        side = of_payment[row["id"]] = sides[row["ruleset_hash"]]
        begun[row["id"]] = row["created_us"]
        side.decided += 1
        side.ended += row["status"] in ENDED
        side.settled += row["status"] in SETTLED
    attempts = table_of(Attempt)
    calls = select(attempts.c.payment_id, attempts.c.status).where(
        attempts.c.merchant_id == merchant, attempts.c.id >= f"att_{first}", attempts.c.status != "pending_send"
    )
    for row in await snapshot.all(calls.order_by(attempts.c.id.desc()).limit(4 * PAYMENTS_MAX)):
        counted = of_payment.get(row["payment_id"])
        if counted is not None:
            counted.calls += 1
            counted.errors += row["status"] in ERRORS
    facts = table_of(PaymentFact)
    credited = select(facts.c.payment_id, facts.c.recorded_us).where(
        facts.c.merchant_id == merchant, facts.c.payment_id >= f"pay_{first}", facts.c.kind == "credited"
    )
    newest = credited.order_by(facts.c.payment_id.desc(), facts.c.number.desc()).limit(4 * PAYMENTS_MAX)
    # The newest come first, so that of several of one payment the first stands.
    first_us = {row["payment_id"]: row["recorded_us"] for row in await snapshot.all(newest)}
    for payment, at_us in first_us.items():
        if payment in of_payment:
            of_payment[payment].credit_seconds.append((at_us - begun[payment]) / 1_000_000)


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
        return Arm(self.decided, self.ended, self.settled, self.calls, self.errors, tuple(self.credit_seconds))
