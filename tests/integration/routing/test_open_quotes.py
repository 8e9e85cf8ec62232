"""What is open is counted by the database, from the sessions alone: against a sum in Python over every quote, and by its plan."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Select, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from orchestrator.clock import from_us, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, CheckoutSession, Quote, Shard, table_of
from orchestrator.routing.exposure import POSITION, exposures, open_quotes_query, positions_query
from rates.build import market_from_config
from rates.policy import MarketMode
from tests.integration.routing.conftest import Ops
from tests.integration.routing.test_exposure import ONE_RATE

NOW = from_us(1_800_000_000_000_000)
SESSIONS, WALLETS = 5_000, 4_000
CENTS_MAX = 10**6
BOOKS = [("mer_1", "test"), ("mer_1", "live"), ("mer_2", "live")]
CURRENCIES = ("BRL", "EUR", "NGN", "USDT")

WHOLE = r"(?m)(^SCAN|Seq Scan on) {}\b"
"""How SQLite and PostgreSQL say that a whole table is read."""

Rows = list[dict[str, Any]]


def row_of(table: Any, **given: Any) -> dict[str, Any]:
    """Return a row with nothing in what is not given."""
    blank = {column.name: "" if column.type.python_type is str else 0 for column in table.columns}
    return {**blank, **given}


def drawn() -> tuple[Rows, Rows]:
    """Return sessions and their quotes: open, expired in word and in time only, completed; quotes used and not."""
    chance = random.Random(16)  # noqa: S311  # the same every time
    sessions: Rows = []
    quotes: Rows = []
    for number in range(SESSIONS):
        merchant, mode = chance.choice(BOOKS)
        status = chance.choices(["open", "expired", "complete"], [1, 2, 4])[0]
        expires_us = to_us(NOW) + chance.choice([-1, 0, 1, 10**9])
        its = chance.choices(CURRENCIES, k=chance.randrange(4))
        scope = {"merchant_id": merchant, "mode": mode, "expires_us": expires_us}
        units = 10**7 * chance.randrange(1, CENTS_MAX) + chance.choice([0, 0, 1, 999])
        sessions.append(
            row_of(table_of(CheckoutSession), **scope, id=f"cs_{number}", status=status, amount_units=units,
                   quoted=" ".join(sorted(its)))
        )  # fmt: skip
        for place, currency in enumerate(its):
            body = orjson.dumps({"quote": f"{currency}/2"}).decode()
            used_by = chance.choice([None, f"pay_{number}"])
            quotes.append(
                row_of(table_of(Quote), **scope, id=f"quo_{number}_{place}", session_id=f"cs_{number}", body=body,
                       used_by=used_by)
            )  # fmt: skip
    quotes.append(row_of(table_of(Quote), merchant_id="mer_1", mode="test", id="quo_alone", session_id=None,
                         used_by=None, body='{"quote":"BRL/2"}', expires_us=to_us(NOW) + 10**9))  # fmt: skip
    return sessions, quotes


def naive(sessions: Rows, quotes: Rows) -> dict[tuple[str, str], tuple[int, int]]:
    """Count quote by quote: what the database has to come to."""
    of_id = {row["id"]: row for row in sessions}
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for quote in quotes:
        session = of_id.get(quote["session_id"])
        if session is not None and session["status"] == "open" and quote["expires_us"] > to_us(NOW):
            key = (quote["mode"], orjson.loads(quote["body"])["quote"].partition("/")[0])
            many, units = found.get(key, (0, 0))
            found[key] = (many + 1, units + session["amount_units"])
    return found


async def fill(url: str, sessions: Rows, quotes: Sequence[dict[str, Any]] = ()) -> None:
    accounts = [row_of(table_of(Account), merchant_id=merchant, mode=mode, code="wallet:paid", subject=f"wal_{n}", asset="USD/9")
                for n in range(WALLETS) for merchant, mode in BOOKS[:1 + n % 3]]  # fmt: skip
    accounts += [row_of(table_of(Account), merchant_id=merchant, mode=mode, code=POSITION, asset="BRL/2", balance=-n)
                 for n, (merchant, mode) in enumerate(BOOKS, 1)]  # fmt: skip
    books = [row_of(table_of(Shard), merchant_id=merchant, mode=mode) for merchant, mode in BOOKS]
    engine = create_async_engine(url)
    filled: Sequence[tuple[type[SQLModel], Sequence[dict[str, Any]]]] = [
        (CheckoutSession, sessions), (Quote, quotes), (Account, accounts), (Shard, books),
    ]  # fmt: skip
    async with engine.begin() as connection:
        for model, rows in filled:
            if rows:
                await connection.execute(insert(table_of(model)), list(rows))
        await connection.execute(text("ANALYZE"))
    await engine.dispose()


@pytest.fixture
async def reads(migrated_database_url: str) -> AsyncIterator[Reads]:
    made = Reads(migrated_database_url)
    yield made
    await made.close()


async def counted(reads: Reads) -> dict[tuple[str, str], tuple[int, int]]:
    market = market_from_config(ONE_RATE, MarketMode.SANDBOX)
    found = await exposures(reads, market, NOW)
    return {(one.mode, one.currency): (one.open_quotes, one.open_usd.units) for one in found if one.open_quotes}


async def test_the_database_counts_what_a_sum_over_every_quote_comes_to(migrated_database_url: str) -> None:
    sessions, quotes = drawn()
    await fill(migrated_database_url, sessions, quotes)
    wanted = naive(sessions, quotes)
    assert len(wanted) == 8
    assert await counted(reads) == {key: (many, units // 1_000) for key, (many, units) in wanted.items()}
    held = await exposures(reads, market_from_config(ONE_RATE, MarketMode.SANDBOX), NOW + timedelta(days=1))
    assert [(one.mode, one.currency, one.open_quotes, one.held.units) for one in held] == [
        ("live", "BRL", 0, 5), ("test", "BRL", 0, 1),
    ]  # fmt: skip


async def test_a_sum_above_what_64_bits_hold_is_exact(migrated_database_url: str, reads: Reads) -> None:
    units = 2**63 - 1
    sessions = [
        row_of(table_of(CheckoutSession), merchant_id="mer_1", mode="live", id=f"cs_{n}", status="open",
               amount_units=units, quoted="BRL BRL NGN", expires_us=to_us(NOW) + 1)
        for n in range(3)
    ]  # fmt: skip
    await fill(migrated_database_url, sessions)
    assert await counted(reads) == {("live", "BRL"): (6, 6 * units // 1_000), ("live", "NGN"): (3, 3 * units // 1_000)}


async def test_neither_quotes_nor_all_sessions_nor_all_accounts_are_read_for_it(migrated_database_url: str) -> None:
    sessions, quotes = drawn()
    await fill(migrated_database_url, sessions, quotes)
    opened = "\n".join(await plan(migrated_database_url, open_quotes_query(to_us(NOW))))
    assert "checkout_session_open" in opened
    assert not re.search(r"\bquote\b", opened), opened
    assert not re.search(WHOLE.format("checkout_session"), opened), opened
    held = "\n".join(await plan(migrated_database_url, positions_query()))
    assert not re.search(WHOLE.format("account"), held), held


async def plan(url: str, query: Select[Any]) -> Iterable[str]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        written = query.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True})
        how = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        rows = (await connection.exec_driver_sql(f"{how} {written}".replace("%%", "%"))).all()
    await engine.dispose()
    return [str(row[-1]) for row in rows]


async def test_a_session_says_which_quotes_were_stored_with_it(ops: Ops) -> None:
    sessions, quotes = table_of(CheckoutSession), table_of(Quote)
    for country in ("BR", "DE", "NG", "US", "VN"):
        session = await ops.here.session(country)
        row = await ops.services.reads.one(select(sessions).where(sessions.c.id == session["id"]))
        stored = await ops.services.reads.all(select(quotes).where(quotes.c.session_id == session["id"]))
        assert row is not None
        assert row["quoted"].split() == sorted(orjson.loads(one["body"])["quote"].partition("/")[0] for one in stored)
        assert {one["expires_us"] for one in stored} <= {row["expires_us"]}
