"""config.yaml that cannot be used: each complaint says where it stands and what to do."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from adapters.base import Mode
from orchestrator import bootstrap
from orchestrator.clock import SystemClock
from orchestrator.config_source import ConfigInvalid
from orchestrator.settings import load

CONFIG = Path(__file__).parents[2] / "config.yaml"

NEAR = 4
"""Lines: what is wrong with a block as a whole stands at its first one."""

BROKEN = {
    "a word that is no mode": ("mode: sandbox ", "mode: sandbax ", r":\d+:\d+: mode: .*sandbox"),
    "a block that nobody knows": ("checkout:\n", "chekout:\n", r"chekout: .*checkout"),
    "a price with a word in it": ('session_min_usd: "1.00"', 'session_min_usd: "one"', r"session_min_usd: .*one"),
    "limits the wrong way round": ('session_max_usd: "10000.00"', 'session_max_usd: "0.50"', "session_min_usd is above 0"),
    "a country of three letters": ("[CU, IR, KP, SY]", "[CU, IRN, KP, SY]", r"blocked_countries.*"),
    "a port that is none": ("  state_dir:", "  port: 99999\n  state_dir:", r"service.port: .*65535"),
    "a fee above one half": ("rail_bps: 290", "rail_bps: 9000", r"rail_bps: .*5000"),
    "a live account that is simulated": ("mode: test", "mode: live", "no simulated"),
    "a rate source that nobody knows": ("    ecb: {}", "    ebc: {}", r"rates.*ebc.*ecb"),
    "a tab": ("checkout:\n  session_ttl_s", "checkout:\n\tsession_ttl_s", r"tab|\\t"),
    "a database of another kind": (
        "${CROSSRAIL_DATABASE:-sqlite+aiosqlite:///var/crossrail.db}", "mysql://x/y", r"service.database",
    ),
}  # fmt: skip


def _written(folder: Path, before: str, after: str) -> Path:
    text = CONFIG.read_text("utf-8")
    assert before in text
    file = folder / "config.yaml"
    file.write_text(text.replace(before, after, 1), "utf-8")
    return file


def test_the_configuration_of_the_sandbox_is_good() -> None:
    settings, _ = load(CONFIG, {})
    assert {account.mode for rail in settings.rails.values() for account in rail.accounts.values()} == {Mode.TEST}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_configuration_says_file_line_column_and_what_is_wrong(tmp_path: Path, what: str) -> None:
    before, after, complaint = BROKEN[what]
    file = _written(tmp_path, before, after)
    with pytest.raises(ConfigInvalid, match=complaint) as caught:
        load(file, {})
    _assert_placed(caught.value, file)


def _assert_placed(error: ConfigInvalid, file: Path) -> None:
    """One problem stands at (or in the block of) the first line that was changed; each says where it stands."""
    lines, good = file.read_text("utf-8").splitlines(), CONFIG.read_text("utf-8").splitlines()
    line = next(number for number, (new, old) in enumerate(zip(lines, good, strict=False), 1) if new != old)
    for problem in error.problems:
        assert str(problem).startswith(f"{problem.file}:{problem.line}:{problem.column}: ")
        assert problem.file.endswith("config.yaml")
        assert 1 <= problem.line <= len(lines) + 1
        assert problem.column >= 1
        assert len(problem.message) > 10
    assert any(abs(problem.line - line) <= NEAR for problem in error.problems), (line, str(error))


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = CONFIG.read_text("utf-8")
    file = tmp_path / "config.yaml"
    file.write_text(text.replace("mode: sandbox ", "mode: x ").replace("rail_bps: 290", "rail_bps: x"), "utf-8")
    with pytest.raises(ConfigInvalid) as caught:
        load(file, {})
    assert {problem.path.rpartition(".")[2] for problem in caught.value.problems} >= {"mode", "rail_bps"}


def test_a_variable_that_is_not_set_is_named_with_its_place(tmp_path: Path) -> None:
    file = _written(tmp_path, "state_dir: ${CROSSRAIL_STATE:-var}", "state_dir: ${CROSSRAIL_STATE}")
    with pytest.raises(ConfigInvalid, match=r"config\.yaml:\d+:\d+: service\.state_dir: .*CROSSRAIL_STATE.*:-default"):
        load(file, {})
    settings, _ = load(file, {"CROSSRAIL_STATE": "elsewhere"})
    assert settings.service.state_dir == "elsewhere"


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"nothing\.yaml"):
        load(tmp_path / "nothing.yaml", {})


def test_secrets_are_not_printed() -> None:
    settings, _ = load(CONFIG, {"CROSSRAIL_SECRET": "very secret indeed", "CROSSRAIL_ADMIN_TOKEN": "also secret"})
    assert "secret indeed" not in repr(settings)
    assert "also secret" not in repr(settings)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("  adyen:\n    accounts", "  adyan:\n    accounts", r"rails\.adyan.*adyan"),
        ("webhook_secrets: [whsec_sandbox_only_0123456789abcdef]", "webhook_secrets: []", "webhook_secrets"),
        ("webhook_secrets: [whsec_sandbox_only_0123456789abcdef]", 'webhook_secrets: [""]', "webhook_secrets"),
        ("hmac_keys: [44782DEF", "hmac_keys: [XX782DEF", "hmac_keys"),
        ("card: {rail_bps: 290", "kard: {rail_bps: 290", r"fees: (card has no fees|kard is not offered)"),
        ("xpub: xpub6D1AabNHCup", "xpub: xpub6D1AabNHCuq", "xpub"),
        ("defaults:\n    offers: [card,", "defaults:\n    offers: [cord,", "cord"),
    ],
)
async def test_a_rail_or_rule_that_cannot_work_is_refused_at_start(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    file = _written(tmp_path, before, after)
    settings, document = load(file, {})
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConfigInvalid, match=complaint) as caught:
            bootstrap.load(settings, document, http, SystemClock(), "http://127.0.0.1:1")
    _assert_placed(caught.value, file)
