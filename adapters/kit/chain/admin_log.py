"""What the administrators of a token can do to our money, read from its logs. Pure.

USDT (TetherToken): Pause, Unpause, Params, Deprecate, AddedBlackList, RemovedBlackList, DestroyedBlackFunds.
USDC (FiatToken): Pause, Unpause, Blacklisted, UnBlacklisted. Some deployments index the address, some do not.
Proxies: Upgraded (EIP-1967, ZeppelinOS), ProxyUpdated (Polygon's bridged tokens): other code behind the same address.
``issue`` and ``destroyBlackFunds`` emit no Transfer: only a comparison of balances sees what they did.

Sources: https://eips.ethereum.org/EIPS/eip-1967, https://github.com/maticnetwork/pos-portal (UpgradableProxy.sol),
https://etherscan.io/token/0xdac17f958d2ee523a2206206994597c13d831ec7#code,
https://github.com/circlefin/stablecoin-evm/blob/master/contracts/v1/Blacklistable.sol
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eth_hash.auto import keccak

from adapters.base import ChainScanFailed, ChainToken, TokenAlarm
from adapters.kit.chain.rpc import as_list, as_object, hash32

UPGRADED: Final = "upgraded"
_EVENTS: Final = {
    "Pause()": ("paused", False),
    "Unpause()": ("unpaused", False),
    "Params(uint256,uint256)": ("fee_changed", False),
    "Deprecate(address)": ("deprecated", False),
    "AddedBlackList(address)": ("address_blacklisted", True),
    "RemovedBlackList(address)": ("address_cleared", True),
    "DestroyedBlackFunds(address,uint256)": ("funds_destroyed", True),
    "Blacklisted(address)": ("address_blacklisted", True),
    "UnBlacklisted(address)": ("address_cleared", True),
    "Upgraded(address)": (UPGRADED, True),
    "ProxyUpdated(address,address)": (UPGRADED, True),
}
ADMIN_TOPICS: Final = {"0x" + keccak(name.encode()).hex(): meaning for name, meaning in _EVENTS.items()}
"""Topic -> what it means, and whether it is about one address."""


def read_alarm(raw: Any, token: ChainToken, is_ours: Callable[[bytes], bool]) -> TokenAlarm | None:
    """Read an administrator's log; None where it is none, or about an address of somebody else."""
    log = as_object(raw, "log")
    topics = as_list(log.get("topics"), "log.topics")
    meaning = ADMIN_TOPICS.get(str(topics[0]).lower()) if topics else None
    if meaning is None:
        return None
    kind, about_address = meaning
    tx_hash = hash32(log.get("transactionHash"), "log.transactionHash")
    if not about_address:
        return TokenAlarm(token, kind, tx_hash)
    word = str(topics[1] if len(topics) > 1 else log.get("data"))[2:66]
    try:
        address = bytes.fromhex(word)[12:]
    except ValueError:
        raise ChainScanFailed(f"the {kind} log of {tx_hash} names no address") from None
    return TokenAlarm(token, kind, tx_hash, address) if kind == UPGRADED or is_ours(address) else None
