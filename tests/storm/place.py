"""Where a storm takes place: simulated vendors that never die, PostgreSQL (or a file), and our processes behind faulty wires.

Everything that our processes say or hear goes through a proxy: the database, every vendor's API, the vendors' webhooks, the
reseller's endpoint, and the API itself. The buyer's own browser and the vendors' state are outside the weather: they are
the truth that the books are compared with.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
from aiohttp import web
from standardwebhooks import Webhook

from adapters import registry
from adapters.base import SimulatorSettings
from orchestrator import settings as configuration
from tests.storm.proxy import FaultyProxy, tcp, unix
from tests.support.ports import free_port
from tests.support.postgres import PostgresFailed, PostgresServer
from tests.support.processes import CROSSRAIL, Process, ProcessFailed, running
from tests.support.world import CONFIG, over

ADMIN_TOKEN: Final = "admin-token-of-the-storm"
RAILS: Final = ("stripe", "adyen", "tron", "evm")
START_SECONDS_MAX: Final = 60.0
STARTS_MAX: Final = 20
CALM: Final = (94, 2, 2, 2, 0)
"""Weights of a database's wire: one connection carries thousands of statements."""


@dataclass
class House:
    """One process of ours: killed, and started again over the same configuration."""

    name: str
    config: Path
    port: int
    door: FaultyProxy
    """The way in for everybody outside."""
    lives: int = 0
    listens: bool = False
    """Its last start came to an end: a start that was broken off does not count."""
    process: Process | None = None
    last_words: list[str] = field(default_factory=list)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def stands(self) -> bool:
        return self.listens and self.process is not None and self.process.child.returncode is None

    async def begin(self) -> None:
        """Start it, as a supervisor does: again where its database was away just then. Raises ProcessFailed after many times."""
        for left in reversed(range(STARTS_MAX)):
            self._stack = AsyncExitStack()
            command: list[str | Path] = [CROSSRAIL, "serve", "--config", self.config, "--port", str(self.port)]
            process = self.process = await self._stack.enter_async_context(running(command))
            try:
                await process.wait_for_line("crossrail listens", timeout_seconds=START_SECONDS_MAX)
            except ProcessFailed:
                await self.end()
                if not left:
                    raise
                await asyncio.sleep(0.2)
            else:
                self.lives += 1
                self.listens = True
                return

    async def end(self) -> None:
        """SIGKILL, whatever it does."""
        self.listens = False
        if self.process is not None:
            self.last_words = self.process.output[-200:]
        self.process = None
        await self._stack.aclose()


@dataclass
class Reseller:
    """The reseller's own server: it verifies what it is told, and remembers it."""

    secret: str = ""
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: int = 0
    forged: int = 0

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event = Webhook(self.secret).verify(body.decode(), dict(request.headers))
        except Exception:  # noqa: BLE001  # whatever does not verify is counted and refused
            self.forged += 1
            return web.Response(status=401)
        self.times += 1
        self.heard[event["id"]] = event
        return web.Response(status=204)


@dataclass
class Place:
    houses: list[House]
    postgres: PostgresServer | None
    proxies: dict[str, FaultyProxy]
    sandbox_url: str
    reseller: Reseller
    http: aiohttp.ClientSession
    """For buyers and for the last questions: no weather."""

    def weather(self, *, bad: bool) -> None:
        for proxy in self.proxies.values():
            proxy.faults = bad

    async def postgres_dies(self) -> None:
        """SIGKILL to the postmaster; its children follow, and a new one recovers from the log."""
        assert self.postgres is not None
        await asyncio.to_thread(_killed_and_started, self.postgres)


def _killed_and_started(server: PostgresServer) -> None:
    server.process.kill()
    server.process.wait(timeout=30)
    for attempt in range(40):
        try:
            server.start_again()
        except PostgresFailed:  # a child of the dead one still holds the shared memory
            if attempt == 39:
                raise
        else:
            return


