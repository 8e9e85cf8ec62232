"""The command line as people and programs use it: answers, exit codes, JSON."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.processes import CROSSRAIL

CONFIG = Path(__file__).parents[2] / "config.yaml"


def crossrail(folder: Path, *words: str, config: Path = CONFIG) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "CROSSRAIL_STATE": str(folder),
        "CROSSRAIL_DATABASE": f"sqlite+aiosqlite:///{folder}/crossrail.db",
        "CROSSRAIL_CONFIG": str(config),
        "CROSSRAIL_LOG": "error",
    }
    return subprocess.run(
        [str(CROSSRAIL), *words], capture_output=True, text=True, timeout=90, env=environment, check=False
    )


def test_the_demo_credits_every_buyer_once_and_says_so_as_json(tmp_path: Path) -> None:
    done = crossrail(tmp_path, "demo", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["books"]["balanced"] is True
    assert report["books"]["rebuilt_equals_materialised"] is True
    assert report["webhooks_delivered"] >= len(report["payments"])
    by_country: dict[str, dict[str, Any]] = {payment["country"]: payment for payment in report["payments"]}
    assert {country: by_country[country]["method"] for country in ("DE", "BR", "NL", "PH", "VN", "NG")} == {
        "DE": "card", "BR": "pix", "NL": "ideal", "PH": "gcash", "VN": "usdt_tron", "NG": "usdt_bsc",
    }  # fmt: skip
    for payment in report["payments"]:
        assert payment["state"] == "credited"
        assert payment["credited"]["currency"] == "USD"
        assert payment["quoted"]["currency"]
        assert 0 <= payment["seconds_to_credit"] < 30


def test_rules_that_are_fine_lint_with_exit_0_and_broken_ones_with_1_and_their_line(tmp_path: Path) -> None:
    assert crossrail(tmp_path, "rules", "lint").returncode == 0
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        CONFIG.read_text("utf-8").replace("country: BR, amount_usd: {max", "country: BRA, amount_usd: {max")
    )
    done = crossrail(tmp_path, "rules", "lint", str(broken))
    assert done.returncode == 1
    assert "broken.yaml:" in done.stdout
    assert "BRA" in done.stdout
    listed = json.loads(crossrail(tmp_path, "rules", "lint", "--json", str(broken)).stdout)
    assert listed["ok"] is False
    assert listed["findings"][0]["line"] > 1


def test_a_whole_draft_is_held_against_its_own_rails_and_a_block_alone_needs_a_configuration(tmp_path: Path) -> None:
    text = CONFIG.read_text("utf-8")
    off = tmp_path / "off.yaml"
    off.write_text(
        text.replace(
            "  adyen:\n    accounts:\n      main:\n", "  adyen:\n    accounts:\n      main:\n        enabled: false\n"
        )
    )
    done = crossrail(tmp_path, "rules", "lint", str(off))
    assert done.returncode == 1
    assert f"{off}:" in done.stdout, "the file as it was named: what continuous integration needs"
    assert "rails.adyen.accounts.main.enabled is false" in done.stdout
    block = tmp_path / "block.yaml"
    block.write_text(text[text.index("\nrouting:\n") :])
    assert crossrail(tmp_path, "rules", "lint", str(block)).returncode == 0
    alone = crossrail(tmp_path, "rules", "test", str(block), config=tmp_path / "nowhere.yaml")
    assert alone.returncode == 2
    assert "--config says whose rails these rules are for" in alone.stderr


def test_a_service_with_a_broken_configuration_does_not_start_and_exits_with_2(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(CONFIG.read_text("utf-8").replace("session_ttl_s: 1800", "session_ttl_s: soon"))
    done = crossrail(tmp_path, "serve", config=broken)
    assert done.returncode == 2
    assert "broken.yaml:" in done.stderr
    assert "session_ttl_s" in done.stderr


def test_a_rate_that_nobody_has_is_a_clear_no(tmp_path: Path) -> None:
    done = crossrail(tmp_path, "rates", "show", "BRL", "XXX", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert [rate["currency"] for rate in answer["rates"]] == ["BRL"]
    assert [missing["currency"] for missing in answer["missing"]] == ["XXX"]


def test_a_marked_currency_says_so_beside_its_rate(tmp_path: Path) -> None:
    shown = crossrail(tmp_path, "rates", "show", "DKK", "BRL")
    assert "DKK: peg, quoted by ecb only: held to the euro" in shown.stdout
    sources = json.loads(crossrail(tmp_path, "rates", "show", "--json").stdout)
    assert {one["currency"] for one in sources["marked"]} >= {"ARS", "DKK"}
    (ars,) = json.loads(crossrail(tmp_path, "rates", "show", "ARS", "--json").stdout)["rates"]
    assert [one["source"] for one in ars["sources"]] == ["hmrc"]
    assert ars["marked"].startswith("dual rate, quoted by hmrc only")


def test_a_decision_is_explained_for_people_and_for_programs(tmp_path: Path) -> None:
    told = crossrail(tmp_path, "rules", "explain", "--country", "BR", "--amount", "50")
    assert told.returncode == 0
    assert "brazil-pix" in told.stdout
    answer = json.loads(crossrail(tmp_path, "rules", "explain", "--country", "BR", "--amount", "50", "--json").stdout)
    assert answer["offers"][0]["method"] == "pix"
    assert crossrail(tmp_path, "rules", "explain", "--country", "XX", "--amount", "50").returncode == 2
    assert crossrail(tmp_path, "rules", "explain", "--country", "BR", "--amount", "much").returncode == 2
    every = ("--method", "usdt", "--risk", "high", "--customer-age-days", "3", "--metadata", "plan=pro", "--hour", "3",
             "--weekday", "sun", "--currency", "EUR", "--merchant-category", "5734")  # fmt: skip
    told = json.loads(
        crossrail(tmp_path, "rules", "explain", "--country", "VN", "--amount", "5", *every, "--json").stdout
    )
    facts = told["facts"]
    assert (facts["risk"], facts["customer_age_days"], facts["metadata"]) == ("high", 3, {"plan": "pro"})
    assert facts["methods"] == ["usdt"]
    assert datetime.fromisoformat(facts["at"]).strftime("%a %H") == "Sun 03"
    for wrong, said in (
        (("--risk", "none"), "--risk: should be"),
        (("--method", "cheque"), "--method: no rail here offers cheque"),
        (("--metadata", "plan"), "KEY=VALUE"),
        (("--hour", "24"), "--hour: should be"),
    ):
        refused = crossrail(tmp_path, "rules", "explain", "--country", "VN", "--amount", "5", *wrong)
        assert refused.returncode == 2
        assert said in refused.stderr


def test_merchants_and_keys_are_made_without_a_running_service_and_the_doctor_finds_nothing_to_mend(
    tmp_path: Path,
) -> None:
    merchant = json.loads(crossrail(tmp_path, "merchants", "create", "Acme AI", "--json").stdout)
    key = json.loads(crossrail(tmp_path, "keys", "create", "--merchant", merchant["id"], "--json").stdout)
    assert key["secret"].startswith("sk_test_")
    listed = json.loads(crossrail(tmp_path, "keys", "list", "--merchant", merchant["id"], "--json").stdout)
    assert [one["id"] for one in listed] == [key["id"]]
    assert "secret" not in listed[0]
    revoked = json.loads(
        crossrail(tmp_path, "keys", "revoke", key["id"], "--merchant", merchant["id"], "--json").stdout
    )
    assert revoked["revoked_at"] is not None
    assert crossrail(tmp_path, "doctor").returncode == 0
    assert crossrail(tmp_path, "ledger", "check").returncode == 0


def test_the_first_deposit_address_of_the_published_test_wallet_is_derived(tmp_path: Path) -> None:
    tron = json.loads(crossrail(tmp_path, "addresses", "derive", "tron", "--count", "1", "--json").stdout)
    evm = json.loads(crossrail(tmp_path, "addresses", "derive", "evm", "--count", "1", "--json").stdout)
    assert tron == [{"index": 0, "address": "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"}]
    assert evm == [{"index": 0, "address": "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"}]
