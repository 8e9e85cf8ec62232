"""x402: agents that pay by themselves; one account is one chain."""

from typing import Final

from adapters.x402.adapter import X402Rail
from adapters.x402.simulator import simulator

ADAPTER: Final = X402Rail
SIMULATOR: Final = simulator

__all__ = ["ADAPTER", "SIMULATOR"]
