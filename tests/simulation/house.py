"""A whole Crossrail whose rails are two banks and a chain of the simulation: it can die and be opened again.

Everything is the service's own, put together by ``bootstrap`` from a configuration; only the registry of rails, the clock and
the source of ids are the simulation's, so that a seed is a story.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from sqlalchemy import select

from adapters import registry
from adapters.base import FinalityRule, FinalityTier, Mode, PaymentOrder, PaymentStarted, RailAccount
from orchestrator import ids
from orchestrator.bootstrap import opened
from orchestrator.config_source import check
from orchestrator.database.tables import Attempt, table_of
from orchestrator.database.unit import Row
from orchestrator.events.delivery import DeliveryPolicy
from orchestrator.events.endpoints import create_endpoint
from orchestrator.events.targets import TargetPolicy
from orchestrator.payments import outcome
from orchestrator.payments.refund_watch import RefundWatch
from orchestrator.services import Services
from orchestrator.settings import Settings, load
from orchestrator.workers.chain_watch import ChainWatch
from orchestrator.workers.delivery import DeliveryWorker
from rates.money import WALLET_USD, Money
from tests.integration.payments.chain_scene import METHOD as TOKEN
from tests.integration.payments.chain_scene import ScriptedChain
from tests.integration.payments.scene import SetClock
from tests.simulation.bank import SECRET, Bank, NamingBank
from tests.simulation.faults import Died, Faults, Fuse, mortal
from tests.simulation.listeners import HOST, Listener, Wire
from tests.simulation.rates import RateDesk
from tests.support.world import CONFIG

MERCHANT, MODE = "mer_1", "test"
COUNTRIES = ("BR", "DE", "NL")
CALLS = (
    (Bank, "create_payment"), (Bank, "fetch_status"), (Bank, "cancel_payment"), (Bank, "refund_payment"),
    (Bank, "fetch_refund"), (Bank, "list_disputes"), (Bank, "settlement_page"), (ScriptedChain, "scan_block"),
    (Wire, "send"),
)  # fmt: skip
"""Where our process meets the world."""


def configured(database: str, folder: Path) -> tuple[Settings, Any]:
    """The shipped configuration with the simulation's rails, rates and rules in the place of its own."""
    _, document = load(CONFIG, {"CROSSRAIL_DATABASE": database, "CROSSRAIL_STATE": str(folder)})
    fees = {"rail_bps": 119, "rail_fixed_usd": "0.13"}
    account = {"mode": "test", "simulated": True, "options": {}}
    pegged = {"USD-USDT": {"rate": "1", "as_of": "2026-11-20", "reason": "for the simulation"}}
    data = {
        **document.data,
        "service": {**document.data["service"], "secret": "a secret of tests, long enough to sign"},
        "admin": {"token": "t" * 20, "operator_password": "p" * 20},
        "rails": {
            "alpha": {"accounts": {"main": {**account, "fees": {"card": fees}}}},
            "beta": {"accounts": {"main": {**account, "fees": {"card": fees}}}},
            "evm": {"accounts": {"scripted": {**account, "fees": {TOKEN: {"network_fixed_usd": "0.10"}}}}},
        },
        "rates": {"sources": {"fixed": {"rates": pegged}}},  # checked, and replaced by the simulation's
        "routing": {
            "regions": {},
            "live_countries": list(COUNTRIES),
            "defaults": {
                "offers": [
                    {"method": "card", "rail": "alpha", "on_decline": {"soft": "next", "hard": "stop"}},
                    {"method": "card", "rail": "beta", "on_decline": {"soft": "next", "hard": "stop"}},
                    TOKEN,
                ]
            },
            "rules": [],
            "pricing": [{"corridor": "USD-*", "spread_bps": 100}],
            "costs": [],
        },
    }  # fmt: skip
    document = replace(document, data=data)
    return check(Settings, document), document


