"""The EVM rail: one account is one chain. All of its behaviour is in the chain kit; its forms are in ``wire``."""

from __future__ import annotations

import aiohttp

from adapters.base import ChainToken, RailAccount
from adapters.evm import wire
from adapters.kit.chain.addresses import operating_address
from adapters.kit.chain.evm_sender import EvmSender
from adapters.kit.chain.rail import ChainRail
from adapters.kit.chain.rpc import NodeRpc


class EvmRail(ChainRail):
    """RailAdapter, ScansChain and CanSend of one EVM chain."""

    def __init__(self, account: RailAccount, http: aiohttp.ClientSession) -> None:
        super().__init__(account, http, wire.FAMILY)
        timeout_seconds = self._config.options.timeout_seconds
        nodes = [NodeRpc(url, http, timeout_seconds) for url in self._config.rpc_urls]
        self._sender = EvmSender(self._config.options.chain_id, nodes)

    @property
    def sender(self) -> EvmSender:
        """CanSend."""
        return self._sender

    @property
    def operating_address(self) -> bytes:
        return operating_address(self._config.options.xpub)

    def read_address(self, text: str) -> bytes:
        return wire.FAMILY.read_address(text)

    def wallet_uri(self, token: ChainToken, recipient: bytes, raw_amount: int) -> str:
        return wire.transfer_uri(token.contract, self._config.options.chain_id, recipient, raw_amount)

    async def read_contract(self, node: NodeRpc, token: ChainToken) -> tuple[str, int]:
        return await wire.read_token(node, token.contract)
