"""A person's signature under one transaction (EIP-191): it can travel anywhere, and serves for nothing else. Pure."""

from __future__ import annotations

from eth_hash.auto import keccak

from adapters.kit.chain.signatures import BadSignature, recover


def digest_of(sentence: str) -> bytes:
    """Source: https://eips.ethereum.org/EIPS/eip-191, version 0x45."""
    text = sentence.encode()
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(text)).encode() + text)


def sign_approval(sentence: str, secret: bytes) -> bytes:
    """Return 65 bytes as wallets make them: v is 27 or 28."""
    from coincurve import PrivateKey

    signature = PrivateKey(secret).sign_recoverable(digest_of(sentence), hasher=None)
    return signature[:64] + bytes([signature[64] + 27])


def approver_of(sentence: str, signature: bytes) -> bytes:
    """Return the 20 bytes of who signed a sentence. Raises BadSignature."""
    if len(signature) != 65:
        raise BadSignature("65 bytes are due")
    bit = signature[64] - 27 if signature[64] in {27, 28} else signature[64]
    return recover(digest_of(sentence), signature[:64] + bytes([bit]))
