"""TRON forms: base58check addresses, CAIP-2 names, links, and a token contract read through tronpy's ABI codec.

CAIP-2: ``tron:0x2b6653dc`` (mainnet), the form of the joint draft of the two proposals for this namespace
(ChainAgnostic/namespaces pull requests 170 and 162); the decimal form ``tron:728126428`` of 162 is accepted too.

Sources: https://tronprotocol.github.io/documentation-en/api/json-rpc/,
https://github.com/tronprotocol/tips/blob/master/tip-474.md (chain id = last 4 bytes of the genesis block's hash)
"""

from __future__ import annotations

from typing import Final

from adapters.base import RailMisconfigured
from adapters.kit.chain.addresses import read_tron, show_tron
from adapters.kit.chain.options import Family
from adapters.kit.chain.rpc import NodeRefused, NodeRpc

SYMBOL: Final = "0x95d89b41"
DECIMALS: Final = "0x313ce567"

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
    from eth_abi.exceptions import DecodingError
    from tronpy.abi import trx_abi

    answers: list[bytes] = []
    for selector in (SYMBOL, DECIMALS):
        try:
            shown = await node.call("eth_call", {"to": "0x" + contract.hex(), "data": selector}, "latest")
            answers.append(bytes.fromhex(str(shown).removeprefix("0x")))
        except NodeRefused as refused:
            if refused.code not in CONTRACT_SAYS_NO and "revert" not in refused.message.lower():
                raise
            raise _no_token(node, contract) from None
        except ValueError:
            raise _no_token(node, contract) from None
    try:
        (symbol,) = trx_abi.decode(["string"], answers[0])
        (decimals,) = trx_abi.decode(["uint8"], answers[1])
    except (DecodingError, UnicodeDecodeError):
        raise _no_token(node, contract) from None
    return str(symbol), int(decimals)


def _no_token(node: NodeRpc, contract: bytes) -> RailMisconfigured:
    return RailMisconfigured(f"tokens: {show_tron(contract)} at {node.name} answers not as a TRC-20 token")
