"""``crossrail wallets`` as people and programs use it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.ledger.bank import opened_bank
from tests.support.processes import CROSSRAIL

CONFIG = Path(__file__).parents[3] / "config.yaml"


def crossrail(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "CROSSRAIL_STATE": str(folder),
        "CROSSRAIL_DATABASE": url,
        "CROSSRAIL_CONFIG": str(CONFIG),
        "CROSSRAIL_LOG": "error",
    }
    return subprocess.run(
        [str(CROSSRAIL), *words], capture_output=True, text=True, timeout=90, env=environment, check=False
    )


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


async def _with_wallet(url: str) -> str:
    async with opened_bank(url) as bank:
        return await bank.wallet(paid=300)


def test_credit_is_given_and_taken_back_by_command_and_the_books_hold(sqlite_url: str, tmp_path: Path) -> None:
    wallet = asyncio.run(_with_wallet(sqlite_url))
    adjust = ("wallets", "adjust", wallet, "--reason", "an outage", "--json")
    lot = answer(crossrail(tmp_path, sqlite_url, *adjust, "--amount", "2.50"))
    assert (lot["kind"], lot["remaining"]["amount"]) == ("compensation", "2.50")
    (shown,) = answer(crossrail(tmp_path, sqlite_url, "wallets", "show", wallet, "--json"))
    assert shown["balances"] == {"wallet:paid": "3.00", "wallet:promo": "2.50"}
    assert [one["kind"] for one in shown["credit"]] == ["paid", "compensation"]
    back = answer(crossrail(tmp_path, sqlite_url, *adjust, "--revoke", lot["id"]))
    assert back["remaining"]["amount"] == "0.00"
    again = crossrail(tmp_path, sqlite_url, *adjust, "--revoke", lot["id"])
    assert (again.returncode, "credit_is_used" in again.stderr) == (1, True)
    assert answer(crossrail(tmp_path, sqlite_url, "ledger", "check", "--json"))["ok"] is True


def test_a_wrong_adjustment_exits_with_2_and_an_unknown_wallet_with_1(sqlite_url: str, tmp_path: Path) -> None:
    wallet = asyncio.run(_with_wallet(sqlite_url))
    adjust = ("wallets", "adjust", wallet, "--reason", "x")
    for wrong in ((), ("--amount", "1", "--revoke", "lot_1"), ("--amount", "1e3")):
        assert crossrail(tmp_path, sqlite_url, *adjust, *wrong).returncode == 2
    assert crossrail(tmp_path, sqlite_url, "wallets", "show", "nobody").returncode == 1
