"""A process remembers the rows that its flushes left; what it remembers is true, or it is not believed."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import SystemClock
from orchestrator.database.flush import Result, Steps
from orchestrator.database.memory import Memory
from orchestrator.database.ownership import Ownership
from orchestrator.database.statements import Select, Statement
from orchestrator.database.unit import Changes, NotLocked, Row, Unit, View, row_lock
from orchestrator.database.writer import Backend, OutcomeUnclear, Writer, backend_for
from orchestrator.errors import Refusal
from orchestrator.ledger.purse import Purse, purse_locks
from tests.integration.database.broken_wire import Cut, broken_wire
from tests.integration.database.test_ownership import expire
from tests.integration.database.units import opened_writer, top_up
from tests.integration.ledger.bank import CENT, MODE, Bank, opened_bank

GATED = {"wallet", "lot", "account", "usage_rollup"}


class Heard:
    """A backend that notes which tables were read."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.read: list[str] = []

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def transact(self, steps: Steps) -> list[Result]:
        return await self._inner.transact(self._noted(steps))

    def _noted(self, steps: Steps) -> Generator[Statement, list[Row], list[Result]]:
        statement = next(steps)
        while True:
            if isinstance(statement, Select):
                self.read.append(statement.table)
            answer = yield statement
            try:
                statement = steps.send(answer)
            except StopIteration as end:
                results: list[Result] = end.value
                return results


def _listen(bank: Bank) -> Heard:
    writer = bank.services.writer
    heard = writer._backend = Heard(writer._backend)
    return heard


def _read(heard: Heard) -> set[str]:
    read, heard.read = set(heard.read), []
    return read & GATED


def _spend(bank: Bank, wallet: str, units: int) -> Unit:
    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        purse = Purse.open(view, bank.merchant, MODE, wallet)
        purse.charge(units)
        purse.write(changes, kind="usage_of_tests", fact="of the flush", merge=True)
        return {"left": purse.available}

    return Unit(bank.merchant, MODE, None, purse_locks(bank.merchant, MODE, wallet), decide)


async def _paid(bank: Bank, wallet: str) -> int:
    """Return what the database says, USD/9."""
    return -await bank.account("wallet:paid", wallet)


async def test_a_flush_reads_no_row_that_a_flush_before_it_left(bank: Bank) -> None:
    wallet = await bank.wallet(paid=100)
    await bank.charge(wallet, 1)
    heard = _listen(bank)
    for _ in range(3):
        await bank.charge(wallet, 1)
    assert _read(heard) == set()
    assert await _paid(bank, wallet) == 100 * CENT - 4
    await bank.assert_sound()


async def test_credit_that_came_without_the_wallets_lots_locked_is_there_for_the_next_charge(bank: Bank) -> None:
    wallet = await bank.wallet(paid=1)
    await bank.charge(wallet, CENT)
    await bank.pay(wallet, 2)
    assert (await bank.charge(wallet, 2 * CENT)).paid == 2 * CENT
    with pytest.raises(Refusal):
        await bank.charge(wallet, 1)
    await bank.assert_sound()


async def test_units_of_one_flush_see_each_other_though_their_wallet_is_remembered(bank: Bank) -> None:
    wallet = await bank.wallet(paid=3)
    await bank.charge(wallet, CENT)
    submit = bank.services.writer.submit
    answers = await asyncio.gather(
        submit(_spend(bank, wallet, 2 * CENT)),
        submit(_spend(bank, wallet, 1)),
        submit(top_up("more", 5, wallet=wallet, merchant=bank.merchant)),
        submit(_spend(bank, wallet, 4 * CENT)),
        submit(_spend(bank, wallet, 2 * CENT)),
        return_exceptions=True,
    )
    assert [isinstance(one, Refusal) for one in answers] == [False, True, False, False, True]
    assert await _paid(bank, wallet) == CENT
    await bank.assert_sound()


async def test_a_frozen_wallet_is_not_charged_from_memory(bank: Bank) -> None:
    wallet = await bank.wallet(paid=3)
    await bank.charge(wallet, 1)
    await bank.set(wallet, status="frozen")
    with pytest.raises(Refusal):
        await bank.charge(wallet, 1)


async def test_a_flush_that_failed_leaves_nothing_behind(bank: Bank) -> None:
    wallet = await bank.wallet(paid=100)
    await bank.charge(wallet, 1)

    def key(name: str) -> Unit:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            changes.insert("api_key", id=name, merchant_id=bank.merchant, mode=MODE, hash="same", hint="", scopes="",
                           created_us=view.now_us)  # fmt: skip
            return {}

        return Unit(bank.merchant, MODE, None, (row_lock("api_key", name),), decide)

    submit = bank.services.writer.submit
    await submit(key("one"))
    charge, refused = await asyncio.gather(submit(_spend(bank, wallet, 10)), submit(key("two")), return_exceptions=True)
    assert not isinstance(charge, BaseException)
    assert "unique" in str(refused).lower()
    await bank.charge(wallet, 100)
    assert await _paid(bank, wallet) == 100 * CENT - 111
    await bank.assert_sound()


