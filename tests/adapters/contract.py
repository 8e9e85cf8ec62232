"""What the contract suite needs to know of a rail, and one rail started over real sockets. See README.md."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import aiohttp

from adapters import registry
from adapters.base import (
    Mode,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailAdapter,
    RailEvent,
    RailEventKind,
    ReceivesWebhooks,
    Severity,
    SimulatorSettings,
)
from rates.money import Money
from tests.adapters.loopback import Inbox, address, inbox, listen, serving

PATIENCE_SECONDS: Final = 5.0
_numbers = itertools.count(time.time_ns())


@dataclass(frozen=True, slots=True)
class RailSetup:
    """One redirect rail, as ``RAIL`` of ``tests/adapters/rail_<name>.py`` says it."""

    rail: str
    """Folder below adapters/."""
    options: Mapping[str, Any]
    """Of the account; the simulator gets the same."""
    wrong_key: Mapping[str, Any]
    """Options whose API key the rail does not know."""
    other_secret: Mapping[str, Any]
    """Options whose webhook secret is another one."""
    empty_secrets: Sequence[Mapping[str, Any]]
    """Options that must be refused, because anybody could sign."""
    secrets: Sequence[str]
    """What must not stand in any error."""
    method: str
    amount: Money
    country: str
    pay: Callable[[RailUnderTest, PaymentStarted], Awaitable[None]]
    """The buyer pays on the page, if the page lets him."""
    decline: Callable[[RailUnderTest, PaymentStarted, Severity], Awaitable[None]]
    """The buyer tries and is refused, softly or hard."""
    dispute: Callable[[RailUnderTest, PaymentStarted], Awaitable[None]] | None = None
    """The buyer pays, and his bank disputes it."""
    unlisted_code: str = "brand_new_code"
    """For the switch ``decline``: a code that the vendor has not documented."""
    captures_by_poll: bool = True
    """False where only a webhook names the money."""
    finds_by_attempt_id: bool = True
    """False where the rail has no search by our reference."""
    saves_methods: bool = False
    pay_out: Callable[[RailUnderTest], Awaitable[dict[str, Any]]] | None = None
    """True where its page saves a method that is charged later (``ChargesSaved``)."""


@dataclass(slots=True)
class RailUnderTest:
    """A simulator on a socket, an adapter that talks to it, and the inbox that its webhooks go to."""

    setup: RailSetup
    http: aiohttp.ClientSession
    base: str
    box: Inbox
    adapter: RailAdapter
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def adapter_with(self, options: Mapping[str, Any] | None = None, base_url: str | None = None) -> RailAdapter:
        account = self.adapter.account
        changed = replace(account, options=options or account.options, base_url=base_url or account.base_url)
        make, _ = registry.load(self.setup.rail)
        return make(changed, self.http)

    @property
    def hooks(self) -> ReceivesWebhooks:
        assert isinstance(self.adapter, ReceivesWebhooks)
        return self.adapter

    async def control(self, **switches: object) -> None:
        async with self.http.post(f"{self.base}/_control", json=switches) as answer:
            assert answer.status == 200, await answer.text()

    def order(self, **changes: Any) -> PaymentOrder:
        order = PaymentOrder(
            attempt_id=f"att_{next(_numbers)}",
            method=self.setup.method,
            amount=self.setup.amount,
            country=self.setup.country,
            description="Top-up of 20.00 USD",
            return_url="http://127.0.0.1:9/pay/cs_1",
            expires_at=self.started_at + timedelta(hours=1),
        )
        return replace(order, **changes)

    def reference(self, order: PaymentOrder, started: PaymentStarted | None) -> PaymentReference:
        return PaymentReference(
            attempt_id=order.attempt_id,
            rail_reference=started.rail_reference if started else None,
            method=order.method,
            amount=order.amount,
            created_at=self.started_at,
        )

    def read_all(self, messages: Sequence[tuple[dict[str, str], bytes]]) -> list[RailEvent]:
        return [event for headers, body in messages for event in self.hooks.parse_webhook(headers, body)]

    async def told(self, kind: RailEventKind, count: int = 1) -> list[RailEvent]:
        """Wait until webhooks said ``kind`` so often; return all events of that kind."""
        seen = 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            messages = await self.box.wait_for(seen + 1)
            seen = len(messages)
            events = [event for event in self.read_all(messages) if event.kind is kind]
            if len(events) >= count:
                return events
        raise AssertionError(f"no webhook said {kind} {count} times")

    async def never_told(self, kind: RailEventKind) -> None:
        """Give webhooks a moment to arrive; none may say ``kind``."""
        await asyncio.sleep(0.2)
        assert kind not in {event.kind for event in self.read_all(self.box.received)}

    async def message_of(self, kind: RailEventKind) -> tuple[dict[str, str], bytes]:
        """Return the first webhook, as it came, that says ``kind``."""
        await self.told(kind)
        for headers, body in self.box.received:
            if kind in {event.kind for event in self.hooks.parse_webhook(headers, body)}:
                return headers, body
        raise AssertionError(f"no webhook says {kind}")


@asynccontextmanager
async def started_rail(setup: RailSetup) -> AsyncIterator[RailUnderTest]:
    """Serve simulator and inbox on free ports, and build the adapter for them."""
    make, simulator = registry.load(setup.rail)
    bound = listen()
    base = address(bound)
    async with inbox() as (url, box), aiohttp.ClientSession() as http:
        app = simulator(SimulatorSettings(options=setup.options, base_url=base, webhook_url=url))
        async with serving(app, bound):
            adapter = make(RailAccount(setup.rail, "main", Mode.TEST, setup.options, base), http)
            rail = RailUnderTest(setup, http, base, box, adapter)
            box.answer = rail.hooks.webhook_answer()
            yield rail


def setups() -> list[RailSetup]:
    """Find ``RAIL`` in every rail_*.py beside this file: a new rail is a new file."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("rail_*.py"))
    return [cast("RailSetup", importlib.import_module(f"tests.adapters.{name}").RAIL) for name in names]
