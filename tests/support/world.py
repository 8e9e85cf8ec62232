"""A whole Crossrail in one process on loopback: simulated rails, services, a web server and the loops of the workers.

    async with world(migrated_database_url, tmp_path) as here:
        session = await here.session("BR")
        chosen = await here.select(session)
        await here.pay_at_rail(chosen)
        payment = await here.until(session, "credited")

Blocks come every 0.2 s. ``overrides`` is laid over config.yaml; ``loops=False`` leaves the workers to the test, which
calls ``work_once``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from aiohttp import web
from sqlalchemy import select

from adapters.base import ScansChain
from orchestrator import settings as configuration
from orchestrator.bootstrap import opened, simulators
from orchestrator.clock import Clock
from orchestrator.config_source import check
from orchestrator.database.tables import Payment, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Refusal
from orchestrator.payments.checkout import NewSession
from orchestrator.payments.client_secret import pay_url
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.offers import offers_of
from orchestrator.payments.refund_watch import RefundWatch
from orchestrator.services import Services
from orchestrator.workers.chain_watch import ChainWatch
from rates.money import WALLET_USD, Money
from tests.adapters.loopback import address, listen, serving

CONFIG = Path(__file__).parents[2] / "config.yaml"
MERCHANT, MODE = "mer_1", "test"
LOOP_SECONDS = 0.1
LOOK_SECONDS = 0.05
WAIT_SECONDS_MAX = 20.0
CALL_TIMEOUT = aiohttp.ClientTimeout(total=20)
_BLOCK = {"options": {"block_seconds": Decimal("0.2")}}
FAST: Mapping[str, Any] = {
    "rails": {
        "tron": {"accounts": {"tron": _BLOCK}},
        "evm": {"accounts": {"bsc": _BLOCK, "ethereum": _BLOCK}},
    },
    "watch": {"first_check_s": Decimal("0.5"), "unknown_recheck_s": Decimal("0.3")},
    "service": {"secret": "a secret of tests, long enough to sign"},
    "admin": {"token": "admin-token-of-tests", "operator_password": "a passphrase of tests"},
}

Setup = Callable[[web.Application, Services], None]
"""Adds routes to the root application."""


@dataclass
class World:
    """What a test touches."""

    services: Services
    public_url: str
    sandbox_url: str
    http: aiohttp.ClientSession
    watches: Sequence[ChainWatch]
    switched_off: set[str] = field(default_factory=set)
    """Loops that a test has stopped for now: inbox, chains, watch, expiry."""

    async def session(self, country: str, amount: str = "20.00", *, reference: str | None = None, **more: Any) -> Row:
        """Create a checkout session of a customer in a country."""
        customer = CustomerRef(MERCHANT, MODE, reference or f"customer-{country}", country)
        return await self.services.checkout.create(NewSession(customer, Money.parse(amount, WALLET_USD), **more))

    def page_url(self, session: Row) -> str:
        return pay_url(self.public_url, self.services.secrets.server, session["id"])

    async def select(self, session: Row, number: int = 0) -> Mapping[str, Any]:
        """Choose an offer by its place in the list."""
        offer = offers_of(session)[number]
        return await self.services.selection.select(MERCHANT, MODE, session["id"], offer.id)

    async def pay_at_rail(self, chosen: Mapping[str, Any], choice: Mapping[str, Any] | None = None) -> Any:
        """Do what the next action asks of the buyer, at the simulator. ``choice``: its own words, such as a card."""
        action = chosen["next_action"]
        if action["type"] == "deposit_address":
            return await self.pay_on_chain(action["chain"], action["address"], action["amount"]["amount"])
        return await self.post(action["url"], choice or {"outcome": "paid"})

    async def pay_on_chain(self, chain: str, address: str, amount: str, **more: Any) -> Any:
        """Send tokens on a chain (CAIP-2); in the next block."""
        account = next(watch.adapter.account for watch in self.watches if watch.network.chain == chain)
        wanted = {"token": "USDT", "to": address, "amount": amount, **more}
        return await self.control(account.rail, account.account, {"pay": wanted})

    async def control(self, rail: str, account: str, wanted: Mapping[str, Any]) -> Any:
        """Turn a simulator's switches."""
        return await self.post(f"{self.sandbox_url}/{rail}/{account}/_control", wanted)

    async def post(self, url: str, body: Mapping[str, Any]) -> Any:
        async with self.http.post(url, json=body, headers={"Accept": "application/json"}) as answer:
            text = await answer.text()
            assert answer.status < 500, f"{url}: {answer.status} {text[:300]}"
            return await answer.json(content_type=None)

    async def payment(self, session: Row) -> Row | None:
        table = table_of(Payment)
        query = select(table).where(table.c.merchant_id == MERCHANT, table.c.session_id == session["id"])
        return await self.services.reads.one(query)

    async def until(self, session: Row, status: str, *, seconds: float = WAIT_SECONDS_MAX) -> Row:
        """Wait until a session's payment is in a status."""
        for _ in range(int(seconds / LOOK_SECONDS)):
            payment = await self.payment(session)
            if payment is not None and payment["status"] == status:
                return payment
            await asyncio.sleep(LOOK_SECONDS)
        raise AssertionError(f"not {status} within {seconds} s: {await self.payment(session)}")

    async def work_once(self) -> None:
        """One round of every loop that is not switched off."""
        for name, work in self._works():
            if name not in self.switched_off:
                await work()

    def _works(self) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        services = self.services
        return [
            ("inbox", services.inbox.run_once),
            *(("chains", watch.run_once) for watch in self.watches),
            ("watch", services.watch.run_once),
            ("reservations", services.reservations.run_once),
            ("expiry", services.expiry.run_once),
            ("refunds", RefundWatch(services.refunds).run_once),
            ("disputes", services.disputes.run_once),
        ]

    async def run_loops(self) -> None:
        """Each loop for itself, as the workers run: a rail that hangs does not hold up the others."""

        async def again(name: str, work: Callable[[], Awaitable[object]]) -> None:
            while True:
                if name not in self.switched_off:
                    await work()
                await asyncio.sleep(LOOP_SECONDS)

        async with asyncio.TaskGroup() as group:
            for name, work in self._works():
                group.create_task(again(name, work))


