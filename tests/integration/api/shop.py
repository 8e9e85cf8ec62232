"""A whole Crossrail behind its real API: simulated rails, workers' loops, two merchants with keys of both modes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from orchestrator.api.app import build_app
from tests.integration.api.house import Reply
from tests.support.world import World, world

CREDIT_SECONDS_MAX = 20
ALICE = {"reference": "alice", "country": "BR"}
SESSIONS = "/v1/checkout/sessions"
USD20: Mapping[str, str] = {"amount": "20.00", "currency": "USD"}


@dataclass
class Shop:
    """One merchant's program, talking to the API."""

    base: str
    world: World
    merchant: str
    key: str
    live_key: str
    other_key: str
    """Of another merchant."""

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request; ``key=""`` sends none."""
        sent = dict(headers or {})
        token = self.key if key is None else key
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        async with self.world.http.request(method, self.base + path, data=data, headers=sent) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **more: Any) -> Any:
        """Return what a GET answers; it must be 200."""
        reply = await self.call("GET", path, **more)
        assert reply.status == 200, reply.raw
        return reply.json

    async def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """Return what a POST answers; it must be fine."""
        reply = await self.call("POST", path, body, **more)
        assert reply.status in {200, 201}, reply.raw
        return reply.json

    async def session(self, country: str = "BR", reference: str = "alice", **more: Any) -> Any:
        body = {"customer": {"reference": reference, "country": country}, "amount": USD20, **more}
        return await self.post("/v1/checkout/sessions", body)

    async def select(self, session: Mapping[str, Any], number: int = 0) -> Any:
        offer = session["offers"][number]["id"]
        return await self.post(f"/v1/checkout/sessions/{session['id']}/select", {"offer": offer})

    async def paid(self, session: Mapping[str, Any], number: int = 0) -> str:
        """Choose an offer, pay it at its rail, wait for the credit; return the payment's id."""
        chosen = await self.select(session, number)
        await self.world.pay_at_rail(chosen)
        payment: str = chosen["payment"]
        for _ in range(CREDIT_SECONDS_MAX * 10):
            if (await self.get(f"/v1/payments/{payment}"))["status"] == "credited":
                return payment
            await asyncio.sleep(0.1)
        raise AssertionError(f"not credited within {CREDIT_SECONDS_MAX} s: {payment}")

    async def refused(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str, list[str]]:
        """Return status, code and pointers of a problem."""
        reply = await self.call(method, path, body, **more)
        assert reply.status >= 400, reply.raw
        assert reply.headers["Content-Type"].startswith("application/problem+json"), reply.raw
        problem = reply.json
        assert problem["request_id"] == reply.headers["X-Request-Id"]
        return reply.status, problem["code"], [one["pointer"] for one in problem["errors"]]


@asynccontextmanager
async def open_shop(url: str, folder: Path, *, loops: bool = False) -> AsyncIterator[Shop]:
    async with world(url, folder, loops=loops) as here:
        access = here.services.access
        merchants = [(await access.create_merchant(name))["id"] for name in ("Acme", "Other")]
        keys = [
            await access.create_key(merchant, mode)
            for merchant, mode in ((merchants[0], "test"), (merchants[0], "live"), (merchants[1], "test"))
        ]
        secrets = [key.secret or "" for key in keys]
        runner = web.AppRunner(build_app(here.services), shutdown_timeout=1, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield Shop(base, here, merchants[0], *secrets)
        finally:
            await runner.cleanup()


def session_with(**changes: Any) -> dict[str, Any]:
    return {"customer": ALICE, "amount": USD20, **changes}


def amount_of(amount: Any, currency: str = "USD") -> dict[str, Any]:
    return session_with(amount={"amount": amount, "currency": currency})


def part(amount: str) -> dict[str, Any]:
    return {"amount": {"amount": amount, "currency": "USD"}}
