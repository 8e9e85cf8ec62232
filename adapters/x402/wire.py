"""x402 v2, scheme ``exact`` on EVM chains with EIP-3009: shapes, the digest that a payer signs, and what is checked.

Sources: https://github.com/coinbase/x402/blob/main/specs/x402-specification-v2.md,
https://github.com/coinbase/x402/blob/main/specs/schemes/exact/scheme_exact_evm.md,
https://eips.ethereum.org/EIPS/eip-3009, https://eips.ethereum.org/EIPS/eip-712
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from eth_hash.auto import keccak
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.agent_payments import AgentOffer, PaymentInvalid, Settled, Settlement
from adapters.kit.chain.addresses import read_evm, show_evm
from adapters.kit.chain.signatures import BadSignature, recover
from adapters.sending import AuthorizedTransfer

VERSION: Final = 2
SCHEME: Final = "exact"
SETTLE_SECONDS_MIN: Final = 20
"""An authorisation that ends sooner is not settled: it could end on the way to the chain."""
DOMAIN: Final = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
AUTHORIZATION: Final = keccak(
    b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    b"bytes32 nonce)"
)
REFUSALS: Final = frozenset({
    "invalid_exact_evm_payload_signature", "invalid_exact_evm_payload_recipient_mismatch",
    "invalid_exact_evm_payload_authorization_value_mismatch", "invalid_exact_evm_payload_authorization_valid_before",
    "invalid_exact_evm_payload_authorization_valid_after", "invalid_exact_evm_insufficient_balance",
    "insufficient_funds", "invalid_network", "network_mismatch", "unsupported_scheme", "invalid_payload",
    "invalid_payment_requirements", "invalid_x402_version", "invalid_scheme",
})  # fmt: skip
"""Words of a facilitator that mean: checked, and not sent. Every other word means that nobody knows."""

Uint = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,77})$")]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]


class Authorization(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    from_: Address = Field(alias="from")
    to: Address
    value: Uint
    validAfter: Uint  # noqa: N815  # the wire's own name
    validBefore: Uint  # noqa: N815  # the wire's own name
    nonce: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{64}$")]


class ExactPayload(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    signature: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{130}$")]
    """65 bytes: of a key. Signatures of contracts (EIP-1271, EIP-6492) are not taken."""
    authorization: Authorization


class Message(BaseModel):
    """PaymentPayload. What is beside these fields (resource, extensions) is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    x402Version: int  # noqa: N815  # the wire's own name
    accepted: dict[str, Any]
    payload: dict[str, Any]


def requirements(
    chain: str, contract: bytes, raw_amount: int, pay_to: bytes, *, name: str, version: str, timeout_seconds: int
) -> dict[str, Any]:
    """Return PaymentRequirements."""
    return {
        "scheme": SCHEME, "network": chain, "amount": str(raw_amount), "asset": show_evm(contract),
        "payTo": show_evm(pay_to), "maxTimeoutSeconds": timeout_seconds,
        "extra": {"name": name, "version": version},
    }  # fmt: skip


def read_message(raw: Mapping[str, Any]) -> Message:
    """Raises PaymentInvalid."""
    try:
        message = Message.model_validate(dict(raw))
    except ValidationError as error:
        raise PaymentInvalid("invalid_payload", _first(error)) from None
    if message.x402Version != VERSION:
        raise PaymentInvalid("invalid_x402_version", f"version {VERSION} is spoken here")
    return message


def read_authorization(payload: Mapping[str, Any], offer: AgentOffer, now_s: int) -> AuthorizedTransfer:
    """Check what was signed against the offer. Raises PaymentInvalid."""
    try:
        exact = ExactPayload.model_validate(dict(payload))
    except ValidationError as error:
        raise PaymentInvalid("invalid_payload", _first(error)) from None
    given = exact.authorization
    if read_evm(given.to.lower()) != offer.pay_to:
        raise PaymentInvalid("invalid_exact_evm_payload_recipient_mismatch", "it pays somebody else")
    if int(given.value) != offer.raw_amount:
        raise PaymentInvalid("invalid_exact_evm_payload_authorization_value_mismatch", "it is another amount")
    if int(given.validAfter) >= now_s:
        raise PaymentInvalid("invalid_exact_evm_payload_authorization_valid_after", "it is not valid yet")
    if int(given.validBefore) < now_s + SETTLE_SECONDS_MIN or int(given.validBefore) >= 2**63:
        raise PaymentInvalid("invalid_exact_evm_payload_authorization_valid_before", "it ends too soon, or never")
    signature = bytes.fromhex(exact.signature[2:])
    if signature[64] in {0, 1}:
        signature = signature[:64] + bytes([signature[64] + 27])
    made = AuthorizedTransfer(
        payer=read_evm(given.from_.lower()), valid_after=int(given.validAfter), valid_before=int(given.validBefore),
        nonce=bytes.fromhex(given.nonce[2:]), signature=signature,
    )  # fmt: skip
    _assert_signed(made, offer)
    return made


def digest(authorized: AuthorizedTransfer, offer: AgentOffer) -> bytes:
    """Return what the payer signs: EIP-712 over the token's domain."""
    extra = offer.shown["extra"]
    chain_id = int(offer.chain.partition(":")[2])
    domain = keccak(
        DOMAIN + keccak(str(extra["name"]).encode()) + keccak(str(extra["version"]).encode())
        + chain_id.to_bytes(32, "big") + offer.contract.rjust(32, b"\0")
    )  # fmt: skip
    words = (offer.raw_amount, authorized.valid_after, authorized.valid_before)
    struct = keccak(
        AUTHORIZATION + authorized.payer.rjust(32, b"\0") + offer.pay_to.rjust(32, b"\0")
        + b"".join(word.to_bytes(32, "big") for word in words) + authorized.nonce
    )  # fmt: skip
    return keccak(b"\x19\x01" + domain + struct)


def _assert_signed(authorized: AuthorizedTransfer, offer: AgentOffer) -> None:
    signature = authorized.signature
    try:
        signer = recover(digest(authorized, offer), signature[:64] + bytes([(signature[64] - 27) % 256]))
    except BadSignature as error:
        raise PaymentInvalid("invalid_exact_evm_payload_signature", str(error)) from None
    if signer != authorized.payer:
        raise PaymentInvalid("invalid_exact_evm_payload_signature", "it was not signed by the payer's own key")


def read_settlement(status: int, answer: Any) -> Settlement:
    """Read a facilitator's answer. Only clear words count: what is not clear is unknown."""
    if status != 200 or not isinstance(answer, dict):
        return Settlement(Settled.UNKNOWN, reason=f"HTTP {status}")
    tx_hash = answer.get("transaction")
    found = tx_hash.lower() if isinstance(tx_hash, str) and len(tx_hash) == 66 else None
    reason = str(answer.get("errorReason") or "")[:100]
    if answer.get("success") is True and found is not None:
        return Settlement(Settled.DONE, found)
    if answer.get("success") is False and found is None and reason in REFUSALS:
        return Settlement(Settled.REFUSED, reason=reason)
    return Settlement(Settled.UNKNOWN, found, reason or "the answer is not clear")


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200]
