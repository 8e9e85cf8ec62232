"""An agent of the demo: it gets HTTP 402, signs an x402 authorisation with a key of its own, and goes on. No human."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.cli.buyers import PATIENCE_S, Shop
from orchestrator.cli.console import Failure
from orchestrator.cli.spenders import nano

AMOUNT: Final = "5.00"
_FIELDS: Final = [
    {"name": name, "type": kind}
    for name, kind in (
        ("from", "address"), ("to", "address"), ("value", "uint256"), ("validAfter", "uint256"),
        ("validBefore", "uint256"), ("nonce", "bytes32"),
    )
]  # fmt: skip
"""Of EIP-3009's TransferWithAuthorization. Source: https://eips.ethereum.org/EIPS/eip-3009"""


@dataclass(frozen=True, slots=True)
class AgentPaid:
    network: str
    paid: Mapping[str, str]
    credited: Mapping[str, str]
    status: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Credited what was asked for, and the part of a cent by which the tokens were rounded up."""
        more = nano(self.credited["amount"]) - nano(AMOUNT)
        return self.status == "credited" and 0 <= more < nano("0.01")

    def to_json(self) -> dict[str, Any]:
        return {"network": self.network, "paid": dict(self.paid), "credited": dict(self.credited),
                "status": self.status, "seconds": round(self.seconds, 2)}  # fmt: skip

    def print(self) -> None:
        print(f"agent (x402): {self.paid['amount']} {self.paid['currency']} on {self.network}, "
              f"{self.credited['amount']} USD {self.status} after {self.seconds:.1f} s")  # fmt: skip


async def pay_by_x402(shop: Shop, wallet: str) -> AgentPaid:
    """Top a wallet up as an agent does: 402, signature, 200; the scanner credits what it sees on the chain."""
    body = {"wallet": wallet, "amount": {"amount": AMOUNT, "currency": "USD"}}
    topup = await shop.call("POST", "/v1/topups", body)
    started = time.monotonic()
    status, headers = await _post(shop, topup["url"], {})
    if status != 402:
        raise Failure(f"{topup['url']}: 402 was expected, not {status}")
    offer = orjson.loads(base64.b64decode(headers["PAYMENT-REQUIRED"]))["accepts"][0]
    signed = base64.b64encode(orjson.dumps(sign(offer))).decode()
    status, _ = await _post(shop, topup["url"], {"PAYMENT-SIGNATURE": signed})
    if status not in {200, 202}:
        raise Failure(f"{topup['url']}: the payment was answered with {status}")
    while True:
        seen = await shop.call("GET", f"/v1/topups/{topup['id']}")
        if seen["status"] == "credited" or time.monotonic() - started > PATIENCE_S:
            break
        await asyncio.sleep(0.2)
    whole, part = divmod(int(offer["amount"]), 10**6)
    paid = {"amount": f"{whole}.{part:06}", "currency": offer["extra"]["name"]}
    return AgentPaid(offer["network"], paid, seen["credited"], seen["status"], time.monotonic() - started)


async def _post(shop: Shop, url: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
    async with shop.http.post(url, headers=dict(headers)) as response:
        await response.read()
        return response.status, response.headers


def sign(offer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payment of an offer, signed with a key that nobody else ever has."""
    from eth_account import Account

    account = Account.create()
    authorization = {
        "from": account.address, "to": offer["payTo"], "value": offer["amount"], "validAfter": "0",
        "validBefore": str(int(time.time()) + offer["maxTimeoutSeconds"]), "nonce": "0x" + secrets.token_hex(32),
    }  # fmt: skip
    domain = {**offer["extra"], "chainId": int(offer["network"].split(":")[1]), "verifyingContract": offer["asset"]}
    message = {name: int(value) if value.isdigit() else value for name, value in authorization.items()}
    signed = account.sign_typed_data(domain, {"TransferWithAuthorization": _FIELDS}, message)
    payload = {"signature": "0x" + signed.signature.hex(), "authorization": authorization}
    return {"x402Version": 2, "accepted": dict(offer), "payload": payload}
