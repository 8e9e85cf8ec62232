"""Hold and capture over HTTP, 64 connections, counted in requests: one unit, one commit and one answer each.

Load generator: ``wrk`` (Debian's package) with one thread; it captures every hold that it made, as soon as it is answered. The
reference is ``bench/load/bare_holds.py`` (aiohttp alone), measured in the same run, in turns. Any refusal fails the benchmark.
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
CONNECTIONS = 64
WALLETS = 100
GOAL = 0.5
LOAD = Path(__file__).with_name("load")


def run() -> list[Result]:
    """Measure both databases against the bare handlers."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("bench holds needs the Debian package wrk: apt-get install wrk")
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
    rates: dict[str, list[float]] = {"bare": [], "full": []}
    with _bare() as bare, serving(database, room) as note:
        url, admin = note["url"], note["admin_token"]
        merchant = post(f"{url}/v1/merchants", admin, {"name": "bench"})
        key = post(f"{url}/v1/keys", admin, {"merchant": merchant["id"], "mode": "test"})["secret"]
        wallets = ",".join(_wallet(url, key, number) for number in range(WALLETS))
        _shoot(wrk, url, key, wallets, 1)  # warm: imports, plans, key cache
        for _ in range(ROUNDS):
            rates["bare"].append(_shoot(wrk, bare, key, wallets, SECONDS))
            rates["full"].append(_shoot(wrk, url, key, wallets, SECONDS))
    return Result(
        f"hold_and_capture_{name}",
        "requests/s",
        statistics.median(rates["full"]),
        statistics.median(rates["bare"]),
        GOAL,
    )


def _wallet(url: str, key: str, number: int) -> str:
    wallet = post(f"{url}/v1/wallets", key, {"customer": {"reference": f"bench {number}", "country": "DE"}})["id"]
    gift = {"amount": {"amount": "100000", "currency": "USD"}, "kind": "promotional", "reason": "bench"}
    post(f"{url}/v1/wallets/{wallet}/credits", key, gift)
    return str(wallet)


def _shoot(wrk: str, url: str, key: str, wallets: str, seconds: int) -> float:
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(LOAD / "holds.lua"), url]
    environment = os.environ | {"KEY": key, "WALLETS": wallets}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30, env=environment)
    result = next(line for line in done.stdout.splitlines() if line.startswith("result "))
    requests, micros, refused = map(int, result.split()[1:])
    if refused or "Socket errors" in done.stdout:
        raise SystemExit(f"{url}: {refused} refused answers\n{done.stdout}")
    return requests / (micros / 1_000_000)


@contextmanager
def _bare() -> Iterator[str]:
    port = free_ports()
    with process([sys.executable, "-m", "bench.load.bare_holds", str(port)], {}, "up"):
        yield f"http://127.0.0.1:{port}"
