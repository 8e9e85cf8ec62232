"""What became of a canary's customers, counted by the database: on both, and of the newest payments alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from orchestrator.database.reads import Reads
from orchestrator.database.schema import COLUMNS, DEFAULTS
from orchestrator.database.tables import (
    Attempt,
    CheckoutSession,
    Decision,
    Merchant,
    Payment,
    PaymentFact,
    table_of,
)
from orchestrator.routing import trial
from orchestrator.routing.rollout import Arm

BEGAN_US: Final = 1_796_000_000_000_000
CANARY: Final = {"base_hash": "base", "hash": "draft", "started_us": BEGAN_US}


class Books:
    """Writes payments as they stand in the tables, without the service."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._count = 0

    async def row(self, model: type[Any], **told: Any) -> None:
        """Insert a row; what is not told is empty."""
        table = table_of(model)
        empty = {name: 0 if table.c[name].type.python_type is int else "" for name in COLUMNS[table.name]}
        await self._connection.execute(insert(table).values({**empty, **DEFAULTS[table.name], **told}))

    async def payment(
        self, hash_: str, status: str, calls: tuple[str, ...] = (), credits_s: tuple[float, ...] = (),
        *, merchant: str = "mer_1", at_us: int = BEGAN_US,
    ) -> None:  # fmt: skip
        """Write one with its session, decision, calls to rails (status) and credits (seconds after it began)."""
        self._count += 1
        name = f"{at_us // 1000:012x}{self._count:020x}"
        mine = {"merchant_id": merchant, "mode": "test", "created_us": at_us}
        await self.row(Decision, **mine, id=f"dec_{name}", ruleset_hash=hash_)
        await self.row(CheckoutSession, **mine, id=f"cs_{name}", decision_id=f"dec_{name}", status="open")
        await self.row(Payment, **mine, id=f"pay_{name}", session_id=f"cs_{name}", status=status)
        for number, outcome in enumerate(calls):
            about = {"id": f"att_{name}{number}", "payment_id": f"pay_{name}", "status": outcome, "open_at_rail": 0}
            await self.row(Attempt, **mine, **about)
        for number, seconds in enumerate(credits_s):
            fact = {"payment_id": f"pay_{name}", "number": number, "kind": "credited"}
            recorded_us = at_us + int(seconds * 1_000_000)
            await self.row(PaymentFact, merchant_id=merchant, **fact, recorded_us=recorded_us)


@pytest.fixture
async def scene(migrated_database_url: str) -> AsyncIterator[tuple[Books, Reads]]:
    engine = create_async_engine(migrated_database_url, isolation_level="AUTOCOMMIT")
    reads = Reads(migrated_database_url)
    async with engine.connect() as connection:
        books = Books(connection)
        for merchant in ("mer_1", "mer_2"):
            await books.row(Merchant, id=merchant, name=merchant)
        yield books, reads
    await reads.close()
    await engine.dispose()


async def test_both_sides_are_counted_over_all_merchants(scene: tuple[Books, Reads]) -> None:
    books, reads = scene
    await books.payment("base", "credited", ("declined", "captured"), (12.34,))
    await books.payment("base", "credited", ("captured",), (20.0, 99.0), merchant="mer_2")  # paid in two parts
    await books.payment("base", "action_required", ("pending_send",))  # not called yet
    await books.payment("draft", "failed", ("not_sent", "outcome_unknown", "declined"))
    await books.payment("draft", "partially_refunded", ("captured",), (7.0,), merchant="mer_2")
    await books.payment("another", "credited", ("captured",), (1.0,))
    await books.payment("draft", "credited", ("captured",), (1.0,), at_us=BEGAN_US - 1_000)  # before the trial began
    base, draft = await trial.arms(reads, CANARY)
    assert base == Arm(decided=3, ended=2, settled=2, calls=3, errors=0, credit_seconds=(12.34, 20.0))
    assert draft == Arm(decided=2, ended=2, settled=1, calls=4, errors=2, credit_seconds=(7.0,))


async def test_only_the_newest_payments_of_a_merchant_count_with_all_that_became_of_them(
    scene: tuple[Books, Reads], monkeypatch: pytest.MonkeyPatch
) -> None:
    books, reads = scene
    monkeypatch.setattr(trial, "PAYMENTS_MAX", 3)
    for _ in range(4):
        await books.payment("draft", "failed", ("not_sent",) * 9)
    for seconds in (1.0, 2.0):
        await books.payment("draft", "credited", ("not_sent",) * 6 + ("captured",), (seconds,))
    await books.payment("base", "credited", ("captured",), (3.0,))
    await books.payment("base", "failed", ("declined",), merchant="mer_2")
    base, draft = await trial.arms(reads, CANARY)
    assert base == Arm(decided=2, ended=2, settled=1, calls=2, errors=0, credit_seconds=(3.0,))
    assert draft == Arm(decided=2, ended=2, settled=2, calls=14, errors=12, credit_seconds=(1.0, 2.0))
