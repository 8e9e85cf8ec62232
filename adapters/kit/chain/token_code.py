"""The code behind a token's address, on one node: the contract's own, and of a proxy the one that it hands calls to.

USDC is a proxy on every chain, USDT on some: whoever administers it can put other code behind the same address. So the
hash of both can be pinned in the configuration. Where a proxy keeps the address of its implementation:

- EIP-1967: ``keccak256("eip1967.proxy.implementation") - 1``
- ZeppelinOS, before that EIP (USDC): ``keccak256("org.zeppelinos.proxy.implementation")``
- Polygon's bridged tokens: ``keccak256("matic.network.proxy.implementation")``

A beacon (a proxy that asks another contract) is none of these; its own code can be pinned, what it leads to cannot.

Sources: https://eips.ethereum.org/EIPS/eip-1967,
https://github.com/circlefin/stablecoin-evm/blob/master/contracts/upgradeability/UpgradeabilityProxy.sol,
https://github.com/maticnetwork/pos-portal (UpgradableProxy.sol),
https://tronprotocol.github.io/documentation-en/api/json-rpc/ (eth_getStorageAt: at ``latest`` only)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from adapters.base import ChainScanFailed, ChainToken, RailMisconfigured, TokenCode, TokenCodeChanged
from adapters.kit.chain.options import TokenOptions
from adapters.kit.chain.rpc import NodeRpc, data_bytes

_WORD: Final = 32
_ADDRESS: Final = 20
NO_CODE: Final = frozenset({"0x", "0x0", None})
IMPLEMENTATION_SLOTS: Final = (
    int.from_bytes(keccak(b"eip1967.proxy.implementation"), "big") - 1,
    int.from_bytes(keccak(b"org.zeppelinos.proxy.implementation"), "big"),
    int.from_bytes(keccak(b"matic.network.proxy.implementation"), "big"),
)
ADVICE: Final = (
    "Nothing of this chain is read, and nothing is lost, until a person decides: see what the issuer announced and what "
    "`crossrail doctor` finds, then pin the new hash or take the token out"
)


@dataclass(frozen=True, slots=True)
class FoundCode:
    """Hashes are ``keccak256:`` and 64 digits (bare, they would look like a key); None where there is no code."""

    code_hash: str | None
    implementation: bytes | None = None
    implementation_hash: str | None = None


async def read_code(node: NodeRpc, contract: bytes, *, follow: bool) -> FoundCode:
    """Read the code behind an address; ``follow``: behind a proxy as well. Raises ChainScanFailed."""
    own = await _hash_at(node, contract)
    if own is None or not follow:
        return FoundCode(own)
    for slot in IMPLEMENTATION_SLOTS:
        word = data_bytes(
            await node.call("eth_getStorageAt", "0x" + contract.hex(), f"0x{slot:064x}", "latest"),
            _WORD,
            f"{node.name} eth_getStorageAt",
        )
        if any(word):
            if any(word[:-_ADDRESS]):
                raise ChainScanFailed(f"{node.name}: the implementation of 0x{contract.hex()} is no address")
            implementation = word[-_ADDRESS:]
            return FoundCode(own, implementation, await _hash_at(node, implementation))
    return FoundCode(own)


def assert_pinned(chain: str, code: TokenCode) -> None:
    """Hold what a node has against what is pinned.

    Raises RailMisconfigured where there is no contract, TokenCodeChanged where it is another one.
    """
    name = code.token.asset.code
    if code.code_hash is None:
        raise RailMisconfigured(
            f"tokens.{name}.contract: {chain}: there is no contract at {code.contract} on {code.node}"
        )
    pins = (
        ("code_hash", code.code_pinned, code.code_hash),
        ("implementation_hash", code.implementation_pinned, code.implementation_hash),
    )
    for field, pinned, there in pins:
        if pinned in {None, there}:
            continue
        has = there or ("no code there" if code.implementation else "a contract that is no proxy we know")
        raise TokenCodeChanged(
            f"tokens.{name}.{field}: {chain}: {name} at {code.contract}: expected {pinned}, {code.node} has {has}: "
            f"it was replaced, or the pin is wrong. {ADVICE}",
            token=code.token,
        )


def describe(
    node: NodeRpc, token: ChainToken, options: TokenOptions, found: FoundCode, show: Callable[[bytes], str]
) -> TokenCode:
    return TokenCode(
        token=token,
        node=node.name,
        contract=show(token.contract),
        code_hash=found.code_hash,
        code_pinned=options.code_hash,
        implementation=None if found.implementation is None else show(found.implementation),
        implementation_hash=found.implementation_hash,
        implementation_pinned=options.implementation_hash,
    )


async def _hash_at(node: NodeRpc, contract: bytes) -> str | None:
    code: Any = await node.call("eth_getCode", "0x" + contract.hex(), "latest")
    if code in NO_CODE:
        return None
    try:
        return "keccak256:" + keccak(bytes.fromhex(str(code).removeprefix("0x"))).hex()
    except ValueError:
        raise ChainScanFailed(f"{node.name} answers eth_getCode with something that is no code") from None
