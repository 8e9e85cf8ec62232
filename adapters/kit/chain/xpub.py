"""Children of an extended public key: the public half of BIP-32, which is all that a watch-only server may know.

The package ``bip32`` does the same, and the tests hold this against it; but it stops at coincurve 20, which has no
build for Python 3.13. Source: https://github.com/bitcoin/bips/blob/master/bip-0032.mediawiki
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

HARDENED: Final = 0x80000000
_VERSIONS: Final = {bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")}
"""xpub and tpub."""
_LENGTH: Final = 78


class DamagedKey(ValueError):
    """Not an extended public key: length, version, checksum or point is wrong. The text never holds the key."""


@dataclass(frozen=True, slots=True, repr=False)
class ExtendedPublicKey:
    """One node of the tree: 33 bytes of point, 32 of chain code."""

    public_key: bytes
    chain_code: bytes
    depth: int
    index: int
    """Its place under its parent; from 2**31 on, a hardened one."""

    @classmethod
    def parse(cls, text: str) -> ExtendedPublicKey:
        """Read base58check. Raises DamagedKey."""
        import base58
        from coincurve import PublicKey

        try:
            raw = base58.b58decode_check(text)
            public_key = PublicKey(raw[45:]).format()
        except ValueError:
            raise DamagedKey("the checksum or the point is wrong") from None
        if len(raw) != _LENGTH or raw[:4] not in _VERSIONS:
            raise DamagedKey("the length or the version is wrong")
        return cls(public_key, raw[13:45], raw[4], int.from_bytes(raw[9:13]))

    def child(self, index: int) -> ExtendedPublicKey:
        """Return a child that is not hardened. Raises ValueError beyond those (or, once in 2**127, where none exists)."""
        from coincurve import PublicKey

        if not 0 <= index < HARDENED:
            raise ValueError(f"an index is from 0 to {HARDENED - 1}, not {index}")
        digest = hmac.digest(self.chain_code, self.public_key + index.to_bytes(4), hashlib.sha512)
        public_key = PublicKey(self.public_key).add(digest[:32]).format()
        return ExtendedPublicKey(public_key, digest[32:], self.depth + 1, index)
