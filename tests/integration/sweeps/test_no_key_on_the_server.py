"""The server does not start with a key that can spend in its configuration, wherever it stands, and does not show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator import bootstrap
from orchestrator.clock import SystemClock
from orchestrator.config_source import ConfigInvalid
from tests.faults.payment_process import configured
from tests.support.signing import WORDS, account_xprv
from tests.support.world import over

NETWORK = {"treasury": "0x" + "7e" * 20, "coin": "BNB", "coin_usd": "600.00"}
PLACES: dict[str, Any] = {
    "an xprv as a secret": {"service": {"secret": account_xprv("evm")}},
    "words as a token": {"admin": {"token": WORDS}},
    "a raw key as the signer's address": {"sweeps": {"signer_socket": "11" * 32}},
}


async def load(folder: Path, more: Any) -> bootstrap.Loaded:
    settings, document = configured("sqlite+aiosqlite:///x.db", folder, "http://127.0.0.1:9")
    document = replace(document, data=over(document.data, more))
    sweeps = document.data.get("sweeps")
    if sweeps and "networks" in sweeps:
        from orchestrator.config_source import check
        from orchestrator.settings import Settings

        settings = check(Settings, document)
    async with aiohttp.ClientSession() as http:
        return bootstrap.load(settings, document, http, SystemClock(), "http://127.0.0.1:9")


@pytest.mark.parametrize("place", list(PLACES))
async def test_a_spending_key_stops_the_start(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        await load(tmp_path, PLACES[place])
    said = str(refused.value)
    assert "crossrail signer" in said
    assert account_xprv("evm") not in said
    assert WORDS not in said
    assert "11" * 32 not in said


async def test_networks_are_checked_against_the_rails(tmp_path: Path) -> None:
    loaded = await load(tmp_path, {"sweeps": {"networks": {"eip155:56": NETWORK}}})
    assert list(loaded.sending) == ["test:eip155:56"]
    with pytest.raises(ConfigInvalid, match="no rail account scans"):
        await load(tmp_path, {"sweeps": {"networks": {"eip155:999": NETWORK}}})
    with pytest.raises(ConfigInvalid, match="EVM address"):
        await load(tmp_path, {"sweeps": {"networks": {"eip155:56": {**NETWORK, "treasury": "T123"}}}})