async def test_nobody_writes_or_reads_behind_the_gate_of_another_book(bank: Bank) -> None:
    wallet = await bank.wallet(paid=1)

    def freeze(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.update("wallet", (bank.merchant, wallet), status="frozen")
        return {}

    for merchant, mode in ((bank.merchant, "live"), ("platform", MODE)):
        with pytest.raises(NotLocked):
            await bank.services.writer.submit(
                Unit(merchant, mode, None, (row_lock("wallet", bank.merchant, wallet),), freeze)
            )
    await bank.charge(wallet, 1)


async def test_what_another_process_wrote_is_seen_by_one_that_remembers(postgres_url: str) -> None:
    async with opened_bank(postgres_url) as bank, opened_writer(postgres_url) as other:
        wallet = await bank.wallet(paid=100)
        heard = _listen(bank)
        for _ in range(4):
            await bank.charge(wallet, 1)
            await bank.charge(wallet, 10, writer=other)
            heard.read.clear()
            await bank.charge(wallet, 1)
            assert _read(heard) == {"wallet", "lot", "account"}
        assert await _paid(bank, wallet) == 100 * CENT - 48
        await bank.charge(wallet, 100 * CENT - 48, writer=other)
        with pytest.raises(Refusal):
            await bank.charge(wallet, 1)
        await bank.assert_sound()


async def test_processes_that_charge_one_remembered_wallet_at_once_lose_nothing(postgres_url: str) -> None:
    async with opened_bank(postgres_url) as bank, opened_writer(postgres_url) as other:
        wallet = await bank.wallet(paid=1)
        writers = [bank.services.writer, other]
        done = await asyncio.gather(
            *(writers[number % 2].submit(_spend(bank, wallet, CENT // 50)) for number in range(120)),
            return_exceptions=True,
        )
        assert sum(not isinstance(one, BaseException) for one in done) == 50
        assert await _paid(bank, wallet) == 0
        await bank.assert_sound()


async def test_an_owner_that_lost_its_lease_does_not_believe_what_it_remembers(postgres_url: str) -> None:
    one, two = (Ownership(postgres_url, name, f"http://{name}", groups=4, lease_s=30) for name in ("one", "two"))
    async with opened_bank(postgres_url) as bank:
        wallet = await bank.wallet(paid=100)
        writers = [Writer(backend_for(postgres_url), SystemClock(), owner) for owner in (one, two)]
        for writer in writers:
            await writer.open()
        try:
            await one.look()
            await bank.charge(wallet, 1, writer=writers[0])
            await expire(postgres_url, "one")
            await two.look()
            await bank.charge(wallet, 99 * CENT, writer=writers[1])
            with pytest.raises(Refusal):  # by its row locks: its claim is over
                await bank.charge(wallet, 2 * CENT, writer=writers[0])
            await bank.charge(wallet, 1, writer=writers[0])
            assert await _paid(bank, wallet) == CENT - 2
        finally:
            for writer, owner in zip(writers, (one, two), strict=True):
                await writer.close()
                await owner.close()
        await bank.assert_sound()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cr-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_in_doubt_is_believed_only_where_the_books_row_says_so(
    postgres_url: str, short_folder: Path, cut: Cut
) -> None:
    async with (
        opened_bank(postgres_url) as bank,
        broken_wire(postgres_url, short_folder) as (url, wire),
        opened_writer(url) as writer,
    ):
        wallet = await bank.wallet(paid=100)
        await bank.charge(wallet, 1, writer=writer)
        wire.cuts += [cut]
        with pytest.raises(OutcomeUnclear):
            await bank.charge(wallet, 10, writer=writer)
        await bank.charge(wallet, 100, writer=writer)
        assert wire.was_cut == 1
        assert await _paid(bank, wallet) == 100 * CENT - (111 if cut == "after" else 101)
        await bank.assert_sound()


async def test_wallets_that_were_forgotten_are_read_again(bank: Bank) -> None:
    wallets = [await bank.wallet(paid=1) for _ in range(12)]
    bank.services.writer._memory = Memory(subjects_max=8)
    for _ in range(3):
        for wallet in wallets:
            await bank.charge(wallet, 1)
    heard = _listen(bank)
    await bank.charge(wallets[-1], 1)
    assert _read(heard) == set()
    await bank.charge(wallets[0], 1)
    assert _read(heard) == {"wallet", "lot", "account"}
    assert [await _paid(bank, wallet) for wallet in wallets] == [CENT - 4, *[CENT - 3] * 10, CENT - 4]
    await bank.assert_sound()
