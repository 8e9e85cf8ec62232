"""When a chain is read and when it is offered: always from where it was left, and by the age of what was read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from adapters.base import ChainHead, ChainScanFailed
from orchestrator.database import tables
from orchestrator.routing.health import HealthState
from tests.integration.payments.chain_scene import ACCOUNT, METHOD, RAIL, ChainScene, ScriptedChain, opened_chain, pay


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


@dataclass
class IllChain(ScriptedChain):
    """A chain whose node can stop to answer."""

    ill: bool = False

    async def head(self) -> ChainHead:
        if self.ill:
            raise ChainScanFailed("the node answers nothing")
        return await super().head()


def health(scene: ChainScene) -> HealthState:
    return scene.watch.health.snapshot(scene.clock.now())[RAIL, ACCOUNT, METHOD]


async def test_after_a_restart_without_any_open_session_every_missed_block_is_read(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.clock.pass_by(hours=1)
        await scene.expiry.run_once()
        assert (await scene.payment(attempt))["status"] == "expired"
        scene.chain.mine(count=40)
        scene.chain.mine(pay(address, attempt["units"]))
        scene.chain.mine(count=40)
        await scene.another_watch().run_once()  # a process that just started, and nobody waits for a payment
        assert [state for _, state in await scene.deposit_states()] == ["credited"]
        cursor = (await scene.all(tables.ChainCursor))[0]
        assert cursor["number"] == len(scene.chain.blocks) - 1
        await scene.assert_sound()


async def test_a_bad_answer_is_no_reason_to_offer_a_chain_less_while_its_scan_is_fresh(url: str) -> None:
    chain = IllChain()
    async with opened_chain(url, chain) as scene:
        await scene.awaiting()
        chain.clock = scene.clock
        chain.mine()
        await scene.look()
        chain.ill = True
        for _ in range(20):
            await scene.look()
        assert health(scene) is HealthState.HEALTHY


async def test_a_chain_is_not_offered_while_its_newest_block_that_was_read_is_old(url: str) -> None:
    chain = IllChain()
    async with opened_chain(url, chain) as scene:
        await scene.awaiting()
        chain.clock = scene.clock
        chain.mine()
        await scene.look()
        chain.ill = True
        scene.clock.pass_by(seconds=301)
        for _ in range(20):
            await scene.look()
        assert health(scene) is HealthState.DOWN
