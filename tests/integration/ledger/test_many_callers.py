"""Many callers on one wallet: nobody gets what is not there, nobody is refused what is."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

from orchestrator.clock import SystemClock
from orchestrator.database.writer import Writer, backend_for
from orchestrator.ledger.refusals import InsufficientBalance
from tests.integration.ledger.bank import CENT, Bank, opened_bank

CALLERS = 256
PRICE = 30_000_000


async def _drain(bank: Bank, wallet: str, taken: list[int], *, tries: int = 8, writer: Writer | None = None) -> int:
    """Charge until the wallet is dry and beyond; return how often it was refused."""
    refused = 0
    for _ in range(tries):
        try:
            taken.append((await bank.charge(wallet, PRICE, writer=writer)).units)
        except InsufficientBalance:
            refused += 1
    return refused


async def test_exactly_as_many_charges_succeed_as_the_balance_has_prices(bank: Bank) -> None:
    wallet = await bank.wallet(paid=1000)
    await bank.grant(wallet, "13.37")
    wanted, rest = divmod(2337 * CENT, PRICE)
    taken: list[int] = []
    refused = await asyncio.gather(*(_drain(bank, wallet, taken) for _ in range(CALLERS)))
    assert len(taken) == wanted
    assert sum(refused) == CALLERS * 8 - wanted
    assert -(await bank.account("wallet:paid", wallet)) == rest
    await bank.assert_sound()


async def test_two_writers_on_one_wallet_give_away_nothing_twice(postgres_url: str) -> None:
    """Two processes on PostgreSQL, played by two writers with connections of their own."""
    async with opened_bank(postgres_url) as bank, AsyncExitStack() as stack:
        wallet = await bank.wallet(paid=600)
        second = Writer(backend_for(postgres_url), SystemClock())
        await second.open()
        stack.push_async_callback(second.close)
        taken: list[int] = []
        callers = [_drain(bank, wallet, taken, writer=writer) for writer in (None, second) for _ in range(40)]
        refused = sum(await asyncio.gather(*callers))
        assert len(taken) == 600 * CENT // PRICE
        assert refused == 2 * 40 * 8 - len(taken)
        await bank.assert_sound()


async def test_holds_captures_and_charges_at_once_leave_books_that_hold(bank: Bank) -> None:
    wallet = await bank.wallet(paid=300, overdraft="grace")
    dice = random.Random(7)  # noqa: S311  # a story that can be told again, not a secret

    async def caller(number: int) -> None:
        reply = await bank.call(
            "POST", "/v1/holds", {"wallet": wallet, "amount": {"amount": "0.10", "currency": "USD"}}
        )
        if reply.status == 402:
            return
        hold = reply.json
        if number % 3:
            await bank.capture(hold, f"0.{dice.randrange(20):02}")
        else:
            await bank.post(f"/v1/holds/{hold['id']}/void")

    await asyncio.gather(*(caller(number) for number in range(90)))
    assert (await bank.balance(wallet))["held"] == "0.00"
    assert all(row["held_units"] == 0 for row in await bank.rows("lot"))
    await bank.assert_sound()
