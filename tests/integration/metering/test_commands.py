"""The commands of metering, as people and programs run them: each is a process of its own over one SQLite file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from orchestrator.clock import SystemClock
from orchestrator.database.reads import Reads
from orchestrator.database.writer import Writer, backend_for
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.wallets import ensure_wallet
from tests.integration.database.units import top_up
from tests.journeys.test_commands import crossrail

PRICES = "markup_bps: 2000\nmodels:\n  gpt: {per_million: {input: 1, output: 2}}\n"


def answer(folder: Path, *words: str, code: int = 0) -> Any:
    done = crossrail(folder, *words, "--json")
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)


async def funded(folder: Path, merchant: str) -> str:
    url = f"sqlite+aiosqlite:///{folder}/crossrail.db"
    writer, reads = Writer(backend_for(url), SystemClock()), Reads(url)
    await writer.open()
    try:
        wallet = await ensure_wallet(writer, CustomerRef(merchant, "test", "alice", "BR"))
        await writer.submit(top_up("money", 100, wallet=wallet, merchant=merchant))
        return wallet
    finally:
        await writer.close()
        await reads.close()


def test_prices_usage_statement_and_rerating_from_the_command_line(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    assert answer(tmp_path, "prices", "import", str(prices), "--dry-run")["models"] == 1
    merchant = answer(tmp_path, "merchants", "create", "Acme")["id"]
    made = answer(tmp_path, "prices", "import", str(prices), "--merchant", merchant)
    assert made["version"]["markup_bps"] == 2000
    wallet = asyncio.run(funded(tmp_path, merchant))

    events = [
        {"id": f"call-{number}", "wallet": wallet, "model": "gpt", "tokens": {"input": 1000}} for number in range(7)
    ]
    lines = [json.dumps(event) for event in events]
    lines[2:2] = ["{broken", json.dumps({"id": "x", "wallet": "wal_nobody", "model": "gpt", "tokens": {"input": 1}})]
    usage = tmp_path / "usage.ndjson"
    usage.write_text("\n".join(lines))
    first = answer(tmp_path, "usage", "import", str(usage), "--merchant", merchant, "--batch", "3", code=1)
    assert (first["accepted"], first["duplicate"], first["rejected"]) == (7, 0, 2)
    assert [(one["line"], one["reason"]) for one in first["rejections"]] == [
        (3, "invalid_event"),
        (4, "unknown_wallet"),
    ]

    table = tmp_path / "usage.csv"
    table.write_text(f"id,wallet,model,input,output\ncall-0,{wallet},gpt,1000,\ncall-9,{wallet},gpt,,500\n")
    second = answer(tmp_path, "usage", "import", str(table), "--merchant", merchant)
    assert (second["accepted"], second["duplicate"], second["rejected"]) == (1, 1, 0)

    shown = answer(tmp_path, "ledger", "statement", wallet)
    assert (shown["opening"], shown["closing"]) == ("0.00", "0.9904")
    assert "0.9904" in crossrail(tmp_path, "ledger", "statement", wallet, "--format", "csv").stdout
    assert crossrail(tmp_path, "ledger", "statement", "wal_nobody").returncode == 1
    both = crossrail(tmp_path, "ledger", "statement", wallet, "--mode", "test")
    assert both.returncode == 2
    assert "--mode goes with --merchant" in both.stderr

    span = ["--merchant", merchant, "--from", "2026-01-01", "--to", "2099-01-01", "--version", "1"]
    assert answer(tmp_path, "prices", "rerate", *span)["lines"][0]["difference"] == "0"


def test_a_file_that_is_no_price_file_is_wrong_usage(tmp_path: Path) -> None:
    wrong = tmp_path / "prices.yaml"
    wrong.write_text("models: {a: {inptu: 1}}")
    done = crossrail(tmp_path, "prices", "import", str(wrong), "--dry-run")
    assert done.returncode == 2
    assert "inptu" in done.stderr
