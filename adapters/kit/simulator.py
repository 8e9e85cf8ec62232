"""Small pieces for simulators: fault switches that a test or a person turns over HTTP, and a sender of webhooks.

Each vendor's simulator only shapes and signs bodies. Nothing here knows an adapter.

    switches = Switches()
    sender = WebhookSender(settings.webhook_url, switches)
    add_control(app, switches, sender)                      # GET and POST {base}/_control
    app.router.add_post("/v1/things", api(switches, handler, refuse))
    sender.send("thing.paid", lambda: (body, headers))      # built anew for each attempt: signatures carry the time
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

import aiohttp
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refuse = Callable[[int], web.StreamResponse]
"""Builds the vendor's own answer for status 409 (a key in use), 429, 500 or 503; it may choose another status for 409."""
BuildMessage = Callable[[], tuple[bytes, Mapping[str, str]]]
"""Returns body and headers of one delivery attempt."""
Accepted = Callable[[int, str], bool]
"""Says by status and body whether the receiver took the message."""

RETRY_AFTER_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, *(15.0,) * 40)
"""Vendors retry for days; here the same shape runs in seconds, for ten minutes."""
REORDER_WINDOW_SECONDS: Final = 0.3
DELIVERY_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
DELIVERIES_AT_ONCE_MAX: Final = 16
RECORDS_MAX: Final = 1000
DELAY_MS_MAX: Final = 120_000
HANG_LOOK_SECONDS: Final = 0.05
HANG_LOOKS_MAX: Final = 1_800
"""90 seconds: longer than any caller waits."""


class UnknownSwitch(ValueError):
    """There is no such switch, or its value has the wrong type: the text names what there is."""


@dataclass(slots=True)
class Switches:
    """Faults of one simulator. Counters count down as they act; the others stay until they are changed.

    A simulator with further switches subclasses this (again as a dataclass) and adds fields of type str, int or bool.
    """

    decline: str = ""
    """The vendor's own decline code: every try of a buyer to pay is refused with it."""
    delay_ms: int = 0
    """Every API answer waits this long, before acting."""
    drop_answer: int = 0
    """So many API calls act, and then the connection is cut without an answer."""
    down: int = 0
    """So many API calls answer 503 and do not act (a caller cannot know that)."""
    rate_limited: int = 0
    """So many API calls answer 429 and do not act: the vendor's clear "not taken"."""
    broken: int = 0
    """So many API calls act, and then answer 500."""
    conflict: int = 0
    """So many API calls act, and then say that another request with this key is still running."""
    hang: int = 0
    """So many API calls act, and then the answer never comes."""
    faults_on: str = ""
    """Calls that the counters above wait for: "read" (GET), "write" (all others), or any."""
    retry_after_s: int = 0
    """What a 429 asks for in its Retry-After header; 0 = it does not say."""
    duplicate_webhooks: int = 0
    """Every webhook is delivered so many times more."""
    reorder_webhooks: bool = False
    """Webhooks that come within REORDER_WINDOW_SECONDS are delivered last first."""
    hold_webhooks: bool = False
    """Webhooks wait until this is false again."""
    wrong_amount: int = 0
    """Added to every amount that the vendor says it took, in its smallest units; may be negative."""

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Set several switches, or none of them. Raises UnknownSwitch."""
        known = {f.name: type(getattr(self, f.name)) for f in fields(self)}
        for name, value in wanted.items():
            if name not in known:
                raise UnknownSwitch(f"there is no switch {name!r}; there are: {', '.join(known)}")
            if type(value) is not known[name]:
                raise UnknownSwitch(f"{name} takes {known[name].__name__}, not {type(value).__name__}")
            if known[name] is int and name != "wrong_amount" and not 0 <= value <= DELAY_MS_MAX:
                raise UnknownSwitch(f"{name} takes a number from 0 to {DELAY_MS_MAX}")
        for name, value in wanted.items():
            setattr(self, name, value)

    def take(self, counter: str) -> bool:
        """Use up one of a counter's times; False when none is left."""
        left: int = getattr(self, counter)
        if left <= 0:
            return False
        setattr(self, counter, left - 1)
        return True


def api(switches: Switches, handler: Handler, refuse: Refuse) -> Handler:
    """Wrap a handler of the vendor's API in the faults: delay, down, rate_limited, broken, conflict, hang, drop_answer."""

    async def faulty(request: web.Request) -> web.StreamResponse:
        if switches.delay_ms:
            await asyncio.sleep(switches.delay_ms / 1000)
        kind = "read" if request.method == "GET" else "write"
        if switches.faults_on not in {"", kind}:
            return await handler(request)
        if switches.take("down"):
            return refuse(503)
        if switches.take("rate_limited"):
            answer = refuse(429)
            if switches.retry_after_s:
                answer.headers["Retry-After"] = str(switches.retry_after_s)
            return answer
        return await _acted(switches, request, await handler(request), refuse)

    return faulty