@contextmanager
def seeded_ids(clock: SetClock, seed: int) -> Iterator[None]:
    """Let ids be as time-ordered as ever, and the same for the same seed."""
    random, number = Random(f"ids {seed}"), iter(range(1 << 40))  # noqa: S311  # a seed is a story

    def uuid7() -> uuid.UUID:
        # 48 bits of milliseconds, version 7, a counter that keeps ids of one moment in order, the rest random
        count = next(number)
        value = (clock.now_us() // 1000) << 80 | 0x7 << 76 | (count & 0xFFF) << 64 | 0x2 << 62
        return uuid.UUID(int=value | (count >> 12 & 0xFFFF) << 46 | random.getrandbits(46))

    real = getattr(ids, "uuid7")  # noqa: B009  # ids does not hand it on
    try:
        setattr(ids, "uuid7", uuid7)  # noqa: B010  # as above
        yield
    finally:
        setattr(ids, "uuid7", real)  # noqa: B010  # as above


@contextmanager
def no_waiting() -> Iterator[None]:
    """Let tries follow each other at once: nothing here takes time but the clock that is moved by hand."""
    retrying = getattr(outcome.RailCalls._create, "retry")  # noqa: B009  # tenacity hangs it there

    async def at_once(_seconds: float) -> None:
        return None

    real = retrying.sleep
    try:
        retrying.sleep = at_once
        yield
    finally:
        retrying.sleep = real


@dataclass
class House:
    """The world (banks, chain, clock), and the one process of ours that may be dead."""

    database: str
    folder: Path
    clock: SetClock
    faults: Faults
    fuse: Fuse = field(default_factory=Fuse)
    lives: int = 0
    rules_broken: list[str] = field(default_factory=list)
    """What the world saw us do and must never see."""
    banks: dict[str, Bank] = field(default_factory=dict)
    chain: ScriptedChain = field(init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _configured: tuple[Settings, Any] | None = None
    _services: Services | None = None
    _watch: ChainWatch | None = None
    shown_addresses: set[bytes] = field(default_factory=set)
    rates: RateDesk = field(init=False)
    listeners: dict[str, Listener] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chain = ScriptedChain(clock=self.clock)
        self.rates = RateDesk(self.clock, self.faults)
        self.listeners = {name: Listener(name, ordered=name == "in-order") for name in ("any-order", "in-order")}
        usd = Money(30 * 10**9, WALLET_USD)
        tiers = (FinalityTier(usd, 1),)
        most = Money(10**12, WALLET_USD)
        self.chain.finality = FinalityRule(3, tiers=tiers, customer_max=most, chain_max=most, merchant_unsecured=most)
        for name, kind in (("alpha", Bank), ("beta", NamingBank)):
            account = RailAccount(name, "main", Mode.TEST, {})
            self.banks[name] = kind(account, self.clock, self.faults, self._one_attempt_at_a_time)

    @property
    def services(self) -> Services:
        assert self._services is not None, "the process is not running"
        return self._services

    @property
    def watch(self) -> ChainWatch:
        assert self._watch is not None, "the process is not running"
        return self._watch

    async def begin(self) -> None:
        """Start the process over the database as it is."""
        self.fuse.mend()
        if self._configured is None:
            self._configured = configured(self.database, self.folder)
        settings, document = self._configured
        self._stack = AsyncExitStack()
        self._services = await self._stack.enter_async_context(
            opened(settings, document, sandbox_url="http://127.0.0.1:9", clock=self.clock)
        )
        services = self._services
        # A lease of nothing: whoever comes next takes the chain over at once, as after a crash and a pause.
        self._watch = ChainWatch(self.chain, self.chain, services.deposits, services.reads, services.health, 0.0)
        self.lives += 1

    async def end(self) -> None:
        """End the process; what it had in memory is gone."""
        self.fuse.mend()
        self._services = self._watch = None
        await self._stack.aclose()

    def workers(self) -> Mapping[str, Callable[[], Any]]:
        """Every loop of the service that touches money, one round of each."""
        services = self.services
        return {
            "inbox": services.inbox.run_once, "settlement": services.watch.run_once, "chain": self.watch.run_once,
            "refunds": RefundWatch(services.refunds).run_once, "disputes": services.disputes.run_once,
            "dispute lists": services.disputes.poll, "expiry": services.expiry.run_once,
            "reconciliation": services.reconciliation.run_once, "earnings": services.earnings.run_once,
            "credit expiry": services.credit_expiry.expire_due, "holds": services.holds.expire_due,
            "rates": self._ask_for_rates, "delivery": self.deliver_events,
        }  # fmt: skip

    async def _ask_for_rates(self) -> int:
        statuses = await self.services.pricer.market.refresh(self.clock.now())
        return sum(status.error is None for status in statuses)

    async def deliver_events(self) -> int:
        """One round of the service's worker, with our wire in the place of its sender; return how many were tried."""
        services = self.services
        policy, targets = DeliveryPolicy(jitter_permille=0), TargetPolicy(allow_private=True)
        worker = DeliveryWorker(services.writer, services.reads, self.clock, policy=policy, targets=targets)
        await worker._fan_out()
        jobs = await worker._record_and_claim()
        wire: Any = Wire(self.clock, self.faults, self.listeners)
        for job, event in jobs:
            await worker._deliver(wire, job, event)
        ended = worker._ended()
        worker._recorded(ended, await worker._submit(worker._records(ended)))
        return len(jobs)

    async def _open_endpoints(self) -> None:
        """The merchant wants to hear of everything, at two places."""
        for name, listener in self.listeners.items():
            unit = create_endpoint(merchant_id=MERCHANT, mode=MODE, url=HOST + name, event_types=["*"], from_start=True,
                                   ordered=listener.ordered)  # fmt: skip
            listener.secret = (await self.services.writer.submit(unit)).answer["secret"]

    async def deliver(self, bank: Bank, body: bytes, *, signature: str = SECRET) -> bool:
        """Hand a webhook to the inbox; say whether it was taken."""
        status, _, _ = await self.services.inbox.take(bank.name, "main", {"signature": signature}, body)
        return status == 200

    async def rows(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        return await self.services.reads.all(query.order_by(*table.primary_key.columns))

    async def _one_attempt_at_a_time(self, attempt_id: str) -> None:
        """No attempt begins at a rail while another of the same payment may still bring money there (money rule 8)."""
        (attempt,) = await self.rows(Attempt, id=attempt_id)
        for other in await self.rows(Attempt, payment_id=attempt["payment_id"]):
            bank = self.banks.get(other["rail"])
            if other["id"] == attempt_id or bank is None:
                continue
            page = bank.pages.get(other["id"])
            if other["status"] in {"sent", "outcome_unknown"}:
                self.rules_broken.append(f"{attempt_id} was sent while {other['id']} was {other['status']}")
            if page is not None and page.status == "open":
                self.rules_broken.append(f"{attempt_id} was sent while {other['id']} could be paid at {bank.name}")


def _the_dead_are_silent(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task of a process that died ends by it, and nobody is left to ask how."""
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)


@asynccontextmanager
async def house(database: str, folder: Path, seed: int, *, steady_rates: bool = False) -> AsyncIterator[House]:
    clock, fuse = SetClock(), Fuse()
    built = House(database, folder, clock, Faults(seed), fuse)
    built.rates.steady = steady_rates

    def load_rail(rail: str) -> Any:
        def adapter(account: RailAccount, _http: aiohttp.ClientSession) -> Any:
            found: Any = built.banks.get(rail, built.chain)
            found.account = account
            return found

        return adapter, None

    real = registry.load
    with seeded_ids(clock, seed), no_waiting(), mortal(fuse, CALLS):
        asyncio.get_running_loop().set_exception_handler(_the_dead_are_silent)
        setattr(registry, "load", load_rail)  # noqa: B010  # mypy refuses another type
        market = Settings.market
        setattr(Settings, "market", lambda _settings: built.rates.market())  # noqa: B010  # as above
        try:
            await built.begin()
            await built._open_endpoints()
            yield built
        finally:
            registry.load = real
            setattr(Settings, "market", market)  # noqa: B010  # as above
            await built.end()


__all__ = ["MERCHANT", "MODE", "TOKEN", "House", "PaymentOrder", "PaymentStarted", "house"]