def over(base: Any, more: Any) -> Any:
    """Lay one configuration over another: mappings key by key, anything else whole."""
    if isinstance(base, Mapping) and isinstance(more, Mapping):
        return {**base, **{key: over(base.get(key), value) for key, value in more.items()}}
    return more


@asynccontextmanager
async def world(
    database_url: str,
    folder: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    setups: Sequence[Setup] = (),
    loops: bool = True,
    clock: Clock | None = None,
) -> AsyncIterator[World]:
    """Open everything over a migrated database; a loop that breaks fails the test at the end."""
    # Held from now on: a port that is only looked for may be taken by then.
    with listen() as public, listen() as sandbox:
        public_url, sandbox_url = address(public), address(sandbox)
        environment = {
            **os.environ,
            "CROSSRAIL_DATABASE": database_url,
            "CROSSRAIL_PUBLIC_URL": public_url,
            "CROSSRAIL_STATE": str(folder / "state"),
        }
        _, document = configuration.load(CONFIG, environment)
        document = replace(document, data=over(over(document.data, FAST), overrides or {}))
        settings = check(configuration.Settings, document)
        async with (
            serving(simulators(settings, sandbox_url, public_url), sandbox),
            opened(settings, document, sandbox_url=sandbox_url, clock=clock) as services,
            aiohttp.ClientSession(timeout=CALL_TIMEOUT, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
        ):
            app = web.Application()
            app.router.add_post("/webhooks/{rail}/{account}", _webhook_door(services))
            for setup in setups:
                setup(app, services)
            async with serving(app, public):
                here = World(services, public_url, sandbox_url, http, _watches(services))
                for watch in here.watches:
                    await watch.run_once()
                async with _looping(here if loops else None):
                    yield here


def _watches(services: Services) -> list[ChainWatch]:
    return [
        ChainWatch(rail, rail, services.deposits, services.reads, services.health)
        for rail in services.rails.values()
        if isinstance(rail, ScansChain)
    ]


def _webhook_door(services: Services) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def take(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        rail, account = request.match_info["rail"], request.match_info["account"]
        try:
            status, content_type, text = await services.inbox.take(rail, account, headers, await request.read())
        except Refusal as refusal:
            return web.Response(status=refusal.status, text=str(refusal))
        return web.Response(status=status, content_type=content_type, text=text)

    return take


@asynccontextmanager
async def _looping(here: World | None) -> AsyncIterator[None]:
    task = None if here is None else asyncio.create_task(here.run_loops())
    try:
        yield
    finally:
        if task is not None:
            broke = task.done()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task  # a loop that broke raises here
            if broke:
                structlog.get_logger("world").error("a_loop_ended_by_itself")
