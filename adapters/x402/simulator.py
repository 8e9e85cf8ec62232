"""A facilitator of x402 v2, written from the specification: it checks an authorisation and "settles" it on a simulated chain.

GET  {base}/supported
POST {base}/verify, {base}/settle    {"x402Version": 2, "paymentPayload": {...}, "paymentRequirements": {...}}
GET  {base}/_control                 what was settled, switches
POST {base}/_control                 {"pending": n}: so many settlements act and answer settlement_pending;
                                     {"refuse": "word"}: the next one is refused with it; and the kit's switches

The payment appears on the simulated node of the EVM account that ``chain_account`` names, beside this one.

Sources: https://github.com/coinbase/x402/blob/main/specs/x402-specification-v2.md (facilitator interface),
https://eips.ethereum.org/EIPS/eip-3009, https://eips.ethereum.org/EIPS/eip-712
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

import aiohttp
from aiohttp import web
from coincurve import PublicKey
from eth_abi.abi import encode
from eth_hash.auto import keccak

from adapters.base import SimulatorSettings
from adapters.kit.simulator import Switches, api

DECIMALS: Final = 6
"""Of every token that has EIP-3009 in the wild."""
CALL_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
FIELDS: Final = ("address", "address", "uint256", "uint256", "uint256", "bytes32")
TYPES: Final = (
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
    b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)",
)


@dataclass(slots=True)
class FacilitatorSwitches(Switches):
    """The kit's switches, and a facilitator's."""

    pending: int = 0
    """So many settlements act and say that they do not know."""
    refuse: str = ""
    """The next settlement is refused with this word."""


class Facilitator:
    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.switches = FacilitatorSwitches()
        self.settled: dict[tuple[str, str], str] = {}

    async def supported(self, request: web.Request) -> web.Response:
        del request
        kind = {"x402Version": 2, "scheme": "exact", "network": self.settings.options["chain"]}
        return web.json_response({"kinds": [kind], "extensions": [], "signers": {}})

    async def verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        reason = why_not(body)
        answer = {"isValid": not reason, "payer": _payer(body)} | ({"invalidReason": reason} if reason else {})
        return web.json_response(answer)

    async def settle(self, request: web.Request) -> web.Response:
        body = await request.json()
        network = body["paymentRequirements"]["network"]
        reason, self.switches.refuse = self.switches.refuse or why_not(body), ""
        if reason:
            return web.json_response(
                {"success": False, "errorReason": reason, "transaction": "", "network": network, "payer": _payer(body)}
            )
        authorization = body["paymentPayload"]["payload"]["authorization"]
        key = (authorization["from"].lower(), authorization["nonce"].lower())
        if key not in self.settled:
            self.settled[key] = await self._pay(body["paymentRequirements"], authorization)
        if self.switches.take("pending"):
            pending = {"success": False, "errorReason": "settlement_pending", "transaction": "", "network": network}
            return web.json_response({**pending, "payer": _payer(body)})
        return web.json_response(
            {"success": True, "transaction": self.settled[key], "network": network, "payer": _payer(body)}
        )

    async def _pay(self, requirements: Mapping[str, Any], authorization: Mapping[str, Any]) -> str:
        """Make the transfer appear on the simulated chain."""
        sandbox = self.settings.base_url.rsplit("/", 2)[0]
        url = f"{sandbox}/evm/{self.settings.options['chain_account']}/_control"
        pay = {
            "token": requirements["asset"], "to": requirements["payTo"], "from": authorization["from"],
            "amount": str(Decimal(requirements["amount"]).scaleb(-DECIMALS)),
        }  # fmt: skip
        async with (
            aiohttp.ClientSession(timeout=CALL_TIMEOUT) as http,
            http.post(url, json={"pay": pay}) as answer,
        ):
            return str((await answer.json())["tx_hash"])

    async def show(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"settled": sorted(self.settled.values()), "switches": asdict(self.switches)})

    async def control(self, request: web.Request) -> web.Response:
        try:
            self.switches.change(await request.json())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return await self.show(request)


def why_not(body: Mapping[str, Any]) -> str:
    """Return the specification's word for what is wrong, or nothing."""
    requirements, payload = body["paymentRequirements"], body["paymentPayload"]["payload"]
    given = payload["authorization"]
    if body["paymentPayload"]["accepted"] != requirements:
        return "invalid_payment_requirements"
    if given["to"].lower() != requirements["payTo"].lower():
        return "invalid_exact_evm_payload_recipient_mismatch"
    if given["value"] != requirements["amount"]:
        return "invalid_exact_evm_payload_authorization_value_mismatch"
    if int(given["validBefore"]) <= time.time():
        return "invalid_exact_evm_payload_authorization_valid_before"
    if signer_of(requirements, given, bytes.fromhex(payload["signature"][2:])) != given["from"].lower():
        return "invalid_exact_evm_payload_signature"
    return ""


def signer_of(requirements: Mapping[str, Any], given: Mapping[str, Any], signature: bytes) -> str:
    """Return who signed, by EIP-712 as its text has it."""
    extra = requirements["extra"]
    domain_type, transfer_type = map(keccak, TYPES)
    texts = [keccak(str(extra[name]).encode()) for name in ("name", "version")]
    domain = keccak(
        encode(
            ("bytes32", "bytes32", "bytes32", "uint256", "address"),
            (domain_type, *texts, int(requirements["network"].split(":")[1]), requirements["asset"]),
        )
    )
    numbers = [int(given[name]) for name in ("value", "validAfter", "validBefore")]
    nonce = bytes.fromhex(given["nonce"][2:])
    values = (transfer_type, given["from"], given["to"], *numbers, nonce)
    digest = keccak(b"\x19\x01" + domain + keccak(encode(("bytes32", *FIELDS), values)))
    bit = bytes([(signature[64] - 27) % 256 if signature[64] > 1 else signature[64]])
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bit, digest, hasher=None)
    except Exception:  # noqa: BLE001  # coincurve raises a plain Exception where no key fits
        return ""
    return "0x" + keccak(key.format(compressed=False)[1:])[-20:].hex()


def _payer(body: Mapping[str, Any]) -> str:
    return str(body["paymentPayload"]["payload"]["authorization"]["from"])


def simulator(settings: SimulatorSettings) -> web.Application:
    """SIMULATOR of this rail."""
    made = Facilitator(settings)
    app = web.Application(client_max_size=64 * 1024)
    for path, handler in (("/verify", made.verify), ("/settle", made.settle)):
        app.router.add_post(path, api(made.switches, handler, lambda status: web.Response(text="busy", status=status)))
    app.router.add_get("/supported", made.supported)
    app.router.add_get("/_control", made.show)
    app.router.add_post("/_control", made.control)
    return app
