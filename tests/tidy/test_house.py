"""The harness itself: each fixture does what the other tests rely on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.database.migrate import current_and_head
from tests.support.browser import Visit
from tests.support.postgres import PostgresFailed, PostgresServer
from tests.support.processes import ProcessFailed, running

QUERY_SECONDS_MAX = 10


async def test_an_empty_database_can_be_written_and_read(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with asyncio.timeout(QUERY_SECONDS_MAX), engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n BIGINT)"))
        await connection.execute(text("INSERT INTO t VALUES (7)"))
        assert (await connection.execute(text("SELECT n FROM t"))).scalar_one() == 7
    await engine.dispose()


async def test_a_migrated_database_is_at_the_newest_migration(migrated_database_url: str) -> None:
    current, head = await current_and_head(migrated_database_url)
    assert current == head is not None


def test_postgresql_writes_to_disk_and_listens_to_this_machine_only(postgres_server: PostgresServer) -> None:
    assert postgres_server.sql("SHOW fsync").strip() == os.environ.get("CROSSRAIL_TEST_FSYNC", "on")
    assert postgres_server.sql("SHOW listen_addresses").strip() == ""


async def test_a_connection_that_a_test_left_open_is_an_error(postgres_server: PostgresServer) -> None:
    name = postgres_server.create()
    engine = create_async_engine(postgres_server.url(name))
    connection = await asyncio.wait_for(engine.connect(), QUERY_SECONDS_MAX)
    with pytest.raises(PostgresFailed, match="left a connection"):
        await asyncio.to_thread(postgres_server.drop, name)
    await connection.invalidate()
    await connection.close()
    await engine.dispose()


async def test_a_copied_sqlite_database_is_sound(sqlite_url: str) -> None:
    file = Path(sqlite_url.partition(":///")[2])
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_a_process_is_read_line_by_line_and_killed_at_the_end() -> None:
    endless = "import time\nprint('up', flush=True)\ntime.sleep(60)"
    async with running([sys.executable, "-c", endless]) as process:
        assert await process.wait_for_line("up") == "up"
    assert process.child.returncode is not None


async def test_a_process_that_ends_early_says_what_it_printed() -> None:
    async with running([sys.executable, "-c", "print('no configuration'); raise SystemExit(2)"]) as process:
        with pytest.raises(ProcessFailed, match="no configuration"):
            await process.wait_for_line("ready", timeout_seconds=10)


@pytest.mark.anvil
async def test_the_evm_node_is_a_real_one(anvil_url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=10)
    question = {"jsonrpc": "2.0", "id": 1, "method": "web3_clientVersion", "params": []}
    async with aiohttp.ClientSession(timeout=timeout) as session, session.post(anvil_url, json=question) as answer:
        assert (await answer.json())["result"].startswith("anvil/")


@pytest.mark.browser
async def test_the_browser_shows_a_page_and_reports_what_a_page_must_not_do(phone: Visit, port: int) -> None:
    async def page(_: web.Request) -> web.Response:
        body = "<title>hello</title><img src='http://elsewhere.invalid/pixel.png'>"
        return web.Response(text=body, content_type="text/html")

    application = web.Application()
    application.router.add_get("/", page)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    shown = await phone.page()
    await shown.goto(f"http://127.0.0.1:{port}/")
    assert await shown.title() == "hello"
    assert any("elsewhere.invalid" in complaint for complaint in phone.complaints)
    phone.complaints.clear()
    await runner.cleanup()
