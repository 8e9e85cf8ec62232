"""A merchant's side and ours: a receiver on loopback, events in the outbox, a delivery worker that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from sqlalchemy import select

from orchestrator.clock import SystemClock
from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer, backend_for
from orchestrator.events.catalog import EventType, emit
from orchestrator.events.delivery import DeliveryPolicy
from orchestrator.events.endpoints import create_endpoint
from orchestrator.events.targets import TargetPolicy
from orchestrator.workers.delivery import DeliveryWorker

MERCHANT = "mer_1"
SANDBOX = TargetPolicy(allow_private=True)
QUICK = DeliveryPolicy(per_endpoint=8, time_scale=0.01, timeout_s=0.4, lease_s=1.5, poll_s=0.05, stop_grace_s=0.2)
"""The first retry after 50 ms, the second after 3 s."""


@dataclass
class Received:
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed


@dataclass
class Receiver:
    """Answers 200, or what was put under a path's name in ``answers`` (used up from the front; "hang" never answers)."""

    base: str = ""
    got: list[Received] = field(default_factory=list)
    answers: dict[str, list[int | str]] = field(default_factory=dict)
    always: dict[str, int | str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _grew: asyncio.Condition = field(default_factory=asyncio.Condition)

    def url(self, path: str) -> str:
        return f"{self.base}/{path}"

    def at(self, path: str) -> list[Received]:
        return [one for one in self.got if one.path == path]

    async def until(self, true: Callable[[], bool], timeout_s: float = 10) -> None:
        async with asyncio.timeout(timeout_s), self._grew:
            await self._grew.wait_for(true)

    async def until_count(self, path: str, count: int, timeout_s: float = 10) -> list[Received]:
        await self.until(lambda: len(self.at(path)) >= count, timeout_s)
        return self.at(path)

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/")
        received = Received(path, dict(request.headers), await request.read(), asyncio.get_running_loop().time())
        async with self._grew:
            self.got.append(received)
            self._grew.notify_all()
        script = self.answers.get(path)
        answer = script.pop(0) if script else self.always.get(path, 200)
        if answer == "hang":
            await self._closing.wait()
            return web.Response(status=500)
        if answer == 307:
            return web.Response(status=307, headers={"Location": self.url("elsewhere")})
        return web.Response(status=int(answer), headers=self.headers, text=f"said {answer}")


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/{path}", receiver._handle)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        receiver._closing.set()
        await runner.cleanup()


@dataclass
class House:
    url: str
    writer: Writer
    reads: Reads

    async def endpoint(self, url: str, *types: str, **more: Any) -> dict[str, Any]:
        unit = create_endpoint(merchant_id=MERCHANT, mode="test", url=url, event_types=types or ("*",), **more)
        return dict((await self.writer.submit(unit)).answer)

    async def happen(self, count: int = 1, type_: EventType = EventType.WALLET_CREDITED) -> None:
        """Commit events, one unit each, as payments do."""

        def unit(number: int) -> Unit:
            def decide(_: View, changes: Changes) -> Mapping[str, Any]:
                emit(changes, type_, f"wal_{number}", {"amount": "20.000000001", "number": number})
                return {}

            return Unit(MERCHANT, "test", None, (), decide)

        await asyncio.gather(*(self.writer.submit(unit(number)) for number in range(count)))

    async def rows(self, table: str) -> list[Row]:
        found = METADATA.tables[table]
        return await self.reads.all(select(found).order_by(*found.primary_key.columns))

    async def until_no_delivery_waits(self, timeout_s: float = 10) -> list[Row]:
        async with asyncio.timeout(timeout_s):
            while True:
                rows = await self.rows("delivery")
                if rows and all(row["status"] != "waiting" for row in rows):
                    return rows
                await asyncio.sleep(0.03)

    @asynccontextmanager
    async def delivering(
        self, policy: DeliveryPolicy = QUICK, targets: TargetPolicy = SANDBOX
    ) -> AsyncIterator[DeliveryWorker]:
        worker = DeliveryWorker(self.writer, self.reads, SystemClock(), policy=policy, targets=targets)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(stop))
            try:
                yield worker
            finally:
                stop.set()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[House]:
    writer, reads = Writer(backend_for(url), SystemClock()), Reads(url)
    await writer.open()
    try:
        yield House(url, writer, reads)
    finally:
        await writer.close()
        await reads.close()


def sequences(received: Sequence[Received]) -> list[int]:
    return [one.event["sequence"] for one in received]
