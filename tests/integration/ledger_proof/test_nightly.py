"""The nightly proof and the anchors, as the workers do them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from orchestrator.database.unit import Row
from orchestrator.ledger.anchors import AnchorFile, Anchors
from orchestrator.ledger.proof import last_proof, prove
from orchestrator.workers.proof import AnchorWorker, ProofFailed, ProofWorker
from tests.integration.ledger_proof.books import USD, Books

HOUR_US = 3_600_000_000


@pytest.fixture
def anchors(books: Books, tmp_path: Path) -> Anchors:
    return anchors_of(books, tmp_path)


def anchors_of(books: Books, folder: Path, every: int = 3) -> Anchors:
    return Anchors(books.writer, books.reads, books.clock, AnchorFile(folder / "heads.ndjson", books.url), every)


def night(books: Books, anchors: Anchors, database: str = "") -> ProofWorker:
    return ProofWorker(
        books.writer, books.reads, books.clock, anchors, database=database or books.url, hour_utc=3
    )  # fmt: skip


async def told(books: Books, type_: str) -> list[Row]:
    return [row for row in await books.rows("event") if row["type"] == type_]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "heads.ndjson").read_text("utf-8").splitlines()]


async def test_the_books_are_proven_once_a_night(books: Books, anchors: Anchors) -> None:
    await books.earn(5 * USD)
    worker, stop = night(books, anchors), asyncio.Event()
    assert await worker.run_once(stop)
    assert not await worker.run_once(stop)
    [event] = await told(books, "ledger.proven")
    body = orjson.loads(event["body"])
    assert (body["ok"], body["entries"], body["seals"], body["findings"]) == (True, 1, 1, [])
    books.clock.at_us += 12 * HOUR_US  # midnight has passed, the hour has not come
    assert not await night(books, anchors).run_once(stop)
    books.clock.at_us += 4 * HOUR_US
    assert await worker.run_once(stop)
    assert len(await told(books, "ledger.proven")) == 2


async def test_tampered_books_raise_an_alarm_until_they_are_right_again(books: Books, anchors: Anchors) -> None:
    await books.earn(5 * USD)
    await books.tamper("UPDATE account SET balance = 1 WHERE {here} AND code = 'merchant:pending'")
    worker, stop = night(books, anchors), asyncio.Event()
    assert await worker.run_once(stop)
    [alarm] = await told(books, "ledger.alarm")
    assert "materialised 1, rebuilt -5000000000" in orjson.loads(alarm["body"])["findings"][0]
    assert (await last_proof(books.reads) or {})["id"] == alarm["id"]
    assert REGISTRY.get_sample_value("crossrail_ledger_proof_ok") == 0
    assert not await worker.run_once(stop)
    await books.tamper("UPDATE account SET balance = 0 - 5000000000 WHERE {here} AND code = 'merchant:pending'")
    books.clock.at_us += HOUR_US
    assert await worker.run_once(stop)
    assert (await last_proof(books.reads) or {})["type"] == "ledger.proven"
    assert REGISTRY.get_sample_value("crossrail_ledger_proof_ok") == 1


async def test_a_chain_that_was_made_again_is_told_by_what_was_anchored(books: Books, tmp_path: Path) -> None:
    await books.earn(5 * USD)
    anchors = anchors_of(books, tmp_path)
    assert await anchors.run_once(grown_by=1) == 1
    first = lines(tmp_path)[0]["hash"]
    await books.tamper(
        "DELETE FROM posting WHERE {here}",
        "DELETE FROM journal_entry WHERE {here}",
        "DELETE FROM seal WHERE {here}",
        "DELETE FROM shard WHERE {here}",
        "DELETE FROM account WHERE {here}",
        "DELETE FROM unit_key WHERE {here}",
        "DELETE FROM event WHERE {here}",
    )
    await books.earn(6 * USD)
    assert (await prove(books.reads, books.clock.now_us(), [])).ok
    assert await night(books, anchors_of(books, tmp_path)).run_once(asyncio.Event())
    [alarm] = await told(books, "ledger.alarm")
    assert f"no link has the anchored hash {first}" in orjson.loads(alarm["body"])["findings"][0]


async def test_heads_are_anchored_as_chains_grow_and_when_the_service_stops(books: Books, tmp_path: Path) -> None:
    worker, stop = AnchorWorker(anchors_of(books, tmp_path), 0.01), asyncio.Event()
    for _ in range(3):
        await books.earn(1 * USD)
    task = asyncio.create_task(worker.run(stop))
    for _ in range(500):
        if await told(books, "ledger.anchored"):
            break
        await asyncio.sleep(0.01)
    await books.earn(1 * USD)
    await books.earn(1 * USD, "mer_2")
    await asyncio.sleep(0.05)
    assert [line["number"] for line in lines(tmp_path)] == [3]
    stop.set()
    await task
    found = lines(tmp_path)
    assert [(line["merchant_id"], line["number"]) for line in found] == [("mer_1", 3), ("mer_1", 4), ("mer_2", 1)]
    seals = {(row["merchant_id"], row["number"]): row["hash"] for row in await books.rows("seal")}
    assert all(seals[line["merchant_id"], line["number"]] == line["hash"] for line in found)
    bodies = [orjson.loads(row["body"]) for row in await told(books, "ledger.anchored")]
    assert [body["hash"] for body in bodies] == [line["hash"] for line in found]


async def test_a_restarted_service_goes_on_where_the_file_ends(books: Books, tmp_path: Path) -> None:
    await books.earn(1 * USD)
    assert await anchors_of(books, tmp_path).run_once(grown_by=1) == 1
    with (tmp_path / "heads.ndjson").open("a") as file:
        file.write('{"cut short')
    again = anchors_of(books, tmp_path)
    assert await again.run_once(grown_by=1) == 0
    assert len(await again.hashes()) == 1
    await books.earn(1 * USD)
    assert await again.run_once(grown_by=1) == 1
    assert len(await anchors_of(books, tmp_path).hashes()) == 2
    other = AnchorFile(tmp_path / "heads.ndjson", "sqlite:///another")
    assert other.read() == []


async def test_a_proof_that_cannot_be_made_is_not_a_proof(books: Books, anchors: Anchors, tmp_path: Path) -> None:
    worker = night(books, anchors, f"sqlite+aiosqlite:///{tmp_path}/nowhere.db")
    with pytest.raises(ProofFailed, match="exit 1"):
        await worker.run_once(asyncio.Event())
    assert await last_proof(books.reads) is None


async def test_a_service_that_stops_takes_its_proof_with_it(books: Books, anchors: Anchors) -> None:
    stop = asyncio.Event()
    stop.set()
    assert not await night(books, anchors).run_once(stop)
    assert await last_proof(books.reads) is None
