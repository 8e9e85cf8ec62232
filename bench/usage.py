"""W3: usage over HTTP, 1,000 events a request: read, deduplicated, rated, charged, rolled up, committed, answered one by one.

One service process, four connections, 100 wallets (zipf), three models, ids as UUIDv7. The reference is COPY of the very rows
that the run stored, with their indexes, into another database of the same server, in one transaction (SQLite: executemany into
another file). Then what random ids cost: the same requests with UUIDv4 against a table that holds so many rows already.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import orjson

from bench.result import Result
from bench.serving import serving
from orchestrator.access import Access
from orchestrator.clock import SystemClock
from orchestrator.database import migrate
from orchestrator.database.reads import Reads
from orchestrator.database.schema import COLUMNS
from orchestrator.database.sqlite_backend import PRAGMAS
from orchestrator.database.writer import Writer, backend_for
from orchestrator.metering.price_book import NewVersion, PriceBook
from orchestrator.metering.price_content import Content, model_prices
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.wallets import ensure_wallet
from tests.integration.database.units import top_up
from tests.support.postgres import start_postgres

EVENTS = 1000
REQUESTS = 60
CONNECTIONS = 4
ROUNDS = 3
WALLETS = 100
MODELS = {
    "gpt-5-mini": {"input": "0.00000025", "output": "0.000002", "cache_read": "0.000000025"},
    "claude": {"input": "0.000003", "output": "0.000015", "cache_write": "0.00000375"},
    "odd": {"input": "0.0000000000333", "output": "0.0000000007"},
}
GOAL_EVENTS = 25_000
GOAL_OF_COPY = 0.2
RANDOM_AT = (0, 200_000)
SEED = 3
"""Which wallets, models and quantities; the ids are new in every run."""
TABLE = "usage_event"
COPY = "usage_event_copied"


def run() -> list[Result]:
    server = start_postgres()
    try:
        with tempfile.TemporaryDirectory() as folder:
            room = Path(folder)
            postgres = server.url(server.create())
            empty = server.url(server.create())
            migrate.upgrade(empty)
            return [
                *_measure("postgres", postgres, room, lambda rows: asyncio.run(_copy(empty, rows))),
                *_measure("sqlite", f"sqlite+aiosqlite:///{folder}/usage.db", room, lambda rows: _insert(room, rows)),
            ]
    finally:
        server.stop()


def _measure(name: str, url: str, room: Path, store: Callable[[Sequence[Any]], float]) -> Iterator[Result]:
    migrate.upgrade(url)
    wallets, key = asyncio.run(_prepare(url))
    choose = random.Random(SEED)  # noqa: S311  # a load that replays, nothing secret
    rates: list[float] = []
    references: list[float] = []
    rows: list[tuple[Any, ...]] = []
    with serving(url, room / name) as note:
        address = f"{note['url']}/v1/usage"
        asyncio.run(_send(address, key, _bodies(choose, wallets, 8, _ordered)))  # warm: plans, imports, prices
        spent_s = 0.0
        for _ in range(ROUNDS):
            bodies = _bodies(choose, wallets, REQUESTS, _ordered)
            before_s = _cpu_s(note["pid"])
            rates.append(asyncio.run(_send(address, key, bodies)))
            spent_s += _cpu_s(note["pid"]) - before_s
            rows = rows or asyncio.run(_rows(url))
            references.append(store(rows))
        randoms = [asyncio.run(_random_ids(address, key, choose, wallets, size)) for size in RANDOM_AT]
    reference, value = statistics.median(references), statistics.median(rates)
    yield Result(f"usage_{name}", "events/s", value, goal=GOAL_EVENTS)
    yield Result(f"usage_{name}_of_copy", "events/s", value, reference, GOAL_OF_COPY if name == "postgres" else None)
    yield Result(f"usage_{name}_cpu_ms_per_1000", "ms", spent_s / (ROUNDS * REQUESTS) * 1000)
    for size, rate in zip(RANDOM_AT, randoms, strict=True):
        yield Result(f"usage_{name}_random_ids_after_{size}", "events/s", rate, value)


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the load ---------------------------------------------------------------------------------------------------------


def _ordered() -> str:
    from uuid_utils import uuid7

    return f"use_{uuid7().hex}"


def _random() -> str:
    return str(uuid4())


def _bodies(choose: random.Random, wallets: Sequence[str], count: int, new_id: Callable[[], str]) -> list[bytes]:
    weights = [1 / rank for rank in range(1, len(wallets) + 1)]
    models = list(MODELS)
    bodies = []
    for _ in range(count):
        events = [
            {
                "id": new_id(),
                "wallet": wallet,
                "model": (model := choose.choice(models)),
                "tokens": {name: choose.randint(1, 4000) for name in MODELS[model]},
            }
            for wallet in choose.choices(wallets, weights, k=EVENTS)
        ]
        bodies.append(orjson.dumps({"events": events}))
    return bodies


async def _send(url: str, key: str, bodies: Sequence[bytes]) -> float:
    """Return events per second; a result other than accepted ends the benchmark."""
    left = iter(bodies)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def sender(http: aiohttp.ClientSession) -> None:
        for body in left:
            async with http.post(url, data=body, headers=headers) as answer:
                text = await answer.read()
                if answer.status != 200 or f'"accepted":{EVENTS},'.encode() not in text[:60]:
                    raise SystemExit(f"{url}: {answer.status} {text[:300]!r}")

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(sender(http))
        return len(bodies) * EVENTS / (time.perf_counter() - began_s)


async def _random_ids(url: str, key: str, choose: random.Random, wallets: Sequence[str], size: int) -> float:
    """Fill the table up with random ids, then measure a few requests with more of them."""
    await _send(url, key, _bodies(choose, wallets, size // EVENTS, _random))
    return await _send(url, key, _bodies(choose, wallets, REQUESTS // 3, _random))


# --- what must be there, and what it is held against ------------------------------------------------------------------


async def _prepare(url: str) -> tuple[list[str], str]:
    """Make a merchant with prices, wallets and money in them; return the wallets and a key."""
    clock = SystemClock()
    writer, reads = Writer(backend_for(url), clock), Reads(url)
    await writer.open()
    try:
        access = Access(writer, reads)
        merchant = (await access.create_merchant("bench"))["id"]
        content = Content({model: model_prices(prices) for model, prices in MODELS.items()}, 2000)
        await PriceBook(writer, reads, clock, lead_s=0).put(merchant, "test", NewVersion(content, None, None, "bench"))
        wallets = []
        for number in range(WALLETS):
            wallet = await ensure_wallet(writer, CustomerRef(merchant, "test", f"customer {number}", "BR"))
            await writer.submit(top_up(f"money {number}", 10**9, wallet=wallet, merchant=merchant))
            wallets.append(wallet)
        secret = (await access.create_key(merchant, "test")).secret
        assert secret is not None
        return wallets, secret
    finally:
        await writer.close()
        await reads.close()


async def _rows(url: str) -> list[tuple[Any, ...]]:
    reads = Reads(url)
    try:
        from sqlalchemy import select

        from orchestrator.database.tables import UsageEvent, table_of

        table = table_of(UsageEvent)
        rows = await reads.all(select(table).where(table.c.day > 0).order_by(table.c.event_id).limit(REQUESTS * EVENTS))
        return [tuple(row[name] for name in COLUMNS[TABLE]) for row in rows]
    finally:
        await reads.close()


async def _copy(url: str, rows: Sequence[Any]) -> float:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        # The table itself refuses to be emptied.
        await connection.execute(f"DROP TABLE IF EXISTS {COPY}; CREATE TABLE {COPY} (LIKE {TABLE} INCLUDING ALL)")
        began_s = time.perf_counter()
        await connection.copy_records_to_table(COPY, records=rows, columns=COLUMNS[TABLE])
        return len(rows) / (time.perf_counter() - began_s)
    finally:
        await connection.close()


def _insert(room: Path, rows: Sequence[Any]) -> float:
    with tempfile.TemporaryDirectory(dir=room) as folder:
        migrate.upgrade(f"sqlite+aiosqlite:///{folder}/empty.db")
        with _connected(Path(folder) / "empty.db") as connection:
            marks = ",".join("?" * len(COLUMNS[TABLE]))
            began_s = time.perf_counter()
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO {TABLE} VALUES ({marks})", rows)  # noqa: S608  # our own table's name
            connection.execute("COMMIT")
            return len(rows) / (time.perf_counter() - began_s)


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma).fetchall()
        yield connection
    finally:
        connection.close()
