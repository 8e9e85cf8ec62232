"""TRON forms: base58check addresses, CAIP-2 names, links, and how a contract says no.

CAIP-2: ``tron:0x2b6653dc`` (mainnet), the form of the joint draft of the two proposals for this namespace
(ChainAgnostic/namespaces pull requests 170 and 162); the decimal form ``tron:728126428`` of 162 is accepted too.

Sources: https://tronprotocol.github.io/documentation-en/api/json-rpc/,
https://github.com/tronprotocol/tips/blob/master/tip-474.md (chain id = last 4 bytes of the genesis block's hash)
"""

from __future__ import annotations

from typing import Final

from adapters.base import RailMisconfigured
from adapters.kit.chain import token_contract
from adapters.kit.chain.addresses import read_tron, show_tron
from adapters.kit.chain.options import Family
from adapters.kit.chain.rpc import NodeRpc

CONTRACT_SAYS_NO: Final = frozenset({-32600, 3})
"""-32600: ``ContractValidateException``; a REVERT comes as -32000 with the word in its message."""


def chains_of(chain_id: int) -> tuple[str, ...]:
    return f"tron:0x{chain_id:08x}", f"tron:{chain_id}"


FAMILY: Final = Family(
    name="tron",
    read_address=read_tron,
    show_address=show_tron,
    chains_of=chains_of,
    has_bloom=False,
    rpc_path="/jsonrpc",
)


def address_uri(recipient: bytes) -> str:
    return f"tron:{show_tron(recipient)}"


async def read_token(node: NodeRpc, contract: bytes) -> tuple[str, int]:
    """Return symbol() and decimals() of a contract. Raises RailMisconfigured where it does not answer as a token."""
    try:
        return await token_contract.read_token(node, contract, CONTRACT_SAYS_NO)
    except token_contract.NotAToken:
        raise RailMisconfigured(f"tokens: {show_tron(contract)} at {node.name} answers not as a TRC-20 token") from None
