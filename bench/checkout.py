"""Creating a checkout session over HTTP: validate, screen, quote, route, store; 32 connections.

Load generator: ``wrk`` (Debian's package) with one thread. The reference is ``bench/load/bare.py``, measured in the same
run, in turns; every request names one of 5,000 customers in six countries. Answers other than 201 fail the benchmark.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.result import Result
from bench.serving import post, process, serving
from orchestrator.cli.demo import free_ports
from tests.support.postgres import start_postgres

SECONDS = 4
ROUNDS = 3
CONNECTIONS = 32
GOAL = 0.3
LOAD = Path(__file__).with_name("load")


def run() -> list[Result]:
    """Measure both databases against the bare handler."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("bench checkout needs the Debian package wrk: apt-get install wrk")
    server = start_postgres()
    try:
        with tempfile.TemporaryDirectory() as folder:
            urls = {
                "sqlite": f"sqlite+aiosqlite:///{folder}/bench.db",
                "postgres": server.url(server.create()),
            }
            return [_measure(wrk, name, url, Path(folder) / name) for name, url in urls.items()]
    finally:
        server.stop()


def _measure(wrk: str, name: str, database: str, room: Path) -> Result:
    with _bare() as reference, _crossrail(database, room) as (full, key):
        _shoot(wrk, full, key, 1)  # warm: imports, plans, key cache
        rates: dict[str, list[float]] = {"bare": [], "full": []}
        for _ in range(ROUNDS):
            rates["bare"].append(_shoot(wrk, reference, key, SECONDS))
            rates["full"].append(_shoot(wrk, full, key, SECONDS))
    bare, value = (statistics.median(rates[who]) for who in ("bare", "full"))
    return Result(f"checkout_session_{name}", "requests/s", value, bare, GOAL)


def _shoot(wrk: str, url: str, key: str, seconds: int) -> float:
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(LOAD / "post.lua"), url]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=seconds + 30, env=os.environ | {"KEY": key}
    )
    result = next(line for line in done.stdout.splitlines() if line.startswith("result "))
    requests, micros, refused = map(int, result.split()[1:])
    if refused or "Socket errors" in done.stdout:
        raise SystemExit(f"{url}: {refused} refused answers\n{done.stdout}")
    return requests / (micros / 1_000_000)


@contextmanager
def _bare() -> Iterator[str]:
    port = free_ports()
    with process([sys.executable, "-m", "bench.load.bare", str(port)], {}, "up"):
        yield f"http://127.0.0.1:{port}/v1/checkout/sessions"


@contextmanager
def _crossrail(database: str, room: Path) -> Iterator[tuple[str, str]]:
    with serving(database, room) as note:
        merchant = post(f"{note['url']}/v1/merchants", note["admin_token"], {"name": "bench"})
        key = post(f"{note['url']}/v1/keys", note["admin_token"], {"merchant": merchant["id"], "mode": "test"})
        yield f"{note['url']}/v1/checkout/sessions", key["secret"]
