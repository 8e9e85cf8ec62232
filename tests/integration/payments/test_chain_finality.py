"""Provisional credit, finality by amount and exposure, and what a reorganization takes back again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.base import FinalityRule, FinalityTier
from orchestrator.database import tables
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.ledger.purse import Purse, purse_locks
from rates.money import WALLET_USD, Money
from tests.integration.payments.chain_scene import CONFIRMATIONS, TOKENS, ChainScene, ScriptedChain, opened_chain, pay
from tests.integration.payments.scene import MERCHANT, MODE

PRINCIPAL = 20 * 10**9


def usd(amount: int) -> Money:
    return Money(amount * 10**9, WALLET_USD)


EARLY = FinalityRule(
    CONFIRMATIONS, tiers=(FinalityTier(usd(10), 1), FinalityTier(usd(100), 2)), customer_max=usd(50), chain_max=usd(1000),
    merchant_unsecured=usd(200),
)  # fmt: skip


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


def early(**changes: Any) -> ScriptedChain:
    return ScriptedChain(finality=replace(EARLY, **changes))


async def spend(scene: ChainScene, wallet: str, units: int) -> None:
    def decide(view: View, changes: Changes) -> dict[str, Any]:
        purse = Purse.open(view, MERCHANT, MODE, wallet)
        purse.charge(units)
        purse.write(changes, kind="used", fact=f"test_{units}")
        return {}

    await scene.writer.submit(Unit(MERCHANT, MODE, None, purse_locks(MERCHANT, MODE, wallet), decide))


async def balance(scene: ChainScene, code: str) -> int:
    """Debit positive, over all subjects, in USD or in the chain's token."""
    return sum(int(row["balance"]) for row in await scene.all(tables.Account, code=code))


async def wallet_status(scene: ChainScene, attempt: dict[str, Any]) -> str:
    return str((await scene.all(tables.Wallet, id=attempt["wallet_id"]))[0]["status"])


async def test_a_small_deposit_can_be_used_before_it_is_final(url: str) -> None:
    async with opened_chain(url, early()) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "detected")]
        scene.chain.mine()
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "provisional")]
        assert await balance(scene, "wallet:provisional") == -PRINCIPAL
        assert await balance(scene, "chain:unconfirmed") == attempt["units"]
        assert (await scene.payment(attempt))["status"] == "processing"
        await spend(scene, attempt["wallet_id"], 5 * 10**9)
        assert await balance(scene, "merchant:pending") == 0, "provisional credit is nobody's earning yet"
        assert await balance(scene, "merchant:unfunded") == -5 * 10**9
        scene.chain.mine()
        await scene.look()
        assert await scene.credited() == PRINCIPAL - 5 * 10**9
        assert await balance(scene, "wallet:provisional") == 0
        assert await balance(scene, "chain:unconfirmed") == 0
        assert await balance(scene, "chain:final") == attempt["units"]
        assert await balance(scene, "merchant:pending") == -5 * 10**9
        assert await balance(scene, "merchant:unfunded") == 0
        assert (await scene.payment(attempt))["status"] == "credited"
        events = [row["type"] for row in await scene.all(tables.Event)]
        assert events.count("deposit.provisional") == events.count("wallet.credited") == 1
        await scene.assert_books()


async def test_a_large_deposit_waits_for_the_chains_own_word(url: str) -> None:
    async with opened_chain(url, early()) as scene:
        address, attempt = await scene.awaiting("500")
        scene.chain.finalizes = False
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=30)
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "detected")], "deep, and still not final"
        scene.chain.finalizes = True
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "credited")]
        await scene.assert_sound()


async def test_the_customers_exposure_is_bounded(url: str) -> None:
    async with opened_chain(url, early()) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.finalizes = False
        for _ in range(4):
            scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=2)
        await scene.look()
        states = [state for _, state in await scene.deposit_states()]
        assert sorted(states) == ["detected", "detected", "provisional", "provisional"], "50 dollars at a time"
        assert -await balance(scene, "wallet:provisional") <= EARLY.customer_max.units
        scene.chain.finalizes = True
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert {state for _, state in await scene.deposit_states()} == {"credited"}
        await scene.assert_sound()


