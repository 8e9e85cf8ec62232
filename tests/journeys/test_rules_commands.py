"""A day of an ops person with `crossrail rules`: a draft is tried, called back, applied, looked at and rolled back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from tests.integration.routing.test_rules_in_force import without_pix
from tests.journeys.test_commands import CONFIG, crossrail


def told(folder: Path, *words: str) -> Any:
    done = crossrail(folder, "rules", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_draft_is_tried_applied_and_rolled_back_from_the_command_line(tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text(without_pix(CONFIG.read_text("utf-8")))
    begun = told(tmp_path, "apply", str(draft), "--canary", "10", "--author", "mia", "-m", "cards in Brazil")
    assert (begun["trial"]["percent"], begun["trial"]["author"]) == (10, "mia")
    stopped = crossrail(tmp_path, "rules", "stop", "-m", "enough")
    assert "last trial" in stopped.stdout
    assert f"{begun['trial']['ruleset_hash'][:12]} as canary: stopped" in stopped.stdout

    applied = told(tmp_path, "apply", str(draft), "--author", "mia", "-m", "cards in Brazil")
    assert applied["ruleset_hash"] == begun["trial"]["ruleset_hash"]
    shown = crossrail(tmp_path, "rules", "show", applied["ruleset_hash"][:12])
    assert "brazil-pix" in shown.stdout
    assert "-  - method: pix" in shown.stdout
    back = told(tmp_path, "rollback", "--author", "bob")
    kinds = [one["kind"] for one in told(tmp_path, "history")]
    assert kinds == ["rollback", "apply", "stop", "trial", "file"]
    assert back["ruleset_hash"] != applied["ruleset_hash"]

    report = tmp_path / "report.html"
    replayed = told(tmp_path, "replay", applied["ruleset_hash"][:12], "--html", str(report), "--processes", "1")
    assert (replayed["decisions"], replayed["moved"]) == (0, 0)
    assert "<h1>Replay of 0 decisions</h1>" in report.read_text("utf-8")


def test_a_draft_that_is_wrong_is_refused_with_every_place(tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text(
        CONFIG.read_text("utf-8")
        .replace("country: NL}", "country: Netherlands}")
        .replace("id: vietnam-usdt", "id: Viet nam")
    )
    refused = crossrail(tmp_path, "rules", "apply", str(draft))
    assert refused.returncode == 1
    assert "ruleset_invalid" in refused.stderr
    assert (
        "routing.rules[1].when.country: Netherlands is no country (ISO 3166-1 alpha-2) (did you mean 'NL'?)"
        in refused.stderr
    )
    assert "routing.rules[3].id: an id is small letters, digits and hyphens" in refused.stderr


def test_the_published_schema_takes_the_shipped_configuration_and_no_misspelt_one(tmp_path: Path) -> None:
    schema = json.loads(crossrail(tmp_path, "rules", "schema").stdout)
    shipped = YAML(typ="safe", pure=True).load(CONFIG.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(shipped)
    shipped["routing"]["rules"][0]["ovner"] = "ops"
    assert not Draft202012Validator(schema).is_valid(shipped)
