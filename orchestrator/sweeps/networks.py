"""A chain on which we send, with everything that sending needs. Made by ``bootstrap``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from adapters.base import ChainToken
from adapters.sending import SendsOnChain
from rates.money import Asset, Money

COIN_SCALE_MAX: Final = 9
"""Coins are kept in the books with nine decimals at most (gwei): 18 do not fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class SendingNetwork:
    name: str
    """As the books name it: ``test:eip155:56``."""
    chain: str
    mode: str
    family: str
    sender: SendsOnChain
    tokens: Mapping[bytes, ChainToken]
    """By contract."""
    show_address: Callable[[bytes], str]
    read_address: Callable[[str], bytes]
    """Raises ValueError."""
    derive_address: Callable[[int], bytes]
    operating: bytes
    """Our wallet that pays fees for others, pays refunds and settles x402."""
    treasury: bytes | None
    """Where sweeps go; None: nothing is swept."""
    coin_code: str
    coin_usd: Money
    """What one coin is worth for planning, USD/9, as the operator says."""

    @property
    def coin(self) -> Asset:
        return Asset(self.coin_code, min(COIN_SCALE_MAX, self.sender.coin_decimals))

    @property
    def coin_factor(self) -> int:
        """Raw units of the coin in one unit of the books."""
        factor: int = 10 ** (self.sender.coin_decimals - self.coin.scale)
        return factor

    def coin_units(self, raw: int) -> int:
        """Return a cost in the books' units, rounded up: a fee is never understated."""
        return -(-raw // self.coin_factor)

    def coin_value(self, raw: int) -> Money:
        """Return what raw coins are worth, USD/9, rounded up."""
        whole: int = 10**self.sender.coin_decimals
        return Money(-(-raw * self.coin_usd.units // whole), self.coin_usd.asset)
