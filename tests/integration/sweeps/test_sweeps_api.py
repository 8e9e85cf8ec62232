"""Sweeps over HTTP, as the platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from orchestrator.api.app import build_app
from orchestrator.services import Services
from tests.integration.sweeps.scene import TREASURY, ChainScene, chain_scene

pytestmark = pytest.mark.anvil


def mount(app: web.Application, services: Services) -> None:
    app.add_subapp("/api", build_app(services))


async def call(scene: ChainScene, verb: str, path: str, body: Any = None, token: str = "admin-token-of-tests") -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{scene.world.public_url}/api/v1{path}"
    async with scene.world.http.request(verb, url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_plan_build_and_broadcast_over_http(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url, setups=(mount,)) as scene:
        await scene.deposit("a", "20")
        _, plan = await call(scene, "GET", "/sweeps/plan")
        assert [(one["amount"], one["worth"], one["coin"]) for one in plan["data"]] == [("20.000000", True, "ETH")]
        _, built = await call(scene, "POST", "/sweeps")
        assert len(built["sweeps"]) == 1
        for _ in range(8):
            await call(scene, "POST", "/sweeps/broadcast")
            await scene.finalize()
        assert await scene.tokens(TREASURY) == 20_000_000
        _, listed = await call(scene, "GET", "/chain_transactions")
        assert [(one["purpose"], one["status"]) for one in listed["data"]] == [("sweep", "final"), ("fuel", "final")]
        status, no = await call(scene, "POST", f"/chain_transactions/{listed['data'][0]['id']}/void")
        assert (status, no["code"]) == (409, "transaction_is_elsewhere")


async def test_a_merchants_key_opens_none_of_it(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with chain_scene(sqlite_url, tmp_path, anvil_url, setups=(mount,)) as scene:
        merchant = await scene.services.access.create_merchant("Acme")
        key = await scene.services.access.create_key(merchant["id"], "test", ("read", "write"))
        assert key.secret is not None
        for verb, path in (("GET", "/sweeps/plan"), ("POST", "/sweeps"), ("GET", "/chain_transactions")):
            assert (await call(scene, verb, path, token=key.secret))[0] == 403
