"""A token whose code is replaced while its chain is followed, on a real EVM node: told, and nothing credited by guess."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest

from orchestrator.database import tables
from tests.adapters.chains.test_chain_real_node import RealChain, call_data
from tests.adapters.chains.test_token_code import PUBLISHED_SLOTS, deploy_proxy, deploy_replaced, hash_of, rail
from tests.integration.payments.chain_scene import ChainScene
from tests.integration.payments.test_chain_real_node import FINAL_AFTER, PRINCIPAL, RailChain, following, mine

pytestmark = pytest.mark.anvil


@pytest.fixture
async def scene_and_node(sqlite_url: str, anvil_url: str) -> AsyncIterator[tuple[ChainScene, RealChain]]:
    async with following(sqlite_url, anvil_url) as (scene, real):
        real.token = await deploy_proxy(real, PUBLISHED_SLOTS[1], real.token)
        await real.send(real.token, call_data("mint(uint256)", 10**12))
        use(scene, real)
        yield scene, real


def use(scene: ChainScene, real: RealChain, **pins: str) -> None:
    chain = scene.chain
    assert isinstance(chain, RailChain)
    chain.rail = rail(real, **pins)
    chain.tokens = chain.rail.tokens
    scene.watch._checks.clear()  # as a new process has it


async def reasons(scene: ChainScene) -> list[str]:
    return sorted(row["reason"] for row in await scene.all(tables.Review))


async def test_an_upgrade_of_a_token_that_nobody_pinned_is_told_once(
    scene_and_node: tuple[ChainScene, RealChain],
) -> None:
    scene, real = scene_and_node
    await scene.awaiting()
    replaced = await deploy_replaced(real)
    await real.send(real.token, call_data("upgradeTo(address)", replaced))
    await scene.look()
    await scene.look()
    (review,) = await scene.all(tables.Review)
    assert (review["reason"], review["merchant_id"]) == ("token_upgraded", "platform")
    assert orjson.loads(review["evidence"])["address"] == replaced


async def test_what_a_replaced_implementation_calls_a_transfer_is_not_credited_until_a_person_pins_it(
    scene_and_node: tuple[ChainScene, RealChain],
) -> None:
    scene, real = scene_and_node
    first = rail(real)
    (before,) = await first.token_codes()
    assert before.implementation_hash is not None
    use(scene, real, implementation_hash=before.implementation_hash)
    address, attempt = await scene.awaiting()
    await scene.look()
    await real.send(real.token, call_data("upgradeTo(address)", await deploy_replaced(real)))
    await real.transfer(address, attempt["units"])  # the new code tells of it and moves nothing
    await mine(real, FINAL_AFTER + 2)
    await scene.look()
    await scene.look()
    assert await scene.credited() == 0
    assert await reasons(scene) == ["token_code_changed", "token_upgraded"], "each once"
    (told,) = await scene.all(tables.Review, reason="token_code_changed")
    assert "expected " + before.implementation_hash in orjson.loads(told["evidence"])["found"]

    (now,) = await rail(real).token_codes()
    assert now.implementation_hash is not None
    use(scene, real, implementation_hash=now.implementation_hash)
    await scene.look()
    assert await scene.deposit_states() == [(attempt["units"], "credited")], "a person vouched for this code"
    assert await scene.credited() == PRINCIPAL


async def test_an_implementation_that_was_replaced_without_an_event_is_found_by_the_next_check(
    scene_and_node: tuple[ChainScene, RealChain],
) -> None:
    scene, real = scene_and_node
    (before,) = await rail(real).token_codes()
    assert before.implementation_hash is not None
    use(scene, real, implementation_hash=before.implementation_hash)
    await scene.awaiting()
    await scene.look()
    await real.send(real.token, call_data("upgradeSilently(address)", await deploy_replaced(real)))
    await scene.look()
    assert await reasons(scene) == []
    scene.watch._checks[:] = [0]  # an hour later
    await scene.look()
    await scene.look()
    assert await reasons(scene) == ["token_code_changed"]
    at = (await scene.all(tables.ChainCursor))[0]["number"]
    await mine(real, 3)
    await scene.look()
    assert (await scene.all(tables.ChainCursor))[0]["number"] == at, "nothing is read of code that nobody vouched for"
    use(scene, real, implementation_hash=await hash_of(real, (await rail(real).token_codes())[0].implementation or ""))
    await scene.look()
    assert (await scene.all(tables.ChainCursor))[0]["number"] > at