@pytest.mark.parametrize("cap", [{"chain_max": usd(30)}, {"merchant_unsecured": usd(30)}])
async def test_the_chains_and_the_merchants_exposure_are_bounded(url: str, cap: dict[str, Money]) -> None:
    async with opened_chain(url, early(**cap)) as scene:
        scene.chain.finalizes = False
        for customer in ("one", "two", "three"):
            address, attempt = await scene.awaiting(customer=customer)
            scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=2)
        await scene.look()
        states = sorted(state for _, state in await scene.deposit_states())
        assert states == ["detected", "detected", "provisional"]


async def test_provisional_credit_that_falls_away_unspent_leaves_nothing(url: str) -> None:
    async with opened_chain(url, early()) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine()
        await scene.look()
        scene.chain.drop(2)
        scene.chain.mine(count=4)
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "orphaned")]
        for code in ("wallet:provisional", "chain:unconfirmed", "wallet:debt", "fx:position"):
            assert await balance(scene, code) == 0, code
        assert (await scene.payment(attempt))["status"] == "awaiting_payment"
        assert await wallet_status(scene, attempt) == "active"
        await scene.assert_books()


async def test_provisional_credit_that_was_spent_and_falls_away_is_debt_until_it_is_mined_again(url: str) -> None:
    async with opened_chain(url, early()) as scene:
        address, attempt = await scene.awaiting()
        paid = pay(address, attempt["units"])
        scene.chain.mine(paid)
        scene.chain.mine()
        await scene.look()
        await spend(scene, attempt["wallet_id"], 5 * 10**9)
        scene.chain.drop(2)
        scene.chain.mine(count=4)
        await scene.look()
        assert await balance(scene, "wallet:debt") == 5 * 10**9
        assert await balance(scene, "merchant:unfunded") == -5 * 10**9
        assert await wallet_status(scene, attempt) == "frozen"
        await scene.assert_books()
        scene.chain.mine(paid)
        scene.chain.mine()
        await scene.look()
        row = (await scene.all(tables.Deposit))[0]
        assert (row["status"], row["generation"]) == ("detected", 1), "what fell once is not credited early again"
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert await balance(scene, "wallet:debt") == 0
        assert await scene.credited() == PRINCIPAL - 5 * 10**9
        assert await balance(scene, "merchant:pending") == -5 * 10**9
        assert await wallet_status(scene, attempt) == "active"
        assert (await scene.payment(attempt))["status"] == "credited"
        await scene.assert_books()


@pytest.mark.parametrize("depth", [1, 3, 12])
async def test_a_fork_that_brings_the_transfer_again_books_nothing(url: str, depth: int) -> None:
    async with opened_chain(url, early()) as scene:
        address, attempt = await scene.awaiting()
        paid = pay(address, attempt["units"])
        scene.chain.mine(paid)
        scene.chain.mine(count=depth - 1)
        await scene.look()
        before = len(await scene.all(tables.JournalEntry))
        scene.chain.drop(depth)
        scene.chain.mine(paid)
        scene.chain.mine(count=depth)
        await scene.look()
        kinds = [row["kind"] for row in await scene.all(tables.JournalEntry)][before:]
        assert not [kind for kind in kinds if kind.endswith("orphaned")]
        assert (await scene.all(tables.Deposit))[0]["generation"] == 0
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        await scene.assert_sound()


async def test_a_final_credit_that_falls_away_all_the_same_is_taken_back_and_credited_again_once(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        paid = pay(address, attempt["units"])
        scene.chain.mine(paid)
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        await spend(scene, attempt["wallet_id"], 5 * 10**9)
        scene.chain.drop(CONFIRMATIONS + 1)
        scene.chain.mine(count=CONFIRMATIONS + 3)
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "orphaned")]
        assert await scene.credited() == 0
        assert await balance(scene, "wallet:debt") == 5 * 10**9
        assert await balance(scene, "merchant:receivable") == 5 * 10**9
        assert await balance(scene, "chain:final") == await balance(scene, "fees:platform") == 0
        assert await wallet_status(scene, attempt) == "frozen"
        assert "credited_deposit_orphaned" in {row["reason"] for row in await scene.all(tables.Review)}
        payment = await scene.payment(attempt)
        assert (payment["status"], payment["credited_units"]) == ("awaiting_payment", 0)
        assert (await scene.all(tables.CheckoutSession))[0]["status"] == "open"
        await scene.assert_books()
        scene.chain.mine(paid)
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert await scene.credited() == PRINCIPAL - 5 * 10**9
        assert await balance(scene, "wallet:debt") == await balance(scene, "merchant:receivable") == 0
        assert await balance(scene, "merchant:pending") == -5 * 10**9, "earned once"
        assert await wallet_status(scene, attempt) == "active"
        assert (await scene.payment(attempt))["status"] == "credited"
        await scene.assert_books()


