"""``crossrail ledger export|verify-chain|rebuild`` as a person runs them, on SQLite."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import main
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from rates.money import WALLET_USD, Money
from tests.integration.api.shop import Shop, open_shop
from tests.integration.ledger_proof.books import USD, Books, opened_books
from tests.support.world import CONFIG

COMMAND_S_MAX = 60
IBAN = "DE02120300000000202051"


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Crossrail:
    """Runs commands against one database; in this process: starting Python takes longer than all that they do."""

    def __init__(self, url: str, folder: Path) -> None:
        self._environment = {"CROSSRAIL_DATABASE": url, "CROSSRAIL_STATE": str(folder)}

    async def run(self, *words: str) -> Done:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["crossrail", *words, "-c", str(CONFIG)])
            for name, value in self._environment.items():
                patch.setenv(name, value)
            async with asyncio.timeout(COMMAND_S_MAX):
                return await asyncio.to_thread(_called)

    async def json(self, code: int, *words: str) -> Any:
        done = await self.run(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        # A service of the same process logs to the same standard output.
        begin = re.search(r"^[\[{]$", done.stdout, re.MULTILINE)
        assert begin is not None, done.stdout
        return json.JSONDecoder().raw_decode(done.stdout, begin.start())[0]


def _called() -> Done:
    out, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        main()
    return Done(int(ended.value.code or 0), out.getvalue(), errors.getvalue())


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
    async with open_shop(sqlite_url, tmp_path) as shop:
        note = {"pid": os.getpid(), "url": shop.base, "database": sqlite_url, "admin_token": "admin-token-of-tests"}
        (tmp_path / "service.json").write_text(json.dumps(note), "utf-8")  # commands find the running service by it
        who = shop.merchant
        terms = await crossrail.json(0, "payouts", "terms", who, "--tier", "trusted", "--to", f"iban={IBAN}")
        assert (terms["risk_tier"], terms["destination"]) == ("trusted", {"iban": IBAN})
        assert f"iban={IBAN}" in (await crossrail.run("payouts", "terms", who)).stdout
        await shop.world.services.payouts.confirm_destination(who, {"iban": IBAN}, "operator:zoe")
        assert (await crossrail.run("payouts", "terms", who, "--to", "nonsense")).returncode == 2
        await earned(shop, 100)
        asked = await crossrail.json(0, "payouts", "request", who, "--amount", "70.00", "--mode", "test")
        assert (asked["status"], asked["requested_by"]) == ("requested", "admin_token")
        refused = await crossrail.run("payouts", "approve", asked["id"])
        assert (refused.returncode, "payout_needs_a_second_person" in refused.stderr) == (1, True), refused.stderr
        merchants = await shop.post("/v1/payouts", {})
        assert (await crossrail.json(0, "payouts", "approve", merchants["id"]))["status"] == "sent"
        assert (await crossrail.json(0, "payouts", "confirm", merchants["id"], "FT1"))["status"] == "paid"
        assert (await crossrail.json(0, "payouts", "fail", asked["id"], "by mistake"))["status"] == "canceled"
        listed = await crossrail.run("payouts", "list", "--merchant", who)
        assert "70.00 USD" in listed.stdout
        assert "30.00 USD" in listed.stdout


async def test_a_batch_goes_to_the_bank_and_back_by_command(sqlite_url: str, tmp_path: Path) -> None:
    crossrail = Crossrail(sqlite_url, tmp_path)
    async with open_shop(sqlite_url, tmp_path) as shop:
        note = {"pid": os.getpid(), "url": shop.base, "database": sqlite_url, "admin_token": "admin-token-of-tests"}
        (tmp_path / "service.json").write_text(json.dumps(note), "utf-8")
        words = ("--to", "name=Acme GmbH", "--to", f"iban={IBAN}")
        await crossrail.json(0, "payouts", "terms", shop.merchant, *words)
        there = {"name": "Acme GmbH", "iban": IBAN}
        await shop.world.services.payouts.confirm_destination(shop.merchant, there, "operator:zoe")
        await earned(shop, 100)
        ids = [(await shop.post("/v1/payouts", {"amount": {"amount": amount, "currency": "USD"}}))["id"]
               for amount in ("60.00", "40.00")]  # fmt: skip
        for payout in ids:
            await crossrail.json(0, "payouts", "approve", payout)
        built = await crossrail.json(0, "payouts", "batch", "build", "--mode", "test")
        assert (built["lines"], built["built_by"]) == (2, "admin_token")
        batch, file = built["id"], tmp_path / "out.csv"
        refused = await crossrail.run("payouts", "batch", "approve", batch)
        assert (refused.returncode, "payout_batch_needs_a_second_person" in refused.stderr) == (1, True)
        assert (await crossrail.run("payouts", "batch", "fetch", batch, "-o", str(file))).returncode == 1
        assert not file.exists()
        await shop.world.services.payout_batches.approve(batch, "operator:ann")
        fetched = await crossrail.json(0, "payouts", "batch", "fetch", batch, "-o", str(file))
        assert hashlib.sha256(file.read_bytes()).hexdigest() == fetched["sha256"] == built["content_hash"]
        assert file.read_text("utf-8").count(IBAN) == 2
        assert (await crossrail.run("payouts", "batch", "fetch", batch, "-o", str(file))).returncode == 2
        said = tmp_path / "answer.csv"
        said.write_text(f"payout,result,words,amount\n{ids[0]},paid,FT1,60.00\n{ids[1]},paid,FT2,41.00\n", "utf-8")
        answer = await crossrail.json(1, "payouts", "batch", "answer", batch, str(said))
        assert [line["done"] for line in answer["results"]] == [True, False]
        said.write_text(f"payout,result,words\n{ids[1]},failed,account closed\n", "utf-8")
        assert (await crossrail.run("payouts", "batch", "answer", batch, str(said))).returncode == 0
        said.write_text(f"payout,result\n{ids[1]},paid\n", "utf-8")
        assert (await crossrail.run("payouts", "batch", "answer", batch, str(said))).returncode == 2
        shown = await crossrail.run("payouts", "batch", "show", batch)
        assert "account closed" in shown.stdout
        assert batch in (await crossrail.run("payouts", "batch", "list")).stdout
        assert (await crossrail.run("payouts", "batch", "cancel", batch)).returncode == 1


async def earned(shop: Shop, dollars: int) -> None:
    money = Money(dollars * USD, WALLET_USD)

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.post(entry("earned", "f", debit(Account.ROUNDING, money), credit(Account.MERCHANT_AVAILABLE, money)))
        return {}

    await shop.world.services.writer.submit(Unit(shop.merchant, "test", None, (), decide))
