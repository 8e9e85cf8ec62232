"""USDT and other ERC-20 tokens on EVM chains (Ethereum, BSC, Base ...): one account is one chain."""

from typing import Final

from adapters.evm.adapter import EvmRail
from adapters.evm.simulator import simulator

ADAPTER: Final = EvmRail
SIMULATOR: Final = simulator

__all__ = ["ADAPTER", "SIMULATOR"]
