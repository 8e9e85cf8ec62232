"""A real EVM node (anvil) behind a door that answers empty, lags, lies about a block or limits ranges, down to the books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from orchestrator.database import tables
from tests.adapters.chains.test_chain_real_node import RealChain
from tests.adapters.loopback import address, listen, serving
from tests.integration.payments.chain_scene import ChainScene
from tests.integration.payments.test_chain_real_node import FINAL_AFTER, PRINCIPAL, RailChain, following, mine

pytestmark = pytest.mark.anvil
RANGE_BLOCKS = 20
ELSEWHERE = "0x" + "ee" * 32
FAR = 10**6


@dataclass
class Door:
    """Passes every call on to the node, but for one fault at a time."""

    node_url: str
    http: aiohttp.ClientSession
    fault: str = ""
    stands_at: int = 0
    final_then: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        call = await request.json()
        async with self.http.post(self.node_url, json=call) as answer:
            body = await answer.json()
        if isinstance(call, dict):
            self.asked.append(call)
            self._spoil(call["method"], call["params"], body)
        return web.json_response(body)

    def _spoil(self, method: str, params: list[Any], body: dict[str, Any]) -> None:
        match self.fault, method:
            case "empty", "eth_getLogs" | "eth_getBlockReceipts":
                body["result"] = []
            case "another block's logs", "eth_getLogs":
                body["result"] = [{**log, "blockHash": ELSEWHERE} for log in body["result"]]
            case "another hash", "eth_getBlockByNumber":
                body["result"] = body["result"] and {**body["result"], "hash": ELSEWHERE}
            case "limits", "eth_getLogs" if "fromBlock" in params[0]:
                if int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= RANGE_BLOCKS:
                    del body["result"]
                    body["error"] = {"code": -32005, "message": "query exceeds max block range"}
            case "stands still", "eth_blockNumber":
                body["result"] = hex(self.stands_at)
            case "names a head it has not", "eth_blockNumber":
                body["result"] = hex(FAR)
            case "stands still" | "names a head it has not", "eth_getBlockByNumber" if params[0] == "finalized":
                body["result"] = self.final_then
            case "stands still" | "names a head it has not", "eth_getBlockByNumber":
                body["result"] = body["result"] if int(params[0], 16) <= self.stands_at else None
            case _:
                pass

    async def stand_still(self, real: RealChain, fault: str = "stands still") -> None:
        self.stands_at = int(await real.node.call("eth_blockNumber"), 16)
        self.final_then = await real.node.call("eth_getBlockByNumber", "finalized", False)
        self.fault = fault


@asynccontextmanager
async def behind_a_door(
    url: str, anvil_url: str, *, second_node: bool = False
) -> AsyncIterator[tuple[ChainScene, RealChain, Door]]:
    async with aiohttp.ClientSession() as http:
        door, bound = Door(anvil_url, http), listen()
        app = web.Application()
        app.router.add_post("/", door.handle)
        async with serving(app, bound):
            nodes = (address(bound) + "/", *((anvil_url,) if second_node else ()))
            async with following(url, anvil_url, *nodes) as (scene, real):
                yield scene, real, door


async def cursor(scene: ChainScene) -> int:
    (row,) = await scene.all(tables.ChainCursor)
    return int(row["number"])


def look_at_heads_again(scene: ChainScene) -> None:
    """Some seconds go by."""
    chain = scene.chain
    assert isinstance(chain, RailChain)
    chain.real._scanner.providers._compared_at = None


async def assert_credited_once(scene: ChainScene) -> None:
    assert [status for _, status in await scene.deposit_states()] == ["credited"]
    assert await scene.credited() == PRINCIPAL
    await scene.assert_sound()


@pytest.mark.parametrize("blocks", [FINAL_AFTER + 2, 200], ids=["at the tip", "in a range"])
@pytest.mark.parametrize("fault", ["empty", "another block's logs", "another hash"])
async def test_what_a_real_node_hides_or_lies_about_holds_the_cursor_and_is_credited_once_afterwards(
    migrated_database_url: str, anvil_url: str, fault: str, blocks: int
) -> None:
    async with behind_a_door(migrated_database_url, anvil_url) as (scene, real, door):
        paid_to, attempt = await scene.awaiting()
        await scene.look()
        await mine(real, 100)
        receipt = await real.transfer(paid_to, attempt["units"])
        await mine(real, blocks)
        door.fault = fault
        for _ in range(2):
            await scene.look()
        assert await cursor(scene) < int(receipt["blockNumber"], 16)
        assert await scene.deposit_states() == []
        door.fault = ""
        await scene.look()
        await assert_credited_once(scene)


async def test_a_real_node_that_limits_ranges_is_caught_up_with_in_parts(
    migrated_database_url: str, anvil_url: str
) -> None:
    async with behind_a_door(migrated_database_url, anvil_url) as (scene, real, door):
        paid_to, attempt = await scene.awaiting()
        await scene.look()
        door.fault = "limits"
        for _ in range(6):
            await mine(real, 50)
            await real.transfer(b"\x5e" * 20, 1)  # ranges are not empty
        await real.transfer(paid_to, attempt["units"])
        await mine(real, FINAL_AFTER + 2)
        for _ in range(2):
            await scene.look()
        ranges = [one["params"][0] for one in door.asked if "fromBlock" in str(one["params"])]
        assert any(int(one["toBlock"], 16) - int(one["fromBlock"], 16) >= RANGE_BLOCKS for one in ranges), "too much"
        await assert_credited_once(scene)


async def test_a_node_that_stands_still_and_goes_on_answering_is_left_for_one_that_goes_on(
    migrated_database_url: str, anvil_url: str
) -> None:
    async with behind_a_door(migrated_database_url, anvil_url, second_node=True) as (scene, real, door):
        paid_to, attempt = await scene.awaiting()
        await scene.look()
        await door.stand_still(real)
        await real.transfer(paid_to, attempt["units"])
        await mine(real, 2 * FINAL_AFTER)
        for _ in range(2):
            await scene.look()
        assert await scene.deposit_states() == [], "it answers, and only a look at the other one's head shows it"
        look_at_heads_again(scene)
        await scene.look()
        await assert_credited_once(scene)


async def test_a_node_that_names_a_head_which_it_has_not_does_not_stop_the_others(
    migrated_database_url: str, anvil_url: str
) -> None:
    async with behind_a_door(migrated_database_url, anvil_url, second_node=True) as (scene, real, door):
        paid_to, attempt = await scene.awaiting()
        await scene.look()
        await door.stand_still(real, "names a head it has not")
        look_at_heads_again(scene)
        await real.transfer(paid_to, attempt["units"])
        await mine(real, FINAL_AFTER + 2)
        for _ in range(2):
            await scene.look()
        await assert_credited_once(scene)
