"""EVM forms: EIP-55 addresses, CAIP-2 names, EIP-681 links, and how a contract says no.

Sources: https://eips.ethereum.org/EIPS/eip-681, https://namespaces.chainagnostic.org/eip155/caip2
"""

from __future__ import annotations

from typing import Final

from adapters.base import RailMisconfigured
from adapters.kit.chain import token_contract
from adapters.kit.chain.addresses import read_evm, show_evm
from adapters.kit.chain.options import Family
from adapters.kit.chain.rpc import NodeRpc

EXECUTION_REVERTED: Final = 3
"""https://ethereum.github.io/execution-apis/ (some nodes say -32000 and the word)."""


def chains_of(chain_id: int) -> tuple[str, ...]:
    return (f"eip155:{chain_id}",)


FAMILY: Final = Family(
    name="evm", read_address=read_evm, show_address=show_evm, chains_of=chains_of, has_bloom=True, rpc_path=""
)


def transfer_uri(contract: bytes, chain_id: int, recipient: bytes, raw_amount: int) -> str:
    """Return EIP-681 for an ERC-20 transfer; the amount is in the chain's own units."""
    return f"ethereum:{show_evm(contract)}@{chain_id}/transfer?address={show_evm(recipient)}&uint256={raw_amount}"


async def read_token(node: NodeRpc, contract: bytes) -> tuple[str, int]:
    """Return symbol() and decimals() of a contract. Raises RailMisconfigured where it does not answer as a token."""
    try:
        return await token_contract.read_token(node, contract, {EXECUTION_REVERTED})
    except token_contract.NotAToken:
        raise RailMisconfigured(f"tokens: {show_evm(contract)} at {node.name} answers not as an ERC-20 token") from None
