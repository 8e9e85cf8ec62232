"""Forks: what falls away waits, what comes back is credited once, and the watch finds its way."""

from __future__ import annotations

import pytest

from orchestrator.database import tables
from tests.integration.payments.chain_scene import (
    CONFIRMATIONS,
    opened_chain,
    pay,
)

PRINCIPAL = 20 * 10**9


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


async def test_a_fork_before_the_credit_orphans_and_the_same_transfer_mined_again_is_credited_once(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        paid = pay(address, attempt["units"])
        scene.chain.mine(paid)
        scene.chain.mine()
        await scene.look()
        scene.chain.drop(2)
        scene.chain.mine(count=3)
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "orphaned")]
        scene.chain.mine(paid)
        scene.chain.mine(count=CONFIRMATIONS - 1)
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "credited")]
        assert await scene.credited() == PRINCIPAL
        assert (await scene.payment(attempt))["status"] == "credited"
        await scene.assert_sound()


async def test_a_transfer_that_never_came_back_is_never_credited(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        await scene.look()
        scene.chain.drop(1)
        scene.chain.mine(count=6)
        await scene.look()
        assert await scene.deposit_states() == [(attempt["units"], "orphaned")]
        assert await scene.credited() == 0
        scene.clock.pass_by(hours=30)
        await scene.settlement.run_once()
        assert (await scene.payment(attempt))["status"] == "failed"
        await scene.assert_sound()


async def test_there_and_back_again_credits_once(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        paid = pay(address, attempt["units"])
        scene.chain.mine(paid)
        await scene.look()
        branch = scene.chain.drop(1)
        scene.chain.mine(count=1)
        scene.chain.mine(paid)  # on the other branch too, in another block
        await scene.look()
        other = scene.chain.drop(2)
        scene.chain.put_back(branch)
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        assert len(other) == len(branch) + 1
        await scene.assert_sound()
        # And once more to the other branch, after the credit: it stands there too, so nothing is taken back or doubled.
        scene.chain.put_back(other)
        scene.chain.mine(count=6)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        assert len(await scene.all(tables.Deposit)) == 1
        assert len(await scene.all(tables.JournalEntry)) == 1
        await scene.assert_sound()


async def test_a_fork_behind_the_block_that_the_watch_began_at_is_followed(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.drop(3)
        scene.chain.mine(count=2)
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=2)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        await scene.assert_sound()


async def test_a_shorter_fork_waits_and_a_deep_one_is_followed_to_its_common_block(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        paid = pay(address, attempt["units"])
        scene.chain.mine(count=20)
        scene.chain.mine(paid)
        await scene.look()
        scene.chain.drop(15)
        scene.chain.mine()
        await scene.look()  # shorter than what we know
        scene.chain.mine(paid)
        scene.chain.mine(count=20)
        await scene.look()
        assert await scene.credited() == PRINCIPAL
        await scene.assert_sound()


# --- crashes and rivals ------------------------------------------------------------------------------------------------
