"""x402 against a real EVM node and a token with EIP-3009, settled by our own signer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from orchestrator.api.app import build_app
from orchestrator.database import tables
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.payments.topups import Topups
from orchestrator.services import Services
from tests.adapters.chains.test_chain_real_node import call_data
from tests.integration.sweeps.agent import Agent
from tests.integration.sweeps.scene import OPERATING, ChainScene, chain_scene
from tests.support.world import MERCHANT, MODE

pytestmark = pytest.mark.anvil


def mount(app: web.Application, services: Services) -> None:
    app.add_subapp("/api", build_app(services))


@dataclass
class Shop:
    scene: ChainScene
    agent: Agent
    key: str

    async def topup(self, amount: str = "5.00", reference: str = "a") -> tuple[dict[str, Any], str]:
        """Make one; return it with the address to pay at."""
        wallet = await self.scene.wallet(reference)
        url = f"{self.scene.world.public_url}/api/v1/topups"
        body = {"wallet": wallet["id"], "amount": {"amount": amount, "currency": "USD"}}
        async with self.agent.http.post(url, json=body, headers={"Authorization": f"Bearer {self.key}"}) as answer:
            made = await answer.json()
            assert answer.status == 201, made
            return made, f"{url}/{made['id']}/x402"

    async def look(self, topup: str) -> Any:
        url = f"{self.scene.world.public_url}/api/v1/topups/{topup}"
        async with self.agent.http.get(url, headers={"Authorization": f"Bearer {self.key}"}) as answer:
            return await answer.json()

    async def held(self, address: str) -> int:
        return await self.scene.network.sender.balance(bytes.fromhex(address[2:]), bytes.fromhex(self.scene.dollar[2:]))


@asynccontextmanager
async def shop(database_url: str, folder: Path, anvil_url: str, **more: Any) -> AsyncIterator[Shop]:
    async with chain_scene(database_url, folder, anvil_url, setups=(mount,), **more) as scene:
        agent = Agent(scene.world.http)
        mint = call_data("mint(address,uint256)", agent.address, 100_000_000)
        await scene.real.send(scene.dollar, mint)
        await _merchant(scene)
        key = await scene.services.access.create_key(MERCHANT, MODE, ("read", "write"))
        assert key.secret is not None
        yield Shop(scene, agent, key.secret)


async def _merchant(scene: ChainScene) -> None:
    """The world's merchant, as a row: its key opens the API."""

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        changes.insert("merchant", id=MERCHANT, name="Acme", created_us=view.now_us)
        return {}

    await scene.services.writer.submit(Unit(MERCHANT, MODE, None, (row_lock("merchant", MERCHANT),), decide))


