"""Chains: catch-up beside raw ``eth_getLogs`` calls on the same node, one large block, a million addresses.

The node is ``bench/load/node.py``: prepared answers from a process of its own. The reference of the catch-up asks the
same node for the same blocks in the longest ranges that we use, and parses the JSON; nothing else.

Few and many addresses are followed in turns, many first in every second one, and their medians are compared: by the clock and
by the processor's seconds (waiting for the node is the same for both, so that is the stricter measure).
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import orjson

from adapters.base import RailAccount
from adapters.evm.adapter import EvmRail
from adapters.kit.chain.addresses import DepositAddresses
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC
from bench.load import node as canned
from bench.result import Result
from bench.serving import process
from orchestrator.cli.demo import free_ports
from orchestrator.database import tables
from orchestrator.database.migrate import upgrade
from orchestrator.routing.health import HealthBoard
from orchestrator.workers.chain_watch import ChainWatch
from tests.adapters.chains.bench import account, account_xpub
from tests.integration.payments.chain_scene import ACCOUNT, METHOD, ScriptedChain, opened_chain
from tests.support.postgres import start_postgres

BLOCKS, LOGS_PER_BLOCK = 16_000, 6
BIG_LOGS, OURS = 5_000, 50
FEW, MANY = 1_000, 1_000_000
ROUNDS = 3
TURNS = 9
"""Odd, so that a median is a measurement."""
RANGE_BLOCKS = 2_000
DERIVED = 2_000
CATCH_UP_GOAL, MANY_GOAL, BLOCK_GOAL, DERIVE_GOAL = 0.5, 0.9, 1 / 3, 1_000.0
MEMORY_MB_MAX = 200.0


@dataclass
class OurChain(ScriptedChain):
    """Its addresses are those that the prepared node pays to."""

    def derive_address(self, index: int) -> bytes:
        return canned.ours(index)


def run() -> list[Result]:
    port = free_ports()
    sizes = map(str, (BLOCKS, LOGS_PER_BLOCK, BIG_LOGS, OURS))
    command = [sys.executable, "-m", "bench.load.node", str(port), *sizes]
    node_url = f"http://127.0.0.1:{port}/"
    server = start_postgres()
    try:
        with process(command, {}, "ready"), tempfile.TemporaryDirectory() as folder:
            results = [*_derivation_and_memory(), *_catch_up(Path(folder), node_url)]
            sqlite = f"sqlite+aiosqlite:///{folder}/block.db"
            for name, url in (("sqlite", sqlite), ("postgres", server.url(server.create()))):
                upgrade(url)
                results.append(asyncio.run(_large_block(name, url, node_url)))
            return results
    finally:
        server.stop()


def _account(node_url: str) -> RailAccount:
    token = {"contract": "0x" + canned.CONTRACT.hex(), "decimals": 6, "method": METHOD}
    made = account("evm", node_url, chain_id=canned.CHAIN_ID, tokens={"USDT": token}, range_blocks_max=RANGE_BLOCKS)
    return replace(made, account=ACCOUNT)


# --- catch-up ---------------------------------------------------------------------------------------------------------


def _catch_up(folder: Path, node_url: str) -> list[Result]:
    raw: list[float] = []
    took: dict[str, list[tuple[float, float]]] = {"few": [], "many": []}
    for turn in range(TURNS):
        raw.append(asyncio.run(_raw(node_url)))
        both = (("few", FEW), ("many", MANY))
        for who, addresses in both if turn % 2 else reversed(both):
            url = f"sqlite+aiosqlite:///{folder}/{who}{turn}.db"
            upgrade(url)
            took[who].append(asyncio.run(_follow(url, node_url, addresses)))
        for who, turns in took.items():
            wall, cpu = (BLOCKS / seconds for seconds in turns[-1])
            print(f"    turn {turn + 1}, {who} addresses: {wall:,.0f} blocks/s, {cpu:,.0f} per CPU second")
    few_wall, many_wall = (_median(wall for wall, _ in took[who]) for who in ("few", "many"))
    few_cpu, many_cpu = (_median(cpu for _, cpu in took[who]) for who in ("few", "many"))
    return [
        Result("chain_catch_up", "blocks/s", few_wall, _median(raw), CATCH_UP_GOAL),
        Result("chain_catch_up_1m_addresses", "blocks/s", many_wall, few_wall, MANY_GOAL),
        Result("chain_catch_up_1m_addresses_cpu", "blocks per CPU second", many_cpu, few_cpu, MANY_GOAL),
    ]


def _median(seconds: Iterable[float]) -> float:
    """Return blocks a second."""
    return BLOCKS / statistics.median(seconds)


async def _raw(node_url: str) -> float:
    """Ask for the same blocks in the longest ranges, and parse the answers."""
    async with aiohttp.ClientSession() as http:
        started = time.perf_counter()
        for first in range(1, BLOCKS, RANGE_BLOCKS):
            last = min(BLOCKS - 1, first + RANGE_BLOCKS - 1)
            wanted = {"fromBlock": hex(first), "toBlock": hex(last), "topics": [TRANSFER_TOPIC]}
            call = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [wanted]})
            async with http.post(node_url, data=call) as answer:
                assert orjson.loads(await answer.read())["result"]
        return time.perf_counter() - started


async def _follow(url: str, node_url: str, addresses: int) -> tuple[float, float]:
    """Follow the whole chain from its first block, into an empty database, with so many addresses; return wall and CPU seconds."""
    async with opened_chain(url, OurChain()) as scene, aiohttp.ClientSession() as http:
        await scene.awaiting("20")
        await scene.deposits.book.refresh("test", "evm")
        strangers = (hashlib.blake2b(number.to_bytes(8), digest_size=20).digest() for number in range(addresses))
        scene.deposits.book.add("test", "evm", strangers)  # a million rows would measure the database
        rail = EvmRail(_account(node_url), http)
        checked = [scene.clock.now_us()]  # the prepared node has no contract to ask
        watch = ChainWatch(rail, rail, scene.deposits, scene.reads, HealthBoard(), _checks=checked)
        start = await rail.header(0)
        assert start is not None
        await scene.deposits.start_at(watch.network, start)
        started, worked = time.perf_counter(), time.process_time()
        assert await watch.run_once() == BLOCKS, "up to the newest block, credits of what was found included"
        took = time.perf_counter() - started, time.process_time() - worked
        deposits = await scene.all(tables.Deposit)
        assert len(deposits) == BLOCKS // 200 + 1, f"{len(deposits)} deposits were found"
        return took


# --- one large block --------------------------------------------------------------------------------------------------


async def _large_block(name: str, url: str, node_url: str) -> Result:
    """Time from asking for a block to having it decoded, and from there to its commit; medians over fresh wallets."""
    fetched: list[float] = []
    committed: list[float] = []
    async with opened_chain(url, OurChain()) as scene, aiohttp.ClientSession() as http:
        for customer in range(OURS):
            await scene.awaiting("20", f"customer {customer}")
        book = scene.deposits.book
        await book.refresh("test", "evm")
        rail = EvmRail(_account(node_url), http)
        before = await rail.header(BLOCKS - 1)
        assert before is not None
        for turn in range(ROUNDS):  # each on a chain of its own name: the same block is new to it
            watch = ChainWatch(rail, rail, scene.deposits, scene.reads, HealthBoard())
            network = replace(watch.network, chain=f"eip155:{turn}")
            await scene.deposits.start_at(network, before)
            started = time.perf_counter()
            scan = await rail.scan_block(BLOCKS, book.watched("test", "evm").__contains__)
            fetched.append(time.perf_counter() - started)
            assert scan is not None
            assert len(scan.transfers) == OURS
            decoded = time.perf_counter()
            await scene.deposits.take_block(network, scan)
            committed.append(time.perf_counter() - decoded)
        rows = await scene.all(tables.Deposit)
        assert len(rows) == OURS * ROUNDS
        assert sum(row["attempt_id"] is not None for row in rows) >= OURS, "the first round meets the payments"
    fetch, commit = statistics.median(fetched), statistics.median(committed)
    return Result(f"chain_block_5000_{name}", "commits/s beside fetches/s", 1 / commit, 1 / fetch, BLOCK_GOAL)


# --- addresses --------------------------------------------------------------------------------------------------------


def _derivation_and_memory() -> list[Result]:
    addresses = DepositAddresses(account_xpub("evm"))
    started = time.perf_counter()
    for index in range(DERIVED):
        addresses.derive(index)
    speed = DERIVED / (time.perf_counter() - started)
    return [
        Result("address_derivation", "addresses/s", speed, None, DERIVE_GOAL),
        Result("address_set_1m", "MB allowed beside MB used", MEMORY_MB_MAX, _set_megabytes(), 1.0),
    ]


def _set_megabytes() -> float:
    """Fill the set of a million addresses in a fresh process; return what it grew by."""
    program = (
        "import hashlib, resource\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        "before = resident()\n"
        f"known = dict.fromkeys(hashlib.blake2b(n.to_bytes(8), digest_size=20).digest() for n in range({MANY}))\n"
        "print((resident() - before) / 2**20)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)
