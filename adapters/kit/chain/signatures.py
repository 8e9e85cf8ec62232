"""Recoverable signatures over a digest, and the address behind them: the same curve and address on EVM and TRON. Pure."""

from __future__ import annotations

from typing import Final

from eth_hash.auto import keccak

CURVE_HALF: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""EIP-2: a signature with an s above it is a copy of another, and no chain takes it."""


class BadSignature(ValueError):
    """Nobody signed that digest with these 65 bytes."""


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the 20 bytes of who signed. ``signature``: r, s and the recovery bit (0 or 1). Raises BadSignature."""
    from coincurve import PublicKey

    if len(signature) != 65 or signature[64] not in {0, 1}:
        raise BadSignature("65 bytes are due, the last one 0 or 1")
    if not 0 < int.from_bytes(signature[32:64], "big") <= CURVE_HALF:
        raise BadSignature("s is not in the lower half")
    try:
        point = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception as error:  # noqa: BLE001  # coincurve raises a plain Exception where no key fits
        raise BadSignature(str(error)) from None
    return address_of(point.format(compressed=False))


def address_of(point: bytes) -> bytes:
    """Return the 20 bytes of an uncompressed public key (65 bytes)."""
    return keccak(point[1:])[-20:]
