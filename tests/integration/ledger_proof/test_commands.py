"""``crossrail ledger export|verify-chain|rebuild`` as a person runs them, on SQLite."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.ledger.chart import Account
from tests.integration.ledger_proof.books import USD, Books, opened_books
from tests.support.world import CONFIG

COMMAND_S_MAX = 60


class Crossrail:
    """Runs commands against one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self._environment = {**os.environ, "CROSSRAIL_DATABASE": url, "CROSSRAIL_STATE": str(folder)}
        self._folder = folder

    async def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from orchestrator.cli.main import main; main()"]
        group, command, *others = words
        return await asyncio.to_thread(
            subprocess.run, [*program, group, command, "-c", str(CONFIG), *others], env=self._environment, text=True,
            cwd=self._folder, capture_output=True, timeout=COMMAND_S_MAX, check=False,
        )  # fmt: skip

    async def json(self, code: int, *words: str) -> Any:
        done = await self.run(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)


async def filled(books: Books) -> None:
    for dollars in (1, 2, 3):
        await books.earn(dollars * USD)


async def test_an_export_is_verified_without_the_database(sqlite_url: str, tmp_path: Path) -> None:
    crossrail, file = Crossrail(sqlite_url, tmp_path), tmp_path / "books.ndjson"
    async with opened_books(sqlite_url) as books:
        await filled(books)
        made = await crossrail.json(0, "ledger", "export", "--out", str(file))  # while the service writes
        assert (made["books"], made["entries"], made["seals"]) == (1, 3, 3)
    nowhere = Crossrail("sqlite+aiosqlite:///nowhere/at/all.db", tmp_path)
    report = await nowhere.json(0, "ledger", "verify-chain", str(file))
    head = report["heads"]["mer_1 test"]
    assert (await nowhere.run("ledger", "verify-chain", str(file), "--head", head)).returncode == 0
    wrong = await nowhere.run("ledger", "verify-chain", str(file), "--head", "f00")
    assert (wrong.returncode, "no link has the anchored hash f00" in wrong.stdout) == (1, True)
    file.write_text(file.read_text("utf-8").replace("fact_1", "fact_x"), "utf-8")
    changed = await nowhere.run("ledger", "verify-chain", str(file))
    assert changed.returncode == 1
    assert "BROKEN  mer_1 test: link 2: entry 2 (ent_" in changed.stdout
    file.write_text(file.read_text("utf-8")[:-30], "utf-8")
    assert "line 9 of books.ndjson" in (await nowhere.run("ledger", "verify-chain", str(file))).stdout


async def test_the_database_is_verified_in_place_against_a_file_of_anchors(sqlite_url: str, tmp_path: Path) -> None:
    crossrail, anchors = Crossrail(sqlite_url, tmp_path), tmp_path / "heads.ndjson"
    async with opened_books(sqlite_url) as books:
        await filled(books)
        hashes = [row["hash"] for row in await books.rows("seal")]
    anchors.write_text("".join(json.dumps({"hash": hash_}) + "\n" for hash_ in hashes), "utf-8")
    done = await crossrail.run("ledger", "verify-chain", "--anchors", str(anchors))
    assert (done.returncode, "the 3 anchored hashes" in done.stdout) == (0, True), done.stderr
    anchors.write_text("no json", "utf-8")
    assert (await crossrail.run("ledger", "verify-chain", "--anchors", str(anchors))).returncode == 2


async def test_a_rebuild_changes_nothing_until_it_may(sqlite_url: str, tmp_path: Path) -> None:
    crossrail = Crossrail(sqlite_url, tmp_path)
    async with opened_books(sqlite_url) as books:
        await filled(books)
        await books.tamper("UPDATE account SET balance = 5 WHERE {here} AND code = 'merchant:pending'")
        dry = await crossrail.json(1, "ledger", "rebuild")
        assert [(one["materialised"], one["rebuilt"]) for one in dry["differences"]] == [(5, -6 * USD)]
        busy = await crossrail.run("ledger", "rebuild", "--apply")
        assert (busy.returncode, "already has a writing process" in busy.stderr) == (2, True), busy.stderr
    applied = await crossrail.json(0, "ledger", "rebuild", "--apply")
    assert (applied["repaired"], applied["ok"]) == (1, True)
    assert (await crossrail.json(0, "ledger", "rebuild"))["differences"] == []
    assert (await crossrail.run("ledger", "check")).returncode == 0


async def test_a_rebuild_does_not_trust_postings_that_were_tampered_with(sqlite_url: str, tmp_path: Path) -> None:
    crossrail = Crossrail(sqlite_url, tmp_path)
    async with opened_books(sqlite_url) as books:
        await filled(books)
        await books.tamper("UPDATE posting SET units = units * 2 WHERE {here} AND sequence = 2")
    done = await crossrail.run("ledger", "rebuild", "--apply")
    assert (done.returncode, "the postings themselves are in doubt" in done.stderr) == (1, True)
    assert len((await crossrail.json(1, "ledger", "rebuild"))["differences"]) == 2


async def test_a_payout_is_asked_for_by_command_and_not_approved_by_it(sqlite_url: str, tmp_path: Path) -> None:
    crossrail = Crossrail(sqlite_url, tmp_path)
    async with opened_books(sqlite_url) as books:
        await books.merchant()
        await books.move(100 * USD, Account.MERCHANT_AVAILABLE)
        await books.ask(30 * USD)
    terms = await crossrail.json(0, "payouts", "terms", "mer_1", "--tier", "trusted", "--to", "iban=DE02")
    assert (terms["risk_tier"], terms["destination"]) == ("trusted", {"iban": "DE02"})
    asked = await crossrail.json(0, "payouts", "request", "mer_1", "--amount", "70.00", "--mode", "test")
    assert (asked["status"], asked["requested_by"]) == ("requested", "admin_token")
    refused = await crossrail.run("payouts", "approve", asked["id"])
    assert (refused.returncode, "payout_needs_a_second_person" in refused.stderr) == (1, True), refused.stderr
    changed = await crossrail.run("payouts", "approve", "po_1")
    assert (changed.returncode, "payout_destination_changed" in changed.stderr) == (1, True), changed.stderr
    failed = await crossrail.json(0, "payouts", "fail", "po_1", "destination changed")
    assert failed["status"] == "canceled"
    listed = await crossrail.run("payouts", "list", "--status", "requested")
    assert "70.00 USD" in listed.stdout
    assert "po_1" not in listed.stdout
    assert (await crossrail.run("payouts", "terms", "mer_1", "--to", "nonsense")).returncode == 2
