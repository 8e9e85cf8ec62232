"""What config.yaml says of one chain account, checked. Every refusal is a RailMisconfigured that names the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from adapters.base import ChainToken, FinalityRule, FinalityTier, Mode, RailAccount, RailMisconfigured
from adapters.kit.chain.addresses import DepositAddresses, NotAnAccountKey, NotAnAddress
from adapters.kit.chain.secrets_guard import field_holding_a_key
from rates.money import WALLET_USD, Money, MoneyError, display_asset

PUBLISHED_FIRST_ADDRESSES: Final = frozenset(
    {
        "9858effd232b4033e47d90003d41ec34ecaeda94",  # "abandon ... about", m/44'/60'/0'/0/0
        "c8599111f29c1e1e061265b4af93ea1f274ad78a",  # the same words, m/44'/195'/0'/0/0
        "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",  # "test ... junk", m/44'/60'/0'/0/0: anvil's and hardhat's
    }
)
"""Deposit addresses whose private keys everybody knows: live refuses them."""


NODES_FOR_AN_OPINION: Final = 2
CodeHash = Annotated[str, Field(pattern=r"^keccak256:[0-9a-f]{64}$")]
Usd = Annotated[str, Field(pattern=r"^\d{1,9}(\.\d{1,9})?$")]


class TokenOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    contract: str
    decimals: Annotated[StrictInt, Field(ge=0, le=36)]
    method: Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)+$")]
    code_hash: CodeHash | None = None
    """Of the contract's own code; `crossrail doctor` shows it. Another code behind the address: not scanned."""
    implementation_hash: CodeHash | None = None
    """Of the code that the contract hands its calls to, where it is a proxy (USDC): see ``token_code``."""
    symbol: str | None = None
    """What the contract calls itself where that is not the token's code (``USD₮0``)."""


class TierOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    up_to_usd: Usd
    blocks: Annotated[StrictInt, Field(ge=1, le=10_000)]


class FinalityOptions(BaseModel):
    """When deposits count; see ``adapters.base.FinalityRule``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    final: Literal["finalized", "confirmations"] = "finalized"
    """``finalized``: the chain's own word (TRON: solidified), and ``confirmations`` blocks at least."""
    tiers: Annotated[tuple[TierOptions, ...], Field(max_length=10)] = ()
    customer_usd: Usd = "0"
    chain_usd: Usd = "0"
    merchant_unsecured_usd: Usd = "0"
    second_opinion_usd: Usd | None = None


