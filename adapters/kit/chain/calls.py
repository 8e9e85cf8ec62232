"""What a transaction of ours does, in our words: what a builder is asked for and what a reader finds in bytes. Pure."""

from __future__ import annotations

from typing import Final

from eth_hash.auto import keccak

from adapters.sending import AuthorizedTransfer, CallKind, ChainCall

TRANSFER: Final = keccak(b"transfer(address,uint256)")[:4]
AUTHORIZED: Final = keccak(
    b"transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"
)[:4]
"""EIP-3009. Source: https://eips.ethereum.org/EIPS/eip-3009"""


class NotOurCall(ValueError):
    """The bytes do something that we never ask for."""


def call_data(call: ChainCall) -> bytes:
    """Return the ABI call of a token transfer or of an authorised one; nothing for the chain's own coin."""
    match call.kind:
        case CallKind.COIN:
            return b""
        case CallKind.TOKEN:
            return TRANSFER + _address(call.recipient) + _number(call.raw_value)
        case CallKind.AUTHORIZED:
            given = call.authorized
            assert given is not None, "an authorised transfer carries its authorisation"
            return b"".join((
                AUTHORIZED, _address(given.payer), _address(call.recipient), _number(call.raw_value),
                _number(given.valid_after), _number(given.valid_before), given.nonce,
                _number(given.signature[64]), given.signature[:32], given.signature[32:64],
            ))  # fmt: skip


def read_call(sender: bytes, to: bytes, coin_value: int, data: bytes) -> ChainCall:
    """Read what a call does. Raises NotOurCall on anything else than the three kinds, in their exact form."""
    if not data:
        return ChainCall(CallKind.COIN, sender, to, coin_value)
    if coin_value:
        raise NotOurCall("a call of a token carries coins")
    words = [data[start : start + 32] for start in range(4, len(data), 32)]
    if any(len(word) != 32 for word in words):
        raise NotOurCall("the call's data is not made of whole words")
    if data[:4] == TRANSFER and len(words) == 2:
        call = ChainCall(CallKind.TOKEN, sender, _read_address(words[0]), int.from_bytes(words[1], "big"), to)
    elif data[:4] == AUTHORIZED and len(words) == 9:
        numbers = [int.from_bytes(word, "big") for word in words]
        if numbers[6] not in {27, 28}:
            raise NotOurCall("the authorisation's v is 27 or 28")
        given = AuthorizedTransfer(
            payer=_read_address(words[0]), valid_after=numbers[3], valid_before=numbers[4], nonce=words[5],
            signature=words[7] + words[8] + bytes([numbers[6]]),
        )  # fmt: skip
        call = ChainCall(CallKind.AUTHORIZED, sender, _read_address(words[1]), numbers[2], to, given)
    else:
        raise NotOurCall(f"the method {data[:4].hex()} is not one that we call")
    if call_data(call) != data:
        raise NotOurCall("the call's data has another form than ours")
    return call


def _address(value: bytes) -> bytes:
    assert len(value) == 20, "an address has 20 bytes"
    return value.rjust(32, b"\0")


def _number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _read_address(word: bytes) -> bytes:
    if any(word[:12]):
        raise NotOurCall("a word that should be an address has more than 20 bytes")
    return word[12:]
