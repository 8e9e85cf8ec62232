"""What every test may ask for: a database of either kind, a browser, an EVM node, a program of ours in its own process.

``database_url`` and ``migrated_database_url`` run their test twice, on SQLite and on PostgreSQL.
A coroutine test that leaves a task behind fails.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
import structlog
from hypothesis import settings

from orchestrator.cli.service import log_processors
from tests.support.databases import DatabaseKind, Databases
from tests.support.npm import anvil_program
from tests.support.ports import free_port
from tests.support.processes import Process, running

if TYPE_CHECKING:
    from tests.support.browser import Visit
    from tests.support.postgres import PostgresServer

TASK_END_SECONDS_MAX = 1.0

# The machine may be busy, so no example has a deadline; the seed of a failure is printed.
settings.register_profile("crossrail", deadline=None, print_blob=True)
settings.register_profile("soak", settings.get_profile("crossrail"), max_examples=1000)
settings.load_profile(os.environ.get("CROSSRAIL_PROPERTIES", "crossrail"))


# Lines look as the service's do. The library's own way prints every variable of a traceback, which is every service: 40 s.
structlog.configure(processors=log_processors())

# --- databases ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    made = Databases(tmp_path_factory.mktemp("databases"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def postgres_server(databases: Databases) -> PostgresServer:
    return databases.server


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> DatabaseKind:
    return cast("DatabaseKind", request.param)


@pytest.fixture
def database_url(databases: Databases, database_kind: DatabaseKind, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    url, remove = databases.empty(database_kind, tmp_path)
    yield url
    remove()


@pytest.fixture
def migrated_database_url(databases: Databases, database_kind: DatabaseKind, tmp_path: Path) -> Iterator[str]:
    """A database at the newest migration."""
    url, remove = databases.migrated(database_kind, tmp_path)
    yield url
    remove()


@pytest.fixture
def sqlite_url(databases: Databases, tmp_path: Path) -> str:
    """A migrated SQLite database, for what has no business with PostgreSQL."""
    url, _ = databases.migrated("sqlite", tmp_path)
    return url


@pytest.fixture
def postgres_url(databases: Databases, tmp_path: Path) -> Iterator[str]:
    """A migrated PostgreSQL database, for what SQLite cannot do."""
    url, remove = databases.migrated("postgres", tmp_path)
    yield url
    remove()


# --- the outside world ------------------------------------------------------------------------------------------------


@pytest.fixture
async def phone() -> AsyncIterator[Visit]:
    """Chromium on a telephone's screen. Mark such tests with ``browser``."""
    from tests.support.browser import CHROMIUM, PHONE, visiting

    if not CHROMIUM.exists():
        pytest.skip("needs the Debian package chromium")
    async with visiting(PHONE) as visit:
        yield visit


@pytest.fixture
async def desk() -> AsyncIterator[Visit]:
    """Chromium on a desk's screen. Mark such tests with ``browser``."""
    from tests.support.browser import CHROMIUM, DESK, visiting

    if not CHROMIUM.exists():
        pytest.skip("needs the Debian package chromium")
    async with visiting(DESK) as visit:
        yield visit


@pytest.fixture
async def anvil_url(tmp_path: Path) -> AsyncIterator[str]:
    """A fresh EVM chain of a real node, mining on demand; finality trails by 8 blocks. Mark such tests with ``anvil``."""
    program = await asyncio.to_thread(anvil_program)
    if program is None:
        pytest.skip("needs the npm package @foundry-rs/anvil-linux-amd64")
    port = free_port()
    command: list[str | Path] = [
        program,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--slots-in-an-epoch",
        "4",
        "--silent",
    ]
    async with running(command, environment={"HOME": str(tmp_path)}, folder=tmp_path) as process:
        url = f"http://127.0.0.1:{port}"
        await _answers(url, process)
        yield url


async def _answers(url: str, process: Process) -> None:
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    deadline = time.monotonic() + 20
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            try:
                async with session.post(url, json=question) as answer:
                    answer.raise_for_status()
                    return
            except aiohttp.ClientError:
                assert process.child.returncode is None, process.output
                assert time.monotonic() < deadline, "anvil did not answer within 20 s"
                await asyncio.sleep(0.05)


@pytest.fixture
def port() -> int:
    return free_port()


# --- long runs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def soak_seconds() -> float:
    return float(os.environ.get("DURATION_S", "60"))


@pytest.fixture
def soak_seed() -> int:
    """Print it with whatever fails: the same seed replays."""
    return int(os.environ.get("SEED", "1"))


# --- nothing is left behind -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> None:
    """Set up before a test's other fixtures, so that it looks after they were closed."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    yield
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:  # a task that was cancelled a moment ago may still be on its way out
        _, others = await asyncio.wait(others, timeout=TASK_END_SECONDS_MAX)
    assert not others, f"tasks left running: {others}"
