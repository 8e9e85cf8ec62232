"""The 2,048-bit bloom filter in an EVM block header: it never denies a log that is there.

Three bits for each log address and each topic: the low 11 bits of the first three byte pairs of its keccak-256.
It can say "maybe" about a log that is not there; on busy chains it often does.

Source: Ethereum Yellow Paper, section 4.4.3 (M3:2048).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from eth_hash.auto import keccak

BLOOM_BYTES: Final = 256


def bits_of(item: bytes) -> int:
    """Return the three bits of one address or topic, as a mask over the filter read as a big-endian number."""
    digest = keccak(item)
    mask = 0
    for pair in (0, 2, 4):
        mask |= 1 << (int.from_bytes(digest[pair : pair + 2], "big") & 0x7FF)
    return mask


def bits_of_all(items: Iterable[bytes]) -> int:
    mask = 0
    for item in items:
        mask |= bits_of(item)
    return mask


def may_hold(bloom: int, mask: int) -> bool:
    """Say whether all of the bits are set. False is a proof of absence, True is none of presence."""
    return bloom & mask == mask
