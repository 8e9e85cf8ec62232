"""USDT and other TRC-20 tokens on TRON: one account is one network."""

from typing import Final

from adapters.tron.adapter import TronRail
from adapters.tron.simulator import simulator

ADAPTER: Final = TronRail
SIMULATOR: Final = simulator

__all__ = ["ADAPTER", "SIMULATOR"]
