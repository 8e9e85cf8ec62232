"""EVM forms: EIP-55 addresses, CAIP-2 names, EIP-681 links, and a token contract read through web3.

Blocks and logs are not read here but by ``adapters.kit.chain.scanner``, by hand: web3's formatters are 13 times slower.

Sources: https://eips.ethereum.org/EIPS/eip-681, https://namespaces.chainagnostic.org/eip155/caip2,
https://web3py.readthedocs.io/en/v7.16.0/
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from typing import TYPE_CHECKING, Any, Final

from adapters.base import RailMisconfigured
from adapters.kit.chain.addresses import read_evm, show_evm
from adapters.kit.chain.options import Family
from adapters.kit.chain.rpc import NodeRefused, NodeRpc

if TYPE_CHECKING:
    from web3.providers.async_base import AsyncBaseProvider

ERC20_READS: Final[list[dict[str, Any]]] = [
    {"type": "function", "name": name, "inputs": [], "outputs": [{"name": "", "type": kind}], "stateMutability": "view"}
    for name, kind in (("symbol", "string"), ("decimals", "uint8"))
]

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
    await asyncio.to_thread(_load_web3)
    from web3 import AsyncWeb3
    from web3.exceptions import BadFunctionCallOutput, ContractLogicError

    token = AsyncWeb3(_provider(node)).eth.contract(address=AsyncWeb3.to_checksum_address(contract), abi=ERC20_READS)
    try:
        symbol = await token.functions.symbol().call()
        decimals = await token.functions.decimals().call()
    except (BadFunctionCallOutput, ContractLogicError, OverflowError, ValueError):
        raise RailMisconfigured(f"tokens: {show_evm(contract)} at {node.name} answers not as an ERC-20 token") from None
    return str(symbol), int(decimals)


def _load_web3() -> None:
    """Import web3 (it takes seconds, so not on the loop that serves buyers) without the warning of 7.16 about its own use of websockets.legacy."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="websockets.legacy", category=DeprecationWarning)
        importlib.import_module("web3")


def _provider(node: NodeRpc) -> AsyncBaseProvider:
    """Return web3's view of one of our nodes: same session, time-out and distrust of answers as the scanner."""
    from web3.providers.async_base import AsyncBaseProvider
    from web3.types import RPCEndpoint, RPCResponse

    class NodeProvider(AsyncBaseProvider):
        global_ccip_read_enabled = False  # no contract may send us to another server (EIP-3668)

        async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
            try:
                result = await node.call(method, *params)
            except NodeRefused as refused:
                if refused.code != EXECUTION_REVERTED and "revert" not in refused.message.lower():
                    raise
                return {"jsonrpc": "2.0", "id": 1, "error": {"code": refused.code, "message": refused.message}}
            return {"jsonrpc": "2.0", "id": 1, "result": result}

    return NodeProvider()
