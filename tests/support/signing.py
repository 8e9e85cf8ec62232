"""A signer's files for tests: the published test mnemonic's account keys, and a policy that a test may change."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import base58
import orjson
from coincurve import PrivateKey
from eth_account.hdaccount import seed_from_mnemonic

from orchestrator.signer.client import SignerClient
from orchestrator.signer.keys import PrivateNode
from tests.support.processes import CROSSRAIL, Process, running

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
COINS = {"evm": 60, "tron": 195}
APPROVERS = {"alice": b"\xa1" * 32, "bob": b"\xb0" * 32}


@cache
def account_xprv(family: str) -> str:
    """Return the account key m/44'/coin'/0' of the published words (BIP-32's hardened derivation, by hand)."""
    digest = hmac.digest(b"Bitcoin seed", seed_from_mnemonic(WORDS, ""), hashlib.sha512)
    for index in (44, COINS[family], 0):
        key, chain_code = digest[:32], digest[32:]
        digest = hmac.digest(chain_code, b"\0" + key + (2**31 + index).to_bytes(4, "big"), hashlib.sha512)
        digest = PrivateKey(key).add(digest[:32]).secret + digest[32:]
    head = bytes.fromhex("0488ade4") + b"\x03" + bytes(4) + (2**31).to_bytes(4, "big")
    return base58.b58encode_check(head + digest[32:] + b"\0" + digest[:32]).decode()


def node(family: str) -> PrivateNode:
    return PrivateNode.parse_account(account_xprv(family))


@dataclass(frozen=True)
class SignerFiles:
    folder: Path

    @property
    def policy(self) -> Path:
        return self.folder / "signer.yaml"

    @property
    def keys(self) -> Path:
        return self.folder / "signer.keys"

    @property
    def socket(self) -> Path:
        return self.folder / "s.sock"

    @property
    def client(self) -> SignerClient:
        return SignerClient(self.socket)

    def write(self, chains: Mapping[str, Any], **more: Any) -> SignerFiles:
        """Write both files, as JSON, which is YAML."""
        self.keys.touch(mode=0o600)
        self.keys.write_text(orjson.dumps({"accounts": {name: account_xprv(name) for name in COINS}}).decode())
        body = {
            "keys": str(self.keys), "socket": str(self.socket), "journal": str(self.folder / "signed.db"),
            "approvers": {name: _address(secret) for name, secret in APPROVERS.items()}, "chains": chains, **more,
        }  # fmt: skip
        self.policy.write_text(orjson.dumps(body).decode())
        self.policy.chmod(0o644)
        return self


def _address(secret: bytes) -> str:
    return "0x" + PrivateNode(secret, b"").address.hex()


@asynccontextmanager
async def signer_process(files: SignerFiles) -> AsyncIterator[Process]:
    """``crossrail signer`` as its own process, in an environment without the server's."""
    command: list[str | Path] = [CROSSRAIL, "signer", "--policy", files.policy]
    async with running(command, folder=files.folder) as process:
        await process.wait_for_line("listens on")
        yield process


@asynccontextmanager
async def short_folder() -> AsyncIterator[Path]:
    """A folder whose name fits into a socket's address (108 bytes)."""
    with await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="cr") as name:
        yield Path(name)
