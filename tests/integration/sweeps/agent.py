"""An agent that pays by x402: it signs with eth-account, and speaks HTTP by hand."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from eth_account import Account

FIELDS = [
    {"name": name, "type": kind}
    for name, kind in (
        ("from", "address"), ("to", "address"), ("value", "uint256"), ("validAfter", "uint256"),
        ("validBefore", "uint256"), ("nonce", "bytes32"),
    )
]  # fmt: skip


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str]

    def decoded(self, name: str) -> Any:
        return orjson.loads(base64.b64decode(self.headers[name]))


@dataclass
class Agent:
    http: aiohttp.ClientSession
    secret: bytes = b"\x77" * 32

    @property
    def address(self) -> str:
        return str(Account.from_key(self.secret).address)

    def sign(self, offer: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """Return a payload for an offer; ``changes`` are laid over the authorisation before it is signed."""
        authorization = {
            "from": self.address, "to": offer["payTo"], "value": offer["amount"], "validAfter": "0",
            "validBefore": str(int(time.time()) + offer["maxTimeoutSeconds"]), "nonce": "0x" + secrets.token_hex(32),
            **changes,
        }  # fmt: skip
        domain = {
            **offer["extra"], "chainId": int(offer["network"].split(":")[1]), "verifyingContract": offer["asset"],
        }  # fmt: skip
        message = {name: int(value) if value.isdigit() else value for name, value in authorization.items()}
        signed = Account.sign_typed_data(self.secret, domain, {"TransferWithAuthorization": FIELDS}, message)
        payload = {"signature": "0x" + signed.signature.hex(), "authorization": authorization}
        return {"x402Version": 2, "accepted": dict(offer), "payload": payload}

    async def post(self, url: str, message: Mapping[str, Any] | None = None) -> Reply:
        headers = {} if message is None else {"PAYMENT-SIGNATURE": base64.b64encode(orjson.dumps(message)).decode()}
        async with self.http.post(url, headers=headers) as answer:
            return Reply(answer.status, await answer.json(), dict(answer.headers))