async def test_a_payment_whose_transfer_fell_away_for_good_expires_with_its_session(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        await scene.look()
        assert (await scene.payment(attempt))["status"] == "processing"
        scene.chain.drop(1)
        scene.chain.mine(count=6)
        await scene.look()
        assert (await scene.payment(attempt))["status"] == "awaiting_payment"
        scene.clock.pass_by(hours=1)
        await scene.expiry.run_once()
        assert (await scene.payment(attempt))["status"] == "expired"
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert (await scene.payment(attempt))["status"] == "credited", "late money is money"
        await scene.assert_sound()


async def test_half_of_a_payment_that_falls_away_leaves_the_other_half_credited(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        half = attempt["units"] // 2
        scene.chain.mine(pay(address, half))
        scene.chain.mine(count=CONFIRMATIONS)
        scene.chain.mine(pay(address, attempt["units"] - half))
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert (await scene.payment(attempt))["status"] == "credited"
        scene.chain.drop(CONFIRMATIONS + 1)
        scene.chain.mine(count=CONFIRMATIONS + 3)
        await scene.look()
        assert (await scene.payment(attempt))["status"] == "partially_paid"
        assert (await scene.attempt(attempt["id"]))["received_units"] == half
        await scene.assert_sound()


async def test_what_was_in_suspense_falls_away_with_its_review(url: str) -> None:
    async with opened_chain(url) as scene:
        address, _ = await scene.awaiting()
        scene.chain.mine(pay(address, 10_000, token=TOKENS[1]))  # it has no rate
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert await scene.deposit_states() == [(10_000, "unallocated")]
        assert await balance(scene, "suspense") == -10_000
        scene.chain.drop(CONFIRMATIONS + 1)
        scene.chain.mine(count=CONFIRMATIONS + 3)
        await scene.look()
        assert await scene.deposit_states() == [(10_000, "orphaned")]
        assert await balance(scene, "suspense") == await balance(scene, "chain:final") == 0
        assert {row["status"] for row in await scene.all(tables.Review)} == {"resolved"}
        await scene.assert_books()


async def test_a_final_block_that_differs_from_the_one_that_was_read_makes_nothing_final(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=CONFIRMATIONS + 4)
        scene.chain.lies_about_final = True
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "detected")]
        scene.chain.lies_about_final = False
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "credited")]
        await scene.assert_sound()


async def test_dust_is_listed_and_neither_credited_nor_a_case_for_a_person(url: str) -> None:
    chain = ScriptedChain(tokens=(replace(TOKENS[0], dust_units=50_000), TOKENS[1]))
    async with opened_chain(url, chain) as scene:
        address, attempt = await scene.awaiting()
        chain.mine(pay(address, 49_999, token=chain.tokens[0]), pay(address, 50_000, token=chain.tokens[0]))
        chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert await scene.deposit_states() == [(49_999, "dust"), (50_000, "credited")]
        assert await scene.all(tables.Review) == []
        assert (await scene.attempt(attempt["id"]))["received_units"] == 50_000
        chain.drop(CONFIRMATIONS + 1)
        chain.mine(count=CONFIRMATIONS + 2)
        await scene.look()
        assert await scene.deposit_states() == [(49_999, "orphaned"), (50_000, "orphaned")]
        await scene.assert_books()


async def test_a_large_deposit_needs_the_word_of_a_second_node(url: str) -> None:
    async with opened_chain(url, early(second_opinion_from=usd(100))) as scene:
        address, small = await scene.awaiting("150", "small")
        _, large = await scene.awaiting("150", "large")
        scene.chain.second_node_agrees = False
        scene.chain.mine(pay(address, 40_000_000), pay(bytes.fromhex(large["rail_reference"][2:]), large["units"]))
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert await scene.deposit_states() == [(40_000_000, "credited"), (large["units"], "detected")]
        scene.chain.second_node_agrees = True
        await scene.look()
        assert {state for _, state in await scene.deposit_states()} == {"credited"}
        assert small["units"] == large["units"]
        await scene.assert_sound()
