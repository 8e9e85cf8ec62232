"""Deposits: more, less, late, twice, on forks, by two scanners and after crashes; each is credited once or held."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.database import tables
from tests.integration.payments.chain_scene import (
    CONFIRMATIONS,
    LEASE_S,
    MARKET,
    TOKENS,
    ScriptedChain,
    lines_of,
    opened_chain,
    pay,
)

PRINCIPAL = 20 * 10**9


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


async def test_a_transfer_is_credited_when_it_is_deep_enough_and_not_before(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        for depth in range(1, CONFIRMATIONS):
            await scene.look()
            assert await scene.credited() == 0, f"{depth} deep"
            assert (await scene.payment(attempt))["status"] == "processing"
            scene.chain.mine()
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        assert (await scene.payment(attempt))["status"] == "credited"
        assert (await scene.attempt(attempt["id"]))["status"] == "succeeded"
        assert (await scene.all(tables.CheckoutSession))[0]["status"] == "complete"
        scene.chain.mine(count=5)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        await scene.assert_sound()


async def test_half_of_it_credits_half_at_the_locked_rate_and_the_rest_completes_it(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        half = attempt["units"] // 2
        scene.chain.mine(pay(address, half))
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.credited() == PRINCIPAL * half // attempt["units"]
        assert (await scene.payment(attempt))["status"] == "partially_paid"
        await scene.assert_sound()
        scene.chain.mine(pay(address, attempt["units"] - half))
        scene.chain.mine(count=2)
        await scene.look()
        assert (await scene.payment(attempt))["status"] == "credited"
        assert PRINCIPAL - 2 <= await scene.credited() <= PRINCIPAL
        await scene.assert_sound()


async def test_a_half_paid_session_that_expires_keeps_what_came(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"] // 2))
        scene.chain.mine(count=2)
        await scene.look()
        before = await scene.credited()
        scene.clock.pass_by(hours=1)
        assert await scene.expiry.run_once() == 1
        payment = await scene.payment(attempt)
        assert (payment["status"], payment["credited_units"]) == ("credited", before)
        await scene.assert_sound()
        scene.chain.mine(pay(address, attempt["units"] - attempt["units"] // 2))  # and the rest comes late
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.credited() > before
        await scene.assert_sound()


async def test_more_than_asked_is_credited_in_proportion(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"] * 3))
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.credited() == PRINCIPAL * 3
        assert (await scene.payment(attempt))["status"] == "credited"
        await scene.assert_sound()


async def test_a_second_payment_of_the_same_session_is_credited_too(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=4)
        await scene.look()
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=4)
        await scene.look()
        assert PRINCIPAL * 199 // 100 < await scene.credited() < PRINCIPAL * 201 // 100
        assert await scene.deposit_states() == [(attempt["units"], "credited")] * 2
        await scene.assert_sound()


async def test_two_transfers_in_one_transaction_are_two_deposits(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        half = attempt["units"] // 2
        scene.chain.mine(pay(address, half, attempt["units"] - half))
        scene.chain.mine(count=2)
        await scene.look()
        rows = await scene.all(tables.Deposit)
        assert sorted(row["ordinal"] for row in rows) == [0, 1]
        assert len({row["tx_hash"] for row in rows}) == 1
        assert PRINCIPAL - 2 <= await scene.credited() <= PRINCIPAL
        assert (await scene.payment(attempt))["status"] == "credited"
        await scene.assert_sound()


async def test_money_after_the_session_expired_counts_at_the_rate_of_arrival(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.clock.pass_by(hours=1)
        await scene.expiry.run_once()
        assert (await scene.payment(attempt))["status"] == "expired"
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=2)
        await scene.look()
        payment = await scene.payment(attempt)
        assert payment["status"] == "credited"
        kinds = [row["kind"] for row in await scene.all(tables.PaymentFact, payment_id=payment["id"])]
        statuses = [row["status"] for row in await scene.all(tables.PaymentFact, payment_id=payment["id"])]
        assert "late_paid" in statuses, kinds
        # The spread is not taken of the fixed network fee on arrival: a little more than the lock reaches the wallet.
        assert PRINCIPAL <= payment["credited_units"] < PRINCIPAL + lines_of(attempt)[2] // 100
        await scene.assert_sound()


async def test_the_time_of_the_block_decides_not_the_time_when_we_saw_it(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        in_time = scene.clock.now()
        scene.clock.pass_by(hours=1)
        await scene.expiry.run_once()
        scene.chain.mine(pay(address, attempt["units"]), at=in_time)
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.credited() == PRINCIPAL, "the locked rate"
        await scene.assert_sound()


async def test_two_open_sessions_on_one_address_each_get_their_own_amount(url: str) -> None:
    async with opened_chain(url) as scene:
        address, small = await scene.awaiting("20")
        same_address, large = await scene.awaiting("50")
        assert address == same_address
        scene.chain.mine(pay(address, large["units"]))
        scene.chain.mine(pay(address, small["units"]))
        scene.chain.mine(count=2)
        await scene.look()
        for attempt, usd in ((small, 20), (large, 50)):
            payment = await scene.payment(attempt)
            assert (payment["status"], payment["credited_units"]) == ("credited", usd * 10**9)
        await scene.assert_sound()


@pytest.mark.parametrize("apart", [0, 1, 5], ids=["same block", "next block", "after the first was credited"])
async def test_two_sessions_of_one_amount_are_paid_one_after_the_other(url: str, apart: int) -> None:
    async with opened_chain(url) as scene:
        address, first = await scene.awaiting()
        _, second = await scene.awaiting()
        one, two = pay(address, first["units"]), pay(address, second["units"])
        if apart == 0:
            scene.chain.mine(one, two)
        else:
            scene.chain.mine(one, count=apart)
            await scene.look()
            scene.chain.mine(two)
        scene.chain.mine(count=2)
        await scene.look()
        for attempt in (first, second):
            payment = await scene.payment(attempt)
            assert (payment["status"], payment["credited_units"]) == ("credited", PRINCIPAL)
        await scene.assert_sound()


async def test_an_amount_that_fits_neither_of_two_sessions_goes_to_the_wallet_itself(url: str) -> None:
    async with opened_chain(url) as scene:
        address, first = await scene.awaiting("20")
        _, second = await scene.awaiting("50")
        scene.chain.mine(pay(address, 7_000_000))
        scene.chain.mine(count=2)
        await scene.look()
        assert 6 * 10**9 < await scene.credited() < 7 * 10**9
        for attempt in (first, second):
            assert (await scene.payment(attempt))["credited_units"] == 0
        assert (await scene.all(tables.Deposit))[0]["payment_id"] is None
        await scene.assert_sound()


async def test_a_token_without_a_rate_is_held_for_a_person(url: str) -> None:
    async with opened_chain(url) as scene:
        address, _attempt = await scene.awaiting()
        scene.chain.mine(pay(address, 5_000_000, token=TOKENS[1]))
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.deposit_states() == [(5_000_000, "unallocated")]
        assert await scene.credited() == 0
        held = await scene.all(tables.Account, code="suspense")
        assert [(row["asset"], row["balance"]) for row in held] == [("ODD/6", -5_000_000)]
        assert [row["reason"] for row in await scene.all(tables.Review)] == ["no_rate"]
        await scene.assert_sound()


async def test_late_money_without_a_rate_is_held_for_a_person(url: str) -> None:
    no_usdt = {**MARKET, "sources": {"fixed": {"rates": {
        "USD-BRL": {"rate": "5", "as_of": "2026-11-20", "reason": "for tests"}
    }}}}  # fmt: skip
    async with opened_chain(url, market=no_usdt) as scene:
        address, attempt = await scene.awaiting()
        scene.clock.pass_by(hours=1)
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "unallocated")]
        assert (await scene.payment(attempt))["credited_units"] == 0
        await scene.assert_sound()


@pytest.mark.parametrize("units", [1, 9_300_000_000 * 10**6], ids=["dust", "more than a wallet can count"])
async def test_an_amount_that_cannot_be_credited_is_held_and_holds_up_nobody(url: str, units: int) -> None:
    async with opened_chain(url) as scene:
        address, _ = await scene.awaiting("20", "one")
        await scene.awaiting("30", "one")
        other, attempt = await scene.awaiting("20", "two")
        scene.chain.mine(pay(address, units), pay(other, attempt["units"]))
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        assert (units, "unallocated") in await scene.deposit_states()
        await scene.assert_sound()


async def test_far_too_much_for_one_session_is_held_as_well(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, 9_300_000_000 * 10**6))
        scene.chain.mine(count=2)
        await scene.look()
        assert [row["reason"] for row in await scene.all(tables.Review)] == ["too_large"]
        assert (await scene.payment(attempt))["status"] == "review"
        await scene.assert_sound()


# --- forks -----------------------------------------------------------------------------------------------------------


async def test_a_crash_between_a_block_and_its_credit_loses_nothing(url: str) -> None:
    chain = ScriptedChain()
    async with opened_chain(url, chain) as scene:
        address, attempt = await scene.awaiting()
        chain.mine(pay(address, attempt["units"]))
        chain.mine(count=5)
        network = scene.watch.network
        for _ in range(6):  # every block is stored; the process ends before anything is credited
            cursor = (await scene.all(tables.ChainCursor))[0]
            await scene.deposits.book.refresh("test", "evm")
            assert await scene.watch._step(network, cursor)
        assert await scene.credited() == 0
    async with opened_chain(url, chain) as scene:  # looks once, with no new block to take
        assert await scene.credited() == PRINCIPAL
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        await scene.assert_sound()


async def test_two_scanners_of_one_chain_take_each_block_once(url: str) -> None:
    async with opened_chain(url, lease_seconds=LEASE_S) as scene:
        address, attempt = await scene.awaiting()
        watches = [scene.watch, scene.another_watch(), scene.another_watch()]
        scene.chain.mine(pay(address, attempt["units"]))
        for _ in range(6):
            scene.chain.mine(pay(address, 3_000_000, 4_000_000))
            await asyncio.gather(*(watch.run_once() for watch in watches))
        scene.chain.mine(count=4)
        for _ in range(3):
            await asyncio.gather(*(watch.run_once() for watch in watches))
        cursor = (await scene.all(tables.ChainCursor))[0]
        assert cursor["number"] == len(scene.chain.blocks) - 1
        assert len(await scene.all(tables.Deposit)) == 13
        assert {state for _, state in await scene.deposit_states()} == {"credited"}
        await scene.assert_sound()


async def test_two_processes_on_one_postgres_credit_once(postgres_url: str) -> None:
    chain = ScriptedChain()
    async with (
        opened_chain(postgres_url, chain, lease_seconds=LEASE_S) as one,
        opened_chain(postgres_url, chain, lease_seconds=LEASE_S) as two,
    ):
        address, attempt = await one.awaiting()
        chain.mine(pay(address, attempt["units"]))
        for _ in range(8):
            chain.mine(pay(address, 3_000_000))
            await asyncio.gather(one.look(), two.look())
        chain.mine(count=4)
        for _ in range(3):
            await asyncio.gather(one.look(), two.look())
        assert {state for _, state in await one.deposit_states()} == {"credited"}
        assert len(await one.all(tables.Deposit)) == 9
        await one.assert_sound()


async def test_an_address_that_a_crash_kept_back_is_shown_after_all(url: str) -> None:
    chain = ScriptedChain()
    async with opened_chain(url, chain) as scene:
        chain.hangs = True
        with pytest.raises(TimeoutError):  # the process ends while the call is under way
            async with asyncio.timeout(0.3):
                await scene.awaiting()
        chain.hangs = False
        attempt = (await scene.all(tables.Attempt))[0]
        assert attempt["status"] == "sent"
        scene.clock.pass_by(minutes=2)
        await scene.settlement.run_once()
        attempt = await scene.attempt(attempt["id"])
        assert attempt["status"] == "requires_action"
        assert "deposit_address" in attempt["next_action"]


async def test_who_paid_before_the_first_look_at_a_chain_is_found_by_it(url: str) -> None:
    chain = ScriptedChain()
    async with opened_chain(url, chain, looks=False) as scene:
        for _ in range(60):
            scene.clock.pass_by(seconds=10)
            chain.mine()
        address, attempt = await scene.awaiting()
        chain.mine(pay(address, attempt["units"]))
        for _ in range(20):  # the node answered nobody for a while
            scene.clock.pass_by(seconds=10)
            chain.mine()
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        assert (await scene.all(tables.ChainHeader))[0]["number"] > 0, "it does not begin at the beginning of the chain"
        await scene.assert_sound()
