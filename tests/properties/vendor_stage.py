"""A whole Crossrail with its workers stopped, real simulators, and every webhook caught before it reaches us."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from aiohttp import web

from orchestrator.services import Services
from tests.support.world import World, world

CENT = 10_000_000


@dataclass(frozen=True, slots=True)
class Story:
    """What happens at the vendor."""

    rail: Literal["stripe", "adyen"]
    declined: bool
    """The buyer's first try is refused, on the same page."""
    spent: Literal["0", "5", "20"]
    refund: Literal["none", "part", "whole", "comes back"]
    """Asked by us."""
    dashboard: Literal["none", "part", "whole"]
    """Somebody refunds 3.00, or all that is left, in the vendor's dashboard."""
    dispute: Literal["none", "asked", "open", "won", "lost", "again", "unannounced", "capture fails"]
    """``again``: won, and then taken a second time (Adyen); at Stripe the same as lost.

    ``unannounced``: opened with the chargeback; ``capture fails``: the money never comes (both Adyen's).
    """

    @property
    def nanos_apart_max(self) -> int:
        """How far two ends may be apart in nano-dollars: partial refunds round in the order in which they are heard of.

        A refund gives back whole cents. Where it comes back after its dispute was lost, it depends on the order whether
        the rest of that cent is taken from the customer's credit or stands as debt.
        """
        return CENT if self.refund == "comes back" and self.dispute in {"lost", "again"} else 5


@dataclass(frozen=True, slots=True)
class End:
    """What is left: all that is counted in the buyer's money, and every status, is exact."""

    exact: dict[str, Any]
    nanos: dict[str, int]
    """Nano-dollars of credit and fees: several partial refunds round in the order in which they are heard of."""

    def differences(self, other: End, nanos_apart_max: int) -> list[str]:
        told = [
            f"{name}: {self.exact.get(name)} and {other.exact.get(name)}"
            for name in sorted(self.exact.keys() | other.exact.keys())
            if self.exact.get(name) != other.exact.get(name)
        ]
        for name in sorted(self.nanos.keys() | other.nanos.keys()):
            one, two = self.nanos.get(name, 0), other.nanos.get(name, 0)
            if abs(one - two) > nanos_apart_max:
                told.append(f"{name}: {one} and {two}")
        return told


@dataclass(slots=True)
class Post:
    """One webhook as the vendor signed it."""

    rail: str
    headers: dict[str, str]
    body: bytes

    @property
    def name(self) -> str:
        """What it is about: connections may overtake each other, and a seed must mean the same again."""
        said = orjson.loads(self.body)
        if self.rail == "stripe":
            return str(said["type"])
        return str(said["notificationItems"][0]["NotificationRequestItem"]["eventCode"])

    @property
    def may_be_lost(self) -> bool:
        """Whether asking the vendor makes up for it.

        Adyen has no call that names money, and neither vendor's refund of somebody else is asked about: those are
        delivered again by the vendor, for days.
        """
        if self.rail != "stripe":
            return False
        event = orjson.loads(self.body)
        return not event["type"].startswith("refund.") or "crossrail_refund" in event["data"]["object"]["metadata"]


class Stage:
    """A Crossrail without workers, and the letters that the vendors sent it. No dataclass: it must not print."""

    def __init__(self, here: World, posts: list[Post], arrived: Counter[str]) -> None:
        self.here, self.posts = here, posts
        self.arrived = arrived
        """By rail."""
        self.ends: dict[Story, End] = {}
        """What is left of each story when nothing goes wrong."""

    @property
    def services(self) -> Services:
        return self.here.services

    async def caught(self, rail: str) -> list[Post]:
        """Return what the vendor has sent since the last look, once all of it is here."""
        said: Any = {}
        for _ in range(400):
            said = await self.here.control(rail, "main", {})
            if said["webhooks"]["sent"] == self.arrived[rail]:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError(f"{rail} sent {said['webhooks']['sent']}, {self.arrived[rail]} came")
        mine, self.posts[:] = list(self.posts), []
        return mine


@asynccontextmanager
async def opened_stage(url: str, folder: Path, *, capture: str = "automatic") -> AsyncIterator[Stage]:
    """``capture``: whether Stripe's money is only reserved first."""
    posts: list[Post] = []
    arrived: Counter[str] = Counter()

    @web.middleware
    async def catch(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        if not request.path.startswith("/webhooks/"):
            return await handler(request)
        rail = request.path.split("/")[2]
        headers = {name.lower(): value for name, value in request.headers.items()}
        posts.append(Post(rail, headers, await request.read()))
        arrived[rail] += 1
        return web.Response(text="[accepted]")

    def catching(app: web.Application, _services: Services) -> None:
        app.middlewares.append(catch)

    overrides = {"rails": {"stripe": {"accounts": {"main": {"capture": capture}}}}}
    async with world(url, folder, overrides=overrides, setups=[catching], loops=False) as here:
        yield Stage(here, posts, arrived)
