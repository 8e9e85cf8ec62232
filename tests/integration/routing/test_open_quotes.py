"""What is open is counted by the database, from the sessions alone: against a sum in Python over every quote, and by its plan."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from datetime import timedelta

import orjson
import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from orchestrator.clock import from_us, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, CheckoutSession, Quote, table_of
from orchestrator.ledger.chart import Account as Code
from orchestrator.routing.exposure import exposures, open_quotes_query, positions_query
from rates.build import market_from_config
from rates.policy import MarketMode
from tests.integration.routing.conftest import Ops
from tests.integration.routing.rows import WHOLE, Rows, fill, plan, row_of
from tests.integration.routing.test_exposure import ONE_RATE

NOW = from_us(1_800_000_000_000_000)
SESSIONS, WALLETS = 5_000, 4_000
CENTS_MAX = 10**6
BOOKS = [("mer_1", "test"), ("mer_1", "live"), ("mer_2", "live")]
CURRENCIES = ("BRL", "EUR", "NGN", "USDT")


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
            row_of(CheckoutSession, **scope, id=f"cs_{number}", status=status, amount_units=units,
                   quoted=" ".join(sorted(its)))
        )  # fmt: skip
        for place, currency in enumerate(its):
            body = orjson.dumps({"quote": f"{currency}/2"}).decode()
            used_by = chance.choice([None, f"pay_{number}"])
            quotes.append(
                row_of(Quote, **scope, id=f"quo_{number}_{place}", session_id=f"cs_{number}", body=body,
                       used_by=used_by)
            )  # fmt: skip
    quotes.append(row_of(Quote, merchant_id="mer_1", mode="test", id="quo_alone", session_id=None,
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


def all_rows(sessions: Rows, quotes: Rows) -> dict[type[SQLModel], Rows]:
    """Return all that is written: accounts too, most of which are wallets'."""
    accounts = [row_of(Account, merchant_id=merchant, mode=mode, code="wallet:paid", subject=f"wal_{n}", asset="USD/9")
                for n in range(WALLETS) for merchant, mode in BOOKS[:1 + n % 3]]  # fmt: skip
    accounts += [row_of(Account, merchant_id=merchant, mode=mode, code=Code.FX_POSITION.value, asset="BRL/2", balance=-n)
                 for n, (merchant, mode) in enumerate(BOOKS, 1)]  # fmt: skip
    return {CheckoutSession: sessions, Quote: quotes, Account: accounts}


@pytest.fixture
async def reads(migrated_database_url: str) -> AsyncIterator[Reads]:
    made = Reads(migrated_database_url)
    yield made
    await made.close()


async def counted(reads: Reads) -> dict[tuple[str, str], tuple[int, int]]:
    market = market_from_config(ONE_RATE, MarketMode.SANDBOX)
    found = await exposures(reads, market, NOW)
    return {(one.mode, one.currency): (one.open_quotes, one.open_usd.units) for one in found if one.open_quotes}


async def test_the_database_counts_what_a_sum_over_every_quote_comes_to(
    migrated_database_url: str, reads: Reads
) -> None:
    sessions, quotes = drawn()
    await fill(migrated_database_url, all_rows(sessions, quotes))
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
        row_of(CheckoutSession, merchant_id="mer_1", mode="live", id=f"cs_{n}", status="open",
               amount_units=units, quoted="BRL BRL NGN", expires_us=to_us(NOW) + 1)
        for n in range(3)
    ]  # fmt: skip
    await fill(migrated_database_url, all_rows(sessions, []))
    assert await counted(reads) == {("live", "BRL"): (6, 6 * units // 1_000), ("live", "NGN"): (3, 3 * units // 1_000)}


@pytest.mark.parametrize("analyse", [True, False])
async def test_neither_quotes_nor_all_sessions_nor_all_accounts_are_read_for_it(
    migrated_database_url: str, *, analyse: bool
) -> None:
    await fill(migrated_database_url, all_rows(*drawn()), analyse=analyse)
    opened = await plan(migrated_database_url, open_quotes_query(to_us(NOW)))
    assert "checkout_session_open" in opened
    assert not re.search(r"\bquote\b", opened), opened
    assert not re.search(WHOLE.format("checkout_session"), opened), opened
    held = await plan(migrated_database_url, positions_query())
    assert not re.search(WHOLE.format("account"), held), held
    assert "account_position" in held


async def test_a_session_says_which_quotes_were_stored_with_it(ops: Ops) -> None:
    sessions, quotes = table_of(CheckoutSession), table_of(Quote)
    for country in ("BR", "DE", "NG", "US", "VN"):
        session = await ops.here.session(country)
        row = await ops.services.reads.one(select(sessions).where(sessions.c.id == session["id"]))
        stored = await ops.services.reads.all(select(quotes).where(quotes.c.session_id == session["id"]))
        assert row is not None
        assert row["quoted"].split() == sorted(orjson.loads(one["body"])["quote"].partition("/")[0] for one in stored)
        assert {one["expires_us"] for one in stored} <= {row["expires_us"]}