async def _acted(
    switches: Switches, request: web.Request, answer: web.StreamResponse, refuse: Refuse
) -> web.StreamResponse:
    """Lose or spoil the answer of a call that has acted."""
    if switches.take("broken"):
        return refuse(500)
    if switches.take("conflict"):
        return refuse(409)
    if switches.take("hang"):
        await _until_the_caller_goes(request)
    elif switches.take("drop_answer") and request.transport is not None:
        request.transport.abort()
    return answer


async def _until_the_caller_goes(request: web.Request) -> None:
    for _ in range(HANG_LOOKS_MAX):
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(HANG_LOOK_SECONDS)


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One try to deliver one webhook, and what came back."""

    name: str
    delivery: int
    """Counts the messages; a duplicate has a number of its own."""
    attempt: int
    status: int | None
    answer: str
    """The receiver's body (its beginning), or what went wrong."""
    accepted: bool


def status_is_2xx(status: int, _body: str) -> bool:
    return 200 <= status < 300


@dataclass(frozen=True, slots=True)
class _Delivery:
    number: int
    name: str
    build: BuildMessage


@dataclass(slots=True)
class WebhookSender:
    """Delivers webhooks in the background, retries the refused ones, and keeps a record of every attempt."""

    url: str | None
    """Where the receiver listens; None = nothing is sent, only counted."""
    switches: Switches
    accepted: Accepted = status_is_2xx
    retry_after_seconds: Sequence[float] = RETRY_AFTER_SECONDS
    attempts: deque[DeliveryAttempt] = field(default_factory=lambda: deque(maxlen=RECORDS_MAX))
    waiting: list[_Delivery] = field(default_factory=list)
    sent: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DELIVERIES_AT_ONCE_MAX))

    def send(self, name: str, build: BuildMessage) -> None:
        """Queue one webhook; returns at once."""
        for _ in range(1 + self.switches.duplicate_webhooks):
            self.sent += 1
            if self.url is not None:
                self.waiting.append(_Delivery(self.sent, name, build))
        self.wake()

    def wake(self) -> None:
        """Look at the queue and the switches again."""
        self._wake.set()

    async def background(self, _app: web.Application) -> AsyncIterator[None]:
        """Run as a cleanup context of the simulator's application."""
        task = asyncio.create_task(self._run(), name="webhook sender")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=DELIVERY_TIMEOUT) as http, asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self.switches.reorder_webhooks and self.waiting:
                    await asyncio.sleep(REORDER_WINDOW_SECONDS)
                if self.switches.hold_webhooks or self.url is None:
                    continue
                batch, self.waiting[:] = list(self.waiting), []
                if self.switches.reorder_webhooks:
                    for delivery in reversed(batch):
                        await self._try(http, self.url, delivery, attempt=1, tasks=tasks)
                else:
                    for delivery in batch:
                        tasks.create_task(self._try(http, self.url, delivery, attempt=1, tasks=tasks))

    async def _try(
        self, http: aiohttp.ClientSession, url: str, delivery: _Delivery, attempt: int, tasks: asyncio.TaskGroup
    ) -> None:
        body, headers = delivery.build()
        status: int | None = None
        try:
            async with self._slots, http.post(url, data=body, headers=headers) as response:
                status, answer = response.status, (await response.text())[:200]
        except (aiohttp.ClientError, TimeoutError) as error:
            answer = f"{type(error).__name__}: {error}"
        accepted = status is not None and self.accepted(status, answer)
        self.attempts.append(DeliveryAttempt(delivery.name, delivery.number, attempt, status, answer, accepted))
        if not accepted and attempt <= len(self.retry_after_seconds):
            tasks.create_task(self._retry(http, url, delivery, attempt + 1, tasks))

    async def _retry(
        self, http: aiohttp.ClientSession, url: str, delivery: _Delivery, attempt: int, tasks: asyncio.TaskGroup
    ) -> None:
        await asyncio.sleep(self.retry_after_seconds[attempt - 2])
        await self._try(http, url, delivery, attempt, tasks)


def add_control(app: web.Application, switches: Switches, sender: WebhookSender | None) -> None:
    """Add ``GET`` and ``POST {base}/_control`` and, where the vendor sends webhooks, run their sender."""

    def state() -> web.Response:
        shown: dict[str, Any] = {"switches": asdict(switches)}
        if sender is not None:
            shown["webhooks"] = {
                "url": sender.url,
                "queued": len(sender.waiting),
                "sent": sender.sent,
                "attempts": [asdict(attempt) for attempt in sender.attempts],
            }
        return web.json_response(shown)

    async def show(_request: web.Request) -> web.Response:
        return state()

    async def change(request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            if not isinstance(wanted, dict):
                raise UnknownSwitch("the body is a JSON object of switches")
            switches.change(wanted)
        except ValueError as error:  # broken JSON, or UnknownSwitch
            return web.json_response({"error": str(error)}, status=400)
        if sender is not None:
            sender.wake()
        return state()

    app.router.add_get("/_control", show)
    app.router.add_post("/_control", change)
    if sender is not None:
        app.cleanup_ctx.append(sender.background)
