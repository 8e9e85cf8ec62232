"""The writer on both databases: order, one execution per key, refusals that cost nobody else anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select

from orchestrator.clock import SystemClock
from orchestrator.database import writer as writer_module
from orchestrator.database.flush import Result, Steps
from orchestrator.database.tables import Account, ApiKey, Event, JournalEntry, MoneyClaim, table_of
from orchestrator.database.unit import (
    Changes,
    Entry,
    EntryRefused,
    Line,
    NotLocked,
    RowExists,
    RowMissing,
    Unit,
    View,
    account_lock,
    row_lock,
)
from orchestrator.database.writer import Backend, Writer, backend_for
from orchestrator.errors import Busy
from orchestrator.ledger.check import check
from tests.integration.database.units import (
    CENT,
    MERCHANT,
    MODE,
    WALLET,
    opened_reads,
    opened_writer,
    top_up,
)

USD = "USD/9"


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


class Watched:
    """The real backend; remembers how many transactions ran, and can be held at the door."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.flushes = 0
        self.door = asyncio.Event()
        self.door.set()

    async def open(self) -> None:
        await self._backend.open()

    async def close(self) -> None:
        await self._backend.close()

    async def transact(self, steps: Steps) -> list[Result]:
        await self.door.wait()
        self.flushes += 1
        return await self._backend.transact(steps)


async def _books(url: str) -> tuple[int, int]:
    """Assert that the books are right; return how many pieces of money and how many cents they hold."""
    async with opened_reads(url) as reads:
        report = await check(reads)
        assert report.ok, report.findings
        claims = await reads.all(select(table_of(MoneyClaim)))
        entries = await reads.all(select(table_of(JournalEntry)))
        assert len(entries) == len(claims)
        return len(claims), await _balance(url)


async def _balance(url: str, wallet: str = WALLET) -> int:
    account = table_of(Account)
    async with opened_reads(url) as reads:
        rows = await reads.all(
            select(account.c.balance).where(account.c.code == "wallet:paid", account.c.subject == wallet)
        )
    units: int = -sum(row["balance"] for row in rows)
    assert units % CENT == 0
    return units // CENT


async def test_units_that_wait_together_are_one_transaction_and_keep_their_order(url: str) -> None:
    backend = Watched(backend_for(url))
    async with opened_writer(url, backend) as writer:
        applied = await asyncio.gather(*(writer.submit(top_up(f"m{n:03}", n + 1)) for n in range(40)))
    assert backend.flushes == 1
    assert [one.answer["credited"] for one in applied] == [(n + 1) * CENT for n in range(40)]
    async with opened_reads(url) as reads:
        entries = await reads.all(select(table_of(JournalEntry)).order_by(table_of(JournalEntry).c.sequence))
    assert [row["fact"] for row in entries] == [f"cap_{MERCHANT}_m{n:03}" for n in range(40)]
    assert await _books(url) == (40, sum(range(1, 41)))


