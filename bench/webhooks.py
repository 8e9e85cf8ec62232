"""Webhooks of a rail: verify, store and answer over HTTP beside a bare handler, and 10,000 stored ones worked off.

Load generator: ``wrk`` with one thread and 32 connections; every request is the same signed message of Stripe's, which is
verified and stored anew each time. The second figure is the inbox's own rate on the default database, without loss: every
stored message must be ``processed`` at the end. Goal of the house: 5,000 a minute.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from bench.result import Result
from bench.serving import CONFIG, process, serving
from orchestrator.cli.demo import free_ports
from orchestrator.database.reads import Reads
from orchestrator.database.tables import RawWebhook, table_of
from orchestrator.settings import load

STORED: Final = 10_000
SECONDS: Final = 3
ROUNDS: Final = 3
CONNECTIONS: Final = 32
GOAL: Final = 0.4
PER_SECOND_GOAL: Final = 5_000 / 60
PATIENCE_S: Final = 300
LOAD: Final = Path(__file__).with_name("load")


def run() -> list[Result]:
    """Measure on the default database (SQLite)."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("bench webhooks needs the Debian package wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite+aiosqlite:///{folder}/bench.db"
        intake = _intake(wrk, database, Path(folder) / "room")
        return [intake, asyncio.run(_work_off(f"sqlite+aiosqlite:///{folder}/work.db", Path(folder) / "work"))]


def signed() -> tuple[bytes, str]:
    """Return a message that is about nothing of ours, and its signature."""
    settings, _ = load(CONFIG)
    secret = settings.rails["stripe"].accounts["main"].options["webhook_secrets"][0]
    body = json.dumps(
        {"id": "evt_1", "object": "event", "type": "customer.updated", "created": 1, "livemode": False}
        | {"data": {"object": {"id": "cus_1", "note": "x" * 2000}}}
    ).encode()
    moment = int(time.time())
    mac = hmac.new(secret.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
    return body, f"t={moment},v1={mac}"


def _intake(wrk: str, database: str, room: Path) -> Result:
    port = free_ports()
    bare = process([sys.executable, "-m", "bench.load.bare_webhook", str(port)], {}, "up")
    with bare, serving(database, room) as note:
        rates: dict[str, list[float]] = {"bare": [], "full": []}
        urls = {"bare": f"http://127.0.0.1:{port}/hook", "full": f"{note['url']}/webhooks/stripe/main"}
        for _ in range(ROUNDS):
            for who, url in urls.items():
                rates[who].append(_shoot(wrk, url, room))
    reference, value = (statistics.median(rates[who]) for who in ("bare", "full"))
    return Result("webhook_intake_sqlite", "webhooks/s", value, reference, GOAL)


def _shoot(wrk: str, url: str, room: Path) -> float:
    body, signature = signed()
    message = room / "message.json"
    message.write_bytes(body)
    environment = os.environ | {"BODY": str(message), "SIGNATURE": signature}
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(LOAD / "webhook.lua"), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS + 30, env=environment)
    line = next(line for line in done.stdout.splitlines() if line.startswith("result "))
    requests, micros, refused = map(int, line.split()[1:])
    if refused or "Socket errors" in done.stdout:
        raise SystemExit(f"{url}: {refused} refused answers\n{done.stdout}")
    return requests / (micros / 1_000_000)


async def _work_off(database: str, room: Path) -> Result:
    """Store STORED messages through the inbox, then time how long it takes until none waits."""
    from contextlib import AsyncExitStack

    from orchestrator.cli.service import Service

    os.environ |= {"CROSSRAIL_DATABASE": database, "CROSSRAIL_STATE": str(room), "CROSSRAIL_LOG": "error"}
    service = await asyncio.to_thread(Service.prepare, CONFIG, free_ports(), with_workers=False)
    async with AsyncExitStack() as stack:
        services, _ = await service.start(stack)
        body, signature = signed()
        headers = {"stripe-signature": signature}
        for _ in range(STORED // 500):
            await asyncio.gather(*(services.inbox.take("stripe", "main", headers, body) for _ in range(500)))
        started = time.monotonic()
        while await services.inbox.run_once():
            if time.monotonic() - started > PATIENCE_S:
                raise SystemExit("the inbox is too slow")
        took = time.monotonic() - started
        processed = await _count(services.reads)
    if processed != STORED:
        raise SystemExit(f"{STORED - processed} of {STORED} webhooks were lost")
    return Result("webhooks_worked_off_sqlite", "webhooks/s", STORED / took, PER_SECOND_GOAL, 1.0)


async def _count(reads: Reads) -> int:
    table = table_of(RawWebhook)
    rows = await reads.all(select(func.count().label("many")).where(table.c.state == "processed"))
    return int(rows[0]["many"])
