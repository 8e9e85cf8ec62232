"""Spending keys: the private half of each family's account (BIP-32). They never print and never leave this process.

``0/index`` are the deposit addresses, whose public half the server derives from its xpub; ``1/0`` is the operating
wallet: it pays fees for others, pays refunds and settles x402.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from adapters.kit.chain.signatures import address_of
from orchestrator.config_source import check, load_document
from orchestrator.private_files import read_private

XPRV: Final = bytes.fromhex("0488ade4")
TPRV: Final = bytes.fromhex("04358394")
HARDENED: Final = 2**31
ACCOUNT_DEPTH: Final = 3

Family = Literal["evm", "tron"]
Branch = Literal["deposit", "operating"]
BRANCHES: Final[dict[Branch, int]] = {"deposit": 0, "operating": 1}


class BadKey(ValueError):
    """Not an account's private key: the text never holds it."""


class KeyFile(BaseModel):
    """``accounts: {evm: xprv..., tron: xprv...}``: each family's account key, m/44'/60'/0' and m/44'/195'/0'."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    accounts: dict[Family, str]


@dataclass(frozen=True, slots=True)
class PrivateNode:
    """A private key of a BIP-32 tree."""

    secret: bytes = field(repr=False)
    chain_code: bytes = field(repr=False)

    @classmethod
    def parse_account(cls, text: str) -> PrivateNode:
        """Read an account's xprv. Raises BadKey."""
        import base58

        try:
            raw = base58.b58decode_check(text)
        except ValueError:
            raise BadKey("an account key is an xprv; this one's checksum is wrong") from None
        if len(raw) != 78 or raw[:4] not in {XPRV, TPRV} or raw[45] != 0:
            raise BadKey("an account key is an xprv")
        if raw[4] != ACCOUNT_DEPTH or int.from_bytes(raw[9:13], "big") < HARDENED:
            raise BadKey("an account key has depth 3: m/44'/coin'/account'")
        return cls(raw[46:], raw[13:45])

    def child(self, index: int) -> PrivateNode:
        """Return a child that is not hardened."""
        from coincurve import PrivateKey

        if not 0 <= index < HARDENED:
            raise BadKey(f"an index is from 0 to {HARDENED - 1}")
        key = PrivateKey(self.secret)
        digest = hmac.digest(self.chain_code, key.public_key.format() + index.to_bytes(4, "big"), hashlib.sha512)
        return PrivateNode(key.add(digest[:32]).secret, digest[32:])

    @property
    def address(self) -> bytes:
        from coincurve import PrivateKey

        return address_of(PrivateKey(self.secret).public_key.format(compressed=False))

    def sign(self, digest: bytes) -> bytes:
        """Return r, s and the recovery bit over 32 bytes; the same bytes every time (RFC 6979)."""
        from coincurve import PrivateKey

        return PrivateKey(self.secret).sign_recoverable(digest, hasher=None)


@dataclass(frozen=True, slots=True)
class Keys:
    """The accounts of the key file."""

    accounts: dict[Family, PrivateNode] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Raises FileNotSafe, ConfigInvalid, BadKey."""
        parsed = check(KeyFile, load_document(read_private(path), path.name))
        return cls({family: PrivateNode.parse_account(text) for family, text in parsed.accounts.items()})

    def at(self, family: Family, branch: Branch, index: int) -> PrivateNode:
        """Raises BadKey where there is no account of the family."""
        account = self.accounts.get(family)
        if account is None:
            raise BadKey(f"there is no {family} account here")
        return account.child(BRANCHES[branch]).child(index)
