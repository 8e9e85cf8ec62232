"""Deposit addresses from an account xpub, and the two forms in which people copy them.

The server holds no private key: ``m/44'/60'/0'`` (EVM) or ``m/44'/195'/0'`` (TRON) arrives as an xpub, addresses are
its children ``0/index``. Inside, an address is 20 raw bytes; EIP-55 and base58check only at the edge.

Sources: BIP-32, BIP-44, https://eips.ethereum.org/EIPS/eip-55,
https://developers.tron.network/docs/account (base58check over 0x41 and the 20 bytes)
"""

from __future__ import annotations

import re
from typing import Final

from eth_hash.auto import keccak

from adapters.kit.chain.xpub import HARDENED, DamagedKey, ExtendedPublicKey

ACCOUNT_DEPTH: Final = 3
"""m / 44' / coin' / account'."""

_EVM: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class NotAnAccountKey(ValueError):
    """Not the xpub of one account: the text says why, and never holds the key."""


class NotAnAddress(ValueError):
    """Not an address of that family, or mistyped."""


class DepositAddresses:
    """Derives ``0/index`` of one account xpub."""

    def __init__(self, xpub: str) -> None:
        if not xpub.startswith(("xpub", "tpub")):
            raise NotAnAccountKey("an account xpub begins with xpub (or tpub); no private key belongs here")
        try:
            account = ExtendedPublicKey.parse(xpub)
        except DamagedKey:
            raise NotAnAccountKey("the xpub is damaged: its checksum, length or point is wrong") from None
        if account.depth != ACCOUNT_DEPTH or account.index < HARDENED:
            raise NotAnAccountKey(f"an account xpub has depth 3 (m/44'/coin'/account'); this one has {account.depth}")
        self._receiving = account.child(0)

    def derive(self, index: int) -> bytes:
        """Return the 20 raw bytes of address ``index``."""
        if not 0 <= index < HARDENED:
            raise ValueError(f"an address index is from 0 to {HARDENED - 1}, not {index}")
        from coincurve import PublicKey

        point = PublicKey(self._receiving.child(index).public_key).format(compressed=False)
        return keccak(point[1:])[-20:]


def operating_address(xpub: str) -> bytes:
    """Return the 20 raw bytes of ``1/0`` of an account xpub: the wallet that pays fees and refunds, on the change branch."""
    from coincurve import PublicKey

    child = ExtendedPublicKey.parse(xpub).child(1).child(0)
    return keccak(PublicKey(child.public_key).format(compressed=False)[1:])[-20:]


def show_evm(address: bytes) -> str:
    """Return EIP-55."""
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(_twenty(address)))


def read_evm(text: str) -> bytes:
    """Read 0x and 40 hex digits; mixed case must be EIP-55. Raises NotAnAddress."""
    if not _EVM.fullmatch(text):
        raise NotAnAddress("an EVM address is 0x and 40 hex digits")
    digits, address = text[2:], bytes.fromhex(text[2:])
    if digits not in {digits.lower(), digits.upper()} and show_evm(address) != text:
        raise NotAnAddress("the address's capital letters are no EIP-55 checksum: it is mistyped")
    return address


def show_tron(address: bytes) -> str:
    """Return base58check, beginning with T."""
    from tronpy.keys import to_base58check_address

    return str(to_base58check_address(_twenty(address)))


def read_tron(text: str) -> bytes:
    """Read base58check (T and 33 more characters). Raises NotAnAddress."""
    from tronpy.exceptions import BadAddress
    from tronpy.keys import to_raw_address

    if len(text) != 34 or not text.startswith("T"):
        raise NotAnAddress("a TRON address is T and 33 more characters")
    try:
        raw = bytes(to_raw_address(text))
    except (BadAddress, ValueError):
        raise NotAnAddress("the address's checksum is wrong: it is mistyped") from None
    if raw[:1] != b"\x41":
        raise NotAnAddress("the address is not of TRON's network (prefix 0x41)")
    return _twenty(raw[1:])


def _twenty(address: bytes) -> bytes:
    if len(address) != 20:
        raise NotAnAddress(f"an address has 20 bytes, not {len(address)}")
    return address
