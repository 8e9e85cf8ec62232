"""Debits of prepaid wallets, against what the database does without us.

A debit is a usage charge of one event as the product makes it: dedupe row, lots, exact remainder, roll-up, double entry,
hash chain, committed before it is answered (fsync on). Callers live in the process of the writer.

- ``w1``: 256 callers, one hot wallet; reference: pgbench's transaction on one hot row (two updates, one insert) at its
  best number of clients of 1, 8 and 32.
- ``w2``: 256 callers, 100,000 wallets chosen by Zipf's law; reference: pgbench TPC-B, scale 50, 32 clients.
- ``w1_sqlite``: reference: one transaction per debit through SQLAlchemy, ``bench/load/one_by_one.py``.

References are measured in the same run, in turns with ours, on the same server; medians of the rounds.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load.charges import MERCHANT
from bench.result import Result
from orchestrator.database.migrate import upgrade
from tests.support.postgres import PostgresServer, start_postgres

ROUNDS = 3
SECONDS = 4
CALLERS = 256
WALLETS = 100_000
MILLION = 1_000_000
SCALE = 50
LOAD = Path(__file__).with_name("load")
Row = Result | dict[str, Any]


def run() -> list[Row]:
    """Measure PostgreSQL and SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        rows = _sqlite(Path(folder))
    server = start_postgres()
    try:
        reference = _Pgbench(server)
        return [
            *_hot(server, reference),
            *_many(server, reference),
            *_million(server),
            *_two_processes(server),
            *rows,
        ]
    finally:
        server.stop()


def _hot(server: PostgresServer, reference: _Pgbench) -> list[Row]:
    name, url = database(server)
    best, ours = [], []
    debits(url, 1, seconds=1, fill=True)
    for _ in range(ROUNDS):
        best.append(max(reference.hot(clients) for clients in (1, 8, 32)))
        ours.append(debits(url, 1, seconds=SECONDS))
    server.drop(name)
    lateness = _median(ours, "p99_ms") / _median(ours, "mean_ms")
    return [
        Result("ledger_w1_hot_wallet", "debits/s", _median(ours, "rate"), statistics.median(best), 6.0),
        _at_most("ledger_w1_p99", "x the mean", lateness, 3.0),
    ]


def _many(server: PostgresServer, reference: _Pgbench) -> list[Row]:
    name, url = database(server)
    debits(url, WALLETS, seconds=1, fill=True)
    theirs, ours = [], []
    before = _bytes(server, name)
    for _ in range(ROUNDS):
        theirs.append(reference.tpcb(32))
        ours.append(debits(url, WALLETS, seconds=SECONDS))
    grown = _bytes(server, name) - before
    server.drop(name)
    return [
        Result("ledger_w2_100k_wallets", "debits/s", _median(ours, "rate"), statistics.median(theirs), 3.0),
        Result("ledger_w2_cpu", "s per 1,000 debits", _median(ours, "cpu_us") / 1000),
        Result("ledger_w2_disk", "bytes per debit", grown / sum(one["stored"] for one in ours)),
        _at_most("ledger_w2_memory", "MB", max(one["resident_mb"] for one in ours), 300.0),
    ]


def _million(server: PostgresServer) -> list[Row]:
    """A million debits by one process; then random ids beside ordered ones, in the table of a million."""
    name, url = database(server)
    debits(url, 1, seconds=1, fill=True)
    before = _bytes(server, name)
    long = debits(url, 1, debits=MILLION)
    grown = _bytes(server, name) - before
    ids: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for kind, found in ids.items():
            found.append(debits(url, 1, seconds=SECONDS, ordered=kind))
    server.drop(name)
    ordered, at_random = (_median(ids[kind], "rate") for kind in (True, False))
    return [
        Result("ledger_w1_cpu", "s per 1,000 debits", long["cpu_us"] / 1000),
        Result("ledger_w1_disk", "bytes per debit", grown / long["stored"]),
        _at_most("ledger_w1_memory", "MB after 1,000,000", long["resident_mb"], 300.0),
        Result("ledger_w1_random_ids", "debits/s", at_random, ordered),
    ]