async def test_a_refused_unit_costs_the_others_nothing(url: str) -> None:
    class Refused(Exception):
        pass

    def refuse(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.post(Entry("nothing", "half", (Line("clearing", "", USD, 1),)))
        raise Refused

    backend = Watched(backend_for(url))
    async with opened_writer(url, backend) as writer:
        results = await asyncio.gather(
            writer.submit(top_up("a")),
            writer.submit(Unit(MERCHANT, MODE, "never", (), refuse)),
            writer.submit(top_up("b")),
            return_exceptions=True,
        )
        assert isinstance(results[1], Refused)
        again = await asyncio.gather(writer.submit(Unit(MERCHANT, MODE, "never", (), refuse)), return_exceptions=True)
        assert isinstance(again[0], Refused), "a refusal is not remembered under the key"
    assert backend.flushes == 2
    assert await _books(url) == (2, 200)


@pytest.mark.parametrize("error", [StopIteration(), StopAsyncIteration(), KeyError("x")])
async def test_whatever_a_decision_raises_the_writer_lives_on(url: str, error: Exception) -> None:
    def broken(_view: View, _changes: Changes) -> Mapping[str, Any]:
        raise error

    async with opened_writer(url) as writer, asyncio.timeout(10):
        results = await asyncio.gather(
            writer.submit(Unit(MERCHANT, MODE, None, (), broken)),
            writer.submit(top_up("a")),
            return_exceptions=True,
        )
        assert isinstance(results[0], BaseException)
        await writer.submit(top_up("b"))
    assert await _books(url) == (2, 200)


async def test_a_key_is_executed_once_within_one_flush_and_ever_after(url: str) -> None:
    async with opened_writer(url) as writer:
        first = await asyncio.gather(*(writer.submit(top_up("m", key="k")) for _ in range(100)))
        later = await writer.submit(top_up("other money", 7, key="k"))
    async with opened_writer(url) as writer:
        after_restart = await writer.submit(top_up("m", key="k"))
    assert [one.duplicate for one in first] == [False] + [True] * 99
    assert later.duplicate
    assert after_restart.duplicate
    assert {one.answer["credited"] for one in (*first, later, after_restart)} == {100 * CENT}
    assert await _books(url) == (1, 100)


async def test_money_is_claimed_once_whatever_the_keys_of_the_units_are(url: str) -> None:
    async with opened_writer(url) as writer:
        applied = await asyncio.gather(*(writer.submit(top_up("m", key=f"k{n}")) for n in range(20)))
    assert sum(one.answer["credited"] for one in applied) == 100 * CENT
    assert await _books(url) == (1, 100)


async def test_two_merchants_cannot_claim_one_piece_of_money(url: str) -> None:
    async with opened_writer(url) as writer:
        mine, theirs = await asyncio.gather(
            writer.submit(top_up("m")), writer.submit(top_up("m", merchant="mer_2", wallet="wal_2"))
        )
    assert (mine.answer["credited"], theirs.answer["credited"]) == (100 * CENT, 0)
    assert await _books(url) == (1, 100)


async def test_a_statement_error_sends_the_units_one_by_one_and_only_the_guilty_one_fails(url: str) -> None:
    def api_key(name: str) -> Unit:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            changes.insert(
                "api_key", id=name, merchant_id=MERCHANT, mode=MODE, hash="the same", hint="", scopes="",
                created_us=view.now_us, revoked_us=None,
            )  # fmt: skip
            return {}

        return Unit(MERCHANT, MODE, f"key {name}", (row_lock("api_key", name),), decide)

    async with opened_writer(url) as writer:
        results = await asyncio.gather(
            writer.submit(top_up("a", key="a")),
            writer.submit(api_key("one")),
            writer.submit(top_up("b")),
            writer.submit(api_key("two")),  # the view cannot see that the hash is taken: the database refuses it
            writer.submit(top_up("c", key="c")),
            return_exceptions=True,
        )
        assert [isinstance(one, BaseException) for one in results] == [False, False, False, True, False]
        assert "unique" in str(results[3]).lower()
    async with opened_reads(url) as reads:
        rows = await reads.all(select(table_of(ApiKey).c.id))
    assert rows == [{"id": "one"}]
    assert await _books(url) == (3, 300)


async def test_merged_entries_of_one_flush_are_one_journal_entry_with_the_flushs_id(url: str) -> None:
    def charge(units: int) -> Unit:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            lines = (Line("wallet:paid", WALLET, USD, units), Line("merchant:pending", "", USD, -units))
            changes.post(Entry("usage", "each", lines, merge=WALLET))
            return {"flush": view.flush_id, "left": -view.balance(MERCHANT, MODE, "wallet:paid", WALLET, USD)}

        return Unit(MERCHANT, MODE, None, (account_lock(MERCHANT, MODE, "wallet:paid", WALLET, USD),), decide)

    async with opened_writer(url) as writer:
        await writer.submit(top_up("a", 1))
        applied = await asyncio.gather(
            *(writer.submit(charge(CENT // 10)) for _ in range(12)),
            writer.submit(top_up("b", 1)),
            return_exceptions=True,
        )
        later = await writer.submit(charge(1))
    assert [isinstance(one, EntryRefused) for one in applied] == [False] * 10 + [True] * 2 + [False]
    answers = [one.answer for one in applied[:10] if not isinstance(one, BaseException)]
    assert [one["left"] for one in answers] == [CENT - n * (CENT // 10) for n in range(10)]
    (flush_id,) = {one["flush"] for one in answers}
    assert flush_id.startswith("flu_")
    async with opened_reads(url) as reads:
        entries = await reads.all(select(table_of(JournalEntry)).order_by(table_of(JournalEntry).c.sequence))
        report = await check(reads)
    assert [row["fact"] for row in entries if row["kind"] == "usage"] == [flush_id, later.answer["flush"]]
    assert flush_id != later.answer["flush"]
    assert (report.balanced, report.rebuilt_equals_materialised) == (True, True)


def _posting(code: str, units: int, *, locked: bool, key: str | None = None) -> Unit:
    locks = (account_lock(MERCHANT, MODE, code, WALLET, USD),) if locked else ()

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.post(Entry("test", "t", (Line(code, WALLET, USD, units), Line("merchant:pending", "", USD, -units))))
        return {}

    return Unit(MERCHANT, MODE, key, locks, decide)


async def test_an_overdraw_is_refused_and_writes_nothing(url: str) -> None:
    async with opened_writer(url) as writer:
        await writer.submit(top_up("a", 5))
        with pytest.raises(EntryRefused, match="wallet_would_be_overdrawn"):
            await writer.submit(_posting("wallet:paid", 5 * CENT + 1, locked=True, key="spend"))
        with pytest.raises(EntryRefused, match="wallet_would_be_overdrawn"):
            await writer.submit(_posting("wallet:debt", -1, locked=True))
        two = await asyncio.gather(
            writer.submit(_posting("wallet:frozen", -3, locked=True)),
            writer.submit(_posting("wallet:frozen", 4, locked=True)),
            return_exceptions=True,
        )
        assert isinstance(two[1], EntryRefused), "a debit sees what the units before it in the flush left"
    assert await _balance(url) == 5


async def test_a_posting_to_a_wallet_that_was_not_locked_is_refused(url: str) -> None:
    async with opened_writer(url) as writer:
        with pytest.raises(NotLocked):
            await writer.submit(_posting("wallet:paid", -1, locked=False))
        await writer.submit(_posting("wallet:paid", -1, locked=True))


async def test_balances_beyond_64_bits_are_refused(url: str) -> None:
    async with opened_writer(url) as writer:
        await writer.submit(_posting("wallet:paid", -(2**63 - 1), locked=True))
        with pytest.raises(EntryRefused, match="balance_does_not_fit"):
            await writer.submit(_posting("wallet:paid", -1, locked=True))
        # merchant:pending is at its limit too, and nobody locked it: there the database itself refuses.
        with pytest.raises((OverflowError, asyncpg.DataError)):
            await writer.submit(_posting("bank", 1 - 2**63, locked=False))
    async with opened_reads(url) as reads:
        assert (await check(reads)).rebuilt_equals_materialised


async def test_an_unbalanced_entry_is_refused_even_when_it_was_not_built_by_the_journal(url: str) -> None:
    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.post(Entry("test", "t", (Line("bank", "", USD, 2), Line("merchant:pending", "", USD, -1))))
        return {}

    async with opened_writer(url) as writer:
        with pytest.raises(EntryRefused, match="entry_is_unbalanced"):
            await writer.submit(Unit(MERCHANT, MODE, None, (), decide))
    assert await _books(url) == (0, 0)


async def test_rows_are_inserted_once_and_changed_only_where_they_are_locked(url: str) -> None:
    def merchant(name: str) -> Unit:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            changes.insert("merchant", id=name, name="x", created_us=view.now_us)
            return {}

        return Unit(name, MODE, None, (row_lock("merchant", name),), decide)

    def rename(key: str, *, table: str = "merchant", **columns: Any) -> Unit:
        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.update(table, (key,), **columns)
            return {}

        return Unit(key, MODE, None, (row_lock("merchant", key),), decide)

    async with opened_writer(url) as writer:
        await writer.submit(merchant("m1"))
        with pytest.raises(RowExists):
            await writer.submit(merchant("m1"))
        with pytest.raises(RowMissing):
            await writer.submit(rename("m2", name="y"))
        with pytest.raises(RowMissing, match="no column"):
            await writer.submit(rename("m1", nmae="y"))
        with pytest.raises(RowExists, match="append-only"):
            await writer.submit(rename("m1", table="event", body="y"))
        await writer.submit(rename("m1", name="y"))
        await writer.submit(rename("m1"))  # nothing to change is no statement


async def test_a_full_queue_says_busy_and_loses_nothing_that_it_accepted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "QUEUE_UNITS_MAX", 30)
    backend = Watched(backend_for(url))
    async with opened_writer(url, backend) as writer:
        backend.door.clear()
        calls = [asyncio.create_task(writer.submit(top_up(f"m{n}", key=f"k{n}"))) for n in range(60)]
        await asyncio.sleep(0.05)
        backend.door.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
    accepted = [one for one in results if not isinstance(one, BaseException)]
    assert len(accepted) >= 30
    assert all(isinstance(one, Busy) for one in results if isinstance(one, BaseException))
    assert len(accepted) < 60
    assert await _books(url) == (len(accepted), 100 * len(accepted))


async def test_closing_finishes_what_was_accepted_and_takes_nothing_new(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "FLUSH_UNITS_MAX", 7)  # several flushes are still to come when it closes
    writer = Writer(backend_for(url), SystemClock())
    await writer.open()
    calls = [asyncio.create_task(writer.submit(top_up(f"m{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await writer.close()
    assert all(not one.duplicate for one in await asyncio.gather(*calls))
    with pytest.raises(Busy):
        await writer.submit(top_up("late"))
    assert await _books(url) == (50, 5000)


async def test_a_caller_that_gives_up_loses_its_answer_not_its_money(url: str) -> None:
    backend = Watched(backend_for(url))
    async with opened_writer(url, backend) as writer:
        backend.door.clear()
        call = asyncio.create_task(writer.submit(top_up("m", key="k")))
        await asyncio.sleep(0.02)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        backend.door.set()
        assert (await writer.submit(top_up("m", key="k"))).duplicate
    assert await _books(url) == (1, 100)


async def test_sequences_of_entries_and_events_have_no_gaps_whatever_was_refused_between(url: str) -> None:
    def numbers() -> Iterator[int]:
        yield from range(30)

    async with opened_writer(url) as writer:
        for start in (0, 30):
            await asyncio.gather(
                *(writer.submit(top_up(f"m{start + n}")) for n in numbers()),
                *(writer.submit(_posting("wallet:paid", 10**15, locked=True)) for _ in range(5)),
                return_exceptions=True,
            )
    event = table_of(Event)
    async with opened_reads(url) as reads:
        rows = await reads.all(select(event).order_by(event.c.sequence))
    assert [row["sequence"] for row in rows] == list(range(1, 61))
    assert await _books(url) == (60, 6000)