class ChainOptions(BaseModel):
    """``rails: {<account>: {options: ...}}`` of a chain."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    chain_id: Annotated[StrictInt, Field(gt=0)]
    network: Annotated[str, Field(min_length=1, max_length=60)]
    """Name for people: ``TRON (TRC20)``."""
    xpub: str
    confirmations: Annotated[StrictInt, Field(ge=1, le=10_000)]
    block_seconds: Annotated[float, Field(gt=0, le=3600)]
    tokens: Annotated[dict[str, TokenOptions], Field(min_length=1, max_length=50)]
    rpc_urls: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://[^\s]+$")], ...], Field(max_length=10)] = ()
    chain: str | None = None
    """CAIP-2; by default made of the chain id."""
    minimum: Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")] = "0"
    """Smallest amount that is asked for, of each token. Less that arrives is credited all the same."""
    credit_minimum: Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")] = "0"
    """Less than this of a token is listed as dust, not credited: who sends it pays more for it than it is worth."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    finality: FinalityOptions = FinalityOptions()
    calls_per_second: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """To each node; 0: no limit of ours. TronGrid suspends above 15."""
    range_blocks_max: Annotated[StrictInt, Field(ge=1, le=5000)] = 2000
    """Longest range that is asked for in catch-up; nodes that allow less are found out."""
    unknown_tokens: bool = False
    """Read the transfers of every contract, so that tokens nobody registered are recorded for a person. More bytes per
    block, as many calls."""


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between the two families of chains."""

    name: str
    read_address: Callable[[str], bytes]
    show_address: Callable[[bytes], str]
    chains_of: Callable[[int], tuple[str, ...]]
    """The CAIP-2 names of a chain id, preferred first."""
    has_bloom: bool
    rpc_path: str
    """Where a node at ``base_url`` serves JSON-RPC."""


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """Options that fit together."""

    chain: str
    options: ChainOptions
    tokens: tuple[ChainToken, ...]
    rpc_urls: tuple[str, ...]
    addresses: DepositAddresses
    finality: FinalityRule

    def minimum_of(self, token: ChainToken) -> Money:
        return Money.parse(self.options.minimum, token.asset)


def read_config(account: RailAccount, family: Family) -> ChainConfig:
    """Check the account's options. Raises RailMisconfigured; no value of a field is in its text."""
    where = f"{account.rail}/{account.account}"
    suspect = field_holding_a_key(account.options)
    if suspect is not None:
        raise RailMisconfigured(f"{where}: {suspect} holds a private key, seed or mnemonic: only an xpub belongs here")
    try:
        options = ChainOptions.model_validate(dict(account.options))
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False)[0]
        raise RailMisconfigured(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    rpc_urls = options.rpc_urls or ((account.base_url.rstrip("/") + family.rpc_path,) if account.base_url else ())
    if not rpc_urls:
        raise RailMisconfigured(f"{where}: rpc_urls: at least one node's address is needed")
    chains = family.chains_of(options.chain_id)
    if options.chain is not None and options.chain not in chains:
        raise RailMisconfigured(f"{where}: chain: chain id {options.chain_id} is {' or '.join(chains)}")
    tokens = tuple(_token(where, code, token, family, options.credit_minimum) for code, token in options.tokens.items())
    _refuse_twins(where, tokens)
    config = ChainConfig(
        options.chain or chains[0],
        options,
        tokens,
        rpc_urls,
        _addresses(where, options, account),
        _finality(where, options),
    )
    for token in tokens:
        try:
            config.minimum_of(token)
        except MoneyError as error:
            raise RailMisconfigured(f"{where}: minimum: {error}") from None
    return config


def _finality(where: str, options: ChainOptions) -> FinalityRule:
    given = options.finality
    tiers = tuple(FinalityTier(Money.parse(tier.up_to_usd, WALLET_USD), tier.blocks) for tier in given.tiers)
    for smaller, larger in pairwise(tiers):
        if smaller.up_to.units >= larger.up_to.units or smaller.blocks > larger.blocks:
            raise RailMisconfigured(f"{where}: finality.tiers: each is for a larger amount and no fewer blocks")
    if tiers and tiers[-1].blocks > options.confirmations:
        raise RailMisconfigured(f"{where}: finality.tiers: no tier waits longer than confirmations")
    if given.second_opinion_usd is not None and len(options.rpc_urls) < NODES_FOR_AN_OPINION:
        raise RailMisconfigured(f"{where}: finality.second_opinion_usd: it takes two nodes in rpc_urls")
    return FinalityRule(
        confirmations=options.confirmations,
        by_depth=given.final == "confirmations",
        tiers=tiers,
        customer_max=Money.parse(given.customer_usd, WALLET_USD),
        chain_max=Money.parse(given.chain_usd, WALLET_USD),
        merchant_unsecured=Money.parse(given.merchant_unsecured_usd, WALLET_USD),
        second_opinion_from=(
            None if given.second_opinion_usd is None else Money.parse(given.second_opinion_usd, WALLET_USD)
        ),
    )


def _token(where: str, code: str, token: TokenOptions, family: Family, credit_minimum: str) -> ChainToken:
    try:
        contract = family.read_address(token.contract)
    except NotAnAddress as error:
        raise RailMisconfigured(f"{where}: tokens.{code}.contract: {error}") from None
    try:
        asset = display_asset(code)
    except MoneyError as error:
        raise RailMisconfigured(f"{where}: tokens.{code}: {error}") from None
    try:
        dust = Money.parse(credit_minimum, asset)
    except MoneyError as error:
        raise RailMisconfigured(f"{where}: credit_minimum: {error}") from None
    return ChainToken(asset, contract, token.decimals, token.method, dust.units)


def _refuse_twins(where: str, tokens: tuple[ChainToken, ...]) -> None:
    if len({token.contract for token in tokens}) != len(tokens):
        raise RailMisconfigured(f"{where}: tokens: two tokens have the same contract")
    if len({token.method for token in tokens}) != len(tokens):
        raise RailMisconfigured(f"{where}: tokens: two tokens have the same method")


def _addresses(where: str, options: ChainOptions, account: RailAccount) -> DepositAddresses:
    try:
        addresses = DepositAddresses(options.xpub)
    except NotAnAccountKey as error:
        raise RailMisconfigured(f"{where}: xpub: {error}") from None
    if account.mode is Mode.LIVE:
        if options.xpub.startswith("tpub"):
            raise RailMisconfigured(f"{where}: xpub: a tpub is for test networks")
        if addresses.derive(0).hex() in PUBLISHED_FIRST_ADDRESSES:
            raise RailMisconfigured(f"{where}: xpub: everybody has the private keys of this published test wallet")
    return addresses
