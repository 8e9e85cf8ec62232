"""Rail: Adyen (local methods on Adyen's hosted page)."""

from adapters.adyen.adapter import AdyenAdapter
from adapters.adyen.simulator import build_simulator
from adapters.base import AdapterFactory, SimulatorFactory

ADAPTER: AdapterFactory = AdyenAdapter
SIMULATOR: SimulatorFactory = build_simulator

__all__ = ["ADAPTER", "SIMULATOR"]
