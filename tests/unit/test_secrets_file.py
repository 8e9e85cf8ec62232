"""Keys in a file of their own: read only where nobody else can read it, and never printed."""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
import pytest

from orchestrator import bootstrap
from orchestrator.clock import SystemClock
from orchestrator.config_source import ConfigInvalid
from orchestrator.private_files import FileNotSafe, read_secrets_file
from orchestrator.routing.reading import Source
from orchestrator.settings import load
from tests.unit.test_settings import CONFIG

KEY = "sk_test_only_in_the_file_0001"
HOOK = "whsec_only_in_the_file_0002"


def _configured(folder: Path, text: str = f"# Stripe\n\nSTRIPE_KEY={KEY}\nSTRIPE_HOOK = {HOOK}\n") -> tuple[Path, Path]:
    """A configuration whose Stripe keys stand in a secrets file beside it."""
    secrets, config = folder / "secrets.env", folder / "config.yaml"
    secrets.write_text(text, "utf-8")
    secrets.chmod(0o600)
    written = CONFIG.read_text("utf-8").replace("sk_test_sandbox_51CrossrailSandboxKey", "${STRIPE_KEY}")
    written = written.replace("whsec_sandbox_only_0123456789abcdef", '"${STRIPE_HOOK}"')
    config.write_text(written.replace("${CROSSRAIL_SECRETS_FILE:-}", str(secrets)), "utf-8")
    return config, secrets


def test_what_the_configuration_names_is_read_from_the_file(tmp_path: Path) -> None:
    config, _ = _configured(tmp_path)
    settings, _ = load(config, {})
    options = settings.rails["stripe"].accounts["main"].options
    assert (options["api_key"], options["webhook_secrets"]) == (KEY, [HOOK])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777, 0o620])
def test_a_file_that_others_may_touch_is_refused_and_says_what_to_do(tmp_path: Path, mode: int) -> None:
    config, secrets = _configured(tmp_path)
    secrets.chmod(mode)
    with pytest.raises(ConfigInvalid, match=rf"secrets_file: .*mode {mode:o}: chmod 600") as refused:
        load(config, {})
    assert KEY not in str(refused.value)


def test_a_file_of_another_user_or_none_at_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, secrets = _configured(tmp_path)
    somebody = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    with pytest.raises(ConfigInvalid, match=f"belongs to another user: chown {somebody} "):
        load(config, {})
    monkeypatch.undo()
    secrets.unlink()
    with pytest.raises(ConfigInvalid, match="No such file"):
        load(config, {})
    secrets.mkdir()
    with pytest.raises(ConfigInvalid, match=r"secrets_file: .*(is no file|Is a directory)"):
        load(config, {})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"STRIPE_KEY {KEY}\n", r"secrets\.env:1: a line is NAME=value"),
        (f"\nstripe_key={KEY}\n", r"secrets\.env:2: a line is NAME=value"),
        (f'STRIPE_KEY="{KEY}"\n', r"secrets\.env:1: the value of STRIPE_KEY stands in quotes"),
        (f"STRIPE_KEY={KEY}\nSTRIPE_KEY={KEY}\n", r"secrets\.env:2: STRIPE_KEY stands here twice"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_not_shown(tmp_path: Path, text: str, complaint: str) -> None:
    _, secrets = _configured(tmp_path, text)
    with pytest.raises(FileNotSafe, match=complaint) as refused:
        read_secrets_file(secrets)
    assert KEY not in str(refused.value)


def test_a_name_stands_in_the_file_or_in_the_environment_never_in_both(tmp_path: Path) -> None:
    config, _ = _configured(tmp_path)
    with pytest.raises(ConfigInvalid, match=r"STRIPE_KEY: in .* and in the environment"):
        load(config, {"STRIPE_KEY": "sk_test_of_the_environment"})


async def test_neither_settings_nor_rails_print_a_key(tmp_path: Path) -> None:
    config, _ = _configured(tmp_path)
    settings, document = load(config, {})
    async with aiohttp.ClientSession() as http:
        loaded = bootstrap.load(settings, document, http, SystemClock(), "http://127.0.0.1:9")
        adapter = loaded.rails["stripe", "main"]
        printed = [repr(one) for one in (settings, document, loaded, adapter, adapter.account)]
        printed += [
            str(settings),
            settings.rails["stripe"].model_dump_json(exclude={"accounts": {"main": {"options"}}}),
        ]
    for text in printed:
        assert KEY not in text
        assert HOOK not in text


def test_a_text_that_was_sent_cannot_have_a_file_of_this_machine_read(tmp_path: Path) -> None:
    config, _ = _configured(tmp_path)
    ours, _ = Source.of_file(config, {}).document()
    assert ours.at(("rails", "stripe", "accounts", "main", "options", "api_key")) == KEY
    with pytest.raises(ConfigInvalid, match="the environment has no STRIPE_KEY"):
        Source("sent.yaml", config.read_text("utf-8"), {}).document()