@asynccontextmanager
async def place(folder: Path, random: Random, postgres: PostgresServer | None) -> AsyncIterator[Place]:
    """Open everything: two of our processes on PostgreSQL, or one on a file."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        proxies: dict[str, FaultyProxy] = {}

        async def proxied(name: str, dial: Any, **more: Any) -> FaultyProxy:
            proxy = FaultyProxy(name, dial, Random(f"{name} {random.random()}"), **more)  # noqa: S311  # a seed is a story
            proxies[name] = await stack.enter_async_context(proxy.listening())
            return proxy

        ports = [free_port() for _ in range(1 if postgres is None else 2)]
        doors = [await proxied(f"api {number}", tcp(partial(int, port))) for number, port in enumerate(ports)]
        reseller = Reseller()
        deaf = web.Application()
        deaf.router.add_post("/crossrail", reseller.take)
        shop_port = await _served(stack, deaf)
        await proxied("reseller", tcp(partial(int, shop_port)))
        sandbox_port = free_port()
        await proxied("vendors", tcp(partial(int, sandbox_port)))
        url = f"sqlite+aiosqlite:///{folder}/crossrail.db"
        if postgres is not None:
            database = postgres.create()
            wire = await proxied("database", unix(f"{postgres.folder}/.s.PGSQL.5432"), weights=CALM)
            url = f"postgresql+asyncpg://postgres@127.0.0.1:{wire.port}/{database}"
        sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        await _vendors(stack, sandbox_port, sandbox_url, doors)
        houses = []
        for number, (port, door) in enumerate(zip(ports, doors, strict=True)):
            mine = {
                "CROSSRAIL_DATABASE": url,
                "CROSSRAIL_PUBLIC_URL": door.url,
                "CROSSRAIL_STATE": str(folder / f"state-{number}"),
                "CROSSRAIL_INTERNAL_URL": "" if postgres is None else f"http://127.0.0.1:{port}",
            }
            config = folder / f"storm-{number}.yaml"
            config.write_text(json.dumps(_configured(proxies["vendors"].url, mine), default=float), "utf-8")
            houses.append(House(f"process {number}", config, port, door))
        for house in houses:
            stack.push_async_callback(house.end)
        await asyncio.gather(*(house.begin() for house in houses))
        yield Place(houses, postgres, proxies, sandbox_url, reseller, http)


def _configured(vendors_url: str, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """The shipped configuration, but every vendor is far away, and short of patience so that a storm may be short."""
    _, document = configuration.load(CONFIG, environment)
    shipped = document.data
    rails = {
        rail: {
            "accounts": {
                name: {**block, "simulated": False, "base_url": f"{vendors_url}/{rail}/{name}"}
                for name, block in shipped["rails"][rail]["accounts"].items()
            }
        }
        for rail in RAILS
    }
    blocks = {"options": {"block_seconds": 0.5}}
    quick = {
        "rails": {
            "tron": {"accounts": {"tron": blocks}},
            "evm": {"accounts": dict.fromkeys(rails["evm"]["accounts"], blocks)},
        },
        "watch": {"first_check_s": 1, "last_check_s": 4, "unknown_recheck_s": 0.5},
        "webhooks": {"allow_private_networks": True, "retry_scale": 0.01},
        "admin": {"token": ADMIN_TOKEN, "operator_password": "a passphrase of the storm"},
        "service": {"secret": "a secret of the storm, long enough"},
        "compliance": {"daily_attempts_max": 100_000, "daily_usd_max": "10000000.00"},
    }
    stormy: Mapping[str, Any] = over({**shipped, "rails": rails}, {**quick, "rails": over(rails, quick["rails"])})
    return stormy


async def _vendors(stack: AsyncExitStack, port: int, sandbox_url: str, doors: list[FaultyProxy]) -> None:
    """Every vendor under its own path; their webhooks come by the first door, or by the next where it is closed."""
    _, document = configuration.load(CONFIG, {})
    app = web.Application()
    for rail in RAILS:
        for name, block in document.data["rails"][rail]["accounts"].items():
            _, simulator = registry.load(rail)
            options = {**block["options"]}
            if "block_seconds" in options:
                options["block_seconds"] = 0.5
            hook = f"{doors[-1].url}/webhooks/{rail}/{name}"
            app.add_subapp(
                f"/{rail}/{name}", simulator(SimulatorSettings(options, f"{sandbox_url}/{rail}/{name}", hook))
            )
    await _served(stack, app, port)


async def _served(stack: AsyncExitStack, app: web.Application, port: int = 0) -> int:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return int(runner.addresses[0][1])
