"""The API over a real socket and a real database, with a few endpoints of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import aiohttp
import orjson
from aiohttp import web
from pydantic import Field
from sqlalchemy import select

from orchestrator.access import Access
from orchestrator.api.app import RESOURCES, build_app
from orchestrator.api.endpoint import Answer, ApiServices, Auth, Context, Endpoint
from orchestrator.api.fields import Body, Expandable, MoneyBody
from orchestrator.api.system import Check
from orchestrator.clock import SystemClock, from_us
from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer, backend_for

ADMIN_TOKEN = "admin-token-of-tests"
CALL_TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass
class SetClock:
    """The real time and what was put on top of it."""

    ahead_us: int = 0
    _real: SystemClock = field(default_factory=SystemClock)

    def now_us(self) -> int:
        return self._real.now_us() + self.ahead_us

    def now(self) -> datetime:
        return from_us(self.now_us())


@dataclass(frozen=True)
class TestSecrets:
    __test__ = False
    server: bytes = b"a server secret of tests"
    admin_token: str = ADMIN_TOKEN


@dataclass
class TestServices:
    __test__ = False
    writer: Writer
    reads: Reads
    clock: SetClock
    access: Access
    secrets: TestSecrets = field(default_factory=TestSecrets)
    monotonic_ahead_s: float = 0.0


# --- endpoints of the tests -------------------------------------------------------------------------------------------


class CreateBox(Body):
    name: str = Field(max_length=50)
    price: MoneyBody | None = None
    tags: list[Annotated[str, Field(max_length=10)]] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)


class BoxQuery(Expandable):
    count: int = Field(default=1, ge=0)


@dataclass
class Workshop:
    """Makes boxes (they are merchants in the database), as slowly and as badly as a test wants."""

    delay_s: float = 0.0
    fail: list[BaseException] = field(default_factory=list)
    """Raised one after the other, before the effect."""
    fail_after: list[BaseException] = field(default_factory=list)
    """Raised after the effect."""
    called: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    effects: int = 0

    async def create_box(self, context: Context[ApiServices], body: CreateBox) -> Answer:
        self.calls += 1
        self.called.set()
        if body.price is not None:
            body.price.money(pointer="/price")
        await asyncio.sleep(self.delay_s)
        if self.fail:
            raise self.fail.pop(0)
        id_ = context.resource_id

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if view.one("merchant", id_) is None:
                changes.insert("merchant", id=id_, name=body.name, created_us=view.now_us)
                return {"made": 1}
            return {"made": 0}

        unit = Unit(context.merchant_id, context.mode, None, (row_lock("merchant", id_),), decide)
        self.effects += (await context.services.writer.submit(unit)).answer["made"]
        if self.fail_after:
            raise self.fail_after.pop(0)
        return Answer({"id": id_, "name": body.name, "mode": context.mode})

    async def rename_box(self, context: Context[ApiServices], body: CreateBox) -> Answer:
        return Answer({"id": context.path["id"], "name": body.name})

    async def close_box(self, context: Context[ApiServices]) -> Answer:
        return Answer({"id": context.path["id"]})

    async def look(self, context: Context[ApiServices], query: BoxQuery) -> Answer:
        expanded = sorted(query.expansions({"owner", "price"}))
        return Answer({"count": query.count, "expanded": expanded, "merchant": context.merchant_id})

    async def open_page(self, context: Context[ApiServices]) -> Answer:
        return Answer({"merchant": context.merchant_id, "mode": context.mode, "by": context.caller.key_id})

    async def take_raw(self, context: Context[ApiServices]) -> Answer:
        return Answer({"bytes": len(context.raw)})

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("POST", "/v1/boxes", self.create_box, summary="Box", tag="T", body=CreateBox, creates="box",
                     status=201, answer=dict[str, Any]),
            Endpoint("POST", "/v1/boxes/{id}/rename", self.rename_box, summary="Name", tag="T", body=CreateBox,
                     answer=dict[str, Any]),
            Endpoint("POST", "/v1/boxes/{id}/close", self.close_box, summary="Close", tag="T", answer=dict[str, Any]),
            Endpoint("GET", "/v1/boxes", self.look, summary="Look", tag="T", query=BoxQuery, answer=dict[str, Any]),
            Endpoint("GET", "/v1/checkout/sessions/{id}/page", self.open_page, summary="Page", tag="T",
                     auth=Auth.SESSION, answer=dict[str, Any]),
            Endpoint("POST", "/v1/raw", self.take_raw, summary="Raw", tag="T", raw=True, accepts="*/*",
                     body_bytes_max=200_000, auth=Auth.PUBLIC, answer=dict[str, Any]),
        )  # fmt: skip


# --- the house --------------------------------------------------------------------------------------------------------


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)


@dataclass
class House:
    base: str
    services: TestServices
    workshop: Workshop
    http: aiohttp.ClientSession
    key: str = ""
    merchant: str = ""

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:  # fmt: skip
        """Send a request; ``key=""`` sends none."""
        sent = {"Content-Type": "application/json"} if body is not None or raw is not None else {}
        token = self.key if key is None else key
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else (None if body is None else orjson.dumps(body))
        async with self.http.request(
            method, self.base + path, data=data, headers={**sent, **(headers or {})}, allow_redirects=False
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def post(self, path: str, body: Any, idempotency_key: str | None = None, **more: Any) -> Reply:
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return await self.call("POST", path, body, headers=headers, **more)

    async def rows(self, table: str) -> list[Row]:
        found = METADATA.tables[table]
        return await self.services.reads.all(select(found).order_by(*found.primary_key.columns))

    async def new_key(self, mode: str = "test", *scopes: str) -> str:
        new = await self.services.access.create_key(self.merchant, mode, scopes or ("read", "write"))
        assert new.secret is not None
        return new.secret


@asynccontextmanager
async def opened(
    url: str,
    *,
    extra: Callable[[web.Application], None] | None = None,
    checks: Mapping[str, Check] | None = None,
) -> AsyncIterator[House]:
    clock = SetClock()
    writer, reads = Writer(backend_for(url), clock), Reads(url)
    workshop = Workshop()

    def monotonic_s() -> float:
        return asyncio.get_running_loop().time() + services.monotonic_ahead_s

    services = TestServices(writer, reads, clock, Access(writer, reads, monotonic_s=monotonic_s))
    await writer.open()
    app = build_app(services, checks, (*RESOURCES, workshop.endpoints()))
    if extra is not None:
        extra(app)
    runner = web.AppRunner(app, shutdown_timeout=1, access_log=None, lingering_time=0.3)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(timeout=CALL_TIMEOUT) as http:
            house = House(f"http://127.0.0.1:{runner.addresses[0][1]}", services, workshop, http)
            house.merchant = (await services.access.create_merchant("Acme"))["id"]
            house.key = await house.new_key()
            yield house
    finally:
        await runner.cleanup()
        await writer.close()
        await reads.close()
