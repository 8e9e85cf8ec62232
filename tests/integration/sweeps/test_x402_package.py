"""The PyPI package's own client pays a top-up of ours, over HTTP, on a real EVM node."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path

import pytest
from eth_account import Account

from tests.integration.sweeps.test_x402_evm import shop

pytestmark = pytest.mark.anvil
pytest.importorskip("x402", reason="needs the package x402[evm]")


async def test_the_packages_client_pays_by_itself(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    with warnings.catch_warnings():  # web3 7.16 warns of its own use of websockets.legacy
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("web3")
    client_module, register = import_module("x402.client"), import_module("x402.mechanisms.evm.exact.register")
    httpx, transport = import_module("httpx"), import_module("x402.http.clients.httpx")
    http_utils = import_module("x402.http.utils")
    async with shop(sqlite_url, tmp_path, anvil_url) as here:
        client = client_module.x402Client()
        register.register_exact_evm_client(client, Account.from_key(here.agent.secret))
        client.set_spend_controls(False)  # stock clients know neither our token nor five dollars
        topup, url = await here.topup()
        async with httpx.AsyncClient(transport=transport.x402AsyncTransport(client), timeout=30) as http:
            paid = await http.post(url)
        assert paid.status_code == 200, paid.text
        settled = http_utils.decode_payment_response_header(paid.headers["PAYMENT-RESPONSE"])
        assert (settled.success, settled.network) == (True, "eip155:31337")
        await here.scene.finish()
        await here.scene.watch()
        shown = await here.look(topup["id"])
        assert (shown["status"], shown["deposits"][0]["tx_hash"]) == ("credited", settled.transaction)