async def test_an_agent_pays_and_only_the_scanner_credits(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with shop(migrated_database_url, tmp_path, anvil_url) as here:
        topup, url = await here.topup()
        asked = await here.agent.post(url)
        assert asked.status == 402
        assert asked.decoded("PAYMENT-REQUIRED") == asked.body
        (offer,) = asked.body["accepts"]
        assert offer["payTo"].lower() == "0x" + (await here.scene.address(await here.scene.wallet("a"))).hex()
        paid = await here.agent.post(url, here.agent.sign(offer))
        assert (paid.status, paid.decoded("PAYMENT-RESPONSE")["success"]) == (200, True)
        assert await here.held(offer["payTo"]) == int(offer["amount"])
        assert (await here.look(topup["id"]))["status"] in {"processing", "settled"}
        assert await here.scene.all(tables.Deposit) == []
        await here.scene.finish()
        await here.scene.watch()
        shown = await here.look(topup["id"])
        assert shown["status"] == "credited"
        # The offer was rounded up to a millionth, fees included; what is over is the customer's.
        assert Decimal("5.00") <= Decimal(shown["credited"]["amount"]) <= Decimal("5.000002")
        assert shown["deposits"][0]["tx_hash"] == paid.decoded("PAYMENT-RESPONSE")["transaction"]
        again = await here.agent.post(url)
        assert again.status == 200


async def test_the_same_authorisation_shown_again_is_one_transaction(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with shop(sqlite_url, tmp_path, anvil_url) as here:
        topup, url = await here.topup()
        signed = here.agent.sign(topup["offers"][0])
        replies = await asyncio.gather(*(here.agent.post(url, signed) for _ in range(4)))
        assert {reply.status for reply in replies} == {200}
        assert len({reply.decoded("PAYMENT-RESPONSE")["transaction"] for reply in replies}) == 1
        assert await here.scene.network.sender.sent_count(OPERATING, final=False) == 1
        another, other_url = await here.topup()
        refused = await here.agent.post(other_url, {**signed, "accepted": another["offers"][0]})
        assert (refused.status, refused.body["code"]) == (409, "authorization_used")


async def test_while_nobody_knows_there_is_no_new_402_and_no_second_settlement(
    sqlite_url: str, tmp_path: Path, anvil_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(sqlite_url, tmp_path, anvil_url) as here:
        _hurry(monkeypatch, here)
        await here.scene.real.node.call("evm_setAutomine", False)  # a JSON parameter
        topup, url = await here.topup()
        signed = here.agent.sign(topup["offers"][0])
        waiting = await here.agent.post(url, signed)
        assert (waiting.status, waiting.body["status"]) == (202, "processing")
        assert waiting.decoded("PAYMENT-RESPONSE")["errorReason"] == "settlement_pending"
        assert (await here.agent.post(url)).status == 202
        assert (await here.agent.post(url, here.agent.sign(topup["offers"][0]))).status == 202
        assert len(await here.scene.all(tables.X402Attempt)) == 1
        await here.scene.finalize()
        assert (await here.agent.post(url, signed)).status == 200


async def test_without_a_signer_the_agent_waits_and_is_settled_later(
    sqlite_url: str, tmp_path: Path, anvil_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(sqlite_url, tmp_path, anvil_url) as here:
        _hurry(monkeypatch, here)
        topup, url = await here.topup()
        signed = here.agent.sign(topup["offers"][0])
        socket, hidden = here.scene.files.socket, here.scene.files.folder / "away"
        socket.rename(hidden)
        assert (await here.agent.post(url, signed)).status == 202
        hidden.rename(socket)
        assert (await here.agent.post(url, signed)).status == 200


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"to": "0x" + "66" * 20}, "recipient_mismatch"),
        ({"value": "1"}, "value_mismatch"),
        ({"validBefore": "1"}, "valid_before"),
        ({"validAfter": "9999999999"}, "valid_after"),
        ({"from": "0x" + "66" * 20}, "payload_signature"),
    ],
)
async def test_what_was_not_offered_is_not_settled(
    sqlite_url: str, tmp_path: Path, anvil_url: str, changes: dict[str, str], word: str
) -> None:
    async with shop(sqlite_url, tmp_path, anvil_url) as here:
        topup, url = await here.topup()
        refused = await here.agent.post(url, here.agent.sign(topup["offers"][0], **changes))
        assert refused.status == 402
        assert word in refused.body["error"]
        changed = {**topup["offers"][0], "amount": "1"}
        other = await here.agent.post(url, here.agent.sign(changed))
        assert (other.status, other.body["error"]) == (402, "invalid_payment_requirements")
        assert await here.scene.all(tables.X402Attempt) == []
        assert await here.scene.all(tables.ChainTransaction) == []


async def test_an_agent_without_money_costs_no_gas(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with shop(sqlite_url, tmp_path, anvil_url) as here:
        topup, url = await here.topup("500.00")
        refused = await here.agent.post(url, here.agent.sign(topup["offers"][0]))
        assert (refused.status, refused.body["error"]) == (402, "invalid_exact_evm_insufficient_balance")
        assert await here.scene.all(tables.ChainTransaction) == []


async def test_a_header_that_is_no_payment_is_a_mistake(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with shop(sqlite_url, tmp_path, anvil_url) as here:
        _, url = await here.topup()
        for text in ("%%%", "W10=", "e30"):
            async with here.agent.http.post(url, headers={"PAYMENT-SIGNATURE": text}) as answer:
                assert answer.status == 400
        assert (await here.agent.post(url, {})).body["error"] == "invalid_payload"
        assert (await here.agent.post(url.replace("top_", "top_0"))).status == 404


def _hurry(monkeypatch: pytest.MonkeyPatch, here: Shop) -> None:
    """Do not wait for a block: answer at once."""
    monkeypatch.setattr("orchestrator.payments.topups.LOOK_S", 0.01)
    object.__setattr__(here.scene.services.topups, "wait_s", 0.3)
    assert isinstance(here.scene.services.topups, Topups)
