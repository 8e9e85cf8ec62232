"""One chain account as a rail: the part that EVM chains and TRON share.

Nothing is sent anywhere to begin a payment: the buyer gets the customer's own permanent address. Only the scanner's
word counts (``scan_block``), so ``fetch_status`` knows nothing and ``cancel_payment`` cannot.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

import aiohttp

from adapters.base import (
    BlockHeader,
    BlockScan,
    CancelOutcome,
    Capability,
    ChainHead,
    ChainScanFailed,
    ChainToken,
    DepositAddress,
    FinalityRule,
    Flow,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RailMisconfigured,
    RailUnavailable,
    RangeScan,
    SeenTransfer,
    TokenCode,
)
from adapters.final_balances import FinalBalances
from adapters.kit.chain.addresses import NotAnAddress
from adapters.kit.chain.budget import TokenBucket
from adapters.kit.chain.options import Family, TokenOptions, read_config
from adapters.kit.chain.providers import LAG_BLOCKS_MIN, LAG_S_MAX
from adapters.kit.chain.rpc import NodeRpc, quantity
from adapters.kit.chain.scanner import LogScanner, WatchedChain
from adapters.kit.chain.token_code import assert_pinned, describe, read_code
from adapters.kit.chain.transfer_log import widen

RESEND_WINDOW_SECONDS: Final = 100 * 366 * 24 * 3600
"""The same order gives the same address for ever: nothing at the rail expires."""

SLACK_SECONDS: Final = 5
"""Beside the blocks: our polling and one flush of the writer."""


class ChainRail(ABC):
    """RailAdapter and ScansChain of one account; a family adds its forms and how it reads a contract."""

    def __init__(self, account: RailAccount, http: aiohttp.ClientSession, family: Family) -> None:
        self._account = account
        self._family = family
        self._config = read_config(account, family)
        timeout_seconds = self._config.options.timeout_seconds
        per_second = self._config.options.calls_per_second
        self._nodes = tuple(
            NodeRpc(url, http, timeout_seconds, TokenBucket(per_second, max(1.0, per_second)))
            for url in self._config.rpc_urls
        )
        watched = WatchedChain(
            self._config.chain,
            self._config.options.chain_id,
            self._config.tokens,
            family.has_bloom,
            unknown_tokens=self._config.options.unknown_tokens,
            range_blocks_max=self._config.options.range_blocks_max,
            lag_blocks_max=max(LAG_BLOCKS_MIN, math.ceil(LAG_S_MAX / self._config.options.block_seconds)),
        )
        self._scanner = LogScanner(watched, self._nodes)
        self._by_method = {token.method: token for token in self._config.tokens}

    # --- RailAdapter ----------------------------------------------------------------------------------------------

    @property
    def account(self) -> RailAccount:
        return self._account

    @property
    def capabilities(self) -> Sequence[Capability]:
        options = self._config.options
        # The block that takes the payment comes within two; it is the first of the confirmations.
        expected = math.ceil((options.confirmations + 1) * options.block_seconds) + SLACK_SECONDS
        return [
            Capability(
                method=token.method,
                flow=Flow.DEPOSIT_ADDRESS,
                countries=None,
                currencies=(token.asset.code,),
                expected_seconds=expected,
                amount_min={token.asset.code: self._config.minimum_of(token)},
            )
            for token in self._config.tokens
        ]

    @property
    def resend_window_seconds(self) -> int:
        return RESEND_WINDOW_SECONDS

    def supports_currency(self, currency: str) -> bool:
        return any(token.asset.code == currency for token in self._config.tokens)

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        """Return the customer's own address as the thing to pay to. No network.

        Raises RailMisconfigured where the order does not fit: no address, another family's, another token.
        """
        token = self._by_method.get(order.method)
        if token is None:
            raise RailMisconfigured(f"method: {order.method!r} is not of {self._config.chain}")
        if order.amount.asset != token.asset or order.amount.units <= 0:
            raise RailMisconfigured(f"amount: {order.method} takes an amount of {token.asset} above 0")
        if order.deposit_address is None:
            raise RailMisconfigured("deposit_address: a chain needs the customer's own address")
        try:
            recipient = self._family.read_address(order.deposit_address)
        except NotAnAddress as error:
            raise RailMisconfigured(f"deposit_address: {error}") from None
        shown = self._family.show_address(recipient)
        action = DepositAddress(
            address=shown,
            network=self._config.options.network,
            chain=self._config.chain,
            token=token.asset.code,
            token_contract=self._family.show_address(token.contract),
            amount=order.amount,
            qr_text=shown,
            wallet_uri=self.wallet_uri(token, recipient, widen(order.amount, token)),
        )
        return PaymentStarted(rail_reference=shown, action=action)

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        """Say nothing: an address is shared by all payments of a customer, and only the scanner sees what came."""
        del reference
        return ()

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        """An address cannot be closed: the attempt is superseded and watched on."""
        del reference
        return CancelOutcome.CANNOT

    # --- ScansChain -----------------------------------------------------------------------------------------------

    @property
    def chain(self) -> str:
        return self._config.chain

    @property
    def family(self) -> str:
        return self._family.name

    @property
    def confirmations(self) -> int:
        return self._config.options.confirmations

    @property
    def finality(self) -> FinalityRule:
        return self._config.finality

    @property
    def tokens(self) -> Sequence[ChainToken]:
        return self._config.tokens

    @property
    def block_seconds(self) -> float:
        return self._config.options.block_seconds

    def derive_address(self, index: int) -> bytes:
        return self._config.addresses.derive(index)

    def show_address(self, address: bytes) -> str:
        return self._family.show_address(address)

    async def head(self) -> ChainHead:
        return await self._scanner.head()

    async def header(self, number: int) -> BlockHeader | None:
        return await self._scanner.header(number)

    async def scan_block(self, number: int, is_ours: Callable[[bytes], bool]) -> BlockScan | None:
        return await self._scanner.scan_block(number, is_ours)

    async def scan_range(self, first: int, last: int, is_ours: Callable[[bytes], bool]) -> RangeScan:
        return await self._scanner.scan_range(first, last, is_ours)

    async def second_opinion(self, seen: SeenTransfer) -> bool:
        return await self._scanner.second_opinion(seen)

    async def balances(self, token: ChainToken, addresses: Sequence[bytes]) -> list[int]:
        return await self._scanner.balances(token, addresses)

    # --- ReadsFinalBalances ---------------------------------------------------------------------------------------

    @property
    def final_word(self) -> str:
        return "finalized"

    async def final_balances(self, token: ChainToken, addresses: Sequence[bytes]) -> FinalBalances:
        self._assert_final_is_believed()
        return await self._scanner.final_balances(token, addresses)

    def _assert_final_is_believed(self) -> None:
        if self.finality.by_depth:
            raise ChainScanFailed(f"{self.chain}: its own word of what is final is not believed (final: confirmations)")

    # --- ScansChain, at the start ---------------------------------------------------------------------------------

    async def check(self) -> None:
        """Assert chain id, and code, symbol and decimals of each token, at every node that answers.

        Raises RailMisconfigured where one of them differs, RailUnavailable where no node answers.
        """
        silent: list[str] = []
        for node in self._nodes:
            try:
                await self._check_node(node)
            except ChainScanFailed as failed:
                silent.append(str(failed))
        if len(silent) == len(self._nodes):
            raise RailUnavailable("; ".join(silent))

    async def _check_node(self, node: NodeRpc) -> None:
        chain_id = quantity(await node.call("eth_chainId"), "eth_chainId")
        wanted = self._config.options.chain_id
        if chain_id != wanted:
            raise RailMisconfigured(f"chain_id: {node.name} speaks for chain {chain_id}, not for {wanted}")
        for token in self._config.tokens:
            field = f"tokens.{token.asset.code}"
            pinned = self._options_of(token).implementation_hash is not None
            assert_pinned(self.chain, await self._code_at(node, token, follow=pinned))
            symbol, decimals = await self.read_contract(node, token)
            due = self._symbol_due(token)
            if symbol != due:
                raise RailMisconfigured(f"{field}.symbol: the contract calls itself {symbol[:40]!r}, not {due!r}")
            if decimals != token.decimals:
                raise RailMisconfigured(f"{field}.decimals: the contract has {decimals}, not {token.decimals}")

    async def token_codes(self) -> Sequence[TokenCode]:
        """ShowsTokenCode."""

        async def read(node: NodeRpc) -> list[TokenCode]:
            return [await self._code_at(node, token, follow=True) for token in self._config.tokens]

        return await self._scanner.providers.ask(read)

    async def _code_at(self, node: NodeRpc, token: ChainToken, *, follow: bool) -> TokenCode:
        found = await read_code(node, token.contract, follow=follow)
        return describe(node, token, self._options_of(token), found, self._family.show_address)

    def _options_of(self, token: ChainToken) -> TokenOptions:
        return self._config.options.tokens[token.asset.code]

    def _symbol_due(self, token: ChainToken) -> str:
        return self._options_of(token).symbol or token.asset.code

    # --- what a family adds ---------------------------------------------------------------------------------------

    @abstractmethod
    def wallet_uri(self, token: ChainToken, recipient: bytes, raw_amount: int) -> str:
        """Return the link for "open in wallet"."""

    @abstractmethod
    async def read_contract(self, node: NodeRpc, token: ChainToken) -> tuple[str, int]:
        """Return a token contract's symbol() and decimals(). Raises RailMisconfigured where it has none."""
