"""What ranking goes by is counted by the database: against a count in Python, attempt by attempt, and by its plan."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Capture, CheckoutSession, Merchant
from orchestrator.routing.figures import BANDS, LOST, WON, Cell, CellKey, band_of, cells_query, read
from tests.integration.routing.rows import WHOLE, Rows, fill, plan, row_of

ATTEMPTS = 3_000
SINCE_US = 1_800_000_000_000_000
STATUSES = ("succeeded", "succeeded", "succeeded", "declined_soft", "declined_hard", "not_sent", "expired", "pending")


def att(at_us: int, number: int) -> str:
    return f"att_{at_us // 1_000:012x}{number:020x}"


def drawn() -> tuple[Rows, Rows, Rows]:
    """Return sessions, their attempts and captures: won, lost and open ones, some before the window, some not credited."""
    chance = random.Random(7)  # noqa: S311  # the same every time
    sessions: Rows = []
    attempts: Rows = []
    captures: Rows = []
    amounts = [end + more for end in BANDS for more in (-1, 0, 1)]
    for number in range(ATTEMPTS):
        merchant = chance.choice(["mer_1", "mer_2"])
        at_us, status = SINCE_US + chance.randrange(-(10**9), 10**9) * 1_000, chance.choice(STATUSES)
        scope = {"merchant_id": merchant, "mode": "live"}
        sessions.append(row_of(CheckoutSession, **scope, id=f"cs_{number}", country=chance.choice(["BR", "DE"]),
                               amount_units=chance.choice(amounts)))  # fmt: skip
        mine = row_of(Attempt, **scope, id=att(at_us, number), payment_id=f"pay_{number}", session_id=f"cs_{number}",
                      status=status, rail="stripe", account=chance.choice(["main", "eu"]), method="card", created_us=at_us)  # fmt: skip
        attempts.append(mine)
        if status in {"succeeded", "expired"} and chance.random() < 0.8:
            captures.append(row_of(Capture, **scope, id=f"cap_{number}", payment_id=f"pay_{number}", attempt_id=mine["id"],
                                   money_id=f"{number}", created_us=at_us + chance.randrange(3 * 10**13)))  # fmt: skip
    return sessions, attempts, captures


def naive(sessions: Rows, attempts: Rows, captures: Rows) -> dict[CellKey, Cell]:
    of_session = {row["id"]: row for row in sessions}
    credited_us = {row["attempt_id"]: row["created_us"] for row in captures}
    cells: dict[CellKey, Cell] = {}
    for row in attempts:
        if row["id"] < att(SINCE_US, 0) or row["status"] not in WON | LOST:
            continue
        session, won = of_session[row["session_id"]], row["status"] in WON
        credited = won and row["id"] in credited_us
        seconds = (credited_us[row["id"]] - row["created_us"]) // 1_000_000 if credited else 0
        key = CellKey(
            (row["rail"], row["account"], row["method"]), session["country"], band_of(session["amount_units"])
        )
        cells[key] = cells.get(key, Cell()).plus(Cell(1, int(won), int(credited), seconds, seconds * seconds))
    return cells


def all_rows(sessions: Rows, attempts: Rows, captures: Rows) -> dict[Any, Rows]:
    merchants = [row_of(Merchant, id=merchant) for merchant in ("mer_1", "mer_2", "mer_3")]
    return {Merchant: merchants, CheckoutSession: sessions, Attempt: attempts, Capture: captures}


async def test_the_database_counts_the_cells_that_a_count_of_every_attempt_comes_to(migrated_database_url: str) -> None:
    told = drawn()
    await fill(migrated_database_url, all_rows(*told))
    wanted = naive(*told)
    assert len(wanted) == 2 * 2 * (len(BANDS) + 1)
    reads = Reads(migrated_database_url)
    try:
        seen = await read(reads, SINCE_US, SINCE_US + 10**12)
    finally:
        await reads.close()
    assert seen.cells == wanted


@pytest.mark.parametrize("analyse", [True, False])
async def test_each_attempt_finds_its_credit_without_reading_all_of_them(
    migrated_database_url: str, *, analyse: bool
) -> None:
    await fill(migrated_database_url, all_rows(*drawn()), analyse=analyse)
    how = await plan(migrated_database_url, cells_query("mer_1", SINCE_US))
    if migrated_database_url.startswith(
        "sqlite"
    ):  # PostgreSQL reads two thousand rows as it likes, but never each for each
        assert "USING INDEX capture_payment (merchant_id=? AND payment_id=?)" in how, how
        assert not re.search(WHOLE.format("(attempt|checkout_session|capture)"), how), how
    assert "Nested Loop" not in how or "capture_payment" in how, how
