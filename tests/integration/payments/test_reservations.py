"""Money that is only reserved first: authorised is not paid, credit comes with the capture, once, and what is not wanted is let go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.config_source import ConfigInvalid
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.ledger.check import check
from orchestrator.payments.wire_json import order_from_json
from tests.support.world import MERCHANT, MODE, World, world

PRINCIPAL = 20 * 10**9
CARD = {"card": "4242424242424242"}
MANUAL: dict[str, Any] = {
    "rails": {
        "stripe": {"accounts": {"main": {"capture": "manual"}}},
        "adyen": {"accounts": {"main": {"capture": "manual"}}},
    },
    "routing": {"defaults": {"offers": ["vipps", "card"]}},
}


@asynccontextmanager
async def reserving(url: str, folder: Path) -> AsyncIterator[World]:
    async with world(url, folder, overrides=MANUAL, loops=False) as here:
        here.switched_off.add("reservations")
        yield here


async def rows(here: World, model: Any) -> list[Row]:
    table = table_of(model)
    return await here.services.reads.all(select(table).order_by(*table.primary_key.columns))


async def until(here: World, true: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(150):
        if found := await true():
            return found
        await make_due(here)
        await here.work_once()
    raise AssertionError("it did not come")


async def make_due(here: World) -> None:
    for name, model, column, key in (
        ("reservation", tables.Reservation, "next_us", "attempt_id"),
        ("attempt", tables.Attempt, "next_check_us", "id"),
    ):
        for row in await rows(here, model):

            def decide(
                view: View, changes: Changes, row: Row = row, name: str = name, column: str = column, key: str = key
            ) -> dict[str, Any]:
                changes.update(name, (MERCHANT, row[key]), **{column: view.now_us - 1})
                return {}

            await here.services.writer.submit(Unit(MERCHANT, MODE, None, (row_lock(name, MERCHANT, row[key]),), decide))


async def held(here: World) -> Row:
    async def there() -> Row | None:
        found = await rows(here, tables.Reservation)
        return found[0] if found else None

    found: Row = await until(here, there)
    return found


async def credited(here: World) -> Row:
    async def there() -> Row | None:
        (payment,) = await rows(here, tables.Payment)
        return payment if payment["status"] == "credited" else None

    payment: Row = await until(here, there)
    assert payment["credited_units"] == PRINCIPAL
    assert len(await rows(here, tables.Capture)) == 1
    (reservation,) = await until(here, lambda: _in_state(here, "captured"))
    assert reservation["tries"] >= 1
    report = await check(here.services.reads)
    assert report.ok, report.findings
    return payment


async def _in_state(here: World, state: str) -> list[Row]:
    return [row for row in await rows(here, tables.Reservation) if row["state"] == state]


@pytest.mark.parametrize(("country", "choice"), [("DE", CARD), ("NO", {"outcome": "paid"})])
async def test_what_is_authorised_is_not_paid_and_is_credited_when_it_was_taken(
    migrated_database_url: str, tmp_path: Path, country: str, choice: dict[str, str]
) -> None:
    async with reserving(migrated_database_url, tmp_path) as here:
        session = await here.session(country)
        chosen = await here.select(session)
        await here.pay_at_rail(chosen, choice)
        reservation = await held(here)
        assert (reservation["state"], reservation["attempt_id"]) == ("held", chosen["attempt"])
        (payment,) = await rows(here, tables.Payment)
        assert (payment["status"], payment["credited_units"]) == ("processing", 0)
        assert await rows(here, tables.JournalEntry) == []
        here.switched_off.discard("reservations")
        await credited(here)
        (capture,) = await rows(here, tables.Capture)
        assert capture["money_id"] == reservation["authorisation"]


async def test_an_authorisation_whose_webhook_was_lost_is_found_and_taken(sqlite_url: str, tmp_path: Path) -> None:
    async with reserving(sqlite_url, tmp_path) as here:
        await here.control("stripe", "main", {"hold_webhooks": True})
        await here.pay_at_rail(await here.select(await here.session("DE")), CARD)
        await held(here)
        here.switched_off.discard("reservations")
        await credited(here)


@pytest.mark.parametrize("fault", ["drop_answer", "broken", "down", "rate_limited"])
@pytest.mark.parametrize(("country", "rail", "choice"), [("DE", "stripe", CARD), ("NO", "adyen", {"outcome": "paid"})])
async def test_a_capture_whose_answer_was_lost_is_one_capture(
    sqlite_url: str, tmp_path: Path, fault: str, country: str, rail: str, choice: dict[str, str]
) -> None:
    async with reserving(sqlite_url, tmp_path) as here:
        await here.pay_at_rail(await here.select(await here.session(country)), choice)
        await held(here)
        await here.control(rail, "main", {"hold_webhooks": True})  # nothing tells us but our own asking
        await here.control(rail, "main", {fault: 1, "faults_on": "write"})
        await make_due(here)
        await here.services.reservations.run_once()
        (reservation,) = await rows(here, tables.Reservation)
        assert reservation["state"] == "capturing"
        (payment,) = await rows(here, tables.Payment)
        assert payment["credited_units"] == 0, "nobody knows yet"
        await here.control(rail, "main", {"hold_webhooks": False, "faults_on": ""})
        here.switched_off.discard("reservations")
        await credited(here)


async def test_what_was_begun_before_a_crash_is_carried_on(migrated_database_url: str, tmp_path: Path) -> None:
    """We died after it was stored that the money is asked for, and before it was."""
    async with reserving(migrated_database_url, tmp_path) as here:
        await here.pay_at_rail(await here.select(await here.session("DE")), CARD)
        reservation = await held(here)
        assert await here.services.reservations._claim(reservation) == "capturing"
        assert (await rows(here, tables.Capture)) == []
        here.switched_off.discard("reservations")
        await credited(here)


async def test_a_reservation_that_nobody_wants_any_more_is_let_go(migrated_database_url: str, tmp_path: Path) -> None:
    async with reserving(migrated_database_url, tmp_path) as here:
        session = await here.session("DE")
        chosen = await here.select(session)
        await here.services.checkout.expire(MERCHANT, MODE, session["id"])
        await here.pay_at_rail(chosen, CARD)  # the page was still open
        await held(here)
        here.switched_off.discard("reservations")
        await until(here, lambda: _in_state(here, "released"))
        (attempt,) = await rows(here, tables.Attempt)
        (payment,) = await rows(here, tables.Payment)
        assert (attempt["status"], payment["status"], payment["credited_units"]) == ("canceled", "expired", 0)
        assert await rows(here, tables.Capture) == []
        assert await rows(here, tables.JournalEntry) == []


async def test_a_second_try_on_the_same_page_is_taken_although_the_first_was_refused(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reserving(sqlite_url, tmp_path) as here:
        chosen = await here.select(await here.session("DE"))
        await here.pay_at_rail(chosen, {"card": "4000000000009995"})

        async def refused() -> bool:
            return bool((await rows(here, tables.Attempt))[0]["status"] == "declined_soft")

        await until(here, refused)
        await here.pay_at_rail(chosen, CARD)
        await held(here)
        here.switched_off.discard("reservations")
        await credited(here)


async def test_a_method_that_cannot_reserve_takes_the_money_at_once(sqlite_url: str, tmp_path: Path) -> None:
    async with reserving(sqlite_url, tmp_path) as here:
        session = await here.session("NL")
        await here.pay_at_rail(await here.select(session))
        (attempt,) = await rows(here, tables.Attempt)
        assert (attempt["method"], order_from_json(attempt["order_json"]).capture_later) == ("ideal", False)

        async def there() -> bool:
            return bool((await rows(here, tables.Payment))[0]["status"] == "credited")

        await until(here, there)
        assert await rows(here, tables.Reservation) == []


async def test_a_rail_that_reserves_nothing_cannot_be_told_to(sqlite_url: str, tmp_path: Path) -> None:
    chain = {"rails": {"tron": {"accounts": {"tron": {"capture": "manual"}}}}}
    with pytest.raises(ConfigInvalid, match="takes money at once"):
        async with world(sqlite_url, tmp_path, overrides=chain, loops=False):
            pass