def _two_processes(server: PostgresServer) -> list[Row]:
    """Two processes beside one: each with its own merchants, as the leases have it; and both on one wallet, without."""
    name, url = database(server)
    merchants = (MERCHANT, f"{MERCHANT}_2")
    for merchant in merchants:
        debits(url, 1, merchant=merchant, seconds=1, fill=True)
    rates: dict[str, list[float]] = {"one": [], "owned": [], "shared": []}
    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            for case, ran in (("one", merchants[:1]), ("owned", merchants), ("shared", (MERCHANT, MERCHANT))):
                jobs = [threads.submit(debits, url, 1, merchant=merchant, seconds=SECONDS) for merchant in ran]
                rates[case].append(sum(job.result()["rate"] for job in jobs))
    server.drop(name)
    one, owned, shared = (statistics.median(rates[case]) for case in ("one", "owned", "shared"))
    return [
        Result("ledger_two_owners", "debits/s", owned, one),
        Result("ledger_two_on_one_wallet", "debits/s", shared, one),
    ]


def _sqlite(folder: Path) -> list[Row]:
    theirs, ours = [], []
    for kind in ("theirs", "ours"):
        upgrade(f"sqlite+aiosqlite:///{folder}/{kind}.db")
        debits(f"sqlite+aiosqlite:///{folder}/{kind}.db", 1, seconds=0.5, fill=True)
    for _ in range(ROUNDS):
        theirs.append(float(_python("bench.load.one_by_one", str(folder / "theirs.db"), str(SECONDS))))
        ours.append(debits(f"sqlite+aiosqlite:///{folder}/ours.db", 1, seconds=SECONDS))
    return [Result("ledger_w1_sqlite", "debits/s", _median(ours, "rate"), statistics.median(theirs), 20.0)]


@dataclass(frozen=True)
class _Pgbench:
    """PostgreSQL's own benchmark, with prepared statements, in a database of its own."""

    server: PostgresServer

    def __post_init__(self) -> None:
        self.server.sql("CREATE DATABASE pgbench")
        self._call("-i", "-q", "-s", str(SCALE))

    def hot(self, clients: int) -> float:
        return self._rate(clients, "-f", str(LOAD / "hot_row.sql"))

    def tpcb(self, clients: int) -> float:
        return self._rate(clients)

    def _rate(self, clients: int, *script: str) -> float:
        said = self._call("-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(SECONDS), *script)
        found = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
        if found is None:
            raise SystemExit(f"pgbench said:\n{said}")
        return float(found[1])

    def _call(self, *arguments: str) -> str:
        program = self.server.programs / "bin" / "pgbench"
        where = ["-h", str(self.server.folder), "-U", "postgres"]
        done = subprocess.run(
            [program, *where, *arguments, "pgbench"], capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout


def debits(url: str, wallets: int, **more: Any) -> dict[str, float]:
    """Run one process of debits; ``more``: seconds or debits, and what differs from the usual."""
    usual = {"merchant": MERCHANT, "callers": CALLERS, "fill": False, "ordered": True}
    order = {**usual, "url": url, "wallets": wallets, **more}
    said: dict[str, float] = json.loads(_python("bench.load.debits", json.dumps(order)))
    return said


def _python(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=1500
    )
    return done.stdout


def database(server: PostgresServer) -> tuple[str, str]:
    name = server.create()
    url = server.url(name)
    upgrade(url)
    return name, url


def _bytes(server: PostgresServer, name: str) -> int:
    return int(server.sql("SELECT pg_database_size(current_database())", name))


def _median(found: list[dict[str, float]], what: str) -> float:
    return statistics.median(one[what] for one in found)


def _at_most(name: str, unit: str, value: float, limit: float) -> dict[str, Any]:
    """Return a row whose goal is an upper limit."""
    row = {"name": name, "unit": f"{unit} (at most)", "value": round(value, 3), "reference": None, "ratio": None}
    return row | {"goal": limit, "met": value <= limit}
