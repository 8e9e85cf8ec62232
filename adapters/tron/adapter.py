"""The TRON rail. All of its behaviour is in the chain kit (java-tron serves ``/jsonrpc``); its forms are in ``wire``."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from adapters.base import ChainScanFailed, ChainToken, RailAccount, RailError
from adapters.final_balances import FinalBalances
from adapters.kit.chain.addresses import operating_address
from adapters.kit.chain.rail import ChainRail
from adapters.kit.chain.rpc import NodeRpc
from adapters.kit.chain.tron_sender import TronSender
from adapters.tron import wire


class TronRail(ChainRail):
    """RailAdapter, ScansChain and CanSend of one TRON network."""

    def __init__(self, account: RailAccount, http: aiohttp.ClientSession) -> None:
        super().__init__(account, http, wire.FAMILY)
        self._sender = TronSender(self._config.rpc_urls, http, self._config.options.timeout_seconds)

    @property
    def sender(self) -> TronSender:
        """CanSend."""
        return self._sender

    @property
    def operating_address(self) -> bytes:
        return operating_address(self._config.options.xpub)

    def read_address(self, text: str) -> bytes:
        return wire.FAMILY.read_address(text)

    def wallet_uri(self, token: ChainToken, recipient: bytes, raw_amount: int) -> str:
        del token, raw_amount  # wallets agree on the bare address only; the amount is shown on the page
        return wire.address_uri(recipient)

    @property
    def final_word(self) -> str:
        return "solidified"

    async def final_balances(self, token: ChainToken, addresses: Sequence[bytes]) -> FinalBalances:
        """java-tron's JSON-RPC answers calls at the newest block only; its HTTP API beside it knows the solid one."""
        self._assert_final_is_believed()
        try:
            return await self.sender.solid_balances(token.contract, addresses)
        except RailError as failed:
            raise ChainScanFailed(str(failed)) from None

    async def read_contract(self, node: NodeRpc, token: ChainToken) -> tuple[str, int]:
        return await wire.read_token(node, token.contract)
