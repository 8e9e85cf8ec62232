"""A hot request is done by the process that owns its merchant, wherever it arrives; and once, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from sqlalchemy import func, select

from orchestrator.api.forward import FORWARDED
from orchestrator.database.ownership import Ownership
from orchestrator.database.tables import UsageEvent, table_of
from orchestrator.ids import new_id
from tests.faults.owner_process import OwnerServices, seeded, serving
from tests.integration.database.test_ownership import expire
from tests.support.ports import free_port

TIMEOUT = aiohttp.ClientTimeout(total=20)


@dataclass
class Side:
    """One of the two processes."""

    port: int
    services: OwnerServices
    ownership: Ownership
    commits: int = 0

    def count(self) -> None:
        self.commits += 1


@dataclass
class Pair:
    url: str
    owner: Side
    other: Side
    key: str
    wallet: str
    http: aiohttp.ClientSession

    async def use(self, side: Side, event_id: str, **headers: str) -> Any:
        event = {"id": event_id, "wallet": self.wallet, "amount": "0.01"}
        async with self.http.post(
            f"http://127.0.0.1:{side.port}/v1/usage",
            json={"events": [event]},
            headers={"Authorization": f"Bearer {self.key}", **headers},
        ) as response:
            assert response.status == 200, await response.read()
            assert response.headers.getall("Content-Type") == ["application/json"]
            return (await response.json())["results"][0]["status"]

    async def hold(self, side: Side, key: str) -> tuple[int, Any, str | None]:
        async with self.http.post(
            f"http://127.0.0.1:{side.port}/v1/holds",
            json={"wallet": self.wallet, "amount": {"amount": "1.00", "currency": "USD"}},
            headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": key},
        ) as response:
            return response.status, await response.json(), response.headers.get("Idempotent-Replayed")

    async def events(self) -> int:
        row = await self.owner.services.reads.one(select(func.count().label("n")).select_from(table_of(UsageEvent)))
        assert row is not None
        return int(row["n"])


@pytest.fixture
async def pair(postgres_url: str) -> AsyncIterator[Pair]:
    merchant, key, wallet = await seeded(postgres_url)
    async with AsyncExitStack() as stack:
        sides = []
        for _ in range(2):
            port = free_port()
            services, ownership = await stack.enter_async_context(serving(postgres_url, port, 30.0))
            sides.append(Side(port, services, ownership))
            services.writer.after_commit.append(sides[-1].count)
        for side in (*sides, *sides):
            await side.ownership.look()
        sides.sort(key=lambda side: side.ownership.claim(merchant) is None)
        assert sides[1].ownership.elsewhere(merchant) == f"http://127.0.0.1:{sides[0].port}"
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=TIMEOUT))
        yield Pair(postgres_url, sides[0], sides[1], key, wallet, http)


async def test_a_request_that_comes_to_another_process_is_done_by_the_owner(pair: Pair) -> None:
    assert await pair.use(pair.other, "evu_a") == "accepted"
    assert await pair.use(pair.owner, "evu_a") == "duplicate"
    assert (pair.owner.commits, pair.other.commits) == (2, 0)


async def test_an_idempotency_key_goes_with_it(pair: Pair) -> None:
    first, second, third = [await pair.hold(side, "k") for side in (pair.other, pair.owner, pair.other)]
    assert first[0] == second[0] == third[0] == 201
    assert first[1] == second[1] == third[1]
    assert (first[2], second[2], third[2]) == (None, "true", "true")
    assert pair.other.commits == 0


async def test_a_request_is_forwarded_once_and_then_done_where_it_is(pair: Pair) -> None:
    assert await pair.use(pair.other, "evu_a", **{FORWARDED: "1"}) == "accepted"
    assert await pair.use(pair.owner, "evu_a") == "duplicate"
    assert pair.other.commits == 1


async def test_an_owner_that_cannot_be_reached_is_done_without(pair: Pair) -> None:
    pair.other.ownership._others = {
        group: (f"http://127.0.0.1:{free_port()}", until) for group, (_, until) in pair.other.ownership._others.items()
    }
    assert await pair.use(pair.other, "evu_a") == "accepted"
    assert await pair.use(pair.owner, "evu_a") == "duplicate"
    assert pair.other.commits == 1


async def test_an_owner_that_slept_sends_what_it_has_on_to_the_new_one(pair: Pair) -> None:
    """The claim is found to be over inside the flush, before anything is written; the request goes to the new owner."""
    await expire(pair.url, f"process {pair.owner.port}")
    await pair.other.ownership.look()
    commits = pair.other.commits
    assert await pair.use(pair.owner, new_id("evu")) == "accepted"
    assert (await pair.hold(pair.owner, "k"))[0] == 201
    assert pair.other.commits > commits
    assert await pair.events() == 1
